"""Memory blocks for sos report 4.9 and later, https://github.com/sosreport/sos.

Copy this file into the directory of sos's plugins, for example to
/usr/lib/python3/dist-packages/sos/report/plugins. It runs with all others, or alone:
sos report --only-plugins memory_hotplug
"""

import os

from sos.report.plugins import IndependentPlugin, Plugin

PLACES = (
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/lib/memory-hotplug-tools/bin",
    "/opt/memory-hotplug-tools/bin",
)
"""Where memory-hotplug-tools may be. In /usr/bin, memsim is ours, and lsmem util-linux's."""


def command(name: str, *places: str) -> str | None:
    """The first place that has a command of memory-hotplug-tools."""
    paths = (f"{place}/{name}" for place in (*PLACES, *places))
    return next((path for path in paths if os.access(path, os.X_OK)), None)


class MemoryHotplug(Plugin, IndependentPlugin):
    """Which memory is online, offline or not configured, and what decides it."""

    short_desc = "Memory blocks and memory hotplug"
    plugin_name = "memory_hotplug"
    profiles = ("system", "hardware", "memory")
    packages = ("memory-hotplug-tools",)
    files = ("/sys/devices/system/memory",)

    def setup(self) -> None:
        self.add_copy_spec(
            [
                "/etc/memory-layout.d",
                "/etc/udev/rules.d/10-memory-layout.rules",
                "/etc/systemd/system/memory-layout.service",
                "/sys/module/memory_hotplug/parameters",
                "/sys/devices/system/memory/auto_online_blocks",
                "/sys/devices/system/memory/block_size_bytes",
            ]
        )
        self.add_cmd_output("systemctl status memory-layout.service")
        lsmem, memsim = command("lsmem"), command("memsim", "/usr/bin")
        if lsmem:
            self.add_cmd_output(
                [
                    f"{lsmem} --output-all",
                    f"{lsmem} --json --typed",
                    f"{lsmem} --policy",
                    f"{lsmem} --holes",
                    f"{lsmem} --explain",
                    f"{lsmem} --diff layout",
                ]
            )
        if memsim:
            # One archive: `lsmem -s` lists it, `memsim create --capture` makes a machine like it.
            directory = self.get_cmd_output_path()
            self.add_cmd_output(f"{memsim} capture {directory}/memory.tar.gz")
