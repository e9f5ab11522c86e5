"""``python -m tests.faults``: perform the cases, write the table, and fail where ours went wrong.

``--only TEXT`` chooses by case, broker and settings; of several all must occur. ``--list`` only shows them.
Traces and logs of what went wrong are kept, with ``--keep`` all.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from fleet.errors import FleetError
from tests.faults.catalogue import ORDER, Measurement, measurements
from tests.faults.grounds import Grounds
from tests.faults.table import page_with
from tests.hosts.lab.system import lab_missing

PAGE = Path(__file__).parents[2] / "docs/explanation/delivery-guarantees.md"


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args(arguments)
    chosen = [each for each in measurements() if all(text in each.title for text in given.only)]
    if given.list:
        print(*(each.title for each in chosen), sep="\n")
        return 0
    if missing := lab_missing():
        print(f"without a lab, so only what the private broker can show: {missing}")
        chosen = [each for each in chosen if not each.needs_lab]
    kept = Path(tempfile.mkdtemp(prefix="faults-"))
    (kept / "grounds").mkdir()
    with Grounds(kept / "grounds") as grounds:
        went_wrong = [each.title for each in chosen if not _measure(each, grounds, kept, keep=given.keep)]
    for title in went_wrong:
        print(f"WRONG: {title}", file=sys.stderr)
    shutil.rmtree(kept / "grounds")
    if not any(kept.iterdir()):
        kept.rmdir()
    return 1 if went_wrong else 0


def _measure(each: Measurement, grounds: Grounds, kept: Path, *, keep: bool) -> bool:
    """Perform one measurement, put its row into the page at once, and tell whether it went well."""
    directory = kept / f"{time.time():.0f}"
    directory.mkdir()
    began = time.monotonic()
    print(f"{each.title} … ", end="", flush=True)
    try:
        measured = each.perform(grounds, directory)
    except (AssertionError, FleetError) as error:
        print(f"could not be staged: {error}; see {directory}", flush=True)
        return False
    PAGE.write_text(
        page_with(PAGE.read_text(encoding="utf-8"), [measured.row], order=ORDER), encoding="utf-8"
    )
    print(" | ".join(measured.row.counts), f"in {time.monotonic() - began:.0f} s", flush=True)
    for problem in measured.problems:
        print(f"    {problem}; see {directory}", flush=True)
    if not measured.problems and not keep:
        shutil.rmtree(directory)
    return not measured.problems


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
