"""Which udev rules set added memory online: rules of the kinds that distributions ship."""

from pathlib import Path

import pytest

from memory_hotplug.layout.udev import OnlineRule, online_rules

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


def rule(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("text", "line", "words", "certain"),
    [
        (GUARDED, 8, ("online", "online_movable"), True),
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
            True,
        ),
        (
            'DEVPATH=="*/memory/*", RUN+="/bin/sh -c \'echo online > /sys%p/state\'"\n',
            1,
            (),
            True,
        ),
        ('KERNEL=="memory*", PROGRAM="/bin/bring online %p/state"\n', 1, (), True),
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
        ('KERNEL!="memory[!0-9]*", ATTR{state}="online"\n', 1, ("online",), True),
        (
            'SUBSYSTEM=="memory", ENV{a}=="1", ENV{b}="2"\n'
            'SUBSYSTEM=="memory", ENV{a}=="1", ATTR{state}="online"\n',
            2,
            ("online",),
            False,
        ),
    ],
)
def test_a_rule_that_sets_memory_online_is_found(
    text: str, line: int, words: tuple[str, ...], certain: bool, tmp_path: Path
) -> None:
    rule(tmp_path, "usr/lib/udev/rules.d/40-x.rules", text)
    expected = OnlineRule("/usr/lib/udev/rules.d/40-x.rules", line, words, certain)
    assert online_rules(str(tmp_path)) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        'SUBSYSTEM=="cpu", ACTION=="add", ATTR{online}=="0", ATTR{online}="1"\n',
        'SUBSYSTEM=="memory", ACTION=="remove", ATTR{state}="online"\n',
        'SUBSYSTEM=="memory", ACTION=="add", ATTR{state}=="online", ATTR{state}="online"\n',
        'SUBSYSTEM=="memory", ACTION=="add", ATTR{state}="offline"\n',
        '# SUBSYSTEM=="memory", ACTION=="add", ATTR{state}="online"\n',
        'SUBSYSTEM=="memory", GOTO="end"\nATTR{state}="online"\nLABEL="end"\n',
        'ACTION=="add", RUN+="/bin/report online state"\n',
        'SUBSYSTEM=="memory", ENV{x}="offline"\nENV{x}!="offline", ATTR{state}="online"\n',
        'SUBSYSTEM=="memory", ACTION=="add", RUN+="/bin/report state"\n',
        'SUBSYSTEM=="memory", ACTION=="add", PROGRAM="/bin/report online"\n',
        'ATTR{online}="1"\n',
        'SUBSYSTEM=="memory", ATTR{state}="$env{nothing}"\n',
        'TEST!="state", SUBSYSTEM=="memory", ATTR{state}="online"\n',
        'KERNEL=="memory[!0-9]*", ATTR{state}="online"\n',
        'KERNEL=="cpu[0-9]*", ATTR{online}="1"\n',
        'KERNEL!="memory[0-9]*", GOTO="end"\nKERNEL=="cpu*", ATTR{online}="1"\nLABEL="end"\n',
        "no rule\n",
        "",
    ],
)
def test_other_rules_are_not(text: str, tmp_path: Path) -> None:
    rule(tmp_path, "etc/udev/rules.d/40-x.rules", text)
    assert online_rules(str(tmp_path)) == []


ONLINE = 'SUBSYSTEM=="memory", ACTION=="add", ATTR{state}="online%s"\n'


def test_rules_have_the_order_and_the_precedence_of_udev(tmp_path: Path) -> None:
    rule(tmp_path, "usr/lib/udev/rules.d/40-b.rules", ONLINE % "")
    rule(tmp_path, "etc/udev/rules.d/60-a.rules", ONLINE % "_kernel")
    rule(tmp_path, "etc/udev/rules.d/40-b.rules", ONLINE % "_movable")
    rule(tmp_path, "lib/udev/rules.d/10-c.rules", ONLINE % "")
    (tmp_path / "etc/udev/rules.d/10-c.rules").symlink_to("/dev/null")
    rule(tmp_path, "etc/udev/rules.d/README", ONLINE % "")
    found = online_rules(str(tmp_path))
    assert [(one.file, one.words) for one in found] == [
        ("/etc/udev/rules.d/40-b.rules", ("online_movable",)),
        ("/etc/udev/rules.d/60-a.rules", ("online_kernel",)),
    ]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "etc/udev/rules.d/10-c.rules").mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        online_rules(str(tmp_path))
    assert caught.value.filename == "/etc/udev/rules.d/10-c.rules"


def test_a_variable_has_all_the_values_that_it_may_have(tmp_path: Path) -> None:
    text = (
        'SUBSYSTEM!="memory", GOTO="end"\n'
        'ENV{how}="online_kernel"\n'
        'CONST{virt}=="kvm", ENV{how}="online_movable"\n'
        'ENV{how}=="online_movable", GOTO="end"\n'
        'ATTR{state}="%E{how}"\n'
        'LABEL="end"\n'
    )
    rule(tmp_path, "etc/udev/rules.d/x.rules", text)
    (found,) = online_rules(str(tmp_path))
    assert (found.line, found.words) == (5, ("online_kernel", "online_movable"))


@pytest.mark.parametrize(("length", "found"), [(16383, 1), (16384, 0)])
def test_a_rule_that_is_too_long_for_udev_is_none(length: int, found: int, tmp_path: Path) -> None:
    text = (ONLINE % "").rstrip()
    rule(tmp_path, "etc/udev/rules.d/x.rules", f"{text}{' ' * (length - len(text))}\n")
    assert len(online_rules(str(tmp_path))) == found


def test_a_file_need_not_be_utf_8(tmp_path: Path) -> None:
    rule(tmp_path, "etc/udev/rules.d/x.rules", "")
    (tmp_path / "etc/udev/rules.d/x.rules").write_bytes(b"# \xe9\n" + (ONLINE % "").encode())
    assert len(online_rules(str(tmp_path))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "|".join(map(str, range(100_000))),
        "x\\\n" * 50_000,
        "A" * 500_000,
        "A{" * 250_000,
        "A" + " " * 500_000 + "x",
        'A="' * 200_000,
        'A="\\"' * 200_000,
    ],
    ids=["patterns", "continued", "name", "attributes", "spaces", "quotes", "escapes"],
)
def test_no_rule_takes_long(text: str, tmp_path: Path) -> None:
    """With a pattern that tries all ways, it would be hours."""
    rule(tmp_path, "etc/udev/rules.d/x.rules", f"{text}\n{ONLINE % ''}")
    assert len(online_rules(str(tmp_path))) == 1
