"""Two hosts and the files of their control machine, which a module's tests share."""

from collections.abc import Iterator

import pytest

from tests.hosts.fixtures import WORKERS, Clusters
from tests.hosts.lab import Lab
from tests.hosts.site import OLD, Site, make_site, show


@pytest.fixture(scope="module")
def site(lab: Lab, clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two bare hosts that are on, and a broker that is provisioned for them."""
    cluster, directory = clusters.single("3.10"), tmp_path_factory.mktemp("control")
    alpha, beta = lab[WORKERS[0]], lab[WORKERS[1]]
    alpha.reset()
    beta.reset()
    lab.boot(alpha.name, beta.name)
    yield make_site(directory, cluster, alpha, beta)
    alpha.power_off()
    beta.power_off()


@pytest.fixture(scope="module")
def provisioned(site: Site) -> Site:
    """The site, once its hosts have been provisioned from nothing."""
    told = site.provision("--check", code=4).stdout
    assert "+ release " in told
    assert "+ unit fleet-worker@probe-a.service" in told
    assert "not-found" in show(site.alpha, OLD, "LoadState")
    site.provision("--yes")
    return site
