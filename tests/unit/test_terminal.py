"""What a broker names, and an operator reads, moves no cursor."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.adopt.adopt import Adoption
from fleet.adopt.unmanaged import Unmanaged
from fleet.cli.adopt import _tell
from fleet.cli.context import emit_table
from fleet.cli.permissions import _told
from fleet.rights import Ability, Explanation
from provisioning.broker.state import State
from provisioning.plan import plan

CLEARS = "\x1b[2Jfine\r\x9b1A"
ESCAPED = r"\x1b[2Jfine\r\x9b1A"


def test_an_error_shows_what_would_steer_a_terminal_written_out(tmp_path: Path) -> None:
    done = subprocess.run(
        (sys.executable, "-m", "fleet.cli.main", "--file", f"{CLEARS}.toml", "config", "check"),
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f"{ESCAPED}.toml" in done.stderr
    assert re.findall(r"[^\n -~]", done.stderr, re.ASCII) == []
    # Lines of its own stay lines.
    assert done.stderr.count("\n") >= 2


def test_an_explanation_of_rights_does() -> None:
    taken = Ability(what="consume", words="take or drop the tasks of queues", grave=False, names=(CLEARS,))
    found = Explanation(
        user=CLEARS, vhost="v", tags=(CLEARS,), permission=None, topic_permissions=(), can=(taken,), cannot=()
    )
    assert all(line.isprintable() for line in _told(found).split("\n"))
    assert _told(found).count(ESCAPED) == 3


def test_what_adopting_leaves_alone_does(capsys: pytest.CaptureFixture[str]) -> None:
    left = Unmanaged(label=f"queue {CLEARS}", reason="somebody else's", is_prunable=False)
    adoption = Adoption(
        file="",
        secrets="",
        plan=plan(State(), State()),
        unmanaged=(left,),
        to_supply=(),
        is_fleet=True,
    )
    _tell(adoption, Path("fleet.toml"), Path("fleet.env"))
    said = capsys.readouterr().err
    assert f"left alone: queue {ESCAPED}: somebody else's" in said
    assert "\x1b" not in said


def test_a_table_does(capsys: pytest.CaptureFixture[str]) -> None:
    emit_table(("NAME", "WHY"), [(CLEARS, "two\nlines")])
    said = capsys.readouterr().out
    assert ESCAPED in said
    assert re.findall(r"[^\n -~]", said, re.ASCII) == []
