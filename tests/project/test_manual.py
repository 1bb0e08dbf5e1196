"""The manuals: complete, well-formed, and their examples do what they show."""

import re
import runpy
import subprocess
from pathlib import Path

import click
import pytest

from chmem_py.cli import chmem
from commands import TOP
from lsmem_py.cli import lsmem
from lsmem_py.columns import COLUMNS
from memory_hotplug.steps import CONFIGURE, MEMMAP, ONLINE
from memsim import description
from memsim.cli import commands as memsim
from terminal import clean_environment

MANUALS = sorted((TOP / "man").glob("*.[1-8]"))
WITH_EXAMPLES = [manual for manual in MANUALS if ".Sh EXAMPLES" in manual.read_text()]


def plain(source: str) -> str:
    """Literal text as it is read: without roff's escapes."""
    return source.replace(r"\&", "").replace(r"\-", "-").replace(r"\e", "\\")


def examples(manual: Path) -> str:
    """All displays of the examples, one after the other: commands after `$ `, and their output."""
    section = re.split(r"^\.Sh ", manual.read_text(), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith("EXAMPLES"))
    displays = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.DOTALL | re.MULTILINE)
    return plain("".join(displays))


@pytest.mark.needs("mandoc")
@pytest.mark.parametrize("manual", MANUALS, ids=lambda manual: manual.name)
def test_mandoc_has_nothing_to_warn_of(manual: Path) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", manual], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("manual", WITH_EXAMPLES, ids=lambda manual: manual.name)
def test_every_example_does_what_it_shows(manual: Path, tmp_path: Path) -> None:
    shown = examples(manual)
    commands = [line.removeprefix("$ ") for line in shown.splitlines() if line.startswith("$ ")]
    assert commands
    done = ""
    for command in commands:
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        done += f"$ {command}\n{ran.stdout}"
    assert done == shown


def check_options_and_variables(command: click.Command, text: str, sources: str) -> None:
    options = [
        name for option in command.get_params(click.Context(command)) for name in option.opts
    ]
    entries = "\n".join(re.findall(r"^\.It Fl (.*)", text, re.MULTILINE))
    for name in options:
        if name.startswith("-"):
            assert re.search(rf"(^| ){re.escape(name.removeprefix('-'))}( |$)", entries, re.M), name
    code = "".join(path.read_text() for path in (TOP / sources).glob("*.py"))
    used = set(re.findall(r'environ(?:\.get\(|\[)"(\w+)"', code))
    for variable in used | {"NO_COLOR", "POSIXLY_CORRECT", "TERM"}:
        assert re.search(rf"^\.It Ev .*\b{variable}\b", text, re.MULTILINE), variable


def test_chmem_8_has_every_option_variable_file_and_status() -> None:
    text = plain((TOP / "man/chmem.8").read_text())
    check_options_and_variables(chmem, text, "chmem_py")
    for step in (MEMMAP, CONFIGURE, ONLINE):
        assert f"\n.It Pa /{step.directory}/memoryN/{step.attribute}\n" in text
    for status in (0, 1, 64, 130):
        assert re.search(rf"^\.It {status}\b", text, re.MULTILINE)


def test_lsmem_1_has_every_option_column_variable_and_status() -> None:
    text = plain((TOP / "man/lsmem.1").read_text())
    check_options_and_variables(lsmem, text, "lsmem_py")
    listed = re.split(r"^\.Sh ", text, flags=re.MULTILINE)
    (columns,) = (part for part in listed if part.startswith("COLUMNS"))
    headings = " ".join(re.findall(r"^\.It Cm (.*)", columns, re.MULTILINE)).split()
    assert sorted(set(headings) - {","}) == sorted(column.heading for column in COLUMNS)
    for status in ("0", "1", "2", "130"):
        assert f"\n.It {status}\n" in text


def test_own_options_and_columns_are_marked_as_such() -> None:
    text = plain((TOP / "man/lsmem.1").read_text())
    for heading in (column.heading for column in COLUMNS if column.extra):
        entry = re.search(rf"^\.It Cm .*\b{heading}\b.*\n(.*)", text, re.MULTILINE)
        assert entry
        assert entry[1].startswith("(own)"), heading


def test_memsim_1_has_every_command_option_and_key() -> None:
    text = plain((TOP / "man/memsim.1").read_text())
    entries = "\n".join(re.findall(r"^\.It (.*)", text, re.MULTILINE))
    context = click.Context(memsim)
    for name in memsim.list_commands(context):
        command = memsim.get_command(context, name)
        assert command
        assert re.search(rf"^Cm .*\b{name}\b", entries, re.MULTILINE), name
        for option in command.get_params(context):
            if isinstance(option, click.Option):
                for spelled in option.opts:
                    if spelled not in ("-h", "--help"):
                        shown = rf"(Fl|,) {re.escape(spelled[1:])}\b"
                        assert re.search(shown, text), (name, spelled)
    documented = {
        word for entry in re.findall(r"^Cm ([a-z_ ,]+)$", entries, re.M) for word in entry.split()
    }
    described = re.findall(r"^    ([a-z_]+)(?:, ([a-z_]+))?  ", description.__doc__ or "", re.M)
    keys = {key for pair in described for key in pair if key}
    assert len(keys) > 20
    assert keys <= documented


def test_the_picture_in_the_readme_is_what_lsmem_shows_today() -> None:
    script = runpy.run_path(str(TOP / "man/make-picture"))
    kept = (TOP / "man/lsmem-map.svg").read_text()

    def texts(svg: str) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]*)</text>", svg)

    assert texts(kept) == texts(script["picture"]())
    assert "http://" not in kept.replace("http://www.w3.org/", "")


# --help


@pytest.mark.parametrize(
    ("name", "command"), [("lsmem", lsmem), ("chmem", chmem), ("memsim", memsim)]
)
def test_help_fits_a_terminal_and_ends_in_an_example(name: str, command: click.Command) -> None:
    lines = command.get_help(click.Context(command, info_name=name, terminal_width=80)).splitlines()
    assert len(lines) <= 71
    assert max(map(len, lines)) <= 80
    assert lines[-2].startswith("Example")
    assert lines[-1].lstrip().startswith(f"{name} ")


def test_help_has_a_line_for_each_column() -> None:
    context = click.Context(lsmem, info_name="lsmem", terminal_width=80)
    lines = lsmem.get_help(context).splitlines()
    for column in COLUMNS:
        (line,) = (line for line in lines if line.split()[:1] == [column.heading])
        assert column.help in line
