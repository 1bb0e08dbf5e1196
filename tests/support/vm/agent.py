"""The guest's side of the command channel; it runs inside the virtual machine, on the standard
library and the s390 guest's agent alone.

Both directions carry frames: the length in bytes as decimal digits, a newline, and so many bytes of
zlib-compressed JSON (the channel is a serial line, on which every byte is dear under emulation).
Bytes that are not UTF-8 travel as surrogate escapes. One request is answered before the next is
read.
"""

import base64
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tty
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from guest.agent import FORKED, run_here

# What a machine's memory consists of in sysfs. Of a node only the links to its memory and to what
# lists it.
TREES = (
    "/sys/devices/system/memory",
    "/sys/devices/system/node",
    "/sys/firmware/memory",
    "/sys/module/memory_hotplug/parameters",
)


def read_frame(channel: BinaryIO) -> Any:
    """The next message; EOFError when the other side is gone."""
    length = channel.readline()
    if not length:
        raise EOFError
    return json.loads(zlib.decompress(channel.read(int(length))))


def write_frame(channel: BinaryIO, message: Any) -> None:
    """Send one message."""
    body = zlib.compress(json.dumps(message).encode())
    channel.write(b"%d\n" % len(body) + body)
    channel.flush()


OURS = "/opt/ours/bin/"
"""The directory of the commands under test."""

SHELL = frozenset(";|&$<>()*?`\"'\\\n")
"""With one of these characters, the shell must carry out a command."""


def run(command: str, stdin: str, timeout: float) -> dict[str, Any]:
    """Run a shell command in a process group of its own; a status of None when the time was up and
    it was killed.

    Our commands run in a fork of this process, which imports them once: an import takes a second
    under emulation.
    """
    words = command.split(" ")
    module = FORKED.get(words[0].removeprefix(OURS))
    if module and words[0].startswith(OURS) and SHELL.isdisjoint(command) and not stdin:
        return run_forked(module, [word for word in words if word], timeout)
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        errors="surrogateescape",
    )
    status: int | None
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        status = None
    return {"status": status, "stdout": stdout, "stderr": stderr}


def run_forked(module: str, words: list[str], timeout: float) -> dict[str, Any]:
    """Run one of our commands in a fork of this process."""
    importlib.import_module(module)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDONLY)
            for target, descriptor in enumerate((nothing, out.fileno(), err.fileno())):
                os.dup2(descriptor, target)
            os.closerange(3, 1024)
            os._exit(run_here(module, words))
        end, status, ended = time.monotonic() + timeout, None, 0
        while not ended:
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
            ended, raw = os.waitpid(child, os.WNOHANG)
            status = os.waitstatus_to_exitcode(raw) if ended else None
            if not ended:
                time.sleep(0.005)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="surrogateescape"))
    return {"status": status, "stdout": texts[0], "stderr": texts[1]}


def put(path: str, data: str, mode: int) -> dict[str, Any]:
    """Write a file from base64 text, with the directories above it."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(base64.b64decode(data))
    file.chmod(mode)
    return {}


def snapshot() -> dict[str, Any]:
    """Every file and link of the memory sysfs; a file that cannot be read is left out, as is one
    that goes away."""
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    for tree in TREES:
        for directory, names, leaves in os.walk(tree):
            names[:] = [name for name in names if name != "power"]
            for name in [*names, *leaves]:
                path = os.path.join(directory, name)
                try:
                    if os.path.islink(path):
                        links[path] = os.readlink(path)
                    elif name in leaves and name != "uevent":
                        with open(path, "rb") as file:
                            files[path] = file.read().decode(errors="surrogateescape")
                except OSError:
                    continue
    return {"files": files, "links": links}


REQUESTS: dict[str, Callable[..., dict[str, Any]]] = {"run": run, "put": put, "snapshot": snapshot}


def serve(device: str) -> None:
    """Answer requests on a character device until the other side is gone."""
    descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(descriptor)
    with os.fdopen(descriptor, "rb", closefd=False) as requests:
        answers = os.fdopen(descriptor, "wb")
        write_frame(answers, {"ready": os.uname().release})
        while True:
            message = read_frame(requests)
            request = REQUESTS[message.pop("request")]
            try:
                answer = request(**message)
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            write_frame(answers, answer)


if __name__ == "__main__":
    serve(sys.argv[1])
