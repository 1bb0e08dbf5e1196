"""Tables of options, and command lines that are read by them as getopt_long(3) does.

Long options may be abbreviated to a unique prefix and short ones clustered; ``--`` ends the
options; options may follow operands, except with POSIXLY_CORRECT; and the argument of an option
may be optional.

This needs no click, whose import takes longer than lsmem takes to list a machine. For --help and
for completion, `click_command` makes a command of click from the same table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import click

    from hotplug_cli.message import Sentence
    from hotplug_cli.offers import Offer

__all__ = [
    "HELP",
    "Command",
    "GetoptUsageError",
    "Line",
    "Option",
    "OptionTable",
    "UsageError",
    "did_you_mean",
]


class UsageError(Exception):
    """A command line that is wrong."""

    def __init__(self, sentence: Sentence) -> None:
        super().__init__(sentence.text)
        self.sentence = sentence


class GetoptUsageError(UsageError):
    """A usage error after which util-linux also refers to --help."""


class Option:
    """A row of the table: an option of getopt_long.

    METAVAR names its argument; None: it takes none. BARE is the value of ``--name`` without an
    argument. An option with BARE has an optional argument, which can only be given as
    ``--name=VALUE``. OWN marks an option that util-linux does not have: an abbreviation that is
    unique among util-linux's options keeps its meaning. SECTION is the heading in --help.

    The value is DEFAULT, or if the option is given, its argument, or VALUE if it takes none.
    PARSE converts what is given, and raises UsageError. KEY names the value; several options may
    have one, and the last one that is given counts.

    OFFERS completes the argument in a shell. An option with ANSWER ends the command, which writes
    the text that ANSWER returns: at once, or where it depends on the options that FOLLOW, when all
    words are read.
    """

    def __init__(
        self,
        *names: str,
        help: str,
        metavar: str | None = None,
        section: str = "Options",
        own: bool = False,
        bare: str | None = None,
        key: str | None = None,
        default: object = None,
        value: str | bool = True,
        parse: Callable[[Option, str], object] | None = None,
        offers: Offer | None = None,
        answer: Callable[[Line], str] | None = None,
        follow: bool = False,
    ) -> None:
        self.names = names
        """As they are typed: ``-o`` and ``--output``, or one of them."""
        self.long = names[-1]
        self.help = help
        self.metavar = metavar
        self.section = section
        self.own = own
        self.bare = bare
        self.key = key or self.long.lstrip("-").replace("-", "_")
        self.default = False if default is None and metavar is None and value is True else default
        self.value = value
        self.parse = parse
        self.offers = offers
        self.answer = answer
        self.at_once = answer is not None and not follow

    @property
    def usage(self) -> str:
        """How the option is written: ``-o, --output LIST``."""
        short = self.names[0] if len(self.names) > 1 else None
        name = f"{short}, {self.long}" if short else f"    {self.long}"
        if self.metavar is None:
            return name
        return f"{name}[={self.metavar}]" if self.bare else f"{name} {self.metavar}"

    def parsed(self, text: str | None) -> object:
        """The value, with TEXT as argument. Raises UsageError."""
        given = self.value if text is None else text
        return self.parse(self, given) if self.parse and isinstance(given, str) else given


HELP = Option("-h", "--help", help="display this help", section="General", answer=lambda _: "")
"""The last row of each table; the text is `click_command.help_text`."""


class Line:
    """A command line, as far as it is read."""

    def __init__(self) -> None:
        self.given: list[str] = []
        """The options in the order given, as ``--name`` or ``--name=VALUE``; after an error, those
        before it."""
        self.operands: Sequence[str] = ()
        self.values: dict[str, Any] = {}
        """The values of all options, by their keys."""
        self.answering: Option | None = None
        """The option that ends the command."""


_TRUTHS = ("", "yes", "no", "true", "false", "on", "off", "1", "0")
"""What is given to an option that takes no argument, by those who think that it wants a truth."""


class OptionTable:
    """The options of a command, and which words it takes besides."""

    def __init__(self, options: Sequence[Option], operands: str = "") -> None:
        """OPERANDS is how --help names the words that are no options; empty: none are wanted."""
        self.options = (*options, HELP)
        self.operands = operands
        self.by_name = {name: option for option in self.options for name in option.names}

    def clash(self, before: str, name: str) -> Sentence | None:
        """Why option NAME cannot follow option BEFORE, both without hyphens; None if it can.

        It is an error before the options after it are read.
        """
        return None

    def check_value(self, option: str) -> None:
        """Refuse an option, as ``--name=VALUE``, before the options after it are read. Raises
        UsageError."""

    def goes_with(self, before: str, name: str) -> bool:
        """Whether option NAME has an effect after option BEFORE, both without hyphens."""
        return self.clash(before, name) is None

    def fits(self, option: Option, given: Sequence[str]) -> bool:
        """Whether an option has an effect beside those that are given."""
        before = [word.partition("=")[0] for word in given]
        return all(self.goes_with(one[2:], option.long[2:]) for one in before)

    def meant_by(self, option: str, argument: str) -> Sentence | None:
        """What is meant by an OPTION, as ``--name``, with an ARGUMENT that it takes in no way; None
        if nothing is known."""
        return None

    def read(self, words: Sequence[str], line: Line) -> None:
        """Read a command line into LINE. Raises UsageError; LINE has what was read before."""
        found = self.spelled_out(words)
        said: dict[str, tuple[Option, str | None]] = {}
        for word in found:
            if word == "--":
                break
            line.given.append(word)
            name, equals, value = word.partition("=")
            option = self.by_name[name]
            if option.answer:
                line.answering = option
            if option.at_once:
                return
            if not option.answer:
                said[option.key] = option, value if equals else None
        line.operands = tuple(found)
        line.values = {option.key: option.default for option in self.options if not option.answer}
        for key, (option, text) in said.items():
            line.values[key] = option.parsed(text)

    def spelled_out(self, words: Sequence[str]) -> Iterator[str]:
        """The words, options first, each as ``--name`` or ``--name=VALUE``; then ``--`` and the
        operands. Nothing follows an option that ends the command. Raises UsageError."""
        given: list[str] = []
        operands: list[str] = []
        rest = iter(words)
        for word in rest:
            found: Iterator[str] = iter(())
            if word == "--":
                operands.extend(rest)
            elif word.startswith("--"):
                found = iter([self._long(word, rest)])
            elif word.startswith("-") and word != "-":
                found = self._cluster(word[1:], rest, given)
            else:
                operands.append(word)
                if "POSIXLY_CORRECT" in os.environ:
                    operands.extend(rest)
            for option in found:
                name = option.partition("=")[0]
                self._check_clash(name, given)
                self.check_value(option)
                given.append(name)
                yield option
                if self.by_name[name].at_once:
                    # --help and --version answer at once, whatever follows them.
                    return
        yield "--"
        yield from operands

    def _check_clash(self, name: str, given: Sequence[str]) -> None:
        for before in given:
            sentence = self.clash(before[2:], name[2:])
            if sentence:
                raise UsageError(sentence)

    def _long(self, word: str, words: Iterator[str]) -> str:
        typed, equals, value = word.partition("=")
        option = self.abbreviated(typed)
        name = option.long
        if option.metavar is None:
            if equals:
                raise self._no_argument(name, value)
            return name
        if not equals:
            following = option.bare or next(words, None)
            if following is None:
                from hotplug_cli import messages

                said = messages.ARGUMENT_REQUIRED.of(option=name)
                raise GetoptUsageError(said.advising(_use(option)))
            value = following
        return f"{name}={value}"

    def _no_argument(self, name: str, value: str) -> GetoptUsageError:
        """The error for a VALUE of the option NAME, which takes none."""
        from hotplug_cli import messages

        said = messages.NO_ARGUMENT_ALLOWED.of(option=name)
        row = messages.ALONE.of(option=name)
        if self.operands and value.lower() not in _TRUTHS:
            word = value.lstrip("-")
            if word == value or not word:
                row = messages.WORD_OF_ITS_OWN.of(option=name, value=value)
            else:
                row = messages.DASH_BEFORE.of(word=word)
        return GetoptUsageError(said.advising(self.meant_by(name, value) or row))

    def _cluster(self, letters: str, words: Iterator[str], given: Sequence[str]) -> Iterator[str]:
        cluster = letters
        while letters:
            letter, letters = letters[0], letters[1:]
            option = self.by_name.get(f"-{letter}")
            if option is None:
                error = _unknown_letter(letter, cluster, self.by_name)
                meant = (self.meant_by(name, f"-{cluster}") for name in given)
                if found := next(filter(None, meant), None):
                    error = GetoptUsageError(error.sentence.advising(found))
                raise error
            if option.metavar is None:
                yield option.long
                continue
            value = letters or next(words, None)
            if value is None:
                from hotplug_cli import messages

                said = messages.ARGUMENT_OF_LETTER_REQUIRED.of(letter=letter)
                raise GetoptUsageError(said.advising(_use(option)))
            yield f"{option.long}={value}"
            return

    def abbreviated(self, typed: str) -> Option:
        """The option with the name TYPED, or the only one whose name begins with TYPED.

        Raises GetoptUsageError.
        """
        options = self.by_name
        if typed in options:
            return options[typed]
        possible = [name for name in options if name.startswith(typed)]
        possible = [name for name in possible if not options[name].own] or possible
        if not possible:
            from hotplug_cli import messages, spelling

            said = messages.UNRECOGNIZED_OPTION.of(option=typed)
            meant = spelling.option(typed, options)
            raise GetoptUsageError(did_you_mean(said, [meant] if meant else []))
        if len(possible) > 1:
            from hotplug_cli import messages

            names = " ".join(f"'{name}'" for name in possible)
            raise GetoptUsageError(messages.AMBIGUOUS_OPTION.of(option=typed, options=names))
        return options[possible[0]]

    def expecting(self, word: str) -> str:
        """The option whose value is the word after WORD, as ``--name``; else WORD itself."""
        options = self.by_name
        try:
            if word.startswith("--") and "=" not in word:
                return self.abbreviated(word).long
            if word[:1] == "-" != word and not any(options[f"-{c}"].metavar for c in word[1:-1]):
                return f"-{word[-1]}"
        except (UsageError, KeyError):
            pass
        return word


class Command(OptionTable):
    """A command of the system that has no subcommands."""

    def __init__(
        self,
        name: str,
        help: str,
        options: Sequence[Option],
        operands: str = "",
        offers: Offer | None = None,
    ) -> None:
        """HELP is the sentence below the usage; OFFERS completes the operands in a shell."""
        super().__init__(options, operands)
        self.name = name
        self.help = help
        self.offers = offers

    def line(self) -> Line:
        """A command line that is yet to be read."""
        return Line()

    def run(self, line: Line) -> int:
        """Do what the command line asks for; the exit status."""
        raise NotImplementedError

    def write_error(self, line: Line, error: Exception) -> int:
        """Write the messages of an error; LINE has what was read before. The exit status."""
        raise NotImplementedError

    def usages(self, given: Sequence[str]) -> Sequence[str]:
        """What follows the command's name in the usage, a line each, by the options GIVEN."""
        return ("[options]",)

    def write_epilog(self, formatter: click.HelpFormatter) -> None:
        """Write the end of --help."""


def _unknown_letter(letter: str, cluster: str, options: Mapping[str, Option]) -> GetoptUsageError:
    """The error for a LETTER that is no option, in ``-CLUSTER``."""
    from hotplug_cli import messages, spelling

    said = messages.INVALID_OPTION.of(letter=letter)
    before, equals, after = cluster.partition("=")
    if letter == "=" and equals and before:
        words = messages.SHORT_WITH_EQUALS.of(words=f"-{before} {after}")
        return GetoptUsageError(said.advising(words))
    if letter.isdigit() and cluster[0] == letter:
        return GetoptUsageError(said.advising(messages.DASH_BEFORE.of(word=cluster)))
    return GetoptUsageError(did_you_mean(said, spelling.letters(letter, cluster, options)))


def _use(option: Option) -> Sentence:
    """What an option is for."""
    from hotplug_cli import messages

    return messages.WHAT_FOR.of(usage=option.usage.strip(), help=option.help)


def did_you_mean(said: Sentence, meant: Sequence[str]) -> Sentence:
    """The sentence SAID with what may be MEANT as its advice, if that is known."""
    from hotplug_cli import messages

    if not meant:
        return said
    return said.advising(messages.DID_YOU_MEAN.of(options=" or ".join(meant)))


def either(words: Iterable[str]) -> str:
    """WORDS in a sentence: ``a, b or c``."""
    *most, last = words
    return f"{', '.join(most)} or {last}"
