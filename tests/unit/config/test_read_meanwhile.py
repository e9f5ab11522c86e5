import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fleet.config.starter import STARTER
from fleet.errors import ConfigError
from fleet.fleetfile import read, read_meanwhile

SCHEDULE = """
[schedule.report]
task = "fleet.check_urls"
crontab = "0 3 * * *"
kwargs = { shop = "north", limits = [1, 2] }
"""


def fleet_file(directory: Path, text: str) -> str:
    path = directory / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("more", ["", SCHEDULE])
def test_a_fleet_that_was_read_meanwhile_is_the_one_that_is_read_here(tmp_path: Path, more: str) -> None:
    path = fleet_file(tmp_path, STARTER + more)
    fleet = read_meanwhile(path)()
    assert fleet == read(path)
    for mine, theirs in zip(fleet.schedule, read(path).schedule, strict=True):
        assert type(mine.kwargs) is type(theirs.kwargs)


@pytest.mark.parametrize("more", ["", SCHEDULE])
def test_a_worker_needs_no_pydantic_for_the_file_that_was_read_meanwhile(tmp_path: Path, more: str) -> None:
    path = fleet_file(tmp_path, STARTER + more)
    program = (
        "import sys; from fleet.fleetfile import read_meanwhile; load = read_meanwhile(sys.argv[1]); "
        "import fleet.worker.run; assert load().workers; assert 'pydantic' not in sys.modules"
    )
    subprocess.run((sys.executable, "-c", program, path), check=True, timeout=60)


def test_what_is_wrong_with_a_file_is_said_as_ever_and_no_process_is_left(tmp_path: Path) -> None:
    path = fleet_file(tmp_path, STARTER + '\n[queues.odd]\ncolour = "red"\n')
    with pytest.raises(ConfigError) as here:
        read(path)
    with pytest.raises(ConfigError) as meanwhile:
        read_meanwhile(path)()
    assert str(meanwhile.value) == str(here.value)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_meanwhile(str(tmp_path / "none.toml"))()


def test_a_process_with_other_threads_reads_the_file_itself(tmp_path: Path) -> None:
    path = fleet_file(tmp_path, STARTER)
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        fleet = read_meanwhile(path)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    finally:
        over.set()
        other.join()
    assert fleet() == read(path)
