"""How is a case performed, and what did it come to?"""

from dataclasses import dataclass
from pathlib import Path

from tests.broker import BrokerVhost
from tests.faults.brokers import FaultyBroker
from tests.faults.case import FLEET, Case, HostCase
from tests.faults.grounds import Grounds
from tests.faults.stage import Result, Stage
from tests.faults.subjects import FleetSubject, PlainSubject, Subject
from tests.faults.table import Row, row
from tests.faults.tally import problems
from tests.hosts.lab.brokers import RELEASES


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A case that was performed."""

    row: Row
    #: what is wrong with ours; of others nothing is expected
    problems: tuple[str, ...]


def perform(case: Case, broker: FaultyBroker, settings: str, directory: Path) -> Measured:
    """Perform ``case`` and return what it came to. Raises StageFailed when it could not be staged."""
    vhost = (
        BrokerVhost.name_only(broker.node, directory)
        if settings == FLEET
        else BrokerVhost.create(broker.node, directory)
    )
    try:
        subject: Subject = (
            FleetSubject.create(vhost, short=case.short)
            if settings == FLEET
            else PlainSubject.create(vhost, settings)
        )
        result = _on_stage(case, broker, Stage(subject=subject, directory=directory))
    finally:
        vhost.delete()
    return _measured(case, broker.version, subject, result)


def perform_on_hosts(case: HostCase, grounds: Grounds, release: str, directory: Path) -> Measured:
    """Perform ``case`` on hosts of the lab. Raises StageFailed, LabFailed."""
    cluster, stage = grounds.cluster(release), grounds.stage(release, directory)
    try:
        try:
            case.act(stage, cluster)
            result = stage.finish(seconds=case.settle_seconds)
        finally:
            stage.close()
    finally:
        stage.subject.vhost.delete()
    return _measured(case, RELEASES[release].version, stage.subject, result)


def _measured(case: Case | HostCase, version: str, subject: Subject, result: Result) -> Measured:
    is_ours = isinstance(subject, FleetSubject)
    running = case.reruns if case.running is None else case.running
    return Measured(
        row=row(case.name, version, subject.name, result.tally, result.recovered),
        problems=problems(result.tally, reruns=case.reruns, running=running, resent=case.resent)
        if is_ours
        else (),
    )


def _on_stage(case: Case, broker: FaultyBroker, stage: Stage) -> Result:
    try:
        case.act(stage, broker)
        return stage.finish(seconds=case.settle_seconds)
    finally:
        stage.close()
