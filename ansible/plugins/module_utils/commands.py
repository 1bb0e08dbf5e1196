# Copyright (c) 2026 The memory-hotplug-tools authors
# MIT License (see LICENSE or https://opensource.org/license/mit)
# SPDX-License-Identifier: MIT

"""Find lsmem and chmem of memory-hotplug-tools on the target, and run them."""

from __future__ import annotations

import json
import os

from ansible.module_utils.basic import AnsibleModule

PLACES = (
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/lib/memory-hotplug-tools/bin",
    "/opt/memory-hotplug-tools/bin",
)
"""Where installations put the commands that util-linux's do not hide."""

TARGET = {"sysroot": {"type": "path", "default": "/"}, "directory": {"type": "path"}}
"""The options that both modules have."""

MARK = "from memory-hotplug-tools "
"""What --version says; util-linux's commands say something else."""


def find(module: AnsibleModule, name: str) -> str:
    """The path of the command NAME: the directory of the option I(directory), or the first place
    that has it."""
    directory = module.params["directory"]
    places = [directory] if directory else [*PLACES, *os.environ.get("PATH", "").split(os.pathsep)]
    for place in places:
        path = os.path.join(place, name)
        if os.access(path, os.X_OK):
            status, out, _stderr = module.run_command([path, "--version"])
            if status == 0 and MARK in out:
                return path
    return module.fail_json(
        msg=f"{name} of memory-hotplug-tools is not in {directory or ', '.join(places)}"
    )


def run(module: AnsibleModule, words: list[str], data: str | None = None) -> dict:
    """The JSON document that a command writes, whatever its exit status is."""
    status, out, err = module.run_command(words, data=data)
    try:
        return json.loads(out)
    except ValueError:
        return module.fail_json(
            msg=err.strip() or f"{words[0]} ended with status {status}", rc=status
        )
