"""What do all objects of a broker share: frozen arguments, an identity, differences, an order?"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, ClassVar, Self

from provisioning.plan import FieldDiff, Identity

#: in the order in which they are made. A topic permission only ever restricts, so it comes before the
#: permission that it restricts: no user is ever, however briefly, less limited than declared.
KINDS = (
    "global parameter",
    "vhost",
    "user",
    "topic permission",
    "permission",
    "parameter",
    "operator policy",
    "policy",
    "exchange",
    "queue",
    "binding",
)


class Arguments(Mapping[str, Any]):
    """Frozen JSON arguments of a queue, exchange, binding or policy; equal when their JSON is."""

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        self._values = dict(values or {})

    @cached_property
    def canonical(self) -> str:
        """The arguments as JSON with sorted keys."""
        return _canonical(self._values) if self._values else "{}"

    def plain(self) -> dict[str, object]:
        """Return the arguments as a dictionary of the caller's own."""
        return dict(self._values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Arguments):
            return False
        return _all_same(self._values, other._values) or self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __repr__(self) -> str:
        return f"Arguments({self.canonical})"


NO_ARGUMENTS = Arguments()


class BrokerObject:
    """An object with an identity from some of its fields and differences in the others."""

    __slots__ = ()
    KIND: ClassVar[str]
    RANK: ClassVar[int]
    UPDATABLE: ClassVar[bool] = True
    #: fields that make the object itself
    IDENTIFYING: ClassVar[tuple[str, ...]]
    #: what an operator calls it, with fields in braces
    LABEL: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.RANK = KINDS.index(cls.KIND)

    @property
    def identity(self) -> Identity:
        """Kind and key."""
        # Asked for twice for each object of a plan, so the fields are read at once.
        values = _reader(self.IDENTIFYING)(self)
        return (self.KIND, *[value if type(value) is str else _key(value) for value in values])

    @property
    def label(self) -> str:
        """What an operator calls it."""
        return self.LABEL.format_map({name: _key(getattr(self, name)) for name in self.IDENTIFYING})

    @property
    def requires(self) -> tuple[Identity, ...]:
        """Objects with which this one disappears."""
        return ()

    def differences(self, actual: Self) -> tuple[FieldDiff, ...]:
        """Return the fields of ``actual`` that are not as this object wants them."""
        # Nearly every object is as desired; what is equal field by field needs no closer look.
        if all(_same(getattr(self, name), getattr(actual, name)) for name in self._telling()):
            return ()
        mine, theirs = self.facts(), actual.facts()
        return tuple(
            FieldDiff(name=name, before=theirs[name], after=mine[name])
            for name in mine
            if _canonical(mine[name]) != _canonical(theirs[name])
        )

    def facts(self) -> Mapping[str, object]:
        """Return every field besides the identity as JSON-like values."""
        return {
            name: value if isinstance(value := getattr(self, name), str | bool) else _plain(value)
            for name in self._telling()
        }

    def shown(self) -> Mapping[str, object]:
        """Return the fields that are not as is usual."""
        usual = self._telling()
        return {name: value for name, value in self.facts().items() if getattr(self, name) != usual[name]}

    def _telling(self) -> Mapping[str, object]:
        """Return the fields besides the identity, with their defaults."""
        return _usual(type(self))  # type: ignore[arg-type]  # a class is hashable, whatever its instances are


@cache
def _usual(cls: type[Any]) -> Mapping[str, object]:
    return {f.name: f.default for f in fields(cls) if f.name not in cls.IDENTIFYING}


@cache
def _reader(names: tuple[str, ...]) -> Callable[[object], tuple[Any, ...]]:
    """Return what reads these fields of an object."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda of: tuple(getattr(of, name) for name in names)


def _same(one: object, other: object) -> bool:
    """Tell whether two values of a field are the same beyond doubt: 1 equals True, but is another JSON."""
    return one is other or (type(one) is type(other) and one == other)


def _all_same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Tell whether two mappings are the same beyond doubt, without a look into what is nested in them."""
    return len(one) == len(other) and all(
        name in other and type(value) in (str, int, bool) and _same(value, other[name])
        for name, value in one.items()
    )


def _key(value: object) -> str:
    if isinstance(value, Arguments):
        return value.canonical
    return value if isinstance(value, str) else _canonical(_plain(value))


#: one encoder for all: `json.dumps` makes a new one at each call
_canonical = json.JSONEncoder(sort_keys=True).encode


def _plain(value: object) -> object:
    if isinstance(value, Arguments):
        return value.plain()
    return list(value) if isinstance(value, tuple) else value
