"""`fleet provision adopt` describes a broker of each release, one node or three, as well as the other."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import fleetfile
from fleet.ops.adopt import Source, adopt_broker, wish_of
from fleet.ops.provision import plan_broker, provision_broker
from tests.broker import BrokerNode, BrokerVhost, hosts_and_workers


@pytest.fixture
def named(each_broker: BrokerNode, tmp_path: Path) -> Iterator[BrokerVhost]:
    """A vhost that provisioning makes, on one node of each release."""
    made = BrokerVhost.name_only(each_broker, tmp_path)
    try:
        yield made
    finally:
        made.delete()


#: what each profile adds to [broker], but for directories
PROFILES = {"least-privilege": "", "per-host": 'host_password = "file:{directory}/{{host}}"\n'}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("door", ["http", "definitions"])
def test_a_provisioned_fleet_is_adopted_and_its_plan_is_empty(
    each_broker: BrokerNode, named: BrokerVhost, tmp_path: Path, door: str, profile: str
) -> None:
    hosts = ("alpha", "beta")
    for host in hosts:
        (tmp_path / host).write_text(f"password of {host}")
    chosen = f'[broker]\nprofile = "{profile}"\n{PROFILES[profile].format(directory=tmp_path)}'
    file = tmp_path / "fleet.toml"
    file.write_text(named.fleet_toml(hosts_and_workers(*hosts)).replace("[broker]\n", chosen, 1))
    assert provision_broker(fleetfile.read(str(file)), {}).converged
    environ = {"FLEET_ADMIN_PASSWORD": each_broker.admin_password.reveal()}
    exported = tmp_path / "exported.json"
    exported.write_text(json.dumps(named.api("GET", "definitions")))
    source = Source(
        definitions=exported if door == "definitions" else None,
        management_url=each_broker.management_url,
        user=each_broker.admin_user,
        password="env:FLEET_ADMIN_PASSWORD",
    )
    wish = wish_of(
        source, vhost=named.name, nodes=(each_broker.url,), user=None, hosts=(), secrets="fleet.env"
    )
    adoption = adopt_broker(source, wish, environ)
    assert (adoption.plan.changes, adoption.unmanaged) == ((), ())
    # Seen through the door, with nothing but the hashes, the broker is as the file wants it.
    adopted = tmp_path / "adopted.toml"
    adopted.write_text(adoption.file)
    lines = (line.partition("=") for line in adoption.secrets.splitlines() if not line.startswith("#"))
    known = environ | {name: value for name, _, value in lines}
    fleet = fleetfile.read(str(adopted))
    assert fleet.broker.profile == profile
    assert plan_broker(fleet, known).plan.changes == ()
