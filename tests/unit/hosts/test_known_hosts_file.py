"""Keys are recorded whole or not at all, and no second writer is lost."""

import threading
from pathlib import Path

import pytest

from provisioning.errors import HostAccessRefused
from provisioning.hosts.known_hosts import parse
from provisioning.hosts.known_hosts_file import Recorded, record
from tests.unit.hosts.test_known_hosts import key


def recorded(name: str, number: int) -> Recorded:
    return Recorded(known_as=name, key=key(number), comment=name)


def test_keys_are_recorded_in_a_file_that_everybody_may_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "known_hosts"
    record(path, [recorded("alpha", 1), recorded("beta", 2)])
    record(path, [recorded("alpha", 3)])
    assert [(known.names, known.key) for known in parse(path.read_text(), file="f")] == [
        ("beta", key(2)),
        ("alpha", key(3)),
    ]
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["known_hosts"]


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    writers = [
        threading.Thread(target=record, args=(path, [recorded(f"host-{number}", number)]))
        for number in range(12)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(20)
    assert len(parse(path.read_text(), file="f")) == 12


def test_a_file_that_cannot_be_written_is_named_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_bytes(b"\xff not text")
    with pytest.raises(HostAccessRefused, match=f"cannot record keys in {path}"):
        record(path, [recorded("alpha", 1)])
    assert path.read_bytes() == b"\xff not text"
