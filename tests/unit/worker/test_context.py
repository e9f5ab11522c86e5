from dataclasses import replace

import pytest

from fleet.model import Host
from tests.unit.worker.fleets import context


@pytest.mark.parametrize(
    ("address", "bound"), [("127.0.0.3", "127.0.0.3"), ("10.0.0.1", "0.0.0.0"), ("alpha.example", "0.0.0.0")]
)
def test_a_host_on_loopback_shows_its_metrics_on_loopback_only(address: str, bound: str) -> None:
    declared = context()
    fleet = replace(declared.fleet, hosts=(Host(name="alpha", address=address),))
    assert replace(declared, fleet=fleet).metrics_address == bound
