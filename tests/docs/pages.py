"""Which reference pages are generated, and from what?"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs.cli import cli_page
from tests.docs.exit_codes import exit_codes_page
from tests.docs.fleet_toml import fleet_toml_page
from tests.docs.metrics import alerts_page, metrics_page

ROOT = Path(__file__).parents[2]

#: path below the repository → the function that writes the page
PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/alerts.md": alerts_page,
    "docs/reference/cli.md": cli_page,
    "docs/reference/exit-codes.md": exit_codes_page,
    "docs/reference/fleet-toml.md": fleet_toml_page,
    "docs/reference/metrics.md": metrics_page,
}
