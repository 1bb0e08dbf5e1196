"""Mutants outside of functions: in tables, in the bodies of classes and in decorated functions.

mutmut changes what is in plain functions only. Its own operators are used here on all the rest, but
for imports, annotations and decorators. A mutant takes the place of its module in the copy that
`run` has made, while pytest looks for a test that notices.

    python outside.py [NAME...]      modules such as memory_hotplug.change.plan; all without one

What was found is kept in outside.json beside the packages, by the text of the change: a second run
tries only what is new, and what survived. Each mutant is tried in a process that is forked after
pytest and the larger libraries were loaded.
"""

import difflib
import io
import json
import os
import shutil
import signal
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from itertools import islice
from pathlib import Path

import libcst
import pytest
from mutmut.mutation.file_mutation import deep_replace
from mutmut.mutation.mutators import mutation_operators

PACKAGES = ("memory_hotplug", "chmem_py", "safe_files")
PRELOADED = ("click", "hypothesis", "jsonschema", "pexpect", "pyte", "rich.console", "tabulate")
KEPT = Path("outside.json")
PATIENCE = 600
"""Seconds until a mutant that makes the tests run for ever counts as noticed."""


_SKIPPED = (libcst.Import, libcst.ImportFrom, libcst.Annotation, libcst.Decorator)


def outside(node: libcst.CSTNode) -> Iterator[libcst.CSTNode]:
    """NODE and all below it, but for what mutmut changes and for what changes nothing."""
    if (
        isinstance(node, _SKIPPED)
        or (isinstance(node, libcst.FunctionDef) and not _is_decorated(node))
        or (isinstance(node, libcst.Assign) and _is_all(node))
        or (isinstance(node, libcst.Expr) and isinstance(node.value, libcst.BaseString))
    ):
        return
    yield node
    for child in node.children:
        yield from outside(child)


def _is_decorated(function: libcst.FunctionDef) -> bool:
    names = [decorator.decorator for decorator in function.decorators]
    plain = ("staticmethod", "classmethod")
    return bool(names) and not (
        len(names) == 1 and isinstance(names[0], libcst.Name) and names[0].value in plain
    )


def _is_all(assignment: libcst.Assign) -> bool:
    target = assignment.targets[0].target
    return isinstance(target, libcst.Name) and target.value == "__all__"


def mutants(source: str) -> Iterator[str]:
    """SOURCE with one change each; of the changes to a string the first is enough."""
    module = libcst.parse_module(source)
    for node in outside(module):
        for kind, operator in mutation_operators:
            # Of a field's default, None and False are alike.
            if isinstance(node, kind) and kind is not libcst.AnnAssign:
                for changed in islice(operator(node), 1 if kind is libcst.BaseString else None):
                    mutated = deep_replace(module, node, changed)
                    assert isinstance(mutated, libcst.Module)
                    yield mutated.code


def change(before: str, after: str) -> str:
    """The lines that differ."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def is_noticed(tests: list[str]) -> bool:
    """Whether a test fails on the code as it is now."""
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        signal.alarm(PATIENCE)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            status = int(pytest.main(["-x", "-q", *tests]))
        os._exit(bool(status))
    return bool(os.waitpid(child, 0)[1])


def main() -> None:
    wanted = sys.argv[1:]
    settings = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutmut"]
    tests = settings["pytest_add_cli_args"] + settings["pytest_add_cli_args_test_selection"]
    sys.path[:0] = [str(Path.cwd())]
    # Mutants of one size and one second would pass for each other.
    sys.dont_write_bytecode = True
    for package in PACKAGES:
        shutil.rmtree(Path(package, "__pycache__"), ignore_errors=True)
    for name in PRELOADED:
        import_module(name)
    kept: dict[str, dict[str, bool]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for path in sorted(path for package in PACKAGES for path in Path(package).rglob("*.py")):
        name = ".".join(path.with_suffix("").parts)
        if wanted and name not in wanted:
            continue
        source = path.read_text()
        known, found = kept.get(name, {}), {}
        try:
            for mutant in mutants(source):
                said = change(source, mutant)
                while said in found:
                    said += "\n(again)"
                if said:
                    path.write_text(mutant)
                    found[said] = known.get(said, False) or is_noticed(tests)
                    print(time.strftime("%H:%M:%S"), name, found[said], said, sep="\n", flush=True)
        finally:
            path.write_text(source)
        kept[name] = found
        KEPT.write_text(json.dumps(kept, indent=1))
    results = [result for found in kept.values() for result in found.values()]
    print(f"outside of functions: {len(results)} mutants, {results.count(False)} survive")


if __name__ == "__main__":
    main()
