#!/usr/bin/python

# Copyright (c) 2026 The memory-hotplug-tools authors
# MIT License (see LICENSE or https://opensource.org/license/mit)
# SPDX-License-Identifier: MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: memory_layout
short_description: Set memory online or offline, configure or deconfigure it
version_added: 0.1.0
description:
  - Brings the memory of a Linux machine to a layout with the fewest writes, as C(chmem --apply) of
    memory-hotplug-tools does.
  - The options are the keys of a file in memory-layout.d(5).
  - What it changes is gone after the next boot of the target.
author:
  - The memory-hotplug-tools authors (!UNKNOWN)
options:
  memory:
    description:
      - What is wanted of which memory. Of the entries that match a block, the last one counts.
      - A block that no entry matches is left alone.
      - Each entry needs one of O(memory[].blocks), O(memory[].range), O(memory[].node) and
        O(memory[].size).
    type: list
    elements: dict
    default: []
    suboptions:
      blocks:
        description:
          - Block numbers and ranges of them, with commas between, such as V(0-3,7).
        type: str
      range:
        description:
          - Ranges of physical addresses in whole blocks, such as V(0x80000000-0xffffffff). The last
            address belongs to the range.
        type: str
      node:
        description:
          - A NUMA node.
        type: int
      size:
        description:
          - So much of the memory that the other keys allow, such as V(8G). It is a floor.
        type: str
      from:
        description:
          - With O(memory[].size), whether the lowest or the highest of such blocks are chosen.
        type: str
        choices: [lowest, highest]
      state:
        description:
          - What becomes of the memory. V(deconfigured) memory is given back to the hypervisor, on
            machines such as s390.
          - The default is V(online).
        type: str
        choices: [online, offline, deconfigured]
      zone:
        description:
          - The zone that online memory is to be in. Memory in another zone is set offline and
            online again.
        type: str
        choices: [DMA, DMA32, Normal, Highmem, Movable]
      memmap_on_memory:
        description:
          - Whether the struct pages of the memory are in the memory itself.
        type: bool
      missing:
        description:
          - What to do if the machine has less. With V(wait), the default, the module changes what
            is there and fails; with V(ignore) it does not fail; with V(error) it changes nothing.
        type: str
        choices: [wait, ignore, error]
  policy:
    description:
      - What becomes of memory that is added later.
    type: dict
    suboptions:
      auto_online:
        description:
          - Whether, and in which zone, added memory is set online.
        type: str
        choices: ['offline', 'online', 'online_kernel', 'online_movable']
      online_policy:
        description:
          - How the kernel chooses the zone.
        type: str
        choices: [contig-zones, auto-movable]
      auto_movable_ratio:
        description:
          - How much Movable memory there may be, in percent of the rest.
        type: int
      auto_movable_numa_aware:
        description:
          - Whether that also counts for each node.
        type: bool
  keep_free:
    description:
      - Memory is only taken away if so much stays available, such as V(2G).
    type: str
  force:
    description:
      - Take memory away however much of it is in use.
    type: bool
    default: false
  all_or_nothing:
    description:
      - Undo all changes if a block fails.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds setting one block offline may take.
    type: float
  retry:
    description:
      - How often a busy block is tried again.
    type: int
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - memory_hotplug.tools.target
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: linux
seealso:
  - module: memory_hotplug.tools.memory_info
"""

EXAMPLES = r"""
- name: 64 GiB are online in zone Movable
  memory_hotplug.tools.memory_layout:
    memory:
      - size: 64G
        zone: Movable

- name: What the hypervisor keeps stays there, but for 8 GiB
  memory_hotplug.tools.memory_layout:
    memory:
      - range: 0x100000000-0x4ffffffff
        state: deconfigured
      - size: 8G
        range: 0x100000000-0x4ffffffff
        memmap_on_memory: true

- name: Memory that is added later can be taken away again
  memory_hotplug.tools.memory_layout:
    policy:
      auto_online: online_movable
"""

RETURN = r"""
bytes_changed:
  description: The size of the memory that was changed, in bytes.
  type: int
  returned: always
messages:
  description: What C(chmem) had to say; the key V(messages) of RV(result).
  type: list
  elements: dict
  returned: always
  contains:
    code:
      description: The name of the message, which stays when its words change.
      type: str
      returned: always
    text:
      description: The message in words.
      type: str
      returned: always
    advice:
      description: What to do now. It is empty if nothing is known.
      type: str
      returned: always
    values:
      description: The values that the words are made of, such as V(size) in bytes.
      type: dict
      returned: always
result:
  description:
    - The document of C(chmem --json).
    - C(chmem --json-schema) on the target has its JSON Schema, with a description of each key.
  type: dict
  returned: always
  contains:
    schema_version:
      description: The version of the document. It grows when playbooks that read it must change.
      type: int
      returned: always
    outcome:
      description: V(done), V(partial), V(failed) or V(interrupted).
      type: str
      returned: always
    blocks:
      description: Each block that was changed or that failed, before and afterwards.
      type: list
      elements: dict
      returned: always
    settings:
      description: The settings that were to be written.
      type: list
      elements: dict
      returned: always
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memory_hotplug.tools.plugins.module_utils.commands import (
    TARGET,
    find,
    run,
)

ENTRY = {
    "blocks": {"type": "str"},
    "range": {"type": "str"},
    "node": {"type": "int"},
    "size": {"type": "str"},
    "from": {"type": "str", "choices": ["lowest", "highest"]},
    "state": {"type": "str", "choices": ["online", "offline", "deconfigured"]},
    "zone": {"type": "str", "choices": ["DMA", "DMA32", "Normal", "Highmem", "Movable"]},
    "memmap_on_memory": {"type": "bool"},
    "missing": {"type": "str", "choices": ["wait", "ignore", "error"]},
}
POLICY = {
    "auto_online": {
        "type": "str",
        "choices": ["offline", "online", "online_kernel", "online_movable"],
    },
    "online_policy": {"type": "str", "choices": ["contig-zones", "auto-movable"]},
    "auto_movable_ratio": {"type": "int"},
    "auto_movable_numa_aware": {"type": "bool"},
}
ARGUMENTS = {
    "memory": {"type": "list", "elements": "dict", "default": [], "options": ENTRY},
    "policy": {"type": "dict", "options": POLICY},
    "keep_free": {"type": "str"},
    "force": {"type": "bool", "default": False},
    "all_or_nothing": {"type": "bool", "default": False},
    "timeout": {"type": "float"},
    "retry": {"type": "int"},
    **TARGET,
}


def given(values: dict) -> dict:
    """Of a dictionary, what was given."""
    return {key: value for key, value in values.items() if value is not None}


def layout_of(params: dict) -> str:
    """The layout as JSON."""
    layout = {"version": 1, "memory": [given(entry) for entry in params["memory"]]}
    if params["policy"]:
        layout["policy"] = given(params["policy"])
    if params["keep_free"] is not None:
        layout["keep_free"] = params["keep_free"]
    return json.dumps(layout)


def command_line(module: AnsibleModule) -> list[str]:
    params = module.params
    words = [find(module, "chmem"), "--sysroot", params["sysroot"], "--apply", "-", "--json"]
    words += ["--force"] if params["force"] else []
    words += ["--all-or-nothing"] if params["all_or_nothing"] else []
    words += ["--timeout", str(params["timeout"])] if params["timeout"] is not None else []
    words += ["--retry", str(params["retry"])] if params["retry"] is not None else []
    return words + (["--dry-run"] if module.check_mode else [])


def condition(state: dict) -> str:
    """What lsmem would say of a block, in words."""
    words = [state["state"]]
    if state["configured"] is False:
        words = ["deconfigured"]
    elif state["zone"]:
        words.append(state["zone"])
    if state["memmap_on_memory"] is not None:
        words.append("memmap on memory" if state["memmap_on_memory"] else "no memmap on memory")
    return ", ".join(words)


def sides(document: dict, moment: str) -> str:
    """The blocks that were touched, and the settings, before or after: contiguous blocks that agree
    are one line."""
    runs = []
    for block in sorted(document["blocks"], key=lambda row: row["block"]):
        number, text = block["block"], condition(block[moment])
        if runs and runs[-1][1] == number - 1 and runs[-1][2] == text:
            runs[-1][1] = number
        else:
            runs.append([number, number, text])
    lines = []
    for first, last, text in runs:
        numbers = str(first) if first == last else f"{first}-{last}"
        lines.append(f"memory{numbers}: {text}")
    for setting in document["settings"]:
        value = setting["value" if moment == "after" and setting["changed"] else "before"]
        lines.append(f"{setting['setting']}: {value}")
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    document = run(module, command_line(module), data=layout_of(module.params))
    before, after = sides(document, "before"), sides(document, "after")
    result = {
        "changed": before != after,
        "bytes_changed": document["bytes_changed"],
        "messages": document["messages"],
        "result": document,
        "diff": {"before": before, "after": after},
    }
    if document["status"]:
        said = [part for one in document["messages"] for part in (one["text"], one["advice"])]
        message = "; ".join(filter(None, said)) or f"chmem: {document['outcome']}"
        module.fail_json(msg=message, rc=document["status"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
