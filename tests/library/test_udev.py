"""Which udev rules set added memory online: rules of the kinds that distributions ship."""

from pathlib import Path

import pytest

from memory_hotplug.trees.files import FileTree
from memory_hotplug.udev.added import AddedMemory, added_memory, outcome
from memory_hotplug.udev.facts import Facts
from memory_hotplug.udev.matches import Event, expanded
from memory_hotplug.udev.syntax import rule_files
from memory_hotplug.udev.world import World
from static_tree import put

GUARDED = """\
# Added memory goes online, on most machines
SUBSYSTEM!="memory", GOTO="memory_end"
ACTION!="add", GOTO="memory_end"
CONST{arch}=="s390*", GOTO="memory_end"

ENV{.state}="online"
CONST{virt}=="none", ENV{.state}="online_movable"
ATTR{state}=="offline", ATTR{state}="$env{.state}"

LABEL="memory_end"
"""


def added(root: Path, numbers: list[int] | None = None) -> AddedMemory:
    with FileTree(str(root)) as tree:
        return added_memory(tree, numbers)


def of(text: str, root: Path, numbers: list[int] | None = None) -> AddedMemory:
    """What becomes of added memory with one file of rules."""
    put(root, "etc/udev/rules.d/40-x.rules", text)
    return added(root, numbers)


def answer(found: AddedMemory) -> str:
    """The answer in one word, and the words that are written."""
    if found.certain:
        return f"certain: {' or '.join(found.words)}"
    return "perhaps" if found.rules else "no"


@pytest.mark.parametrize(
    ("text", "line", "words", "certain"),
    [
        (GUARDED, 8, ("online", "online_movable"), False),
        (
            'SUBSYSTEM=="memory", ACTION=="add", PROGRAM=="/bin/uname -m", RESULT!="s390x",'
            ' ATTR{state}=="offline", ATTR{state}="online"\n',
            1,
            ("online",),
            False,
        ),
        (
            'SUBSYSTEM=="memory", ACTION=="add", DEVPATH=="/devices/system/memory/memory[0-9]*",'
            ' TEST=="state", ATTR{state}!="online", ATTR{state}="online"\n',
            1,
            ("online",),
            True,
        ),
        (
            '\nSUBSYSTEM=="memory|cpu", ACTION=="add|change", TEST=="state", \\\n'
            '  ATTR{state}=="offline", ATTR{state}="online_movable"\n',
            2,
            ("online_movable",),
            True,
        ),
        ('KERNEL=="memory*", ACTION=="add", ATTR{online}="1"\n', 1, ("online",), True),
        ('KERNEL=="memory*", ACTION=="add", ATTR{state}="onl\\\nine"\n', 1, ("online",), True),
        (
            'SUBSYSTEM=="memory", ACTION=="add", '
            "RUN+=\"/bin/sh -c 'echo online > /sys$devpath/state'\"\n",
            1,
            (),
            False,
        ),
        (
            'DEVPATH=="*/memory/*", RUN+="/bin/sh -c \'echo online > /sys%p/state\'"\n',
            1,
            (),
            False,
        ),
        ('KERNEL=="memory*", PROGRAM="/bin/bring online %p/state"\n', 1, (), False),
        ('ACTION=="add", RUN+="/bin/report online state"\n', 1, (), False),
        ('SUBSYSTEM=="memory", ACTION=="add", RUN+="/bin/report state"\n', 1, (), False),
        ('ATTR{online}="1"\n', 1, ("online",), True),
        (
            'SUBSYSTEM=="memory", TEST!="state", GOTO="x"\nATTR{state}="online"\n',
            2,
            ("online",),
            True,
        ),
        ('TEST=="node[0-9]*", ATTR{state}="online"\n', 1, ("online",), False),
        (
            'SUBSYSTEM=="memory", GOTO="here"\nATTR{state}="online_kernel"\nLABEL="here"\n'
            'ATTR{state}="online"\n',
            4,
            ("online",),
            True,
        ),
        *(
            (f'KERNEL=="{pattern}", ACTION=="add", ATTR{{state}}="online"\n', 1, ("online",), sure)
            for pattern, sure in (
                ("memory[0-9]*", True),
                ("memory?*", True),
                ("cpu*|memory[0-9]*", True),
                ("memory32", False),
                ("memory12345678", False),
                ("memory[45]", False),
                ("memory[45][0-9][0-9]", False),
                ("memory?", False),
                ("memory[!7]*", False),
            )
        ),
        ('DEVPATH=="*/memory[0-9]*", ATTR{state}="online"\n', 1, ("online",), True),
        # Not all releases know a prefix, and those that do not leave the rule out.
        ('SUBSYSTEM==i"MEMORY", ATTR{state}="online"\n', 1, ("online",), False),
        ('SUBSYSTEM=="memory", ATTR{state}=e"on\\x6cine"\n', 1, ("online",), False),
        (
            'SUBSYSTEM==e"memory", GOTO="end"\nATTR{state}="online"\nLABEL="end"\n',
            2,
            ("online",),
            False,
        ),
        ('KERNEL!="memory[!0-9]*", ATTR{state}="online"\n', 1, ("online",), True),
    ],
)
def test_a_rule_that_sets_memory_online_is_found(
    text: str, line: int, words: tuple[str, ...], certain: bool, tmp_path: Path
) -> None:
    (found,) = of(text, tmp_path).rules
    assert found[:4] == ("/etc/udev/rules.d/40-x.rules", line, words, certain)


@pytest.mark.parametrize(
    "text",
    [
        'SUBSYSTEM=="cpu", ACTION=="add", ATTR{online}=="0", ATTR{online}="1"\n',
        'SUBSYSTEM=="memory", ACTION=="remove", ATTR{state}="online"\n',
        'SUBSYSTEM=="memory", ACTION=="add", ATTR{state}=="online", ATTR{state}="online"\n',
        'SUBSYSTEM=="memory", ACTION=="add", ATTR{state}="offline"\n',
        '# SUBSYSTEM=="memory", ACTION=="add", ATTR{state}="online"\n',
        'SUBSYSTEM=="memory", GOTO="end"\nATTR{state}="online"\nLABEL="end"\n',
        'SUBSYSTEM=="memory", ENV{x}="offline"\nENV{x}!="offline", ATTR{state}="online"\n',
        'SUBSYSTEM=="memory", ENV{a}=="1", ATTR{state}="online"\n',
        'SUBSYSTEM=="memory", ATTR{state}="$env{nothing}"\n',
        'TEST!="state", SUBSYSTEM=="memory", ATTR{state}="online"\n',
        'KERNEL=="memory[!0-9]*", ATTR{state}="online"\n',
        'KERNEL=="cpu[0-9]*", ATTR{online}="1"\n',
        'KERNEL!="memory[0-9]*", GOTO="end"\nKERNEL=="cpu*", ATTR{online}="1"\nLABEL="end"\n',
        "no rule\n",
        "",
    ],
)
def test_other_udev_rules_set_no_memory_online(text: str, tmp_path: Path) -> None:
    assert answer(of(text, tmp_path)) == "no"


ONLINE = 'SUBSYSTEM=="memory", ACTION=="add", ATTR{state}="online%s"\n'


def test_rules_have_the_order_and_the_precedence_of_udev(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/udev/rules.d/40-b.rules", ONLINE % "")
    put(tmp_path, "etc/udev/rules.d/60-a.rules", ONLINE % "_kernel")
    put(tmp_path, "etc/udev/rules.d/40-b.rules", ONLINE % "_movable")
    put(tmp_path, "lib/udev/rules.d/10-c.rules", ONLINE % "")
    put(tmp_path, "usr/lib/udev/rules.d/20-d.rules", ONLINE % "")
    (tmp_path / "etc/udev/rules.d/10-c.rules").symlink_to("/dev/null")
    put(tmp_path, "etc/udev/rules.d/README", ONLINE % "")
    found = added(tmp_path).rules
    assert [(one.file, one.words) for one in found] == [
        ("/usr/lib/udev/rules.d/20-d.rules", ("online",)),
        ("/etc/udev/rules.d/40-b.rules", ("online_movable",)),
        ("/etc/udev/rules.d/60-a.rules", ("online_kernel",)),
    ]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "etc/udev/rules.d/10-c.rules").mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        added(tmp_path)
    assert caught.value.filename == "/etc/udev/rules.d/10-c.rules"


def test_a_variable_has_the_values_that_it_has_in_each_way(tmp_path: Path) -> None:
    """Where CONST{virt} is kvm, the variable has the second value, and the rule is jumped over."""
    text = (
        'SUBSYSTEM!="memory", GOTO="end"\n'
        'ENV{how}="online_kernel"\n'
        'CONST{virt}=="kvm", ENV{how}="online_movable"\n'
        'ENV{how}=="online_movable", GOTO="end"\n'
        'ATTR{state}="%E{how}"\n'
        'LABEL="end"\n'
    )
    (found,) = of(text, tmp_path).rules
    assert (found.line, found.words, found.certain) == (5, ("online_kernel",), False)


@pytest.mark.parametrize(("length", "found"), [(16383, 1), (16384, 0)])
def test_a_rule_that_is_too_long_for_udev_is_none(length: int, found: int, tmp_path: Path) -> None:
    text = (ONLINE % "").rstrip()
    assert len(of(f"{text}{' ' * (length - len(text))}\n", tmp_path).rules) == found


def test_a_file_need_not_be_utf_8(tmp_path: Path) -> None:
    put(tmp_path, "etc/udev/rules.d/x.rules", "")
    (tmp_path / "etc/udev/rules.d/x.rules").write_bytes(b"# \xe9\n" + (ONLINE % "").encode())
    assert len(added(tmp_path).rules) == 1


@pytest.mark.parametrize(
    "text",
    [
        "|".join(map(str, range(100_000))),
        "A" * 500_000,
        "A{" * 250_000,
        "A" + " " * 500_000 + "x",
        'A="' * 200_000,
        'A="\\"' * 200_000,
    ],
    ids=["patterns", "name", "attributes", "spaces", "quotes", "escapes"],
)
def test_no_udev_rule_takes_long(text: str, tmp_path: Path) -> None:
    """With a pattern that tries all ways, it would be hours. A line that is too long has some
    releases of udev ignore the file."""
    assert answer(of(f"{text}\n{ONLINE % ''}", tmp_path)) == "perhaps"


ADD = 'SUBSYSTEM=="memory", ACTION=="add", '
SET = f'{ADD}ATTR{{state}}=="offline", ATTR{{state}}="online"\n'
DMI = "sys/class/dmi/id/sys_vendor"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A jump that may be taken: nothing before its label is certain, and the label is reached.
        (f'CONST{{virt}}=="kvm", GOTO="x"\n{SET}LABEL="x"\n', "perhaps"),
        (f'CONST{{virt}}=="kvm", GOTO="x"\nLABEL="x"\n{SET}', "certain: online"),
        (f'CONST{{virt}}=="kvm", GOTO="y"\nGOTO="n"\nLABEL="y"\n{SET}LABEL="n"\n', "perhaps"),
        (f'GOTO="n"\n{SET}LABEL="n"\n', "no"),
        (f'GOTO="nowhere"\n{SET}', "certain: online"),
        (f'LABEL="x"\nGOTO="x"\n{SET}', "certain: online"),
        (f'SUBSYSTEM=="memory", GOTO="x", BOGUS="1"\n{SET}LABEL="x"\n', "certain: online"),
        # A match that is asked twice has one answer.
        (
            'CONST{virt}=="kvm", ATTR{state}="online_movable"\n'
            'CONST{virt}!="kvm", ATTR{state}="online"\n',
            "certain: online or online_movable",
        ),
        (
            'CONST{virt}=="kvm", ENV{w}="online_movable"\n'
            'CONST{virt}=="kvm", ATTR{state}="$env{w}"\n',
            "perhaps",
        ),
        (
            'KERNEL=="memory7", ATTR{state}="online_movable"\n'
            'KERNEL!="memory7", ATTR{state}="online"\n',
            "certain: online or online_movable",
        ),
        *(
            (f'{match}=="a", ENV{{x}}="1"\n{match}=="a", ENV{{x}}!="1", {SET}', found)
            for match, found in (
                ("CONST{virt}", "no"),
                ("ATTR{[dmi/id]x}", "no"),
                ("ATTR{[memory/memory9]state}", "perhaps"),
            )
        ),
        # An attribute that may not be there is perhaps neither equal nor unequal.
        (
            'ATTR{[dmi/id]x}=="a", ATTR{state}="online_movable"\n'
            'ATTR{[dmi/id]x}!="a", ATTR{state}="online"\n',
            "perhaps",
        ),
        (f'CONST{{virt}}=="kvm", {ADD}ATTR{{state}}="online_kernel"\n{SET}',
         "certain: online or online_kernel"),
        # Matches come first, wherever they stand in the line.
        (f'ATTR{{state}}="online", {ADD}ENV{{no}}=="1"\n', "no"),
        # What is not there matches nothing.
        (f'{ADD}ATTR{{idVendor}}!="1d6b", ATTR{{state}}="online"\n', "no"),
        (f'{ADD}ENV{{nothing}}!="1", ATTR{{state}}="online"\n', "certain: online"),
        (f'{ADD}ENV{{nothing}}=="?*", ATTR{{state}}="online"\n', "no"),
        # Above a block is the device of all memory.
        (f'KERNELS=="memory", SUBSYSTEMS=="", {SET}', "certain: online"),
        (f'KERNELS=="memory", ATTRS{{state}}=="offline", {SET}', "no"),
        (f'SUBSYSTEMS=="memory", {SET}', "certain: online"),
        *((f'ENV{{{name}}}=="?*", {SET}', "perhaps")
          for name in ("SEQNUM", "SYNTH_UUID", "USEC_INITIALIZED", "TAGS", "CURRENT_TAGS")),
        (f'SYMLINK=="?*", {SET}', "no"),
        (f'NAME=="?*", {SET}', "no"),
        (f'DRIVER=="?*", {SET}', "no"),
        (f'DRIVER!="?*", {SET}', "certain: online"),
        (f'ATTRS{{idVendor}}=="1d6b", {SET}', "no"),
        # Values
        ('SUBSYSTEM==i"MEMORY", ATTR{state}="online"\n', "perhaps"),
        ('SUBSYSTEM==e"mem\\x6fry", ATTR{state}=e"online\\n"\n', "perhaps"),
        ('SUBSYSTEM==e"mem\\157ry", ATTR{state}=e"online\\012"\n', "perhaps"),
        ('SUBSYSTEM=="memory", ATTR{state}=i"online"\n', "no"),
        ('SUBSYSTEM=="memory", ATTR{state}="on\\\n# in between\n  line"\n', "certain: online"),
        ('SUBSYSTEM=="memory", ATTR{state}="online"\\\n', "no"),
        ('SUBSYSTEM=="memory" ATTR{state} = "online"\n', "certain: online"),
        ('SUBSYSTEM=="memory", ATTR{state}:="online"\n', "certain: online"),
        ('SUBSYSTEM=="memory", ATTR{state}-="online"\n', "no"),
        ('SUBSYSTEM=="memory", ATTR{state}="onlin"\n', "no"),
        ('SUBSYSTEM=="memory", ENV{w}="on", ENV{w}+="line", ATTR{state}="$env{w}"\n', "no"),
        ('SUBSYSTEM=="memory", ENV{.w}:="online"\nATTR{state}="%E{.w}"\n', "certain: online"),
        (f'{ADD}ENV{{a}}="on"\n{ADD}ENV{{w}}="$env{{a}}line"\n{ADD}ATTR{{state}}="$env{{w}}"\n',
         "certain: online"),
        ('SUBSYSTEM=="memory", ATTR{state}="$result"\n', "no"),
        (f'{ADD}ENV{{p}}="$root $sys %r %S"\n{ADD}ENV{{p}}=="/dev /sys /dev /sys", {SET}',
         "certain: online"),
        # Programs
        (f'{ADD}PROGRAM="/bin/x", RESULT=="y", ATTR{{state}}="online"\n', "perhaps"),
        (f'{ADD}PROGRAM="/bin/echo a b", RESULT=="a *", ATTR{{state}}="online"\n',
         "certain: online"),
        (f'{ADD}PROGRAM="/bin/echo a", RESULT!="a", ATTR{{state}}="online"\n', "no"),
        (f'{ADD}PROGRAM="/bin/false", ATTR{{state}}="online"\n', "no"),
        (f'{ADD}RUN+="/bin/x"\nRUN="/bin/true"\n', "no"),
        (f'{ADD}RUN:="/bin/true"\n{ADD}RUN+="/bin/x"\n', "no"),
        (f"{ADD}RUN+=\"/bin/sh -c 'echo %k >>/tmp/heard'\"\n", "no"),
        (f"{ADD}RUN+=\"/bin/sh -c 'echo 1 >>/sys/x'\"\n", "perhaps"),
        (f"{ADD}RUN+=\"/bin/sh -c 'test -e /x && bring %k'\"\n", "perhaps"),
        (f"{ADD}RUN+=\"/bin/sh -c 'echo $(bring %k)'\"\n", "perhaps"),
        (f"{ADD}RUN+=\"/bin/sh -c 'echo `bring %k`'\"\n", "perhaps"),
        (f"{ADD}RUN+=\"/bin/sh -c 'echo \\\"$(bring %k)\\\"'\"\n", "perhaps"),
        (f"{ADD}RUN+=\"/bin/sh -c 'if test -e /x; then echo %k 2>&1; fi >/dev/null'\"\n", "no"),
        (f"{ADD}RUN+=\"/bin/sh -c 'test -e /x && (echo; bring)'\"\n", "perhaps"),
        (f"{ADD}RUN+=\"/bin/sh /etc/bring %k\"\n", "perhaps"),
        (f"{ADD}RUN+=\"/bin/sh -c 'echo >/run/../sys/x'\"\n", "perhaps"),
        (f'{ADD}RUN{{builtin}}+="kmod load x"\n', "no"),
        (f'{ADD}TAG+="systemd", ENV{{SYSTEMD_WANTS}}+="x@%k.service"\n', "perhaps"),
        (f'{ADD}ENV{{SYSTEMD_WANTS}}+="x@%k.service"\n', "no"),
        (f'{ADD}TAG+="systemd", ENV{{SYSTEMD_WANTS}}+="x"\n{ADD}TAG-="systemd"\n', "no"),
        (f'{ADD}TAG+="systemd", ENV{{SYSTEMD_WANTS}}+="x"\n{ADD}ENV{{SYSTEMD_WANTS}}=""\n', "no"),
        (f'{ADD}TAG+="a"\nTAG=="a", ATTR{{state}}="online"\n', "certain: online"),
        # What is imported can be anything.
        (f'{ADD}IMPORT{{program}}="/bin/echo a=1"\n{ADD}ENV{{a}}=="1", ATTR{{state}}="online"\n',
         "perhaps"),
        (f'{ADD}IMPORT{{builtin}}="path_id"\n{ADD}ENV{{a}}=="1", ATTR{{state}}="online"\n',
         "perhaps"),
        (f'{ADD}IMPORT{{db}}="a"\n{ADD}ENV{{a}}=="1", ATTR{{state}}="online"\n', "perhaps"),
        (f'{ADD}IMPORT{{db}}="a"\n{ADD}ENV{{b}}=="1", ATTR{{state}}="online"\n', "no"),
        (f'{ADD}IMPORT{{file}}="/etc/x", TAG+="systemd"\n', "perhaps"),
        (f'{ADD}IMPORT{{builtin}}="nothing", ATTR{{state}}="online"\n', "no"),
        # A block that a rule sets offline again, in the same event or in the next, is not online.
        (f'{SET}{ADD}ATTR{{state}}="offline"\n', "perhaps"),
        *((f'{SET}{ADD}ATTR{{online}}="{word}"\n', "perhaps")
          for word in ("0", "n", "No", "f", "False", "off", "OFF")),
        *((f'{ADD}ATTR{{online}}="{word}"\n', "certain: online")
          for word in ("y", "Yes", "t", "True", "on", "ON")),
        *((f'{SET}{ADD}ATTR{{online}}="{word}"\n', "certain: online") for word in ("2", "o", "x")),
        (f'{SET}SUBSYSTEM=="memory", ACTION=="online", ATTR{{state}}="offline"\n', "perhaps"),
        # What the first event has set is known in the next one, and perhaps more.
        *(
            (f'{SET}ACTION=="online", {more}, ATTR{{state}}="offline"\n', found)
            for more, found in (
                ('ENV{x}=="1"', "perhaps"),
                ('TAG=="x"', "perhaps"),
                ('ATTR{state}=="offline"', "certain: online"),
            )
        ),
        # An event of another device
        ('SUBSYSTEM=="acpi", RUN+="/bin/sh -c \'echo online >'
         '/sys/devices/system/memory/memory9/state\'"\n', "perhaps"),
        ('SUBSYSTEM=="acpi", CONST{virt}=="x", ATTR{[memory/memory9]state}="online"\n', "perhaps"),
        ('SUBSYSTEM=="acpi", RUN+="/usr/sbin/acpi-thing"\n', "no"),
        ('SUBSYSTEM=="cpu", ATTR{online}="1"\n', "no"),
        ('SUBSYSTEM=="memory", ACTION=="remove", RUN+="/usr/sbin/chmem -e 1G"\n', "no"),
        ('GOTO="x"\nSUBSYSTEM=="acpi", RUN+="/usr/sbin/chmem -e 1G"\nLABEL="x"\n', "no"),
        # Other attributes of the block
        (f'{ADD}ATTR{{power/control}}="on"\n', "no"),
        # Other blocks, and the policy for them.
        (f'{ADD}ATTR{{[memory/memory9]state}}="online"\n', "perhaps"),
        (f'{ADD}ATTR{{../auto_online_blocks}}="online"\n', "perhaps"),
    ],
)  # fmt: skip
def test_rules_are_gone_through_as_udev_does(text: str, expected: str, tmp_path: Path) -> None:
    assert answer(of(text, tmp_path)) == expected


def test_a_rule_for_a_block_that_another_rule_has_set_offline_is_found(tmp_path: Path) -> None:
    of_event = 'SUBSYSTEM=="memory", ACTION=="{}", ATTR{{state}}="{}"\n'.format
    text = SET + of_event("online", "offline") + of_event("offline", "online_movable")
    assert [(one.line, one.words) for one in of(text, tmp_path).rules] == [
        (1, ("online",)),
        (3, ("online_movable",)),
    ]


@pytest.mark.parametrize(
    ("file", "content", "match", "holds"),
    [
        (DMI, "Xen\n", 'ATTR{[dmi/id]sys_vendor}=="Xen"', True),
        (DMI, "Dell Inc.\n", 'ATTR{[dmi/id]sys_vendor}=="Xen"', False),
        (DMI.replace("class", "devices/virtual"), "Xen\n", 'ATTR{[dmi/id]sys_vendor}=="X*"', True),
        (DMI, "VMware, Inc.\n", 'CONST{virt}=="vmware"', True),
        (DMI, "Dell Inc.\n", 'CONST{arch}=="s390*"', False),
        (DMI, "Dell Inc.\n", 'CONST{arch}=="x86*"', None),
        (DMI, "QEMU\n", 'CONST{virt}=="none"', False),
        (DMI, "QEMU\n", 'CONST{virt}=="kvm"', None),
        ("proc/sysinfo", "VM00 Control Program: z/VM 7\n", 'CONST{virt}=="zvm"', True),
        ("proc/sysinfo", "Manufacturer: IBM\n", 'CONST{virt}=="none"', True),
        ("sys/hypervisor/type", "xen\n", 'CONST{virt}=="vmware"', False),
        ("proc/sys/kernel/arch", "x86_64\n", 'CONST{arch}=="x86-64"', True),
        ("proc/sys/kernel/arch", "s390x\n", 'CONST{arch}=="s390*"', True),
        ("proc/sys/kernel/arch", "s390x\n", 'PROGRAM="/bin/uname -m", RESULT=="s390*"', True),
        ("proc/sys/kernel/arch", "s390x\n", 'PROGRAM="/bin/uname -p", RESULT=="s390*"', None),
        ("proc/sys/kernel/arch", "s390x\n", 'ATTR{[dmi/id]sys_vendor}!="Xen"', False),
        ("sys/firmware/memory/memory0/config", "1\n", 'CONST{arch}=="s390x"', True),
        ("memsim-capture.json", '{"machine": "aarch64"}', 'CONST{arch}=="arm64"', True),
        ("proc/cmdline", "a movable_node=x b\n", 'IMPORT{cmdline}="movable_node"', True),
        ("sys/devices/system/memory/auto_online_blocks", "offline\n",
         'ATTRS{auto_online_blocks}=="offline"', True),
        ("sys/devices/system/memory/auto_online_blocks", "online\n",
         'ATTR{../auto_online_blocks}=="offline"', False),
        ("sys/devices/system/memory/auto_online_blocks", "offline\n",
         'TEST=="/sys/devices/system/memory/auto_online_blocks"', True),
        ("sys/devices/system/memory/memory0/extra", "1\n", 'ATTR{extra}=="1"', None),
        # Another block may change before the event.
        ("sys/devices/system/memory/memory9/state", "online\n",
         'ATTR{../memory9/state}=="online"', None),
    ],
)  # fmt: skip
def test_what_the_tree_says_of_the_machine_is_known(
    file: str, content: str, match: str, holds: bool | None, tmp_path: Path
) -> None:
    put(tmp_path, file, content)
    found = answer(of(f'{match}, SUBSYSTEM=="memory", ATTR{{state}}="online"\n', tmp_path))
    assert found == {True: "certain: online", False: "no", None: "perhaps"}[holds]
    if '"/' not in match:
        # Without the file nothing is known of it.
        (tmp_path / file).unlink()
        found = answer(of(f'{match}, SUBSYSTEM=="memory", ATTR{{state}}="online"\n', tmp_path))
        assert (found == "no") is ("extra" in match)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("memory4[01]", [40, 41], [4, 39, 42, 400]),
        ("memory12[89]|memory1[3-8][0-9]", [128, 129, 130, 189], [127, 190, 1300]),
        ("memory[!4]*", [3, 50], [4, 40]),
        ("memory[^4]*", [3, 50], [4, 40]),
        ("memory??", [10, 99], [9, 100]),
        ("memory[[:digit:]]", [7], [17]),
        ("cpu*|*7", [7, 17], [8]),
        ("memory12", [12], [1, 121]),
        ("*/memory5", [], [5]),
        ("memory[5", [], [5]),
        ("memory\\*", [], [5]),
        ("memory?\\|memory5", [5], [7, 57]),
        ("memory[[:nothing:]]", [], [5]),
    ],
)
def test_a_pattern_of_numbers_is_for_these_blocks(
    pattern: str, inside: list[int], outside: list[int], tmp_path: Path
) -> None:
    text = f'KERNEL=="{pattern}", ATTR{{state}}="online"\n'
    for number in inside:
        assert (number, answer(of(text, tmp_path, [number]))) == (number, "certain: online")
    for number in outside:
        assert (number, answer(of(text, tmp_path, [number]))) == (number, "no")
    assert answer(of(text, tmp_path)) == ("perhaps" if inside else "no")
    if inside:
        assert answer(of(text, tmp_path, inside + outside)) == "perhaps"


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ('ATTR{[dmi/id]nothing}=="*"', "certain: online"),
        ('ATTR{[dmi/id]nothing}=="?*"', "no"),
        ('ATTR{[dmi/id]nothing}!="x"', "certain: online"),
        ('ATTR{[dmi/other]nothing}!="x"', "no"),
        ('ATTR{[net/lo]nothing}!="x"', "no"),
        ('TEST=="/nothing"', "no"),
        ('IMPORT{cmdline}="nothing"', "no"),
    ],
)
def test_what_is_not_on_a_whole_machine_is_known_not_to_be(
    match: str, expected: str, tmp_path: Path
) -> None:
    """An attribute that a device does not have is empty; of a device that is not there it matches
    nothing."""
    put(tmp_path, DMI, "QEMU\n")
    put(tmp_path, "proc/cmdline", "quiet\n")
    text = f'{match}, SUBSYSTEM=="memory", ATTR{{state}}="online"\n'
    assert answer(of(text, tmp_path)) in (expected, "perhaps")
    with FileTree(str(tmp_path)) as tree:
        files, facts = list(rule_files(str(tmp_path))), Facts(tree, whole=True)
        assert answer(outcome(files, facts, None)) == expected


def test_a_part_of_a_machines_files_leaves_variables_unknown(tmp_path: Path) -> None:
    """Another file, which was not captured, may set them."""
    text = f'{ADD}ENV{{WANTED}}=="1", ATTR{{state}}="online"\n'
    assert answer(of(text, tmp_path)) == "no"
    put(tmp_path, "memsim-capture.json", "{}")
    assert answer(of(text, tmp_path)) == "perhaps"


def test_a_file_that_is_empty_masks_and_a_link_to_nowhere_is_none(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/udev/rules.d/40-b.rules", ONLINE % "")
    put(tmp_path, "etc/udev/rules.d/40-b.rules", "")
    assert answer(added(tmp_path)) == "no"
    (tmp_path / "etc/udev/rules.d/50-c.rules").symlink_to("nowhere")
    assert answer(added(tmp_path)) == "no"


def test_many_jumps_that_may_be_taken_take_no_time(tmp_path: Path) -> None:
    """There are more ways through the file than could be gone one by one."""
    jumps = "".join(
        f'TEST=="node{n}", ENV{{v{n}}}="1"\nTEST=="node{n}", GOTO="l{n % 50}"\n' for n in range(400)
    )
    labels = "".join(f'LABEL="l{n}"\n' for n in range(50))
    more = "".join(f'TEST=="node{n}", ENV{{w{n}}}="1"\n' for n in range(9))
    found = of(f"{jumps}{SET}{labels}{more}", tmp_path)
    assert (answer(found), [rule.certain for rule in found.rules]) == ("perhaps", [False])
    assert answer(of(f"{jumps}{labels}{SET}", tmp_path)) == "certain: online"


@pytest.mark.parametrize(("name", "sets"), [("TAG", "+="), ("ENV{x}", "=")])
@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("{set}\n", "certain: online"),
        ('TEST=="node9", {set}\n', "perhaps"),
        ('ENV{{y}}="1", TAG+="y"\n', "no"),
        ("", "no"),
    ],
)
def test_what_was_set_is_known_after_more_ways_than_are_told_apart(
    name: str, sets: str, before: str, found: str, tmp_path: Path
) -> None:
    ways = "".join(f'TEST=="node{n}", ENV{{v{n}}}="1"\n' for n in range(9))
    tagged = before.format(set=f'{name}{sets}"x"')
    text = f'{tagged}{ways}{ADD}{name}=="x", ATTR{{state}}="online"\n'
    assert answer(of(f'TAG="z"\n{text}', tmp_path)) == found


def test_files_of_a_distribution_leave_memory_alone(tmp_path: Path) -> None:
    """Rules for all devices, of systemd's own files."""
    text = (
        'ENV{MODALIAS}!="", IMPORT{builtin}="hwdb --subsystem=$env{SUBSYSTEM}"\n'
        'ENV{MODALIAS}=="?*", RUN{builtin}+="kmod load"\n'
        'ENV{DM_COOKIE}=="?*", RUN+="/sbin/dmsetup udevcomplete $env{DM_COOKIE}"\n'
        'ENV{ID_SEAT}=="", IMPORT{parent}="ID_SEAT"\n'
        'ENV{ID_SMARTCARD_READER}=="?*", TAG+="systemd", ENV{SYSTEMD_WANTS}+="smartcard.target"\n'
        'ATTRS{idVendor}=="1d6b", RUN+="/usr/bin/camera"\n'
    )
    assert answer(of(text, tmp_path)) == "no"


MEMORY_AND_DMI = {DMI: "QEMU \n", "sys/devices/system/memory/auto_online_blocks": "offline\n"}


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        ('ENV{ACTION}=="add"', True),
        ('ENV{SUBSYSTEM}=="memory"', True),
        ('ENV{DEVPATH}=="/devices/system/memory/memory7"', True),
        ('ENV{DEVPATH}=="*8"', False),
        ('SUBSYSTEM=="bus"', False),
        ('ATTR{state}=="offline"', True),
        ('ATTR{online}=="0"', True),
        ('ATTR{./state}=="offline"', True),
        ('ATTR{phys_index}=="0"', None),
        ('ATTR{power/control}=="auto"', None),
        ('ATTR{node0}=="x"', None),
        ('ATTR{nodes}=="*"', False),
        ('ATTR{../auto_online_blocks}=="offline"', True),
        ('ATTR{../nothing}=="*"', False),
        ('ATTR{../memory7/state}=="offline"', None),
        ('ATTR{%k}=="*"', False),
        ('TEST=="%k"', False),
        # Blanks at the end count where the rule has some.
        ('ATTR{[dmi/id]sys_vendor}=="QEMU"', True),
        ('ATTR{[dmi/id]sys_vendor}=="QEMU "', True),
        ('ATTR{[dmi/id]sys_vendor}=="QEMU  "', False),
        *((f'TEST=="{name}"', True) for name in (
            *("state", "online", "removable", "valid_zones", "phys_index", "phys_device"),
            *("uevent", "power", "subsystem", "power/control", "power/runtime_status"),
            *("../auto_online_blocks", f"/{DMI}", "/sys/./class/dmi", "[dmi/id]sys_vendor"),
        )),
        *((f'TEST=="{name}"', False) for name in ("x", "../x", "/x", "[net/lo]x")),
        *((f'TEST=="{name}"', None) for name in (
            *("node0", ".x", "power/x", "../../memory", "../a*", "[dmi/id]", "[dmi/id]x"),
        )),
        ('TEST!="x"', True),
        ('TEST{0444}=="state"', None),
        ('KERNELS=="memory", ATTRS{auto_online_blocks}=="offline"', True),
        ('KERNELS=="memory", ATTRS{auto_online_blocks}=="online"', False),
        ('KERNELS=="memory", ATTRS{probe}=="*"', False),
        ('KERNELS=="memory", ATTRS{a/b}=="x"', None),
        ('KERNELS=="memory", TAGS=="x"', None),
        ('KERNELS=="memory", DRIVERS=="x"', False),
        ('KERNELS=="memory7", SUBSYSTEMS=="memory", DRIVERS==""', True),
        ('KERNELS=="memory", SUBSYSTEMS=="memory"', False),
    ],
)  # fmt: skip
def test_what_a_match_says_of_block_7(match: str, holds: bool | None, tmp_path: Path) -> None:
    """All that a whole machine has is in the tree: yes, no, or not known."""
    for file, content in MEMORY_AND_DMI.items():
        put(tmp_path, file, content)
    put(tmp_path, "etc/udev/rules.d/x.rules", f'{match}, {ADD}ATTR{{state}}="online"\n')
    with FileTree(str(tmp_path)) as tree:
        found = outcome(list(rule_files(str(tmp_path))), Facts(tree, whole=True), [7])
    assert answer(found) == {True: "certain: online", False: "no", None: "perhaps"}[holds]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("a $kernel %k $name %D b", "a memory7 memory7 memory7 memory7 b"),
        ("$number%n", "77"),
        ("$devpath %p", "/devices/system/memory/memory7 /devices/system/memory/memory7"),
        ("$$ %% %%k", "$ % %k"),
        ("$root %r $sys %S", "/dev /dev /sys /sys"),
        ("$major:$minor %M:%m", "0:0 0:0"),
        ("$env{ACTION} %E{SUBSYSTEM}", "add memory"),
        ("$attr{state} $sysfs{online} %s{./state}", "offline 0 offline"),
        ("<%s{[dmi/id]sys_vendor}>", "<QEMU>"),
        ("<$attr{nothing}>", "<>"),
        ("<$devnode%N$tempnode$parent%P$links%L$result%c>", "<>"),
        ("$ 5% $x", "$ 5% $x"),
        *((value, None) for value in (
            *("$id", "%b", "$driver", "%d", "$env", "$attr", "$result{1}", "%s{phys_index}"),
        )),
    ],
)  # fmt: skip
def test_what_stands_for_something_in_a_value(
    value: str, texts: str | None, tmp_path: Path
) -> None:
    """udev(7), SUBSTITUTIONS; of a block of any number its name is not known."""
    put(tmp_path, DMI, "QEMU \n")
    with FileTree(str(tmp_path)) as tree:
        event = Event("add", 7, Facts(tree, whole=True))
        expected = None if texts is None else frozenset({texts})
        assert expanded(value, World(), event) == expected
        if texts and "7" in texts:
            assert expanded(value, World(), event._replace(number=None)) is None
