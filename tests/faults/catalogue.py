"""Which measurements are there? Each case on each broker and with each settings that it is for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults import network, outages, processes, traffic
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
                    perform=lambda grounds, directory, case=case, release=release, settings=settings: perform(  # type: ignore[misc]
                        case, grounds.broker(release), settings, directory
                    ),
                )
    for release in RELEASES:
        for each in HOST_CASES:
            yield Measurement(
                case=each.name,
                release=release,
                settings="fleet",
                needs_lab=True,
                perform=lambda grounds, directory, case=each, release=release: perform_on_hosts(  # type: ignore[misc]
                    case, grounds, release, directory
                ),
            )
