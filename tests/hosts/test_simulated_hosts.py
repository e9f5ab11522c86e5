"""Hosts that a benchmark simulates answer as a real one does: the same questions, asked of both."""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from fleet.hosts.material import gather
from fleet.hosts.target import target_of
from fleet.ops.hosts import open_runner
from fleet.ops.provision_hosts import Releases, plan_one, release_cache
from provisioning.hosts.runner import Ran, Runner
from provisioning.hosts.sending import ARGV
from tests.hosts.site import Site
from tests.simulated_hosts import request_in, world

#: what is another on each host, and no part of a plan
COMES_AND_GOES = ("status", "since", "run")


class Noting:
    """Passes everything on to ``inner``, and notes what was asked and answered."""

    def __init__(self, inner: Runner) -> None:
        self.name = inner.name
        self.inner = inner
        self.said: list[tuple[tuple[str, ...], bytes, bytes]] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        sent = b"".join(stdin)
        ran = self.inner.run(argv, stdin=(sent,), as_root=as_root, timeout_seconds=timeout_seconds)
        self.said.append((tuple(argv), sent, ran.stdout))
        return ran

    def close(self) -> None:
        self.inner.close()


def test_a_simulated_host_answers_what_a_real_one_does_that_was_provisioned_from_nothing(
    provisioned: Site,
) -> None:
    fleet = provisioned.load()
    host = fleet.hosts[0]
    releases = Releases(fleet=fleet, cache=release_cache(provisioned.environ))
    material = gather(fleet, host.name, environ=os.environ)
    runner = Noting(open_runner(fleet, host))
    change = plan_one(fleet, runner, material, releases=releases)
    runner.close()
    assert change.is_empty
    ((asked, sent, answer),) = runner.said
    release = releases.build(target_of(json.loads(answer)["runtime"]))
    assert asked == ARGV
    simulated = world(fleet, host.name, release, material).answer(request_in(sent)["asked"])
    assert _lasting(simulated) == _lasting(json.loads(answer))


def _lasting(said: dict[str, Any]) -> dict[str, Any]:
    for unit in said["units"].values():
        assert {type(unit.pop(name)) for name in COMES_AND_GOES} == {str, float}
    # The same spaces are told of, each with its own room.
    return {**said, "free": sorted(said["free"])}
