"""Did you mean: the option or word that somebody may have meant who typed an unknown one.

Only good matches are offered, and none where several are as good.
"""

from collections.abc import Collection, Iterable, Sequence
from difflib import SequenceMatcher

__all__ = ["letters", "nearest", "option"]

_CLOSE = 0.75
"""How alike two words must be: 1 is equal. One wrong letter of four is so."""
_AHEAD = 0.03
"""How much more alike the best match must be than the second best."""
_ABBREVIATED = 0.85
"""What a likeness counts where the word is abbreviated."""
_LEAST = 5
"""So many letters of an abbreviated word are enough to tell it."""
_MOST = 2
"""So many options are offered for a letter; more are no answer."""

_OTHER_WORDS = {
    "online": "enable",
    "on": "enable",
    "offline": "disable",
    "off": "disable",
    "add": "enable",
    "remove": "disable",
    "hotplug": "enable",
    "unconfigure": "deconfigure",
    "restore": "undo",
    "revert": "undo",
    "rollback": "undo",
    "permanent": "persistent",
    "no-act": "dry-run",
    "simulate": "dry-run",
    "test": "dry-run",
    "numa": "node",
    "numa-node": "node",
    "root": "sysroot",
    "chroot": "sysroot",
    "columns": "output",
    "no-headings": "noheadings",
    "no-header": "noheadings",
    "colour": "color",
    "human": "bytes",
    "size": "memory",
    "ram": "memory",
}
"""A word that other tools, or the kernel, have for an option -> the option's name here. It counts
only for a command that has that option."""


def nearest(typed: str, words: Iterable[str]) -> str | None:
    """The one of WORDS that TYPED is most like; None if none is close, or two are alike close."""
    wanted = typed.lower().replace("_", "-")
    alike = sorted(((_likeness(wanted, word.lower()), word) for word in set(words)), reverse=True)
    close = [(ratio, word) for ratio, word in alike if ratio >= _CLOSE]
    if not close or (len(close) > 1 and close[0][0] - close[1][0] < _AHEAD):
        return None
    return close[0][1]


def _likeness(wanted: str, word: str) -> float:
    """How alike two words are, from 0 to 1; less where the second one is cut off to be alike."""
    shares = {word: 1.0}
    for end in range(_LEAST, len(wanted) + 2):
        shares.setdefault(word[:end], _ABBREVIATED)
    return max(
        share * SequenceMatcher(None, wanted, part).ratio() for part, share in shares.items()
    )


def option(typed: str, names: Collection[str]) -> str | None:
    """The long option among NAMES, each as ``--name``, that ``--TYPED`` may be meant as."""
    word = typed.lstrip("-").lower().replace("_", "-")
    other = f"--{_OTHER_WORDS.get(word, '')}"
    if other in names:
        return other
    found = nearest(word, (name[2:] for name in names if name.startswith("--")))
    return found and f"--{found}"


def letters(letter: str, cluster: str, names: Collection[str]) -> Sequence[str]:
    """The long options that an unknown LETTER may be meant as, which stands in ``-CLUSTER``."""
    long_names = [name for name in names if name.startswith("--")]
    word = cluster.partition("=")[0]
    if len(word) > 2 and (meant := option(word, long_names)):
        # A dash is missing.
        return [meant]
    found = [name for name in long_names if name[2:3] == letter.lower()]
    return found if len(found) <= _MOST and letter.isalpha() else ()
