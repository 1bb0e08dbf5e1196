"""What a program does that a udev rule runs: whether it may set memory online, and its output."""

import os
import re
import shlex

from memory_hotplug.udev.facts import Facts, Values

__all__ = ["may_write", "of_memory", "output_of"]

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})
_HARMLESS = frozenset(
    (
        *(":", "[", "[[", "basename", "cat", "cut", "date", "dirname", "dmesg", "echo"),
        *("egrep", "expr", "fgrep", "grep", "head", "hostname", "id", "logger", "ls", "lscpu"),
        *("lsmem", "mkdir", "nproc", "printf", "readlink", "sleep", "sort", "stat"),
        *("systemd-cat", "systemd-detect-virt", "tail", "test", "touch", "tr", "true", "false"),
        *("uname", "uniq", "wall", "wc", "exit", "return", "break", "continue", "shift"),
        *("unset", "read", "wait", "cd", "local"),
    )
)
"""Programs that write to no file but those that the shell opens for them, and none in sysfs."""
_KEYWORDS = frozenset(
    (
        *("if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case"),
        *("esac", "in", "!", "{", "}", "time"),
    )
)
_WORD = re.compile(
    r"(?P<ends>&&|\|\|?|;;?|\n|\(|\)|`|(?<![<>&])&(?![>&0-9]))"
    r"|(?P<out>[0-9&]?>>?\|?(?:&[0-9-])?)[ \t]*(?P<file>[^\s;|&<>()]*)"
    r"|(?P<word>(?:\"(?:[^\"\\]|\\.)*+\"|'[^']*+'|\\.|[^\s;|&<>()`\"'\\])++)"
    r"|\s+|.",
    re.DOTALL,
)
_OUTSIDE = re.compile(r"(?:/dev/null|/dev/kmsg|/(?:tmp|run|var)/[\w./-]{0,200})\Z")


def may_write(command: str) -> bool:
    """Whether a command of a rule may set memory online: any may that is not known."""
    try:
        words = shlex.split(command)
    except ValueError:
        return True
    if not words:
        return False
    name = os.path.basename(words[0])
    if name in _SHELLS and len(words) >= 3 and words[1] in ("-c", "-ec"):
        return _script_may_write(words[2])
    return name not in _HARMLESS


def of_memory(command: str) -> bool:
    """Whether a command speaks of setting memory online."""
    return bool(
        re.search(r"/system/memory|chmem|memory.{0,999}online|online.{0,999}memory", command)
    )


def _script_may_write(script: str) -> bool:
    """Whether a script for a shell may: it runs another program, or writes into an unknown file."""
    if "$(" in script or "`" in script:
        return True
    begins = True
    for found in _WORD.finditer(script):
        word = found["word"]
        if found["ends"]:
            begins = True
        elif found["out"]:
            file = found["file"].strip("\"'")
            if not (found["out"][-1:].isdigit() or _OUTSIDE.match(file)) or ".." in file:
                return True
        elif word and begins and not re.match(r"\w+=", word) and word not in _KEYWORDS:
            if os.path.basename(word) not in _HARMLESS:
                return True
            begins = False
    return False


def output_of(command: str, facts: Facts) -> tuple[bool | None, Values]:
    """Whether a program succeeds, and what it prints; None for each that is not known."""
    try:
        program, *words = shlex.split(command)
    except ValueError:
        return None, None
    above, name = os.path.split(program)
    if above not in ("/bin", "/usr/bin"):
        return None, None
    if name in ("true", "echo"):
        return True, frozenset({" ".join(words) if name == "echo" else ""})
    if name == "false":
        return False, frozenset({""})
    if name == "uname" and words in (["-m"], ["-p"], ["-i"]) and facts.machine:
        # Debian's says "unknown" for -p and -i.
        return True, frozenset({facts.machine} | ({"unknown"} if words != ["-m"] else set()))
    if name == "systemd-detect-virt" and not words and facts.virt:
        fails = {value == "none" for value in facts.virt}
        return (not fails.pop() if len(fails) == 1 else None), facts.virt
    return None, None
