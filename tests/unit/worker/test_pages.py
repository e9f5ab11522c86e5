import re
from pathlib import Path

from fleet.worker.gate import Reason

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "what-may-run.md"


def test_the_page_on_what_may_run_lists_every_reason() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(reason.value for reason in Reason)
