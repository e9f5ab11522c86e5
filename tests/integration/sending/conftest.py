import pytest

from tests.broker import BrokerVhost
from tests.integration.sending.topology import Site, site_on


@pytest.fixture
def site(vhost: BrokerVhost) -> Site:
    """A fleet on a vhost of the test's own; each test declares what it needs."""
    return site_on(vhost)
