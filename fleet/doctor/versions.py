"""Is the broker's release series still looked after?

Ends of community support: endoflife.date/rabbitmq (as of 2026-03), but for 3.10 the notes of release 3.10.24
(github.com/rabbitmq/rabbitmq-server/releases/tag/v3.10.24). Debian goes on mending its own packages: 3.10.8
in Debian 12, 4.0.5 in Debian 13. So the end of a series is a warning, never a failure.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from types import MappingProxyType

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, ok, unknown, warn

#: release series → its last day with community support; None means that no end was known
SUPPORT_ENDS: Mapping[tuple[int, int], date | None] = MappingProxyType(
    {
        (3, 8): date(2022, 7, 31),
        (3, 9): date(2023, 1, 31),
        (3, 10): date(2023, 7, 31),
        (3, 11): date(2023, 6, 1),
        (3, 12): date(2024, 2, 21),
        (3, 13): date(2024, 9, 17),
        (4, 0): date(2025, 4, 15),
        (4, 1): date(2026, 1, 30),
        (4, 2): None,
    }
)
#: the versions that Debian ships, and mends
DEBIAN = MappingProxyType({"3.10.8": "Debian 12", "4.0.5": "Debian 13"})
#: oldest version that provisioning and workers are tested against
OLDEST = (3, 10)


def _version(facts: Facts) -> Iterator[Verdict]:
    version = facts.version or ()
    text, series = ".".join(map(str, version)), version[:2]
    if series < OLDEST:
        yield warn(f"RabbitMQ {text} is older than what fleet is tested against", "upgrade to 3.10 or later")
    elif series not in SUPPORT_ENDS:
        yield unknown(
            f"RabbitMQ {text} is newer than this fleet knows",
            "see https://www.rabbitmq.com/release-information",
        )
    elif (end := SUPPORT_ENDS[(series[0], series[1])]) is None or facts.now.date() <= end:
        yield ok(f"RabbitMQ {text}" + (f", with community support until {end}" if end else ""))
    else:
        packaged = DEBIAN.get(text)
        keeps = (
            f"; if it is {packaged}'s package, Debian's security updates are what mends it"
            if packaged
            else ""
        )
        yield warn(
            f"RabbitMQ {text}: community support of its series ended on {end}",
            f"plan the upgrade, one series at a time{keeps}",
        )


VERSION = Check(
    name="version", about="is the release series still supported?", needs=("version",), run=_version
)
