"""Which settings of plugins does a broker hold (shovels, federation upstreams), and how are they compared?"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from provisioning.broker.resource import BrokerObject
from provisioning.plan import FieldDiff

#: the broker's own global parameters, made once for each cluster
BROKERS_OWN_PARAMETERS = frozenset({"internal_cluster_id"})
#: components of runtime parameters that are fields or objects of their own here
VHOST_LIMITS, OPERATOR_POLICY = "vhost-limits", "operator_policy"
MASK = "***"
#: up to the last `@` before the path, for a password may hold one that nobody has encoded
_PASSWORD_IN_URI = re.compile(r"(?<=://)([^/\s:@]*):[^/\s]*@")
_WORDS = "password|passphrase|secret|token"
_SECRET_KEY = re.compile(_WORDS, re.IGNORECASE)
#: such as the password of a key in the query of an `amqps://` URI
_SECRET_IN_QUERY = re.compile(rf"([?&][^=&#\s]*(?:{_WORDS})[^=&#\s]*=)[^&#\s]*", re.IGNORECASE)


class Json:
    """A frozen JSON value; equal to another when the broker cannot tell them apart either.

    A parameter that was set over HTTP is stored as a list of pairs and exported by `rabbitmqctl` as one, and
    an empty object as an empty list: such lists equal the objects that they were.
    """

    def __init__(self, value: object) -> None:
        self.value = value
        self._canonical = json.dumps(_as_stored(value), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Json) and self._canonical == other._canonical

    def __hash__(self) -> int:
        return hash(self._canonical)

    def __repr__(self) -> str:
        return f"Json({json.dumps(masked(self.plain()), sort_keys=True)})"

    def plain(self) -> object:
        """Return the value in the one form in which it is compared."""
        return json.loads(self._canonical)


class _Setting(BrokerObject):
    """An object whose one field is a JSON value that may hold passwords."""

    __slots__ = ()
    KIND = "parameter"
    value: Json

    def differences(self, actual: Self) -> tuple[FieldDiff, ...]:
        """Return whether the value differs, with its passwords masked."""
        if self.value == actual.value:
            return ()
        before, after = masked(actual.value.plain()), masked(self.value.plain())
        if before == after:
            return (FieldDiff(name="value", before=None, after=None, secret=True),)
        return (FieldDiff(name="value", before=before, after=after),)

    def facts(self) -> Mapping[str, object]:
        """Return the value in the one form in which it is compared."""
        return {"value": self.value.plain()}

    def shown(self) -> Mapping[str, object]:
        """Return the value with its passwords masked."""
        return {"value": masked(self.value.plain())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter(_Setting):
    """A runtime parameter of a plugin in a vhost, such as a shovel or a federation upstream."""

    KIND = "parameter"
    IDENTIFYING = ("vhost", "component", "name")
    LABEL = "parameter {name} of {component} in vhost {vhost}"
    vhost: str
    component: str
    name: str
    value: Json

    def is_beside(self, other: "Parameter") -> bool:
        """Tell whether the other one is of the same component, in the same vhost."""
        return (self.vhost, self.component) == (other.vhost, other.component)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalParameter(_Setting):
    """A runtime parameter of the whole cluster; nobody's own, so never pruned."""

    KIND = "global parameter"
    IDENTIFYING = ("name",)
    LABEL = "global parameter {name}"
    name: str
    value: Json


def masked(value: object, *, key: str = "") -> object:
    """Return ``value`` without the passwords of its URIs, nor what keys like `password` hold."""
    if isinstance(value, Mapping):
        return {name: masked(item, key=name) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, key=key) for item in value]
    if value and _SECRET_KEY.search(key):
        return MASK
    if not isinstance(value, str):
        return value
    return _SECRET_IN_QUERY.sub(rf"\1{MASK}", _PASSWORD_IN_URI.sub(rf"\1:{MASK}@", value))


def _as_stored(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _as_stored(item) for name, item in value.items()} or []
    if not isinstance(value, list):
        return value
    if value and all(_is_pair(item) for item in value):
        return _as_stored({item[0]: item[1] for item in value})
    return [_as_stored(item) for item in value]


def _is_pair(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)
