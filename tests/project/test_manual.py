"""The manuals: complete, well-formed, and their examples do what they show."""

import re
import runpy
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from chmem_py.cli import chmem
from commands import TOP
from hotplug_cli.click_command import command_of
from hotplug_cli.getopt import Command
from lsmem_py.cli import lsmem
from lsmem_py.columns import COLUMNS
from memory_hotplug.change.steps import CONFIGURE, MEMMAP, ONLINE
from memsim import description
from memsim_py.cli import commands as memsim
from sessions import replay
from terminal import clean_environment

MANUALS = sorted((TOP / "man").glob("*.[1-8]"))
TASKS = TOP / "man/memory-hotplug.7"


def plain(source: str) -> str:
    """Literal text as it is read: without roff's escapes."""
    return source.replace(r"\&", "").replace(r"\-", "-").replace(r"\e", "\\")


def displays(manual: Path, prompt: str) -> str:
    """What a manual shows to be typed after a prompt, with its output, as one session."""
    text = manual.read_text()
    found = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.DOTALL | re.MULTILINE)
    return "".join(text for text in map(plain, found) if text.startswith(prompt))


WITH_EXAMPLES = [manual for manual in MANUALS if displays(manual, "$ ")]


def without_processes(session: str) -> str:
    return re.sub(r"process \d+", "process N", session)


@pytest.mark.needs("mandoc")
@pytest.mark.parametrize("manual", MANUALS, ids=lambda manual: manual.name)
def test_mandoc_has_nothing_to_warn_of(manual: Path) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", manual], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("manual", MANUALS, ids=lambda manual: manual.name)
@pytest.mark.parametrize(
    "command",
    [
        pytest.param("mandoc -T utf8", marks=pytest.mark.needs("mandoc")),
        pytest.param("groff -mandoc -Tutf8", marks=pytest.mark.needs("groff")),
    ],
)
def test_head_and_foot_of_a_manual_name_this_package_and_its_release(
    command: str, manual: Path
) -> None:
    words = [*command.split(), str(manual)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line]
    version = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    assert "memory-hotplug-tools" in lines[0]
    assert "BSD" not in lines[0]
    assert version in lines[-1]


@pytest.mark.parametrize("manual", WITH_EXAMPLES, ids=lambda manual: manual.name)
def test_every_example_does_what_it_shows(manual: Path, tmp_path: Path) -> None:
    shown = displays(manual, "$ ")
    done = replay(shown, tmp_path, clean_environment())
    assert without_processes(done) == without_processes(shown)


def test_commands_for_real_machines_have_options_that_exist() -> None:
    known = {
        "lsmem": set(lsmem.by_name),
        "chmem": set(chmem.by_name),
    }
    found = re.findall(r"\b(lsmem|chmem)((?: --[\w-]+)+)", displays(TASKS, "# "))
    assert len(found) >= 3
    for command, options in found:
        assert set(options.split()) <= known[command]


def test_each_task_says_when_it_went_well_and_what_to_do_if_not() -> None:
    _, _, *sections, _ = re.split(r"^\.Sh ", TASKS.read_text(), flags=re.MULTILINE)[1:]
    assert len(sections) == 6
    for section in sections:
        assert "\nIt went well if" in section
        assert re.search(r"^(If|\.Ss When)\b", section, re.MULTILINE)


def test_the_manuals_of_tasks_and_of_the_library_name_each_other() -> None:
    assert ".Xr memory_hotplug 7" in TASKS.read_text()
    assert "memory-hotplug(7)" in plain((TOP / "man/memory_hotplug.7").read_text())


def check_options_and_variables(command: Command, text: str, sources: str) -> None:
    entries = "\n".join(re.findall(r"^\.It Fl (.*)", text, re.MULTILINE))
    for name in command.by_name:
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


def test_the_manual_of_memsim_tells_every_key_of_a_description_and_no_other() -> None:
    text = (TOP / "man/memsim.1").read_text()
    section = text.partition(".Sh MACHINE DESCRIPTIONS\n")[2].partition(".Sh ")[0]
    machine, group = (
        sorted(
            key for entry in re.findall(r"^\.It Cm (.+)", part, re.M) for key in entry.split(" , ")
        )
        for part in section.split("A group of blocks:")
    )
    assert machine == sorted(description.MACHINE_KEYS)
    assert group == sorted(description.GROUP_KEYS)


def test_the_picture_in_the_readme_is_what_lsmem_shows_today() -> None:
    script = runpy.run_path(str(TOP / "man/make-picture"))
    kept = (TOP / "man/lsmem-map.svg").read_text()

    def texts(svg: str) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]*)</text>", svg)

    assert texts(kept) == texts(script["picture"]())
    assert "http://" not in kept.replace("http://www.w3.org/", "")


# --help


@pytest.mark.parametrize(
    ("name", "command"),
    [("lsmem", command_of(lsmem)), ("chmem", command_of(chmem)), ("memsim", memsim)],
)
def test_help_fits_a_terminal_and_ends_in_an_example(name: str, command: click.Command) -> None:
    lines = command.get_help(click.Context(command, info_name=name, terminal_width=80)).splitlines()
    assert len(lines) <= 71
    assert max(map(len, lines)) <= 80
    assert lines[-2].startswith("Example")
    assert lines[-1].lstrip().startswith(f"{name} ")


def test_help_has_a_line_for_each_column() -> None:
    context = click.Context(command_of(lsmem), info_name="lsmem", terminal_width=80)
    lines = context.get_help().splitlines()
    for column in COLUMNS:
        (line,) = (line for line in lines if line.split()[:1] == [column.heading])
        assert column.help in line
