#!/usr/bin/python

# Copyright (c) 2026 The memory-hotplug-tools authors
# MIT License (see LICENSE or https://opensource.org/license/mit)
# SPDX-License-Identifier: MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: memory_info
short_description: Read which memory of a machine is online
version_added: 0.1.0
description:
  - Lists the memory blocks of a Linux machine, as C(lsmem --json --typed) of memory-hotplug-tools
    does.
  - Contiguous blocks that agree are one range.
author:
  - The memory-hotplug-tools authors (!UNKNOWN)
options:
  all:
    description:
      - Whether each block is a range of its own.
    type: bool
    default: false
  persistent:
    description:
      - Whether each range also says if it is as the memory layout of the target says, V(yes),
        V(differs) or V(no), where no entry matches it.
    type: bool
    default: false
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - memory_hotplug.tools.target
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: linux
seealso:
  - module: memory_hotplug.tools.memory_layout
"""

EXAMPLES = r"""
- name: Read the memory
  memory_hotplug.tools.memory_info:
  register: found

- name: Say how much is online
  ansible.builtin.debug:
    msg: "{{ found.memory.total_online | human_readable }}"
"""

RETURN = r"""
memory:
  description:
    - The document of C(lsmem --json --typed).
    - C(lsmem --json --typed --json-schema) on the target has its JSON Schema, with a description of
      each key.
  type: dict
  returned: success
  contains:
    schema_version:
      description: The version of the document. It grows when playbooks that read it must change.
      type: int
      returned: success
    block_size:
      description: The size of a memory block in bytes.
      type: int
      returned: success
    total_online:
      description: The bytes that are online.
      type: int
      returned: success
    total_offline:
      description: The bytes that are not online.
      type: int
      returned: success
    ranges:
      description: The ranges of blocks that agree, with their status, node, zones, and more.
      type: list
      elements: dict
      returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memory_hotplug.tools.plugins.module_utils.commands import (
    TARGET,
    find,
    run,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "all": {"type": "bool", "default": False},
            "persistent": {"type": "bool", "default": False},
            **TARGET,
        },
        supports_check_mode=True,
    )
    words = [find(module, "lsmem"), "--sysroot", module.params["sysroot"], "--json", "--typed"]
    if module.params["all"]:
        words.append("--all")
    if module.params["persistent"]:
        words.append("--output=+PERSISTENT")
    module.exit_json(changed=False, memory=run(module, words))


if __name__ == "__main__":
    main()
