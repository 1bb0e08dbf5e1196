"""Sessions that a page shows: commands after `$ `, and what they print."""

import re
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path


def fenced(page: str, language: str) -> list[str]:
    """The blocks of code in LANGUAGE of a page in Markdown."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", page, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(text) for _, text in found]


def commands(shown: str) -> Iterator[str]:
    """The commands of a session. The lines after `> ` directly below a command belong to it."""
    for first, rest in re.findall(r"^\$ (.*\n)((?:> .*\n)*)", shown, re.MULTILINE):
        yield first + re.sub(r"^> ", "", rest, flags=re.MULTILINE)


def replay(shown: str, place: Path, environment: Mapping[str, str]) -> str:
    """Run the commands of a session in a directory; the session as it was this time."""
    done = ""
    for command in commands(shown):
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        done += "$ " + command.rstrip("\n").replace("\n", "\n> ") + "\n" + ran.stdout
    return done
