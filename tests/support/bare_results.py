"""What came of the README's commands in a fresh Debian: tests/bare/run.py keeps it, and
tests/matrix/python makes a table of it."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TypedDict, cast

CACHE = Path(
    os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "memory-hotplug-tools/bare"
)


class Result(TypedDict):
    """A run whose tests passed."""

    commit: str
    python: str
    """Its version."""
    passed: int
    skipped: int


def kept(suite: str) -> Result | None:
    """The last run in a release of Debian that went well; None if there was none."""
    file = CACHE / f"{suite}.json"
    return cast(Result, json.loads(file.read_text())) if file.exists() else None


def last_line(said: str) -> str:
    """How pytest sums up, such as 5 passed, 2 skipped; nothing if it did not come to that."""
    found: list[str] = re.findall(r"^=+ (.*) in [\d.]+s.*=+$", said, re.MULTILINE)
    return found[-1] if found else ""


def keep(suite: str, commit: str, python: str, said: str) -> None:
    """Keep a run whose tests passed. `said` is their output, `python` that of python3 --version."""
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last_line(said))}
    result = Result(
        commit=commit,
        python=python.split()[-1],
        passed=counts.get("passed", 0),
        skipped=counts.get("skipped", 0),
    )
    (CACHE / f"{suite}.json").write_text(json.dumps(result, indent=1))


def commit(checkout: Path) -> str:
    """The commit that is checked out, whoever owns the checkout."""
    words = ["git", "-c", f"safe.directory={checkout}", "-C", str(checkout), "rev-parse", "HEAD"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()
