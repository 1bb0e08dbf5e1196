"""click commands that read their arguments as getopt_long(3) does.

Long options may be abbreviated to a unique prefix and short ones clustered; ``--`` ends the
options; options may follow arguments, except with POSIXLY_CORRECT; and the argument of an option
may be optional. Arguments are rewritten to the form that click understands, which then converts
and checks them.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from hotplug_cli.message import Sentence


class GetoptOption(click.Option):
    """An option of getopt_long.

    BARE is the value of ``--name`` without an argument. An option with BARE has an optional
    argument, which can only be given as ``--name=VALUE``. OWN marks an option that util-linux does
    not have: an abbreviation that is unique among util-linux's options keeps its meaning. SECTION
    is the heading in --help.
    """

    def __init__(
        self,
        *args: Any,
        bare: str | None = None,
        own: bool = False,
        section: str = "Options",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.bare = bare
        self.own = own
        self.section = section

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem[str]"]:
        """Offer nothing for the next word if the argument is optional: it can only follow ``=``."""
        if self.bare and not getattr(ctx.obj, "joined", True):
            return ctx.command.shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete)

    @property
    def usage(self) -> str:
        """How the option is written: ``-o, --output LIST``."""
        short = next((name for name in self.opts if not name.startswith("--")), None)
        name = f"{short}, {_long_name(self)}" if short else f"    {_long_name(self)}"
        if self.is_flag:
            return name
        return f"{name}[={self.metavar}]" if self.bare else f"{name} {self.metavar}"


_Function = TypeVar("_Function", bound=Callable[..., Any])


def option(*names: str, **kwargs: Any) -> Callable[[_Function], _Function]:
    """Decorate a command's function with an option that takes an argument."""
    return click.option(*names, cls=GetoptOption, **kwargs)


def flag(*names: str, **kwargs: Any) -> Callable[[_Function], _Function]:
    """Decorate a command's function with an option without an argument."""
    return option(*names, is_flag=True, **kwargs)


def answer(text: Callable[[], str], *names: str, **kwargs: Any) -> Callable[[_Function], _Function]:
    """Decorate a command's function with an option that prints a text and ends the command."""

    def show(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
        if asked and not ctx.resilient_parsing:
            click.echo(text())
            ctx.exit()

    return flag(*names, is_eager=True, expose_value=False, callback=show, **kwargs)


class UsageError(click.UsageError):
    """A command line that is wrong."""

    def __init__(self, sentence: "Sentence") -> None:
        super().__init__(sentence.text)
        self.sentence = sentence


class GetoptUsageError(UsageError):
    """A usage error after which util-linux also refers to --help."""


GIVEN = "hotplug_cli.given"
"""Key in the context's meta: the options in the order given, as ``--name`` or ``--name=VALUE``;
after an error, those before it."""

_TRUTHS = ("", "yes", "no", "true", "false", "on", "off", "1", "0")
"""What is given to an option that takes no argument, by those who think that it wants a truth."""

Options = dict[str, GetoptOption]
"""A name of an option, such as ``--output`` or ``-o`` -> the option."""


class GetoptCommand(click.Command):
    """A command whose arguments are read as getopt_long reads them."""

    def clash(self, before: str, name: str) -> "Sentence | None":
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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given: list[str] = []
        ctx.meta[GIVEN] = given
        words = self._spelled_out(ctx, args)
        try:
            for word in words:
                if word == "--":
                    break
                given.append(word)
        except click.UsageError as error:
            if not ctx.resilient_parsing:
                error.ctx = ctx
                raise
            # A shell asks for completions, which may depend on the options that are there: errors
            # are reported when the command is run.
        return super().parse_args(ctx, [*given, "--", *words])

    def _options(self, ctx: click.Context) -> Options:
        return {
            name: parameter
            for parameter in self.get_params(ctx)
            if isinstance(parameter, GetoptOption)
            for name in parameter.opts
        }

    def expecting(self, word: str) -> str:
        """The option whose value is the word after WORD, spelled for click; else WORD itself."""
        options = self._options(click.Context(self))
        try:
            if word.startswith("--") and "=" not in word:
                return _long_name(_abbreviated(word, options))
            if word[:1] == "-" != word and all(options[f"-{flag}"].is_flag for flag in word[1:-1]):
                return f"-{word[-1]}"
        except (click.UsageError, KeyError):
            pass
        return word

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem[str]"]:
        """click's completions, and those of a value in one word with its option: ``-oRANGE,S``."""
        from click.shell_completion import CompletionItem

        options = self._options(ctx)
        if not incomplete.startswith("--"):
            for at, letter in enumerate(incomplete[1:], 2):
                option = options.get(f"-{letter}")
                if option is None:
                    return []
                if not option.is_flag and incomplete[at:]:
                    items = option.shell_complete(ctx, incomplete[at:])
                    return [
                        CompletionItem(incomplete[:at] + item.value, item.type, item.help)
                        for item in items
                        if item.type == "plain"
                    ]
        return [
            item
            for item in super().shell_complete(ctx, incomplete)
            if item.value not in options or self.fits(ctx, options[item.value])
        ]

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """click's --help, as a GetoptOption."""
        return GetoptOption(
            ["-h", "--help"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_help,
            help="display this help",
            section="General",
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options that go with those given, below the headings of their sections."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, GetoptOption) and self.fits(ctx, parameter):
                sections.setdefault(parameter.section, []).append((parameter.usage, record[1]))
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=28)

    def _spelled_out(self, ctx: click.Context, args: Sequence[str]) -> Iterator[str]:
        """The arguments, options first, each as ``--name`` or ``--name=VALUE``."""
        options = self._options(ctx)
        given: list[str] = []
        operands: list[str] = []
        words = iter(args)
        for word in words:
            found: Iterator[str] = iter(())
            if word == "--":
                operands.extend(words)
            elif word.startswith("--"):
                found = iter([self._long(word, words, options)])
            elif word.startswith("-") and word != "-":
                found = self._cluster(word[1:], words, options)
            else:
                operands.append(word)
                if "POSIXLY_CORRECT" in os.environ:
                    operands.extend(words)
            for option in found:
                name = option.partition("=")[0]
                self._check_clash(name, given)
                self.check_value(option)
                given.append(name)
                yield option
                if options[name].is_eager:
                    # --help and --version answer at once, whatever follows them.
                    return
        yield "--"
        yield from operands

    def _check_clash(self, name: str, given: Sequence[str]) -> None:
        for before in given:
            sentence = self.clash(before[2:], name[2:])
            if sentence:
                raise UsageError(sentence)

    def fits(self, ctx: click.Context, option: GetoptOption) -> bool:
        """Whether an option has an effect beside those that are given."""
        before = [word.partition("=")[0] for word in ctx.meta.get(GIVEN, ())]
        return all(self.goes_with(one[2:], _long_name(option)[2:]) for one in before)

    def _long(self, word: str, words: Iterator[str], options: Options) -> str:
        typed, equals, value = word.partition("=")
        option = _abbreviated(typed, options)
        name = _long_name(option)
        if option.is_flag:
            if equals:
                from hotplug_cli import messages

                said = messages.NO_ARGUMENT_ALLOWED.of(option=name)
                operands = any(
                    one.metavar for one in self.params if isinstance(one, click.Argument)
                )
                row = messages.ALONE.of(option=name)
                if operands and value.lower() not in _TRUTHS:
                    row = messages.WORD_OF_ITS_OWN.of(option=name, value=value)
                raise GetoptUsageError(said._replace(advice=row.advice))
            return name
        if not equals:
            following = option.bare or next(words, None)
            if following is None:
                from hotplug_cli import messages

                said = messages.ARGUMENT_REQUIRED.of(option=name)
                raise GetoptUsageError(_with_use(said, option))
            value = following
        return f"{name}={value}"

    @staticmethod
    def _cluster(letters: str, words: Iterator[str], options: Options) -> Iterator[str]:
        cluster = letters
        while letters:
            letter, letters = letters[0], letters[1:]
            option = options.get(f"-{letter}")
            if option is None:
                raise _unknown_letter(letter, cluster, options)
            if option.is_flag:
                yield _long_name(option)
                continue
            value = letters or next(words, None)
            if value is None:
                from hotplug_cli import messages

                said = messages.ARGUMENT_OF_LETTER_REQUIRED.of(letter=letter)
                raise GetoptUsageError(_with_use(said, option))
            yield f"{_long_name(option)}={value}"
            return


def _abbreviated(typed: str, options: Options) -> GetoptOption:
    """The option with the name TYPED, or the only one whose name begins with TYPED."""
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


def _unknown_letter(letter: str, cluster: str, options: Options) -> GetoptUsageError:
    """The error for a LETTER that is no option, in ``-CLUSTER``."""
    from hotplug_cli import messages, spelling

    said = messages.INVALID_OPTION.of(letter=letter)
    before, equals, after = cluster.partition("=")
    if letter == "=" and equals and before:
        words = messages.SHORT_WITH_EQUALS.of(words=f"-{before} {after}")
        return GetoptUsageError(said._replace(advice=words.advice))
    if letter.isdigit() and cluster[0] == letter:
        return GetoptUsageError(said._replace(advice=messages.DASH_BEFORE.of(word=cluster).advice))
    return GetoptUsageError(did_you_mean(said, spelling.letters(letter, cluster, options)))


def _with_use(said: "Sentence", option: GetoptOption) -> "Sentence":
    """The sentence SAID with what an option is for."""
    from hotplug_cli import messages

    use = messages.WHAT_FOR.of(usage=option.usage.strip(), help=option.help or "")
    return said._replace(advice=use.advice)


def did_you_mean(said: "Sentence", meant: Sequence[str]) -> "Sentence":
    """The sentence SAID with what may be MEANT as its advice, if that is known."""
    from hotplug_cli import messages

    if not meant:
        return said
    return said._replace(advice=messages.DID_YOU_MEAN.of(options=" or ".join(meant)).advice)


def _long_name(option: click.Option) -> str:
    return next(name for name in option.opts if name.startswith("--"))


def write_example(formatter: click.HelpFormatter, manual: str, command: str) -> None:
    """Write the end of --help: an example, and the manual that has more."""
    with formatter.section(f"Example (for more see {manual})"):
        formatter.write_text(command)


def _show_help(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(ctx.get_help())
        ctx.exit()
