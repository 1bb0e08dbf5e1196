"""Files of udev rules made at random, of the parts that real ones have."""

import random
from collections.abc import Callable

__all__ = ["ONLINE_PROGRAM", "QUIET_PROGRAM", "UNIT", "random_rules"]

ONLINE_PROGRAM = "/usr/local/sbin/enable-block"
"""A program in the guest: sets the block that it is given online."""
QUIET_PROGRAM = "/usr/local/sbin/report-block"
"""A program in the guest that changes nothing."""
UNIT = "memory-online@%k.service"
"""A unit in the guest that sets a block online."""

WORDS = ("online", "online", "online_movable", "online_kernel", "offline", "onlin")


class _Maker:
    """One file. NUMBERS are the blocks that it may name."""

    def __init__(self, chance: random.Random, numbers: tuple[int, ...]) -> None:
        self._chance = chance
        self._numbers = numbers
        self._labels: list[str] = []

    def file(self) -> str:
        chance = self._chance
        lines: list[str] = []
        if chance.random() < 0.5:
            lines += ['SUBSYSTEM!="memory", GOTO="end"', 'ACTION!="add", GOTO="end"']
        for _ in range(chance.randint(2, 7)):
            lines.append(self._line())
            if self._labels and chance.random() < 0.4:
                lines.append(f'LABEL="{self._labels.pop(chance.randrange(len(self._labels)))}"')
        if chance.random() < 0.75:
            lines.append(self._setter())
        chance.shuffle(self._labels)
        lines += [f'LABEL="{label}"' for label in self._labels if chance.random() < 0.9]
        lines.append('LABEL="end"')
        return "\n".join(lines) + "\n"

    def _pick(self, *makers: Callable[[], str]) -> str:
        return self._chance.choice(makers)()

    def _line(self) -> str:
        matches = [self._match() for _ in range(self._chance.choice((0, 1, 1, 1, 2, 2, 3)))]
        done = [self._action()] if self._chance.random() < 0.95 else []
        if self._chance.random() < 0.1:
            done.append(self._action())
        tokens = matches + done
        if self._chance.random() < 0.1:
            self._chance.shuffle(tokens)
        return self._written(tokens)

    def _written(self, tokens: list[str]) -> str:
        gap = self._chance.choice((", ", ", ", ", ", ",", "  ", ", \\\n  ", ", \\\n# said\n  "))
        line = gap.join(tokens)
        return f"  {line}" if self._chance.random() < 0.1 else line

    def _setter(self) -> str:
        guard = self._chance.choice(
            ('SUBSYSTEM=="memory"', 'KERNEL=="memory[0-9]*"', 'SUBSYSTEM=="memory", ACTION=="add"')
        )
        state = self._chance.choice(
            ('ATTR{state}=="offline"', 'ATTR{state}!="online"', 'TEST=="state"')
        )
        return self._written([guard, state, self._online()])

    # Matches

    def _match(self) -> str:
        one = self._chance.choice(
            (
                *(self._subsystem, self._action_of, self._kernel, self._kernel, self._constant),
                *(self._attribute, self._attribute, self._dmi, self._parents, self._test),
                *(self._program, self._variable, self._variable, self._odd, self._imported),
            )
        )
        return one()

    def _key(self, key: str, values: tuple[str, ...]) -> str:
        value = self._chance.choice(values)
        operator = "==" if self._chance.random() < 0.7 else "!="
        form = self._chance.random()
        if form < 0.06:
            return f'{key}{operator}i"{value.upper()}"'
        if form < 0.1:
            return f'{key}{operator}e"{value}"'
        return f'{key}{" " if form > 0.95 else ""}{operator}"{value}"'

    def _subsystem(self) -> str:
        return self._key("SUBSYSTEM", ("memory", "mem*", "cpu", "memory|cpu", "cpu|net", "?*", "*"))

    def _action_of(self) -> str:
        return self._key(
            "ACTION", ("add", "add|change", "remove", "online", "a*", "[!r]*", "change")
        )

    def _kernel(self) -> str:
        number = self._chance.choice(self._numbers)
        text = str(number)
        names = (
            f"memory{number}",
            f"memory{text[:-1]}[{text[-1]}-9]",
            f"memory{text[:-1]}[!{text[-1]}]",
            f"memory{text[:-1]}[^{text[-1]}]",
            f"memory{number}|memory{number + 1}",
            "memory4[01]",
            "memory12[89]|memory1[3-8][0-9]",
            "memory[0-9]*",
            "memory?",
            "memory??",
            "memory[[:digit:]]*",
            "cpu[0-9]*|memory[0-9]*",
            "memory",
        )
        if self._chance.random() < 0.25:
            return self._key("DEVPATH", tuple(f"*/{name}" for name in names))
        return self._key("KERNEL", names)

    def _constant(self) -> str:
        if self._chance.random() < 0.5:
            return self._key(
                "CONST{arch}", ("x86-64", "x86*", "s390*", "arm64|s390x", "x86_64", "ppc*")
            )
        return self._key(
            "CONST{virt}", ("none", "qemu", "kvm|qemu", "vmware", "?*", "xen|microsoft")
        )

    def _attribute(self) -> str:
        key, values = self._chance.choice(
            (
                ("state", ("offline", "online", "off*", "online*", "on*|off*", "")),
                ("online", ("0", "1", "[01]", "?")),
                ("removable", ("1", "0")),
                ("valid_zones", ("*Movable*", "none", "Normal")),
                ("phys_device", ("0", "1")),
                ("idVendor", ("1d6b", "*", "")),
                ("../auto_online_blocks", ("offline", "online", "online*")),
                ("../block_size_bytes", ("8000000", "*")),
            )
        )
        return self._key(f"ATTR{{{key}}}", values)

    def _dmi(self) -> str:
        key, values = self._chance.choice(
            (
                ("sys_vendor", ("QEMU", "Xen", "VMware*", "Microsoft Corporation", "Q*|X*")),
                ("product_name", ("Standard PC*", "Virtual Machine", "*")),
                ("nothing", ("x", "*")),
            )
        )
        return self._key(f"ATTR{{[dmi/id]{key}}}", values)

    def _parents(self) -> str:
        return self._chance.choice(
            (
                self._key("ATTRS{auto_online_blocks}", ("offline", "online", "*")),
                self._key("ATTRS{block_size_bytes}", ("8000000", "10000000")),
                self._key("ATTRS{state}", ("offline", "online")),
                self._key("ATTRS{idVendor}", ("1d6b", "*")),
                self._key("KERNELS", ("memory", "memory[0-9]*", "cpu0", "pci*")),
                self._key("SUBSYSTEMS", ("memory", "usb", "?*", "")),
                self._key("DRIVERS", ("", "?*", "e1000")),
            )
        )

    def _test(self) -> str:
        return self._key(
            "TEST",
            ("state", "online", "nothing", "valid_zones", "node0", "power/control",
             "/sys/devices/system/memory/auto_online_blocks", "/sys/firmware/memory",
             "/sys/devices/system/memory", "/nothing", "../block_size_bytes"),
        ).replace('i"', '"')  # fmt: skip

    def _program(self) -> str:
        one = self._chance.choice(
            (
                'PROGRAM="/usr/bin/uname -m", RESULT{}="{}"',
                'PROGRAM="/bin/uname -m", RESULT{}="{}"',
                'PROGRAM=="/usr/bin/systemd-detect-virt", RESULT{}="{}"',
                'PROGRAM="/bin/echo x86_64 none", RESULT{}="{}"',
                'PROGRAM="/bin/sh -c \'uname -m\'", RESULT{}="{}"',
                f'PROGRAM="{QUIET_PROGRAM} %k", RESULT{{}}="{{}}"',
            )
        )
        if self._chance.random() < 0.2:
            word = self._chance.choice(("/bin/true", "/bin/false", "/usr/bin/nothing", "true"))
            return self._key("PROGRAM", (word,)).replace('i"', '"').replace(word.upper(), word)
        value = self._chance.choice(("x86_64", "s390*", "qemu", "none", "?*", "x86*|i?86", ""))
        return one.format(self._chance.choice("==!"), value).replace("===", "==")

    def _variable(self) -> str:
        name = self._chance.choice((".state", ".go", "MEMORY", "UNSET", "ACTION", "SUBSYSTEM"))
        return self._key(
            f"ENV{{{name}}}", ("online*", "yes", "", "?*", "*", "add", "memory", "no|")
        )

    def _odd(self) -> str:
        return self._chance.choice(
            (
                self._key("TAG", ("systemd", "mine", "*")),
                self._key("TAGS", ("mine",)),
                self._key("NAME", ("", "?*")),
                self._key("SYMLINK", ("x*",)),
                self._key("DRIVER", ("", "?*")),
                self._key("RESULT", ("", "x86_64")),
                self._key("SYSCTL{kernel.arch}", ("x86_64", "s390x")),
            )
        )

    def _imported(self) -> str:
        text = self._chance.choice(
            (
                '{program}="/bin/echo MEMORY=yes"',
                "{program}=\"/bin/sh -c 'echo .state=online'\"",
                '{builtin}="path_id"',
                '{builtin}="hwdb"',
                '{cmdline}="movable_node"',
                '{cmdline}="quiet"',
                '{cmdline}="nothing"',
                '{db}="MEMORY"',
                '{parent}="SUBSYSTEM"',
                '{file}="/etc/memory.env"',
                '{file}="/nothing"',
            )
        )
        return f"IMPORT{text}"

    # What is done

    def _action(self) -> str:
        one = self._chance.choice(
            (
                *(self._online, self._online, self._online, self._goto, self._goto, self._goto),
                *(self._assigned, self._assigned, self._run, self._unit, self._other),
            )
        )
        return one()

    def _online(self) -> str:
        word = self._chance.choice(WORDS)
        roll = self._chance.random()
        if roll < 0.12:
            return f'ATTR{{online}}="{self._chance.choice("1101yn")}"'
        if roll < 0.3:
            what = self._chance.choice(("$env{.state}", "%E{.state}", "$result", "$attr{state}"))
            return f'ATTR{{state}}="{what}"'
        if roll < 0.36:
            return f'ATTR{{state}}=e"{word}"'
        return f'ATTR{{state}}="{word}"'

    def _goto(self) -> str:
        if self._chance.random() < 0.5:
            return 'GOTO="end"'
        label = f"l{len(self._labels)}{self._chance.randrange(100)}"
        self._labels.append(label)
        return f'GOTO="{label}"'

    def _assigned(self) -> str:
        name = self._chance.choice((".state", ".state", ".go", "MEMORY"))
        operator = self._chance.choice(("=", "=", "=", "+=", ":="))
        value = self._chance.choice((*WORDS, "yes", "", "%k", "$attr{state}", "$env{.state}"))
        return f'ENV{{{name}}}{operator}"{value}"'

    def _run(self) -> str:
        key = self._chance.choice(("RUN", "RUN", "RUN{program}"))
        operator = self._chance.choice(("+=", "+=", "+=", "=", ":="))
        command = self._chance.choice(
            (
                f"{ONLINE_PROGRAM} %k",
                f"{QUIET_PROGRAM} %k",
                "/bin/sh -c 'echo online > /sys$devpath/state'",
                "/bin/sh -c '[ -f /sys$devpath/state ] && echo online > /sys$devpath/state'",
                "/bin/sh -c 'echo online_movable > /sys%p/state'",
                "/bin/sh -c 'echo %k >> /tmp/heard'",
                "/bin/true",
                "",
            )
        )
        return f'{key}{operator}"{command}"'

    def _unit(self) -> str:
        tag = 'TAG+="systemd", ' if self._chance.random() < 0.7 else ""
        return f'{tag}ENV{{SYSTEMD_WANTS}}{self._chance.choice(("+=", "="))}"{UNIT}"'

    def _other(self) -> str:
        return self._chance.choice(
            (
                *('TAG+="mine"', 'TAG="mine"', 'TAG-="mine"', 'OPTIONS="nowatch"', 'NAME="x"'),
                *('SYMLINK+="x"', 'MODE="0600"', 'OPTIONS="string_escape=none"', 'BOGUS="1"'),
                *(
                    'RUN{builtin}+="kmod load nothing"',
                    'SYSCTL{vm.swappiness}="60"',
                    'ATTR{nothing}="1"',
                ),
                *('ATTR{[memory/memory99]state}="online"', 'LABEL="twice"', 'GOTO="nowhere"'),
            )
        )


def random_rules(seed: object, numbers: tuple[int, ...]) -> str:
    """The text of a file; the same for the same seed. NUMBERS are blocks that it may name."""
    return _Maker(random.Random(str(seed)), numbers).file()
