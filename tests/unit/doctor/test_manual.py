from pathlib import Path

from fleet.doctor.diagnose import CHECKS

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "check-a-broker.md"


def test_the_how_to_names_every_check_in_the_order_in_which_it_is_shown() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    checks = [f"| `{check.name}` | {check.about} | " for check in CHECKS]
    assert [row[: len(check)] for row, check in zip(rows, checks, strict=False)] == checks
