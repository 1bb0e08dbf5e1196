"""A program that changes memory by the library, on a real kernel."""

from vm.guest import Guest

PROGRAM = """
from memory_hotplug import Action, Layout, Machine, NoUndoError, Order, Zone

LAYOUT = 'version = 1\\n[[memory]]\\nblocks = "33"\\nstate = "online"\\nzone = "Movable"\\n'

with Machine.at("/") as machine:
    list(machine.change(Order(Action.DISABLE), blocks=range(32, 40)))
    order = Order(Action.ENABLE, zone=Zone.MOVABLE)
    forecast = machine.forecast(order, size=2 * machine.block_size)
    with machine.hold(timeout=60):
        done = [outcome.number for outcome in machine.change(order, size=2 * machine.block_size)]
    print(done == forecast.changed, len(done))
    print(sorted(outcome.number for outcome in machine.undo()) == sorted(done))
    layout = Layout.parse(LAYOUT)
    print(bool(layout.differences(machine)))
    work = machine.apply(layout)
    print([outcome.result.value for outcome in work], bool(layout.differences(machine)))
    print(machine.policy.by_kernel, machine.usage().used > 0)
    print([one.candidate in ("yes", "maybe") and one.free > 0 for one in machine.why([33])])
"""


def test_the_face_of_the_library_works_on_a_real_kernel(one_node: Guest) -> None:
    one_node.put("/tmp/program.py", PROGRAM.encode())
    done = one_node.run("python3 -W error /tmp/program.py", timeout=120)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "True 2",
        "True",
        "True",
        "['done'] False",
        "None True",
        "[True]",
    ]
    assert one_node.snapshot().blocks("valid_zones")[33] == "Movable"


def test_chmem_undoes_what_a_killed_program_did(one_node: Guest) -> None:
    program = PROGRAM.partition("    with machine.hold")[0] + (
        "    for outcome in machine.change(order, blocks=[35, 36, 37]):\n"
        "        if outcome.number == 36:\n"
        "            import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    one_node.put("/tmp/killed.py", program.encode())
    assert one_node.run("python3 /tmp/killed.py", timeout=120).status != 0
    states = one_node.snapshot().blocks("state")
    assert [states[number] for number in (35, 36, 37)] == ["online", "online", "offline"]
    assert one_node.run("chmem --undo").status == 0
    states = one_node.snapshot().blocks("state")
    assert [states[number] for number in (35, 36, 37)] == ["offline"] * 3
