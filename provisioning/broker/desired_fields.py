"""Which sections and fields may a `desired.json` have? The reference page is checked against these tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What a field may hold."""

    #: in words, after "must be"
    wanted: str
    #: Python's types of the JSON value; none at all for any value
    types: tuple[type, ...] = ()
    #: type of what a list holds, where a list may be given
    items: type | None = None
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of the document: the fields of its entries."""

    fields: Mapping[str, Field]
    #: fields that an error tells, to say which entry it means
    naming: tuple[str, ...]


TEXT = Field(wanted="a text", types=(str,))
NAME = Field(wanted="a text", types=(str,), required=True)
FLAG = Field(wanted="true or false", types=(bool,))
NUMBER = Field(wanted="a whole number", types=(int,))
TAGS = Field(wanted="a list of texts, or one text with commas", types=(str, list), items=str)
#: a broker exports empty objects as [], and some as lists of pairs
OBJECT = Field(wanted="an object", types=(dict, list), items=list)
OBJECT_REQUIRED = Field(wanted="an object", types=(dict, list), items=list, required=True)
ANY = Field(wanted="any value", required=True)

_POLICY = {
    "vhost": NAME,
    "name": NAME,
    "pattern": NAME,
    "apply-to": TEXT,
    "priority": NUMBER,
    "definition": OBJECT_REQUIRED,
}

SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        "vhosts": Section(
            naming=("name",),
            fields={
                "name": NAME,
                "description": TEXT,
                "tags": TAGS,
                "default_queue_type": TEXT,
                "limits": OBJECT,
                "metadata": OBJECT,
            },
        ),
        "users": Section(
            naming=("name",),
            fields={
                "name": NAME,
                "tags": TAGS,
                "password": TEXT,
                "password_hash": TEXT,
                "hashing_algorithm": TEXT,
                "limits": OBJECT,
            },
        ),
        "permissions": Section(
            naming=("user", "vhost"),
            fields={"vhost": NAME, "user": NAME, "configure": NAME, "write": NAME, "read": NAME},
        ),
        "topic_permissions": Section(
            naming=("user", "exchange", "vhost"),
            fields={"vhost": NAME, "user": NAME, "exchange": NAME, "write": NAME, "read": NAME},
        ),
        "policies": Section(naming=("name", "vhost"), fields=_POLICY),
        "operator_policies": Section(naming=("name", "vhost"), fields=_POLICY),
        "parameters": Section(
            naming=("name", "component", "vhost"),
            fields={"vhost": NAME, "component": NAME, "name": NAME, "value": ANY},
        ),
        "global_parameters": Section(naming=("name",), fields={"name": NAME, "value": ANY}),
        "exchanges": Section(
            naming=("name", "vhost"),
            fields={
                "vhost": NAME,
                "name": NAME,
                "type": NAME,
                "durable": FLAG,
                "auto_delete": FLAG,
                "internal": FLAG,
                "arguments": OBJECT,
            },
        ),
        "queues": Section(
            naming=("name", "vhost"),
            fields={
                "vhost": NAME,
                "name": NAME,
                "type": TEXT,
                "durable": FLAG,
                "auto_delete": FLAG,
                "arguments": OBJECT,
            },
        ),
        "bindings": Section(
            naming=("source", "destination", "vhost"),
            fields={
                "vhost": NAME,
                "source": NAME,
                "destination": NAME,
                "destination_type": TEXT,
                "routing_key": TEXT,
                "arguments": OBJECT,
            },
        ),
    }
)

#: what a broker says about itself in an export
IGNORED = frozenset(
    {
        "rabbit_version",
        "rabbitmq_version",
        "product_name",
        "product_version",
        "rabbitmq_definition_format",
        "original_cluster_name",
        "original_vhost_name",
        "explanation",
    }
)
