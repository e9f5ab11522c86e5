import shutil
from pathlib import Path

import pytest

from tests.integration.backup.site import Site, make_site


@pytest.fixture
def empty_site(tmp_path: Path) -> Site:
    """A backup whose source is empty."""
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    return make_site(tmp_path.resolve())


@pytest.fixture
def site(empty_site: Site) -> Site:
    """A backup of a small tree: a file, a directory with another, and a symbolic link."""
    (empty_site.source / "notes").write_text("first\n")
    (empty_site.source / "etc").mkdir()
    (empty_site.source / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (empty_site.source / "link").symlink_to("etc/hosts")
    return empty_site
