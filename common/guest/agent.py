"""The agent in the guest: starts programs and calls functions for the host.

It uses the standard library only, and exchanges lines of JSON over a virtio-serial port. A request
is {"do": ..., "id": ..., ...}; all messages that answer it have the same id, which the host
chooses.

    start   arguments, environment, terminal ([rows, columns] or null)
            -> {"pid": n}, {"out": text} and {"err": text} as they come, {"status": n} at the end
    input   text, or null for its end, to the program with that id
    resize  rows, columns: of its terminal
    signal  signal: to the program's process group
    call    source, function, arguments: calls a function of a Python source
            -> {"result": value} or {"error": text}

Text stands for bytes, a character each (latin-1). A status is the exit status, or 128 + n if signal
n ended the program. A Python program in FORKED runs in a fork of this process, which has already
imported it, because an import takes seconds under emulation.
"""

import contextlib
import errno
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import pty
import select
import shutil
import signal
import struct
import sys
import termios
import traceback
import types
from typing import Any

FORKED = {"lsmem": "lsmem_py.cli", "chmem": "chmem_py.cli"}
"""The name of a program -> the module that has its `main`."""

FORKED_NEED = ("chmem_py", "memory_hotplug", "hotplug_cli", "safe_files", "json")
"""The packages whose modules these programs come to import."""


class GuestProgram:
    """A running program, and the descriptors of its input and output."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.outputs: dict[int, str] = {}
        self.terminal: int | None = None
        self.waiting = b""
        if size := request.get("terminal"):
            self.input, inside = pty.openpty()
            self.terminal = self.input
            self.resize(*size)
            self.outputs[self.input] = "out"
            theirs = (inside, inside, inside)
        else:
            read, self.input = os.pipe()
            pipes = {name: os.pipe() for name in ("out", "err")}
            self.outputs = {pipes[name][0]: name for name in pipes}
            theirs = (read, pipes["out"][1], pipes["err"][1])
        os.set_blocking(self.input, False)
        self.ending = False
        self.pid = spawn(request, theirs) or os.fork()
        if not self.pid:
            become(request, theirs, self.terminal is not None)
        for descriptor in set(theirs):
            os.close(descriptor)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the program's terminal."""
        if self.terminal is not None:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, size)

    def feed(self) -> None:
        """Write as much of the waiting input to the program as it takes."""
        try:
            while self.waiting:
                self.waiting = self.waiting[os.write(self.input, self.waiting) :]
        except BlockingIOError:
            return
        except OSError:
            self.waiting = b""
        if self.ending and self.terminal is None and self.input >= 0:
            os.close(self.input)
            self.input = -1

    def close(self) -> None:
        """Close all descriptors."""
        for descriptor in {*self.outputs, self.input} - {-1}:
            os.close(descriptor)


def spawn(request: dict[str, Any], descriptors: tuple[int, int, int]) -> int | None:
    """Start a program without a fork, which takes long under emulation; its process id.

    None where there must be a fork: for a program in FORKED, for one on a terminal of its own, and
    for one that cannot be started, which the child then reports.
    """
    arguments = request["arguments"]
    if arguments[0] in FORKED or request.get("terminal"):
        return None
    try:
        pid = os.posix_spawnp(
            arguments[0],
            arguments,
            {**os.environ, **(request.get("environment") or {})},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, descriptor, target)
                for target, descriptor in enumerate(descriptors)
            ],
            setsid=True,
            setsigdef=(signal.SIGPIPE, signal.SIGINT),
        )
    except OSError:
        return None
    spare_from_memory_pressure(False, pid)
    return pid


def become(request: dict[str, Any], descriptors: tuple[int, int, int], terminal: bool) -> None:
    """Run the program in the child process. Does not return."""
    status = 127
    try:
        os.setsid()
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
        os.closerange(3, 1024)
        spare_from_memory_pressure(False)
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for number in (signal.SIGPIPE, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.environ.update(request.get("environment") or {})
        arguments = request["arguments"]
        if module := FORKED.get(arguments[0]):
            status = run_here(module, arguments)
        else:
            os.execvp(arguments[0], arguments)
    except OSError as error:
        reason = "command not found" if error.errno == errno.ENOENT else error.strerror
        os.write(2, f"{request['arguments'][0]}: {reason}\n".encode())
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        status = 99
    finally:
        os._exit(status)


def run_here(module: str, arguments: list[str]) -> int:
    """Run one of our commands in this process, like its console script; return its exit status."""
    # Python does this when it starts, but this process was forked.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.stdin = os.fdopen(0, "r", closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False, buffering=1 if os.isatty(1) else -1)
    sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1, errors="backslashreplace")
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)
    # A console script has its path from the kernel.
    sys.argv = [shutil.which(arguments[0]) or arguments[0], *arguments[1:]]
    status = 0
    try:
        sys.modules[module].main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    return status


class Agent:
    """Answers the requests on a port, and passes on the input and output of programs."""

    def __init__(self, port: str) -> None:
        self.port = os.open(port, os.O_RDWR)
        self.buffer = b""
        self.programs: dict[int, GuestProgram] = {}
        self.sources: dict[str, types.ModuleType] = {}

    def say(self, number: int, **message: Any) -> None:
        """Send a message, and wait until the host has taken it."""
        data = json.dumps({"id": number, **message}).encode() + b"\n"
        while data:
            data = data[os.write(self.port, data) :]

    def serve(self) -> None:
        """Answer requests without end."""
        woken, wake = os.pipe()
        for descriptor in (woken, wake):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            outputs = {fd: program for program in self.programs.values() for fd in program.outputs}
            hungry = {p.input: p for p in self.programs.values() if p.waiting and p.input >= 0}
            ready, takers, _ = select.select([self.port, woken, *outputs], [*hungry], [])
            if woken in ready:
                os.read(woken, 4096)
            for descriptor in takers:
                hungry[descriptor].feed()
            for number, program in list(self.programs.items()):
                for descriptor in [fd for fd in program.outputs if fd in ready]:
                    self.pass_on(number, program, descriptor)
            self.reap()
            if self.port in ready:
                self.receive()

    def pass_on(self, number: int, program: GuestProgram, descriptor: int) -> bool:
        """Send what a program has written; return whether there was anything."""
        try:
            data = os.read(descriptor, 1 << 15)
        except OSError:  # a terminal whose last user is gone
            data = b""
        if data:
            self.say(number, **{program.outputs[descriptor]: data.decode("latin-1")})
            return True
        del program.outputs[descriptor]
        if descriptor != program.input:
            os.close(descriptor)
        return False

    def reap(self) -> None:
        """Report programs that have ended, after all their output."""
        for number, program in list(self.programs.items()):
            pid, status = os.waitpid(program.pid, os.WNOHANG)
            if not pid:
                continue
            # Do not wait for a background job that still has the output open.
            for descriptor in list(program.outputs):
                while descriptor in program.outputs and readable(descriptor):
                    self.pass_on(number, program, descriptor)
            code = os.waitstatus_to_exitcode(status)
            self.say(number, status=code if code >= 0 else 128 - code)
            program.close()
            del self.programs[number]

    def receive(self) -> None:
        """Read requests, and carry them out."""
        data = os.read(self.port, 1 << 16)
        if not data:  # nobody is connected to the port just now
            select.select([], [], [], 0.01)
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            number = request["id"]
            try:
                getattr(self, f"do_{request['do']}")(number, request)
            except Exception:
                self.say(number, error=traceback.format_exc())

    def do_start(self, number: int, request: dict[str, Any]) -> None:
        """Start a program."""
        program = self.programs[number] = GuestProgram(request)
        self.say(number, pid=program.pid)

    def do_input(self, number: int, request: dict[str, Any]) -> None:
        """Give a program input, or the end of it."""
        program = self.programs.get(number)
        if program is None:
            return
        if request["text"] is None:
            program.ending = True
        else:
            program.waiting += request["text"].encode("latin-1")
        program.feed()

    def do_resize(self, number: int, request: dict[str, Any]) -> None:
        """Change the size of a program's terminal."""
        if program := self.programs.get(number):
            program.resize(request["rows"], request["columns"])

    def do_signal(self, number: int, request: dict[str, Any]) -> None:
        """Send a signal to a program's process group."""
        if program := self.programs.get(number):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, request["signal"])

    def do_call(self, number: int, request: dict[str, Any]) -> None:
        """Call a function of a Python source from the host; each source is run only once."""
        source = request["source"]
        if source not in self.sources:
            module = types.ModuleType("called")
            exec(compile(source, "called", "exec"), module.__dict__)
            self.sources[source] = module
        function = getattr(self.sources[source], request["function"])
        self.say(number, result=function(**request["arguments"]))


def spare_from_memory_pressure(spared: bool, pid: int | None = None) -> None:
    """Whether the kernel may end a process (this one), and those it forks, if memory runs out."""
    with (
        contextlib.suppress(FileNotFoundError),  # it has ended already
        open(f"/proc/{pid or 'self'}/oom_score_adj", "w") as file,
    ):
        file.write("-1000" if spared else "0")


def readable(descriptor: int) -> bool:
    """Whether there is something to read."""
    return bool(select.select([descriptor], [], [], 0)[0])


def import_all(package: str) -> None:
    """Import a package and all modules in it, but for the one that runs it as a program."""
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)


def main(port: str) -> None:
    """Import the programs of FORKED, report that the guest is ready, and serve requests."""
    spare_from_memory_pressure(True)
    os.chdir("/root")
    for module in FORKED.values():
        importlib.import_module(module)
    for package in FORKED_NEED:
        import_all(package)
    gc.collect()
    gc.freeze()
    agent = Agent(port)
    agent.say(0, ready=os.uname().release)
    agent.serve()


if __name__ == "__main__":
    main(sys.argv[1])
