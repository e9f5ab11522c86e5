"""Which measurements are there? Each case on each broker and with each settings that it is for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults import network, outages, processes, traffic
from tests.faults.case import FLEET, Case, HostCase
from tests.faults.grounds import Grounds
from tests.faults.performing import Measured, perform, perform_on_hosts
from tests.hosts.lab.brokers import RELEASES
from tests.hosts.lab.system import machine_suite

BROKER_CASES = (*processes.CASES, *outages.CASES, *traffic.CASES)
HOST_CASES = network.CASES
#: the order of the table
ORDER = tuple(case.name for case in (*BROKER_CASES, *HOST_CASES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One row of the table, yet to be measured."""

    case: str
    release: str
    settings: str
    perform: Callable[[Grounds, Path], Measured]
    #: whether it takes hosts, or a broker that this machine's Debian has not
    needs_lab: bool

    @property
    def title(self) -> str:
        """How it is called in messages, and chosen by."""
        return f"{self.case} / {RELEASES[self.release].version} / {self.settings}"


def measurements() -> Iterator[Measurement]:
    """Yield every measurement, those that share a ground one after the other."""
    for release in RELEASES:
        for case in BROKER_CASES:
            for settings in case.settings:
                yield Measurement(
                    case=case.name,
                    release=release,
                    settings=settings,
                    needs_lab=RELEASES[release].suite != machine_suite(),
                    perform=partial(_on_broker, case, release, settings),
                )
    for release in RELEASES:
        for each in HOST_CASES:
            yield Measurement(
                case=each.name,
                release=release,
                settings=FLEET,
                needs_lab=True,
                perform=partial(_on_hosts, each, release),
            )


def _on_broker(case: Case, release: str, settings: str, grounds: Grounds, directory: Path) -> Measured:
    return perform(case, grounds.broker(release), settings, directory)


def _on_hosts(case: HostCase, release: str, grounds: Grounds, directory: Path) -> Measured:
    return perform_on_hosts(case, grounds, release, directory)
