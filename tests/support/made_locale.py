"""A locale that is made for a test."""

import os
import re
import subprocess
from pathlib import Path


def made(folder: Path, name: str) -> dict[str, str]:
    """Make the locale NAME, such as pl_PL, in FOLDER. The environment in which it is found, and
    which asks for no locale yet."""
    words = ["localedef", "-i", name, "-f", "UTF-8", str(folder / f"{name}.UTF-8")]
    subprocess.run(words, check=True)
    kept = {key: text for key, text in os.environ.items() if not re.match("LC_|LANG", key)}
    return {**kept, "LOCPATH": str(folder), "LSMEM_ADVICE": "never", "CHMEM_ADVICE": "never"}
