"""Running the commands, and what they are compared with."""

import json
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "reference" / "vectors.json").read_text()
)

SCRIPTS = Path(sysconfig.get_path("scripts"))
"""Where the installed commands are."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left: its exit status and what it wrote."""

    status: int
    stdout: str
    stderr: str


Command = Callable[..., Outcome]


def run_program(*words: str | Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Runs an installed command as a process of its own."""
    name, *arguments = map(str, words)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
    return subprocess.run([str(SCRIPTS / name), *arguments], text=True, timeout=120, **streams)
