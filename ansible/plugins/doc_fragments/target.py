# Copyright (c) 2026 The memory-hotplug-tools authors
# MIT License (see LICENSE or https://opensource.org/license/mit)
# SPDX-License-Identifier: MIT

"""The documentation of the options that both modules have."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - memory-hotplug-tools on the target
options:
  sysroot:
    description:
      - The directory of a simulated machine on the target, in place of the target itself.
    type: path
    default: /
  directory:
    description:
      - The directory that the commands of memory-hotplug-tools are in.
      - By default they are looked for where the ways to install them put them, and then in E(PATH).
    type: path
"""
