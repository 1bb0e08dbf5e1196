"""The text of udev rules: files, lines, tokens. What udev ignores is left out, as udev does.

The facts are those of systemd, src/udev/udev-rules.c. A line with an error in it is no rule at all;
its label is none, either.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial

from memory_hotplug.trees.files import Packed
from memory_hotplug.trees.root_files import RULES, is_masked, names_in, read_file

__all__ = [
    "BUILTINS",
    "Rule",
    "RuleFile",
    "Token",
    "TokenKind",
    "rule_files",
    "rule_paths",
    "rules_of",
]

_MOST_LINES = 100_000
_LONGEST_LINE = 16384
"""udev reads no longer line (src/udev/udev-def.h, UDEV_LINE_SIZE). Some releases then ignore all
of the file, others only the line."""


class TokenKind(IntEnum):
    """What a token is, in the order in which udev goes through the tokens of a line."""

    ACTION = 0
    DEVPATH = 1
    KERNEL = 2
    SYMLINK = 3
    NAME = 4
    ENV = 5
    CONST = 6
    TAG = 7
    SUBSYSTEM = 8
    DRIVER = 9
    ATTR = 10
    SYSCTL = 11
    KERNELS = 12
    SUBSYSTEMS = 13
    DRIVERS = 14
    ATTRS = 15
    TAGS = 16
    TEST = 17
    PROGRAM = 18
    IMPORT_FILE = 19
    IMPORT_PROGRAM = 20
    IMPORT_BUILTIN = 21
    IMPORT_DB = 22
    IMPORT_CMDLINE = 23
    IMPORT_PARENT = 24
    RESULT = 25
    SET_OTHER = 26
    """An owner, a mode, an option, a link: nothing that is of use here."""
    SET_TAG = 27
    SET_ENV = 28
    SET_ATTR = 29
    SET_SYSCTL = 30
    RUN_BUILTIN = 31
    RUN_PROGRAM = 32

    @property
    def of_parents(self) -> bool:
        """Whether all such tokens must match the same device: the block, or one above it."""
        return TokenKind.KERNELS <= self <= TokenKind.TAGS


@dataclass(frozen=True, slots=True)
class Token:
    """A key, its operator and its value."""

    kind: TokenKind
    name: str
    """What is in braces behind the key."""
    operator: str
    value: str
    fold: bool
    """Whether the match ignores case."""
    text: str
    """As it is in the file."""

    @property
    def equal(self) -> bool:
        return self.operator == "=="


@dataclass(slots=True)
class Rule:
    """A line, with those that continue it."""

    line: int
    """The first line, from 1."""
    last: int
    tokens: list[Token] = field(default_factory=list)
    label: str | None = None
    goto: str | None = None
    target: int | None = None
    """The index of the rule that GOTO leads to."""
    sure: bool = True
    """Whether all releases of udev know what is in it. Others leave it out as a whole."""


@dataclass(frozen=True, slots=True)
class RuleFile:
    path: str
    """Below the root, without a slash at its beginning."""
    rules: list[Rule]
    sure: bool
    """Whether all releases of udev read it in the same way."""


BUILTINS = frozenset(
    (
        *("blkid", "btrfs", "dissect_image", "factory_reset", "hwdb", "input_id", "keyboard"),
        *("kmod", "net_driver", "net_id", "net_setup_link", "path_id", "tpm2_id", "uaccess"),
        "usb_id",
    )
)

_ALL, _MATCHES, _SETS = "== != = += -= :=", "== !=", "= += :="
_PLAIN: dict[str, tuple[str, TokenKind, TokenKind | None]] = {
    "ACTION": (_MATCHES, TokenKind.ACTION, None),
    "DEVPATH": (_MATCHES, TokenKind.DEVPATH, None),
    "KERNEL": (_MATCHES, TokenKind.KERNEL, None),
    "SUBSYSTEM": (_MATCHES, TokenKind.SUBSYSTEM, None),
    "DRIVER": (_MATCHES, TokenKind.DRIVER, None),
    "KERNELS": (_MATCHES, TokenKind.KERNELS, None),
    "SUBSYSTEMS": (_MATCHES, TokenKind.SUBSYSTEMS, None),
    "DRIVERS": (_MATCHES, TokenKind.DRIVERS, None),
    "TAGS": (_MATCHES, TokenKind.TAGS, None),
    "RESULT": (_MATCHES, TokenKind.RESULT, None),
    "SYMLINK": (_ALL, TokenKind.SYMLINK, TokenKind.SET_OTHER),
    "NAME": (f"{_MATCHES} {_SETS}", TokenKind.NAME, TokenKind.SET_OTHER),
    "TAG": (_ALL, TokenKind.TAG, TokenKind.SET_TAG),
    "PROGRAM": (f"{_MATCHES} {_SETS}", TokenKind.PROGRAM, TokenKind.PROGRAM),
    "OPTIONS": (_SETS, TokenKind.SET_OTHER, TokenKind.SET_OTHER),
    "OWNER": (_SETS, TokenKind.SET_OTHER, TokenKind.SET_OTHER),
    "GROUP": (_SETS, TokenKind.SET_OTHER, TokenKind.SET_OTHER),
    "MODE": (_SETS, TokenKind.SET_OTHER, TokenKind.SET_OTHER),
    "RUN": (_SETS, TokenKind.RUN_PROGRAM, TokenKind.RUN_PROGRAM),
}
"""Keys without a name in braces: operators, what a match and what an assignment is."""
_NAMED: dict[str, tuple[str, TokenKind, TokenKind | None]] = {
    "ENV": (f"{_MATCHES} {_SETS}", TokenKind.ENV, TokenKind.SET_ENV),
    "CONST": (_MATCHES, TokenKind.CONST, None),
    "ATTR": (f"{_MATCHES} {_SETS}", TokenKind.ATTR, TokenKind.SET_ATTR),
    "SYSCTL": (f"{_MATCHES} {_SETS}", TokenKind.SYSCTL, TokenKind.SET_SYSCTL),
    "ATTRS": (_MATCHES, TokenKind.ATTRS, None),
    "TEST": (_MATCHES, TokenKind.TEST, None),
    "SECLABEL": (_SETS, TokenKind.SET_OTHER, TokenKind.SET_OTHER),
    **{
        f"IMPORT{{{name}}}": (f"{_MATCHES} {_SETS}", kind, kind)
        for name, kind in {
            "file": TokenKind.IMPORT_FILE,
            "program": TokenKind.IMPORT_PROGRAM,
            "builtin": TokenKind.IMPORT_BUILTIN,
            "db": TokenKind.IMPORT_DB,
            "cmdline": TokenKind.IMPORT_CMDLINE,
            "parent": TokenKind.IMPORT_PARENT,
        }.items()
    },
    "RUN{program}": (_SETS, TokenKind.RUN_PROGRAM, TokenKind.RUN_PROGRAM),
    "RUN{builtin}": (_SETS, TokenKind.RUN_BUILTIN, TokenKind.RUN_BUILTIN),
}
_SET_BY_UDEV = frozenset(
    (
        *("ACTION", "SUBSYSTEM", "DEVTYPE", "MAJOR", "MINOR", "DRIVER", "IFINDEX", "DEVNAME"),
        *("DEVPATH", "DEVLINKS", "TAGS", "CURRENT_TAGS", "DISKSEQ", "PARTN", "SYNTH_UUID"),
        *("USEC_INITIALIZED", "UDEV_DATABASE_VERSION"),
    )
)
"""Variables that no rule can set (src/libsystemd/sd-device, device_property_can_set)."""

# What repeats here never gives back what it has taken, so no text takes long. The name of a key
# does, but then no other reading of it fits; Python 3.11.2 gets a possessive group with an
# assertion wrong.
_GAP = re.compile(r"[ \t\n\r,]*+")
_TOKEN = re.compile(
    r"((?:(?![+\-!:]=)[^ \t\n\r={])+)(?:\{([^}]*+)\})?[ \t\n\r]*+(==|!=|\+=|-=|:=|=)[ \t\n\r]*+"
    r"(?:(i?)\"((?:\\\"|[^\"])*+)\"|(e|ei|ie)\"((?:\\.|[^\"\\])*+)\")",
    re.DOTALL,
)
_END_OF_LINE = re.compile(r"\r\n|\n\r|[\n\r\0]")


class _WrongError(Exception):
    """udev ignores the line."""


def rule_files(root: str | Packed) -> Iterator[RuleFile]:
    """The files in the order in which udev goes through them; masked ones are left out.

    Raises OSError if a directory or a file cannot be read.
    """
    for path in rule_paths(partial(names_in, root)):
        rules, sure = rules_of(_text(root, path))
        yield RuleFile(path, rules, sure)


def rule_paths(names: Callable[[str], Iterable[str]]) -> list[str]:
    """The paths of these files, masked ones included; NAMES gives those in a directory."""
    found: dict[str, str] = {}
    for directory in RULES:
        for name in names(directory):
            if name.endswith(".rules"):
                found.setdefault(name, f"{directory}/{name}")
    return [path for _, path in sorted(found.items())]


def _text(root: str | Packed, path: str) -> str:
    """The text of a file; "" for a link to /dev/null, which masks, and for one to nowhere."""
    try:
        return read_file(root, path).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError:
        if is_masked(root, path):
            return ""
        raise


def rules_of(text: str) -> tuple[list[Rule], bool]:
    """The rules in the text of a file, and whether all releases of udev read it so."""
    rules: list[Rule] = []
    sure = True
    for first, last, line in _lines(text):
        if line is None:
            sure = False
            continue
        try:
            rule = _rule(line, first, last)
        except _WrongError:
            continue
        if rule.tokens or rule.label is not None or rule.goto is not None:
            rules.append(rule)
    labels: dict[str, int] = {}
    for index in range(len(rules) - 1, -1, -1):
        # A jump leads forward, to the nearest label of the name.
        goto, label = rules[index].goto, rules[index].label
        rules[index].target = labels.get(goto) if goto is not None else None
        if label is not None:
            labels[label] = index
    return rules, sure


def _lines(text: str) -> Iterator[tuple[int, int, str | None]]:
    """First and last number, and a line with those that continue it; None for one that is too long.

    A comment is none of them, and does not end what it stands between.
    """
    parts: list[str] = []
    size = first = 0
    raws = _END_OF_LINE.split(text)
    if not raws[-1]:
        raws.pop()
    for number, raw in enumerate(raws[:_MOST_LINES], 1):
        if len(raw) >= _LONGEST_LINE:
            yield number, number, None
            parts, size = [], 0
            continue
        line = raw.lstrip(" \t\n\r")
        if line.startswith("#"):
            continue
        first = first if parts else number
        size += len(line)
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            if size < _LONGEST_LINE:
                yield first, number, "".join(parts)
            parts, size = [], 0


def _rule(line: str, first: int, last: int) -> Rule:
    rule = Rule(first, last)
    at = 0
    while True:
        gap = _GAP.match(line, at)
        at = gap.end() if gap else at
        if at >= len(line):
            break
        found = _TOKEN.match(line, at)
        if found is None:
            raise _WrongError
        _add(rule, found)
        at = found.end()
    rule.tokens.sort(key=lambda token: token.kind)
    return rule


def _add(rule: Rule, found: re.Match[str]) -> None:
    key, name, operator = found[1], found[2], found[3]
    fold = "i" in (found[4] or found[6] or "")
    if found[4] or found[6]:
        # The prefixes of a value are newer than some releases in use.
        rule.sure = False
    value = _unescaped(found[7]) if found[6] else found[5].replace('\\"', '"')
    matches = operator in ("==", "!=")
    if key in ("GOTO", "LABEL"):
        if operator != "=" or name is not None or fold:
            raise _WrongError
        if key == "LABEL":
            rule.label = value
        elif rule.goto is None:
            rule.goto = value
        return
    kind = _kind(key, name, operator, value)
    if fold and (not matches or TokenKind.TEST <= kind <= TokenKind.IMPORT_PARENT):
        raise _WrongError
    if TokenKind.PROGRAM <= kind <= TokenKind.IMPORT_PARENT and not matches:
        operator = "=="
    rule.tokens.append(Token(kind, name or "", operator, value, fold, found[0]))


def _kind(key: str, name: str | None, operator: str, value: str) -> TokenKind:
    row = _PLAIN.get(key) if name is None else None
    if name is not None or key == "TEST":
        row = _NAMED.get(f"{key}{{{name}}}") or (_NAMED.get(key) if name or key == "TEST" else None)
    if row is None or operator not in row[0].split():
        raise _WrongError
    kind = row[1] if operator in ("==", "!=") else row[2]
    assert kind is not None
    builtin = value.split(maxsplit=1)[0] in BUILTINS if value.strip() else False
    if kind in (TokenKind.IMPORT_BUILTIN, TokenKind.RUN_BUILTIN) and not builtin:
        raise _WrongError
    if kind is TokenKind.IMPORT_PROGRAM and builtin:
        return TokenKind.IMPORT_BUILTIN
    wrong = (
        (kind is TokenKind.SET_ENV and name in _SET_BY_UDEV)
        or (kind is TokenKind.CONST and name not in ("arch", "virt", "cvm"))
        or (key == "NAME" and kind is TokenKind.SET_OTHER and value in ("", "%k"))
        or (key == "TEST" and name and not re.fullmatch("[0-7]{1,5}", name))
    )
    if wrong:
        raise _WrongError
    return kind


_ESCAPE = re.compile(
    r"\\(?:([abfnrtvs\\\"'])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|)",
    re.DOTALL,
)
_CHARACTERS = dict(zip("abfnrtvs", "\a\b\f\n\r\t\v ", strict=True))


def _unescaped(text: str) -> str:
    """A value with e before its quote: with the escapes of C."""

    def character(found: re.Match[str]) -> str:
        if found[1]:
            return _CHARACTERS.get(found[1], found[1])
        code = found[2] or found[3] or found[4]
        number = int(code, 16) if code else int(found[5] or "0", 8)
        if not 0 < number < 0x110000:
            raise _WrongError
        return chr(number)

    return _ESCAPE.sub(character, text)
