"""The state machine: random sequences of what chmem does and what happens to its machine, and what
must hold after each.

`judge.py` has what must hold of one command. Here is what must hold of several: a second run, the
forecast of a dry run, the way back, a kill, and what is to be there after a boot.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import lines
import workshop
from chmem_py.cli import chmem
from judge import PARTLY, Ran, Seen, as_asked, told_of
from layouts import UNIT
from lines import Draw, Line
from memsim.directory import Directory
from memsim.machine import TRANSITIONS, Fault
from simulated import Condition
from small_machines import description
from told import unlike, untrue
from trial import LAYOUTS, STEPS, Trial, hurry

BIG = [False]
"""Whether a big machine is taken."""
_SHARED = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_ERRORS = ("EBUSY", "ENOMEM", "EIO", "EAGAIN", "EINVAL")
_REPEATED = ("apply", "total")
data = st.data()


def run_chmem(*words: str) -> tuple[int, str, str]:
    return workshop.run_here(chmem, "chmem", *words)


_NOTHING_DONE = (
    *(" is in use: ", " is impossible: ", " does not have all these blocks"),
    " for the same memory is given in line ",
)


@dataclass
class Back:
    """What an undo must bring back."""

    blocks: dict[int, Condition]
    settings: dict[str, str]
    layout: tuple[str, str] | None = None
    """The text of the layout that chmem writes, before the change and after it."""
    perhaps: set[int] = field(default_factory=set)
    """Blocks of which it is not known."""


class States(RuleBasedStateMachine):
    """A machine, and what is expected of it."""

    @initialize(data=data)
    def begin(self, data: st.DataObject) -> None:
        self.place = tempfile.mkdtemp(dir=_SHARED, prefix="states-")
        self.home = os.getcwd()
        os.chdir(self.place)
        self.end_hurry = hurry()
        draw = Draw(data)
        self.trial = Trial(description(draw, BIG[0]))
        self.back: Back | None = None
        self.stays: dict[int, Condition] = {}
        """What --persistent promised."""
        self.killed: Seen | None = None
        """The machine before a command that was killed, until another one has mended it."""
        self.ends: list[Seen] = []
        """What an undo after that one may come to; anything if none is here."""
        if draw.chance(40):
            self.trial.run(Line("apply", {"install": None}))

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.end_hurry()
            os.chdir(self.home)
            shutil.rmtree(self.place)

    # chmem

    @rule(data=data)
    def command(self, data: st.DataObject) -> None:
        self._command(Draw(data), None)

    @rule(data=data)
    def another_command(self, data: st.DataObject) -> None:
        self._command(Draw(data), None)

    @rule(data=data)
    def a_third_command(self, data: st.DataObject) -> None:
        self._command(Draw(data), None)

    @rule(data=data)
    def undo(self, data: st.DataObject) -> None:
        draw = Draw(data)
        if self.back or self.killed or draw.chance(3):
            self._command(draw, "undo")

    @rule(data=data)
    def apply(self, data: st.DataObject) -> None:
        draw = Draw(data)
        self.trial.write_layout("l.toml", lines.layout(draw, self.trial.site))
        self._command(draw, "apply")

    @rule(data=data)
    def while_another_writes(self, data: st.DataObject) -> None:
        draw = Draw(data)
        self._mend()
        line = lines.line(draw, self.trial.site)
        path, word = self._foreign(draw)
        ran = self.trial.run(line, at=draw.number(1, 6), path=path, word=word)
        self._remember(ran)

    # What happens to the machine

    @rule(data=data)
    def fault(self, data: st.DataObject) -> None:
        draw = Draw(data)
        STEPS["fault"] += 1
        if draw.chance(20):
            self.trial.clear_faults()
            return
        fault = Fault(draw.one_of(_ERRORS), draw.one_of([1, None, 2]))
        transition, numbers = draw.one_of(TRANSITIONS), self.trial.site.numbers
        # A hypervisor that refuses one block most often refuses all.
        some = numbers[:64] if draw.chance(35) else [draw.one_of(numbers)]
        for number in some:
            self.trial.fault(transition, number, fault)

    @rule(data=data)
    def another_writes(self, data: st.DataObject) -> None:
        STEPS["another's write"] += 1
        self.trial.write(*self._foreign(Draw(data)))
        self.ends = []

    @rule(data=data)
    def plug(self, data: st.DataObject) -> None:
        draw = Draw(data)
        size = f"{draw.number(1, 2) * self.trial.block_size >> 20}M"
        kind = draw.one_of(["dimm", "virtio-mem", "cxl"])
        verb = draw.one_of(["plug", "unplug"])
        if not self.trial.kernel.machine.firmware:
            STEPS[verb] += 1
            self.trial.memsim(verb, "m", "--memory", size, "--as", kind)
            self.ends = []

    @rule(data=data)
    def layout(self, data: st.DataObject) -> None:
        draw = Draw(data)
        STEPS["layout"] += 1
        name = draw.one_of(["10-a.toml", "10-b.toml", "90-c.toml"])
        file = f"{LAYOUTS}/{name}"
        gone = file in self.trial.layouts and draw.chance(50)
        document = None if gone else lines.layout(draw, self.trial.site)
        self.trial.write_layout(file, document)

    @rule(data=data)
    def kill(self, data: st.DataObject) -> None:
        """chmem is killed; what it left is mended by the next one."""
        draw = Draw(data)
        self._mend()
        line = lines.line(draw, self.trial.site)
        changes, twin = self.trial.count_changes(line)
        if not changes:
            return
        before = self.trial.now()
        ran = self.trial.interrupt(line, "KILL", draw.number(1, changes))
        self.trial.check(ran is None, "not killed", f"{changes} changes")
        Directory(self.trial.root).settle()
        after = self.trial.now()
        if after.record != before.record:
            changed = {n: before.blocks[n] for n in before.blocks}
            # An undo goes on where it was ended.
            settings = {} if line.action == "undo" else before.settings
            self.back = Back({}, settings, None, set(changed))
            self.back.perhaps = set(before.blocks)
        if after.saved != before.saved or line.action == "uninstall":
            self.stays = {}
        self.killed = before
        self.ends = [before]
        if line.action == "undo":
            # It goes on, unless it was over.
            self.ends = [before, twin.after] if twin and twin.status == 0 else []
        if draw.chance(70):
            self._mend(twin)

    @rule(data=data)
    def signal(self, data: st.DataObject) -> None:
        draw = Draw(data)
        self._mend()
        line = lines.line(draw, self.trial.site)
        changes, _ = self.trial.count_changes(line)
        if not changes:
            return
        before = self.trial.now()
        name = draw.one_of(["TERM", "INT", "HUP"])
        ran = self.trial.interrupt(line, name, draw.number(1, changes))
        if line.action == "uninstall":
            self.stays = {}
        if ran is None:
            now = self.trial.now()
            self.trial.check(now.blocks == before.blocks, "signal", "ended at once, and changed")
            return
        if ran.status >= 128:
            numbers = {"HUP": 129, "INT": 130, "TERM": 143}
            self.trial.check(ran.status == numbers[name], "signal", f"status {ran.status}")
            before_, after = ran.before.blocks, ran.after.blocks
            told = untrue(ran.status, ran.document, before_, after) if ran.document else ()
            for reason in told:
                self.trial.fail("told after a signal", reason)
            self.trial.check("Traceback" not in ran.err, "traceback", ran.err)
            self.trial.check_files()
        else:
            self.trial.judged(ran)
        self._remember(ran)

    @rule(data=data)
    def reboot(self, data: st.DataObject) -> None:
        draw = Draw(data)
        if draw.chance(70):
            self.trial.clear_faults()
        self.trial.memsim("reboot", "m")
        STEPS["reboot"] += 1
        self.back, self.killed = None, None
        if not os.path.exists(f"m/{UNIT}"):
            reason = f"nothing applies the layout at boot: {sorted(self.stays)}"
            self.trial.check(not self.stays, "persistent", reason)
            return
        line = Line("apply", {"advice": "always", "timeout": "20", "json": None})
        ran = self.trial.run(line)
        self._remember(ran)
        kernel = self.trial.kernel
        if any(kernel.state.faults.values()):
            return
        for number, wanted in self.stays.items():
            now = ran.after.blocks.get(number)
            if now is not None and now.config is None and now.state == "absent":
                # What was plugged is gone after a boot.
                continue
            if now is not None and wanted.zone is None:
                now = now._replace(zone=None)
            if now is not None and now != wanted:
                reason = f"block {number} was {wanted}, and is {now}: {ran.status} {ran.said}"
                # Less may be online than before, so that none can be set offline. Of a layout that
                # takes too much, or that wants blocks which are not there, nothing is done.
                guarded = any(reason in ran.said for reason in _NOTHING_DONE)
                self.trial.check(guarded or told_of(ran, number), "persistent", reason)
                self.trial.check(ran.status, "persistent", reason)

    # Parts of these

    def _foreign(self, draw: Draw) -> tuple[str, str]:
        number = draw.one_of(self.trial.site.numbers)
        if self.trial.kernel.machine.firmware and draw.chance(30):
            return f"sys/firmware/memory/memory{number}/config", draw.one_of(["1", "0"])
        words = ["online", "offline", "online_movable", "online_kernel"]
        return f"sys/devices/system/memory/memory{number}/state", draw.one_of(words)

    def _command(self, draw: Draw, action: str | None) -> None:
        line = lines.line(draw, self.trial.site, action)
        forecast = draw.chance(25)
        mends = self.killed is not None
        if mends and line.action != "undo":
            self._mend()
            mends = False
        if mends:
            self._undo_after_kill(line)
            return
        # What the kernel itself tries and fails to set online, nobody is told.
        hidden = self.trial.kernel.state.auto_online_blocks != "offline" and any(
            self.trial.kernel.state.faults.values()
        )
        expected = self._forecast(line) if forecast and not hidden else None
        ran = self.trial.run(line, looking=not BIG[0])
        if expected:
            self._as_forecast(expected, ran)
        if line.action == "undo":
            self._undone(ran)
        self._remember(ran)
        self._again(ran)

    def _mend(self, twin: Ran | None = None) -> None:
        """A command that changes nothing mends what a killed one left."""
        before, self.killed = self.killed, None
        if before is None:
            return
        # What refuses to be brought back is told, and tried again.
        if any(self.trial.kernel.state.faults.values()):
            self.trial.clear_faults()
        at = self.trial.now()
        words = ("-s", "m", "--enable", "0")
        self.trial.script.append("chmem -s m --enable 0")
        status, out, err = run_chmem(*words)
        self.trial.check("Traceback" not in err, "traceback", err)
        now = self.trial.now()
        self.trial.check(status == 0, "mending", f"status {status}: {out}{err}")
        if "is left" in err:
            # The kernel refused, which is told; the next one would try again.
            self.trial.forget_half_done()
            return
        self.trial.check_files()
        for number, block in now.blocks.items():
            ends = [before.blocks[number]]
            if twin:
                ends.append(twin.after.blocks[number])
            if twin and twin.status == 0:
                half = all(unlike(block, end) for end in ends)
                reason = f"{number} is {block}, neither of {ends}; was {at.blocks[number]}"
                self.trial.check(not half, "half done", reason + err)

    def _undo_after_kill(self, line: Line) -> None:
        before, self.killed = self.killed, None
        assert before
        record = self.trial.now().record
        self.trial.script.append(f"chmem -s m {' '.join(line.words)}")
        status, out, err = run_chmem("-s", "m", *line.words)
        self.trial.check("Traceback" not in err, "traceback", err)
        if "dry-run" in line:
            self.killed = before
            return
        now = self.trial.now()
        if status == 0 and record != before.record:
            wrong = [
                [n for n, block in now.blocks.items() if unlike(block, end.blocks[n])]
                for end in self.ends
            ]
            reason = f"{wrong} are {now.blocks}, were {before.blocks}: {out}{err}"
            good = not self.ends or not all(wrong)
            self.trial.check(good, "undo after a kill", reason)
        self.back = Back({}, {}, None, set(now.blocks))
        self.stays = {}

    def _forecast(self, line: Line) -> Ran | None:
        if "dry-run" in line or "json" not in line:
            return None
        STEPS["forecast"] += 1
        return self.trial.run(line.with_("dry-run"), looking=False)

    def _as_forecast(self, expected: Ran, ran: Ran) -> None:
        """A dry run told what the run then did, where the kernel refused nothing."""
        if ran.refused_by_kernel or not (expected.document and ran.document):
            return
        for key in ("status", "bytes_changed", "blocks_already"):
            told, so = expected.document[key], ran.document[key]
            self.trial.check(told == so, "forecast", f"{key}: {told}, then {so}: {ran.said}")
        told = {block["block"]: block["after"] for block in expected.document["blocks"]}
        so = {block["block"]: block["after"] for block in ran.document["blocks"]}
        if not self.trial.kernel.machine.contiguous_zones or self._auto_movable:
            for block in (*told.values(), *so.values()):
                block["zone"] = None
        self.trial.check(told == so, "forecast", f"told {told}, is {so}: {ran.said}")

    @property
    def _auto_movable(self) -> bool:
        return self.trial.kernel.state.online_policy == "auto-movable"

    def _again(self, ran: Ran) -> None:
        """A second run writes nothing, where the first one did all, or what it could."""
        line = ran.line
        if line.action not in _REPEATED or "dry-run" in line or "install" in line:
            return
        if ran.status != 0 and (ran.refused_by_kernel or "json" not in line or ran.status == 1):
            return
        if ran.status and " in zone Movable, which would have more than " in ran.said:
            # What other entries have set online since may be enough for the one that was refused.
            return
        STEPS["second run"] += 1
        second = self.trial.run(line, looking=False)
        self.trial.check(second.after == ran.after, "second run", f"{second.said} after {ran.said}")
        # Of a total, what is asked the second time is only what is lacking; and a setting that was
        # written is not counted again.
        # What would take too much is refused as a whole.
        less = line.action == "total" or ran.before.settings != ran.after.settings
        less = less or " is in use: " in second.said
        good = second.status == ran.status or (less and second.status == 1)
        self.trial.check(good, "second run", f"{ran.status}, then {second.status}: {ran.said}")

    def _remember(self, ran: Ran) -> None:
        """What can be undone now, and what is to be there after a boot."""
        if "dry-run" in ran.line:
            return
        before, after = ran.before, ran.after
        moved = ran.moved
        settings = {
            key: word for key, word in before.settings.items() if after.settings[key] != word
        }
        layout = (before.saved, after.saved) if before.saved != after.saved else None
        zones = {n for n in after.blocks if before.blocks.get(n) != after.blocks[n]} - {*moved}
        if ran.line.action == "undo":
            self._remember_undo(ran)
        elif ran.line.action == "save":
            self.stays = {} if layout else self.stays
        elif moved or settings or layout:
            blocks = {n: before.blocks[n] for n in moved}
            self.back = Back(blocks, settings, layout, zones | {*ran.elsewhere})
        elif zones or ran.elsewhere:
            perhaps = zones | {*ran.elsewhere}
            self.back = Back({}, {}, None, {*after.blocks}) if perhaps else self.back
        if ran.elsewhere and self.back:
            self.back.perhaps = {*after.blocks}
        self._persisted(ran)

    def _persisted(self, ran: Ran) -> None:
        kept = (0,) if "all-or-nothing" in ran.line else (0, PARTLY)
        if "persistent" in ran.line and ran.line.action != "policy" and ran.status in kept:
            # Where no zone is asked for, each boot chooses one.
            stay = {n: ran.after.blocks[n] for n in ran.moved if as_asked(ran, n)}
            if "zone" not in ran.line:
                stay = {n: block._replace(zone=None) for n, block in stay.items()}
            self.stays |= stay
        rewritten = ran.before.saved != ran.after.saved and ran.line.action == "undo"
        if rewritten or ran.line.action == "uninstall":
            self.stays = {}
        if any(file.startswith(f"{LAYOUTS}/9") for file in self.trial.layouts) or ran.elsewhere:
            self.stays = {}

    def _remember_undo(self, ran: Ran) -> None:
        if self.back is None:
            return
        if ran.status == 0:
            before, after = ran.before, ran.after
            # Also one that only came into its old zone again.
            blocks = {n: was for n, was in before.blocks.items() if after.blocks.get(n) != was}
            settings = {
                key: word for key, word in before.settings.items() if after.settings[key] != word
            }
            layout = (before.saved, after.saved) if before.saved != after.saved else None
            if blocks or settings or layout:
                self.back = Back(blocks, settings, layout, self.back.perhaps)
        else:
            left = {
                n: was
                for n, was in self.back.blocks.items()
                if n not in ran.after.blocks or unlike(ran.after.blocks[n], was)
            }
            self.back = replace(self.back, blocks=left, settings={}, perhaps={*ran.after.blocks})

    def _undone(self, ran: Ran) -> None:
        """What an undo brought back, or said that it could not."""
        back = self.back
        if "dry-run" in ran.line:
            return
        if back is None:
            self.trial.check(ran.status == 1, "undo of nothing", f"{ran.status} {ran.said}")
            return
        for number, was in back.blocks.items():
            now = ran.after.blocks.get(number)
            if number in back.perhaps or now == was:
                continue
            told = told_of(ran, number)
            reason = f"block {number} was {was}, is {now}: {ran.status} {ran.said}"
            if now is None or unlike(now, was):
                # As a whole it is undone, or not at all.
                told = told or "all-or-nothing" in ran.line or ran.status == 1
                self.trial.check(ran.status, "undo", reason)
                self.trial.check(told, "undo", reason)
            else:
                self.trial.check(told or ran.status == 1, "undo into another zone", reason)
        if ran.status == 0:
            for key, word in back.settings.items():
                self.trial.check(ran.after.settings[key] == word, "undo of a setting", ran.said)
            if back.layout and ran.before.saved == back.layout[1]:
                same = ran.after.saved == back.layout[0]
                self.trial.check(same, "undo of a layout", ran.said)
