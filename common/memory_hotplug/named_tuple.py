"""typing.NamedTuple, without the import of typing.

Every start of lsmem or chmem makes dozens of these classes. The module typing takes longer to
import than they take to make, and is for type checkers only. namedtuple() of collections compiles
a function for each class; here all have the same functions, and are made in a fourth of the time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NamedTuple
else:
    from collections import _tuplegetter

    class _Named(tuple):
        """What all named tuples have."""

        __slots__ = ()

        def __new__(cls, *values: object, **named: object) -> _Named:
            if named or len(values) != len(cls._fields):
                values = _completed(cls, values, named)
            return tuple.__new__(cls, values)

        _make = classmethod(tuple.__new__)

        def _replace(self, **named: object) -> _Named:
            replaced = self._make(map(named.pop, self._fields, self))
            if named:
                raise _no_such(type(self), named)
            return replaced

        __replace__ = _replace

        def _asdict(self) -> dict[str, object]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            fields = (f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({', '.join(fields)})"

        def __getnewargs__(self) -> tuple[object, ...]:
            return tuple(self)

    def _completed(
        cls: type[_Named], values: tuple[object, ...], named: dict[str, object]
    ) -> tuple[object, ...]:
        """The values of all fields. Raises TypeError for fields that are missing, or too many."""
        rest = cls._fields[len(values) :]
        given = cls._field_defaults | named
        try:
            completed = (*values, *map(given.pop, rest))
        except KeyError as missing:
            raise TypeError(f"{cls.__name__} needs the field {missing}") from None
        if given and (wrong := named.keys() - set(rest)):
            raise _no_such(cls, wrong)
        if len(values) > len(cls._fields):
            raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, not {len(values)}")
        return completed

    def _no_such(cls: type[_Named], names: Iterable[str]) -> TypeError:
        return TypeError(f"{cls.__name__} does not take {', '.join(sorted(names))} here")

    class _Maker(type):
        """Makes the named tuple that the body of a class describes."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            # The module of the class has `from __future__ import annotations`.
            fields = tuple(body["__annotations__"])
            defaults = {field: body[field] for field in fields if field in body}
            for index, field in enumerate(fields):
                body[field] = _tuplegetter(index, None)
            body.update(
                __slots__=(), _fields=fields, _field_defaults=defaults, __match_args__=fields
            )
            return type(name, (_Named,), body)

    class NamedTuple(metaclass=_Maker):
        """The base of a class whose annotations are the fields of a named tuple."""


__all__ = ["NamedTuple"]
