"""A simulated machine, and chmem on it: what is done is judged at once, and kept as a script."""

import json
import os
import shlex
import shutil
import signal
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import documents
import meanwhile
import workshop
from chmem_py.cli import chmem
from judge import Ran, Seen, faults_of, needs_looks, seen
from lines import Line, Site, text_of
from memsim import directory
from memsim.directory import Directory
from memsim.kernel import Kernel
from memsim.machine import Fault
from memsim.profile import boot
from told import document_in

TOOL = "python tests/support/meanwhile.py"
LAYOUTS = "m/etc/memory-layout.d"
_RECORDS = {"machine.json", "blocks", "live.json", "lock"}
STEPS: Counter[str] = Counter()
"""What was done, by its kind."""
STATUSES: Counter[str] = Counter()
"""How commands ended."""
FOUND: list[str] = []
"""The last script of a violation, and what was violated."""


class ViolationError(AssertionError):
    """Something that must always hold did not. Each kind has a class of its own, so that one is not
    taken for another while it is made smaller."""


_KINDS: dict[str, type[ViolationError]] = {}


def _copy(file: str, to: str) -> None:
    """Copy a file; also one that can only be written, which has no content."""
    if os.stat(file).st_mode & stat.S_IRUSR:
        shutil.copy2(file, to)
    else:
        Path(to).touch()
        shutil.copystat(file, to)


def violation(kind: str, reason: str) -> ViolationError:
    made = _KINDS.setdefault(kind, type(kind, (ViolationError,), {}))
    return made(reason)


class Trial:
    """A machine in the directory m of the working directory."""

    root = Path("m")

    def __init__(self, description: dict[str, Any] | str) -> None:
        directory.create(self.root, boot(description))
        self.script: list[str] = []
        if isinstance(description, str):
            self.script.append(f"memsim create m --profile {description}")
        else:
            text = json.dumps(description)
            self.script += [f"echo {shlex.quote(text)} > m.json", "memsim create m --from m.json"]
        self.layouts: dict[str, dict[str, Any]] = {}
        """File -> the layout that was written to it."""
        kernel = self.kernel
        self.block_size = kernel.machine.block_size
        self.nodes = {block: kernel.blocks.group(block).nodes for block in kernel.blocks}

    @property
    def kernel(self) -> Kernel:
        return Directory(self.root).kernel()

    @property
    def site(self) -> Site:
        files = {file: found for file, found in self.layouts.items() if "/" not in file}
        nodes = sorted({node for nodes in self.nodes.values() for node in nodes})
        return Site(self.now().blocks, self.block_size, nodes, files)

    def now(self) -> Seen:
        return seen(self.root)

    def fail(self, kind: str, reason: str) -> None:
        FOUND[:] = [f"# {kind}: {reason}".replace("\n", "\n# "), *self.script]
        raise violation(kind, reason)

    def check(self, holds: object, kind: str, reason: str) -> None:
        if not holds:
            self.fail(kind, reason)

    # What others do

    def fault(self, transition: str, block: int, fault: Fault) -> None:
        times = f":{fault.times}" if fault.times else ""
        self.script.append(f"memsim fault m --{transition} {block}={fault.errno}{times}")
        Directory(self.root).change(lambda kernel: kernel.set_fault(transition, block, fault))

    def clear_faults(self) -> None:
        self.script.append("memsim fault m --clear")
        Directory(self.root).change(lambda kernel: kernel.clear_faults())

    def write(self, path: str, word: str) -> None:
        """Another program's write, which the kernel may refuse."""
        self.script.append(f"memsim write m {path} {word} || :")
        _write(self.root, path, word)

    def memsim(self, *words: str) -> None:
        """A command of memsim, which may be refused."""
        from memsim_py.cli import commands

        self.script.append(f"memsim {shlex.join(words)} || :")
        workshop.run_here(commands, "memsim", *words)

    def write_layout(self, file: str, document: dict[str, Any] | None) -> None:
        """Write a layout to a file, or remove the file."""
        if document is None:
            self.layouts.pop(file, None)
            self.script.append(f"rm -f {file}")
            Path(file).unlink(missing_ok=True)
            return
        self.layouts[file] = document
        text = text_of(document)
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text)
        self.script += [
            f"mkdir -p {os.path.dirname(file) or '.'}",
            f"cat > {file} <<'EOF'\n{text}EOF",
        ]

    # chmem

    def command(self, line: Line) -> list[str]:
        return ["-s", str(self.root), *line.words]

    def run(
        self,
        line: Line,
        *,
        looking: bool = True,
        at: int = 0,
        path: str = "",
        word: str = "",
    ) -> Ran:
        """Run chmem, and judge it. Before its write number AT, another program writes WORD."""
        words = self.command(line)
        tool = f"{TOOL} --at {at} --write {path} {word} -- " if at else ""
        self.script.append(f"{tool}chmem {shlex.join(words)}")
        looks: list[Seen] = []
        elsewhere: set[int] = set()
        before = self.now()
        other = meanwhile.at(at, lambda: elsewhere.update(self._other_write(path, word)))

        def look() -> None:
            if looking and needs_looks(line):
                looks.append(seen(self.root))
            other()

        with meanwhile.before_writes(look):
            status, out, err = workshop.run_here(chmem, "chmem", *words)
        ran = self._ran(line, before, status, out, err)
        ran.looks, ran.elsewhere = looks, elsewhere
        STATUSES[f"{status}{' and changed' if ran.moved else ''}"] += 1
        return self.judged(ran)

    def _other_write(self, path: str, word: str) -> set[int]:
        before = self.now().blocks
        _write(self.root, path, word)
        after = self.now().blocks
        named = {int(path.rpartition("/memory")[2].partition("/")[0])} if "/memory" in path else {0}
        return named | {number for number in after if after[number] != before.get(number)}

    def _ran(self, line: Line, before: Seen, status: int, out: str, err: str) -> Ran:
        STEPS[line.action] += 1
        document = document_in(out) if "json" in line else None
        if "json" in line:
            self.check(document, "no document", out + err)
            fault = documents.fault("chmem", line.words, status, out)
            self.check(fault is None, "schema", f"{fault}")
        ran = Ran(line, before, self.now(), status, out, err, document)
        ran.layout, ran.keep_free = self.applied(line), self.keep_free(line)
        if "no layout says how much" in err and "keep-free" not in line:
            # A broken layout is told, and counts as none.
            ran.keep_free = None
        ran.nodes, ran.block_size = self.nodes, self.block_size
        return ran

    def judged(self, ran: Ran) -> Ran:
        for kind, reason in faults_of(ran):
            self.fail(kind, reason)
        self.check_files(ran.before)
        return ran

    def applied(self, line: Line) -> dict[str, Any] | None:
        """The layout that a command applies; None if it is not known, or none is."""
        return self.layouts.get(line.operands[0]) if line.operands else None

    def keep_free(self, line: Line) -> int | None:
        """Bytes that are to stay available; None for the default."""
        if given := line.options.get("keep-free"):
            return _bytes(given) if given != "none" else None
        applied = self.applied(line) or {}
        found: str | None = applied.get("keep_free")
        if found is None:
            for file in sorted(self.layouts):
                if file.startswith(LAYOUTS):
                    found = self.layouts[file].get("keep_free", found)
        return None if found is None else _bytes(found)

    def check_files(self, before: Seen | None = None) -> None:
        """Nothing is left over: no journal, no new file that was to be renamed. What a killed
        process left beside a file goes when that file is written again, after BEFORE."""
        now = self.now()
        before = before or now
        left = set(os.listdir(self.root)) - {"sys", "proc", ".memsim", "run", "etc"}
        left |= self._left(".memsim", _RECORDS, before.blocks == now.blocks and "next")
        same = before.record == now.record and ".undo.json."
        left |= self._left("run/memory-hotplug", {"undo.json"}, same)
        names = {os.path.basename(file) for file in self.layouts} | {"50-chmem.toml"}
        same = before.saved == now.saved and ".50-chmem.toml."
        left |= self._left("etc/memory-layout.d", names, same)
        self.check(not left, "left over", f"{left}")

    def forget_half_done(self) -> None:
        """Remove the line about a block that was left half done."""
        self.script.append("rm -f m/run/.memory-hotplug-block")
        (self.root / "run/.memory-hotplug-block").unlink(missing_ok=True)

    def _left(self, place: str, known: set[str], excused: str | bool) -> set[str]:
        """The names in a directory that are not KNOWN, and do not begin with what is EXCUSED."""
        path = self.root / place
        names = set(os.listdir(path)) - known if path.exists() else set()
        return {name for name in names if not (excused and name.startswith(str(excused)))}

    # chmem in a process of its own, because a signal ends it

    def count_changes(self, line: Line) -> tuple[int, Ran | None]:
        """How many files a command would change; and the run, on a copy of the machine."""
        with self.copy():
            before, count = self.now(), [0]

            def counted() -> None:
                count[0] += 1

            with meanwhile.before_changes(counted):
                status, out, err = workshop.run_here(chmem, "chmem", *self.command(line))
            return count[0], Ran(line, before, self.now(), status, out, err)

    @contextmanager
    def copy(self) -> Iterator[None]:
        """A context after which the machine, and the files beside it, are as they were."""
        kept = Path(tempfile.mkdtemp(dir=".."))
        shutil.copytree(".", kept, symlinks=True, copy_function=_copy, dirs_exist_ok=True)
        try:
            yield
        finally:
            for path in Path().iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for path in kept.iterdir():
                path.rename(path.name)
            kept.rmdir()

    def interrupt(self, line: Line, name: str, at: int) -> Ran | None:
        """Send chmem a signal before the change of a file with the number AT. None if the signal
        ended it, so that nothing is told."""
        words = self.command(line)
        self.script.append(f"{TOOL} --at {at} --signal {name} -- chmem {shlex.join(words)}")
        before = self.now()
        STEPS[f"SIG{name}"] += 1
        if (child := os.fork()) == 0:
            _be_interrupted(words, name, at)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status < 0:
            self.check(-status == signal.Signals[f"SIG{name}"], "status", f"ended by {-status}")
            return None
        status, out, err = json.loads(Path("told").read_text())
        return self._ran(line, before, status, out, err)


def _be_interrupted(words: Sequence[str], name: str, at: int) -> None:
    """What a child does: never returns."""
    try:
        with meanwhile.before_changes(meanwhile.at(at, meanwhile.send(name))):
            told = workshop.run_here(chmem, "chmem", *words)
        Path("told").write_text(json.dumps(told))
    finally:
        os._exit(0)


def _write(root: Path, path: str, word: str) -> None:
    try:
        directory.write(root, path, word.encode())
    except OSError:
        # The kernel refuses some writes.
        return


def _bytes(size: str) -> int:
    return int(size.removesuffix("M")) << 20


_sleep = time.sleep


def hurry() -> Callable[[], None]:
    """Make the pauses of chmem short; returns what ends that."""

    def short(seconds: Any) -> None:
        _sleep(min(seconds, 0.001))

    def back() -> None:
        time.sleep = _sleep

    time.sleep = short
    return back
