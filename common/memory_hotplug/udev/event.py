"""How udev goes through the rules for one event of a block, in all the ways that are possible.

Where a match cannot be known, udev goes on in two ways: past the rule, and through it. A jump that
may be taken leads to its label, and the rules before that are still gone through in the other way.
"""

import re
from collections.abc import Iterable, Iterator

from memory_hotplug.attribute import TABLE, Attribute
from memory_hotplug.udev.facts import NOTHING, Values
from memory_hotplug.udev.matches import Event, expanded, holds, parents_hold, place_of, stable
from memory_hotplug.udev.programs import may_write, of_memory, output_of
from memory_hotplug.udev.syntax import Rule, RuleFile, Token, TokenKind
from memory_hotplug.udev.world import MOST_WORLDS, RulePlace, World, fewer, limited

__all__ = ["ONLINE", "Course"]

_WORDS = TABLE[Attribute.STATE].words
ONLINE = tuple(word for word in _WORDS if word != "offline")
"""The words that set a block online."""

_MANY_STEPS = 100_000
"""After so many steps fewer ways are told apart, so that no file takes long."""


class Course:
    """Goes through rules, and keeps which of them may set the block online."""

    def __init__(self, files: Iterable[RuleFile], event: Event, *, changes: bool) -> None:
        """Without CHANGES the block stays as it is whatever a rule writes: so each rule is found,
        also behind another that sets the block online before it."""
        self._files = files
        self._event = event
        self._changes = changes
        self.found: dict[RulePlace, set[str]] = {}
        """The rules, and the words that they may write; none for a program."""
        self.applied: set[int] = set()
        """The first lines of the rules of which all matches may hold. For one file."""
        self._place: RulePlace
        """Of the rule whose turn it is."""
        self._steps = 0

    def worlds(self, start: World) -> list[World]:
        """What may be after all rules, and the programs that they run."""
        live = [start]
        for file in self._files:
            live = self._through(file, live)
        for world in live:
            self._run(world)
        return live

    def _through(self, file: RuleFile, live: list[World]) -> list[World]:
        jumped: dict[int, list[World]] = {}
        for index, rule in enumerate(file.rules):
            live += jumped.pop(index, [])
            if not live:
                continue
            self._place = RulePlace(f"/{file.path}", rule.line, rule.last)
            after: list[World] = []
            for world in live:
                # What not all releases of udev read may not be there.
                if not (file.sure and rule.sure):
                    after.append(world.copy())
                for done, applied in self._apply(rule, 0, world):
                    if applied:
                        self.applied.add(rule.line)
                    if applied and rule.target is not None:
                        jumped.setdefault(rule.target, []).append(done)
                    else:
                        after.append(done)
            live = self._fewer(after)
            if rule.target is not None and len(jumped.get(rule.target, ())) > 2 * MOST_WORLDS:
                jumped[rule.target] = self._fewer(jumped[rule.target])
        return live

    def _fewer(self, worlds: list[World]) -> list[World]:
        self._steps += len(worlds)
        return fewer(worlds, MOST_WORLDS if self._steps < _MANY_STEPS else 1)

    def _apply(self, rule: Rule, at: int, world: World) -> Iterator[tuple[World, bool]]:
        """The worlds after a rule, from a token on, and whether all its matches hold in each."""
        while at < len(rule.tokens):
            token = rule.tokens[at]
            if token.kind > TokenKind.RESULT:
                todo = [world]
                for one in rule.tokens[at:]:
                    todo = [after for before in todo for after in self._set(one, before)]
                yield from ((after, True) for after in todo)
                return
            if token.kind.of_parents:
                group = [one for one in rule.tokens if one.kind.of_parents]
                found, match = parents_hold(group, world, self._event), ""
                at += len(group) - 1
            else:
                found, match = self._match(token, world)
            if found is None:
                holds_if = token.equal or not _has_opposite(token)
                yield world.assume(match, not holds_if), False
                world = world.assume(match, holds_if)
            elif not found:
                yield world, False
                return
            at += 1
        yield world, True

    def _match(self, token: Token, world: World) -> tuple[bool | None, str]:
        """Whether a match holds, and its name in `World.known`; what it runs is done."""
        if TokenKind.PROGRAM <= token.kind <= TokenKind.IMPORT_PARENT:
            found = self._do(token, world)
            return (None if found is None else found is token.equal), ""
        match = stable(token, self._event)
        if match in world.known:
            return world.known[match] is (token.equal or not _has_opposite(token)), match
        return holds(token, world, self._event), match

    # What runs something

    def _do(self, token: Token, world: World) -> bool | None:
        """Run a program, or import variables; whether that succeeds."""
        if token.kind in (TokenKind.PROGRAM, TokenKind.IMPORT_PROGRAM):
            return self._program(token, world)
        if token.kind is TokenKind.IMPORT_CMDLINE:
            value = self._event.facts.parameter(token.value)
            if value is not False:
                world.set(token.value, value)
            return None if value is None else value is not False
        plain = not re.search(r"[*?\[$%]", token.value)
        if token.kind is TokenKind.IMPORT_DB or (token.kind is TokenKind.IMPORT_PARENT and plain):
            world.set(token.value, None)
        elif token.kind is TokenKind.IMPORT_FILE:
            self._forget(world)
        else:
            hidden = {name: value for name, value in world.variables.items() if name[0] == "."}
            world.variables, world.others = hidden, None
        return None

    def _program(self, token: Token, world: World) -> bool | None:
        commands = expanded(token.value, world, self._event)
        if self._may_write(token.value):
            self._note(())
            world.touched = True
            world.cache = dict.fromkeys(world.cache)
        found: tuple[bool | None, Values] = (None, None)
        if commands is not None and len(commands) == 1:
            found = output_of(min(commands), self._event.facts)
        if token.kind is TokenKind.IMPORT_PROGRAM:
            self._forget(world)
        else:
            world.result = found[1]
        return found[0]

    def _forget(self, world: World) -> None:
        """Any variable may have any value now, that for systemd, too."""
        world.variables, world.others, world.wants = {}, None, self._place

    def _may_write(self, command: str) -> bool:
        """Whether a command may set a block online: any may for a block, but for other devices only
        one that speaks of memory."""
        return may_write(command) and (not self._event.elsewhere or of_memory(command))

    def _note(self, words: Iterable[str]) -> None:
        self.found.setdefault(self._place, set()).update(words)

    # What is set

    def _set(self, token: Token, world: World) -> Iterable[World]:
        """The worlds after an assignment."""
        if token.kind is TokenKind.SET_ATTR:
            return self._write(token, world)
        if token.kind is TokenKind.SET_ENV:
            self._set_variable(token, world)
        elif token.kind is TokenKind.SET_TAG:
            self._set_tag(token, world)
        elif token.kind in (TokenKind.RUN_PROGRAM, TokenKind.RUN_BUILTIN) and not world.final:
            if token.operator != "+=":
                world.commands = frozenset()
            world.final = token.operator == ":="
            if token.kind is TokenKind.RUN_PROGRAM and self._may_write(token.value):
                world.commands = world.commands | {self._place}
        return [world]

    def _set_variable(self, token: Token, world: World) -> None:
        value: Values = NOTHING
        if token.value:
            value = expanded(token.value, world, self._event)
        elif token.operator == "+=":
            return
        if token.operator == "+=":
            before = world.variable(token.name)
            if before is None or value is None:
                value = None
            else:
                value = limited(f"{a} {b}" if a else b for a in before for b in value)
        world.set(token.name, value)
        if token.name == "SYSTEMD_WANTS" and value != NOTHING:
            world.wants = self._place

    def _set_tag(self, token: Token, world: World) -> None:
        names = expanded(token.value, world, self._event)
        if token.operator == "=":
            world.tags, world.other_tags = {}, False
        if names is None or len(names) != 1:
            world.other_tags = None
        else:
            world.tag(min(names), token.operator != "-=")

    def _write(self, token: Token, world: World) -> list[World]:
        """The worlds after a write to an attribute."""
        place = place_of(token.name)
        if place is None or (self._event.elsewhere and not place.startswith("*")):
            return [world]
        values = expanded(token.value, world, self._event)
        words: set[str | None] = set(ONLINE) | {None}
        if values is not None:
            words = {_word(place.removeprefix("*"), value) for value in values}
        if place.startswith("*"):
            words.add(None)
        online = frozenset(word for word in words if word in ONLINE)
        after: list[World] = []
        if online:
            self._note(online)
            after.append(self._set_online(world.copy(), online))
        if "offline" in words or values is None:
            after += self._set_offline(world)
        if None in words:
            # Nothing is written, or what the kernel refuses.
            after.append(world)
        return after

    def _set_online(self, world: World, words: frozenset[str]) -> World:
        world.reached |= {self._place}
        if not self._changes:
            return world
        if not world.online:
            world.words = words
            world.by = frozenset({self._place})
        world.touched = False
        # Some releases show what was written until the next event.
        world.cache = dict.fromkeys(world.cache) | {"state": words | {"online"}}
        return world

    def _set_offline(self, world: World) -> list[World]:
        """A block that is online may go offline, or be in use."""
        if not world.online or not self._changes:
            return [world]
        offline = world.copy()
        offline.words, offline.by = frozenset(), frozenset()
        offline.cache = dict.fromkeys(world.cache) | {"state": frozenset({"offline"})}
        kept = world.copy()
        kept.cache = dict.fromkeys(world.cache) | {"state": frozenset({"online"})}
        return [offline, kept]

    # After all rules

    def _run(self, world: World) -> None:
        """Run programs, and units of systemd, when udev has gone through all rules."""
        places = set(world.commands)
        if self._event.elsewhere:
            world.wants = None
        units = world.variable("SYSTEMD_WANTS") != NOTHING
        if units and world.wants and (world.tags.get("systemd") or world.other_tags is None):
            places.add(world.wants)
        for place in places:
            self.found.setdefault(place, set())
        world.touched = world.touched or bool(places)


def _has_opposite(token: Token) -> bool:
    """Whether == and != never both fail. They do for an attribute that is not there."""
    return token.kind is not TokenKind.ATTR


def _word(attribute: str, value: str) -> str | None:
    """What a write to `state` or `online` asks for; None for what the kernel refuses
    (drivers/base/memory.c, state_store; drivers/base/core.c, online_store)."""
    text = value.rstrip("\n")
    if attribute == "state":
        return text if text in _WORDS else None
    if text[:1] in tuple("1yYtT") or text[:2].lower() == "on":
        return "online"
    if text[:1] in tuple("0nNfF") or text[:2].lower() == "of":
        return "offline"
    return None
