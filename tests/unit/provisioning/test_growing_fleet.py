"""A fleet that only grows takes nothing away from anybody, so nobody has to allow anything for it."""

import pytest

from fleet.config.parse import parse
from fleet.model import Fleet
from fleet.topology import declared_users, desired_state
from provisioning.broker.passwords import Password
from provisioning.broker.state import State
from provisioning.plan import plan

FILE = """
[broker]
url = "amqp://mq1"
password = "env:P"
profile = "{profile}"
{host_password}
[broker.users.shop]
role = "publisher"
password = "env:P"
queues = {queues}
[hosts.alpha]
{more_hosts}
[queues.email]
tasks = ["fleet.send_mail"]
{more_queues}
[workers.mail]
queues = {queues}
"""


def state(profile: str, *, grown: bool) -> State:
    text = FILE.format(
        profile=profile,
        host_password='host_password = "env:P_{host}"' if profile == "per-host" else "",
        queues='["email", "shop"]' if grown else '["email"]',
        more_hosts="[hosts.beta]" if grown else "",
        more_queues='[queues.shop]\ntasks = ["shop.*"]' if grown else "",
    )
    fleet: Fleet = parse(text, source="fleet.toml")
    passwords = {name: Password("p").hashed(salt=b"salt") for name in declared_users(fleet)}
    return desired_state(fleet, passwords, broker_version=(3, 10, 8))


@pytest.mark.parametrize("profile", ["least-privilege", "per-host", "open"])
def test_a_further_queue_and_a_further_host_are_no_loss(profile: str) -> None:
    planned = plan(state(profile, grown=True), state(profile, grown=False))
    assert planned.changes
    assert planned.losses == {}


@pytest.mark.parametrize("profile", ["least-privilege", "per-host"])
def test_the_way_back_is_one(profile: str) -> None:
    planned = plan(state(profile, grown=False), state(profile, grown=True))
    assert "user shop may lose rights (write)" in {loss.reason for loss in planned.losses.values()}
