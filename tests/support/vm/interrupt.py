"""Runs in the guest: sends a signal to a command while the kernel tries to set a block offline.

`python3 interrupt.py BLOCK SIGNAL COMMAND...` waits until the state of the block is going-offline;
on standard output comes a JSON object with the command's status, stdout and stderr.
"""

import json
import signal
import subprocess
import sys
import time

STATE = "/sys/devices/system/memory/memory{}/state"


def main() -> None:
    """Run, wait, interrupt."""
    block, name, *command = sys.argv[1:]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        with open(STATE.format(block)) as state:
            if state.read() == "going-offline\n":
                process.send_signal(signal.Signals[name])
                break
        time.sleep(0.05)
    stdout, stderr = process.communicate()
    json.dump({"status": process.returncode, "stdout": stdout, "stderr": stderr}, sys.stdout)


if __name__ == "__main__":
    main()
