"""Running programs for which every private name of this project is hidden."""

from pathlib import Path

from commands import PACKAGES, start_python

HIDING = f"""
import builtins, runpy, sys
import memory_hotplug

HOUSE = {sorted(PACKAGES)!r}
found = builtins.__import__

def public_only(name, globals=None, locals=None, fromlist=(), level=0):
    outside = (globals or {{}}).get("__name__", "").partition(".")[0] not in HOUSE
    if outside and not level and name.partition(".")[0] in HOUSE:
        if name != "memory_hotplug":
            raise ImportError(name + " is hidden")
        if hidden := {{*fromlist}} - {{*memory_hotplug.__all__, "__version__"}}:
            raise ImportError(f"{{hidden}} of {{name}} are hidden")
    return found(name, globals, locals, fromlist, level)

builtins.__import__ = public_only
try:
    at = sys.argv.index("--")
    programs, sys.argv[1:] = sys.argv[1:at], sys.argv[at + 1:]
    for path in programs:
        runpy.run_path(path, run_name="outside")
except ImportError as error:
    sys.exit(print(error) or 1)
"""
"""Not for the library itself is anything hidden."""


def run_outside(
    *programs: Path, arguments: tuple[str | Path, ...] = (), below: Path | None = None
) -> tuple[int, str]:
    """The status of programs that are run, each as a module and with ARGUMENTS, and what an import
    failed by. Other modules may be BELOW a directory."""
    where = f"import sys\nsys.path.insert(0, {str(below)!r})\n" if below else ""
    process = start_python(where + HIDING, *programs, "--", *arguments)
    output, _ = process.communicate()
    return process.returncode, output
