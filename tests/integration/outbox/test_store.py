"""The outbox's file: who may use it, how much goes in, and what a broken one says."""

import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.errors import OutboxBusy, OutboxFull, OutboxUnusable, UsageError
from fleet.outbox import Outbox, Volume, forward
from fleet.outbox.file import hold_lock, settled_state
from fleet.outbox.record import to_text
from tests.integration.outbox.broker import EMAIL, SHOP, ToldBroker, task

ROOT = Path(__file__).parents[3]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox" / "outbox.sqlite3"


@pytest.fixture
def outbox(path: Path) -> Outbox:
    return Outbox(path, fleet="test")


def ids(outbox: Outbox) -> list[str]:
    return [kept.message.task_id for kept in outbox.tasks()]


def test_tasks_come_back_as_they_were_and_in_their_order(outbox: Outbox) -> None:
    sent = [task(args=(number,), kwargs={"to": "Zoë"}, key="k", delay_seconds=5) for number in range(3)]
    for message in sent:
        outbox.keep([message], now=12.5)
    assert [kept.message for kept in outbox.tasks()] == [replace(one, first_sent=12.5) for one in sent]


def test_a_task_that_was_sent_before_keeps_its_first_moment(outbox: Outbox) -> None:
    outbox.keep([task(first_sent=3.0)], now=12.5)
    assert outbox.tasks()[0].message.first_sent == 3.0


def test_looking_at_an_outbox_that_is_not_there_creates_nothing(outbox: Outbox, path: Path) -> None:
    assert not outbox.has_backlog()
    assert outbox.tasks() == ()
    assert outbox.backlog().volume == Volume(messages=0, bytes=0)
    with pytest.raises(UsageError, match="keeps no tasks"):
        outbox.discard([1])
    assert not path.parent.parent.exists()


def test_only_the_owner_may_see_the_outbox(outbox: Outbox, path: Path) -> None:
    with outbox.forwarding():
        outbox.keep([task()], now=0)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) >= {path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}.forwarding"}
    assert set(modes.values()) == {0o600}
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path.parent, path.parent.parent)] == [0o700] * 2


def test_each_commit_is_flushed_to_the_disk(outbox: Outbox, path: Path) -> None:
    outbox.keep([task()], now=0)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with outbox.forwarding() as drain:
        full = drain._connection.execute("PRAGMA synchronous").fetchone()
    assert full == (2,)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.chmod(0o640), "others may read or write it"),
        (lambda path: path.parent.chmod(0o770), "others may write to the directory"),
        (lambda path: os.chown(path, 65534, 65534), "it belongs to user 65534"),
        (lambda path: os.chown(path.parent, 65534, 65534), "the directory belongs to user 65534"),
    ],
    ids=["readable file", "writable directory", "foreign file", "foreign directory"],
)
def test_an_outbox_that_others_could_change_or_read_is_refused(
    outbox: Outbox, path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    outbox.keep([task()], now=0)
    try:
        spoil(path)
    except PermissionError:
        pytest.skip("only root can give files away")
    for use in (lambda: outbox.keep([task()], now=0), outbox.has_backlog):
        with pytest.raises(OutboxUnusable, match=reason) as caught:
            use()
        assert caught.value.hint


def test_a_symbolic_link_in_place_of_the_outbox_is_not_followed(outbox: Outbox, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to(path.parent / "elsewhere")
    with pytest.raises(OutboxUnusable, match="no regular file"):
        outbox.keep([task()], now=0)
    assert not (path.parent / "elsewhere").exists()


def test_an_outbox_that_cannot_be_created_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory should be")
    with pytest.raises(OutboxUnusable, match="cannot be used"):
        Outbox(tmp_path / "state" / "outbox.sqlite3", fleet="test").keep([task()], now=0)


def test_more_tasks_than_the_limit_are_refused_and_none_of_them_is_kept(outbox: Outbox) -> None:
    outbox.set_limits(Volume(messages=3, bytes=10**6))
    outbox.keep([task(), task()], now=0)
    before = ids(outbox)
    with pytest.raises(OutboxFull, match="it keeps 2 of 3 tasks"):
        outbox.keep([task(), task()], now=0)
    assert ids(outbox) == before


def test_more_bytes_than_the_limit_are_refused(outbox: Outbox) -> None:
    message = task(kwargs={"text": "x" * 1000}, first_sent=0.0)
    outbox.set_limits(Volume(messages=100, bytes=2 * len(to_text(message))))
    outbox.keep([message, message], now=0)
    with pytest.raises(OutboxFull, match="has no room for 1 more"):
        outbox.keep([task()], now=0)


def test_room_comes_back_when_tasks_go(outbox: Outbox) -> None:
    outbox.set_limits(Volume(messages=1, bytes=10**6))
    outbox.keep([task()], now=0)
    outbox.discard([kept.number for kept in outbox.tasks()])
    outbox.keep([task()], now=0)
    assert outbox.backlog().volume.messages == 1


def test_a_limit_below_what_is_there_drops_nothing(outbox: Outbox) -> None:
    outbox.keep([task(), task()], now=0)
    outbox.set_limits(Volume(messages=1, bytes=1))
    assert len(ids(outbox)) == 2


def test_an_unknown_number_discards_nothing(outbox: Outbox) -> None:
    outbox.keep([task(), task()], now=0)
    first, second = (kept.number for kept in outbox.tasks())
    with pytest.raises(UsageError, match=f"no task number {second + 1}"):
        outbox.discard([first, second + 1])
    assert len(ids(outbox)) == 2


def test_numbers_are_never_used_again(outbox: Outbox) -> None:
    outbox.keep([task()], now=0)
    (first,) = outbox.tasks()
    outbox.discard([first.number])
    outbox.keep([task()], now=0)
    assert outbox.tasks()[0].number > first.number


def test_a_summary_says_since_when_each_queue_waits(outbox: Outbox) -> None:
    outbox.keep([task(queue=SHOP)], now=20)
    outbox.keep([task()], now=30)
    outbox.keep([task(queue=SHOP)], now=40)
    found = outbox.backlog()
    assert [(queue.queue, queue.messages, queue.oldest) for queue in found.queues] == [
        (SHOP.name, 2, 20),
        (EMAIL.name, 1, 30),
    ]


def test_nobody_forwards_or_discards_while_another_does(outbox: Outbox) -> None:
    outbox.keep([task()], now=0)
    with outbox.forwarding():
        with pytest.raises(OutboxBusy, match="another process forwards"), outbox.forwarding():
            pass
        with pytest.raises(OutboxBusy):
            outbox.discard([1])
    with outbox.forwarding():
        pass


def test_an_error_under_the_lock_is_not_taken_for_a_lock_that_is_held(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), hold_lock(tmp_path / "lock", wait=False):
        raise BlockingIOError


def test_the_outbox_of_another_fleet_is_left_alone(outbox: Outbox, path: Path) -> None:
    outbox.keep([task()], now=0)
    other = Outbox(path, fleet="other")
    for use in (lambda: other.keep([task()], now=0), other.tasks):
        with pytest.raises(OutboxUnusable, match="keeps tasks of fleet `test`, not of `other`"):
            use()
    assert len(ids(outbox)) == 1


def test_an_outbox_of_a_newer_fleet_is_left_alone(outbox: Outbox, path: Path) -> None:
    outbox.keep([task()], now=0)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(OutboxUnusable, match="schema 99"):
        outbox.keep([task()], now=0)


def test_a_task_that_only_a_newer_fleet_can_read_is_named(outbox: Outbox, path: Path) -> None:
    outbox.keep([task(task_id="newer"), task(task_id="older")], now=5)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE message SET message = json_set(message, '$.new_field', 1) WHERE number = 1"
        )
    newer, older = outbox.tasks()
    assert (newer.message.task_id, newer.message.queue.name, newer.message.task) == ("newer", EMAIL.name, "?")
    assert newer.message.first_sent == 5
    assert "it cannot be read: " in str(newer.refusal)
    assert "new_field" in str(newer.unreadable)
    assert older.unreadable is None


def test_a_task_that_cannot_be_read_holds_its_own_queue_and_can_be_discarded(
    outbox: Outbox, path: Path
) -> None:
    outbox.keep([task(task_id="a"), task(task_id="b"), task(task_id="x", queue=SHOP)], now=0)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE message SET message = '[]' WHERE task_id = 'a'")
    broker = ToldBroker()
    done = forward(outbox, broker)
    assert (done.delivered, done.left, [held.number for held in done.held]) == (1, 2, [1])
    assert "it cannot be read" in str(outbox.backlog().queues[0].refusal)
    outbox.discard([1])
    assert forward(outbox, broker).delivered == 1
    assert dict(broker.queues) == {SHOP.name: ["x"], EMAIL.name: ["b"]}


def test_a_damaged_outbox_is_an_error_and_stays_where_it_is(outbox: Outbox, path: Path) -> None:
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(b"this is no database" * 100)
    path.chmod(0o600)
    for use in (lambda: outbox.keep([task()], now=0), outbox.has_backlog):
        with pytest.raises(OutboxUnusable, match="it is damaged") as caught:
            use()
        assert "may still hold tasks" in str(caught.value.hint)
    assert path.read_bytes().startswith(b"this is no database")


#: keeps a task and dies before its connection is closed in order
KEEP_AND_DIE = """
import os, sys
from pathlib import Path
from fleet.outbox.database import opened
from fleet.outbox import Outbox
from tests.integration.outbox.broker import task
with opened(Path(sys.argv[1]), fleet="test"):
    Outbox(sys.argv[1], fleet="test").keep([task(task_id="last")], now=0)
    os._exit(0)
"""


def test_an_outbox_that_was_empty_for_a_while_is_seen_to_fill_at_once(outbox: Outbox, path: Path) -> None:
    other = Outbox(path, fleet="test")
    other.keep([task(task_id="first")], now=0)
    empty(other)
    deadline = time.monotonic() + 10
    while settled_state(path) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Looked into once, it is not opened again until it changes.
    assert [outbox.has_backlog(), outbox.has_backlog(), outbox.has_backlog("fleet.shop")] == [False] * 3
    other.keep([task(task_id="second")], now=0)
    assert outbox.has_backlog()
    assert ids(outbox) == ["second"]
    empty(other)
    assert not outbox.has_backlog()
    # What is committed is not in the file itself yet.
    subprocess.run((sys.executable, "-c", KEEP_AND_DIE, str(path)), cwd=ROOT, timeout=30, check=True)
    assert settled_state(path) is None
    assert outbox.has_backlog()
    assert ids(outbox) == ["last"]


def empty(outbox: Outbox) -> None:
    with outbox.forwarding() as drain:
        for queue in drain.queues():
            while (kept := drain.first(queue)) is not None:
                drain.remove(kept)


#: keeps tasks until something fails, and tells what; no file of this process may grow beyond 300 KiB
UNTIL_FULL = """
import resource, sys
from fleet.errors import OutboxUnusable
from fleet.outbox import Outbox
from tests.integration.outbox.broker import task
resource.setrlimit(resource.RLIMIT_FSIZE, (300 * 1024, 300 * 1024))
outbox = Outbox(sys.argv[1], fleet="test")
try:
    for number in range(1000):
        outbox.keep([task(task_id=str(number), kwargs={"text": "x" * 2000})], now=0)
except OutboxUnusable as error:
    print(number, error.message)
"""


def test_a_full_disk_refuses_the_task_and_harms_no_other(outbox: Outbox, path: Path) -> None:
    done = subprocess.run(
        (sys.executable, "-c", UNTIL_FULL, str(path)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    kept, message = done.stdout.split(maxsplit=1)
    assert "cannot be used" in message
    assert ids(outbox) == [str(number) for number in range(int(kept))]


#: keeps tasks on a small disk until it is full, and one more when there is room again
ON_A_SMALL_DISK = """
import sys
import time
from pathlib import Path
from fleet.errors import OutboxUnusable
from fleet.outbox import Outbox
from tests.integration.outbox.broker import task
disk, kept = Path(sys.argv[1]), []
(disk / "ballast").write_bytes(bytes(100_000))
outbox = Outbox(disk / "box" / "outbox.sqlite3", fleet="test")
def ids():
    return [each.message.task_id for each in outbox.tasks()]
try:
    for number in range(1000):
        outbox.keep([task(task_id=str(number), kwargs={"text": "x" * 2000})], now=0)
        kept.append(str(number))
except OutboxUnusable as error:
    print(error.message, "|", error.hint)
assert ids() == kept, (ids(), kept)
(disk / "ballast").unlink()
outbox.keep([task(task_id="again")], now=0)
print(len(kept), ids() == [*kept, "again"])
"""
#: sends on a disk that has no room, with nothing in the outbox, then with a task that was kept before
WHERE_NOTHING_FITS = """
import sys
from pathlib import Path
from fleet.errors import OutboxUnusable
from fleet.outbox import Outbox
from fleet.outbox.sending import OutboxSender
from tests.integration.outbox.broker import ToldBroker, task
disk, broker = Path(sys.argv[1]), ToldBroker()
outbox = Outbox(disk / "box" / "outbox.sqlite3", fleet="test")
sender = OutboxSender(outbox, lambda: broker)
def with_full_disk(*ids):
    (disk / "ballast").write_bytes(b"")
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(512)):
                pass
        except OSError:
            pass
    print(*(str(getattr(fate, "message", fate)) for fate in sender.deliver([task(task_id=id) for id in ids])))
    print([each.message.task_id for each in outbox.tasks()], dict(broker.queues))
    (disk / "ballast").unlink()
outbox.keep([task(task_id="first")], now=0)
with outbox.forwarding() as drain:
    drain.remove(drain.first("fleet.email"))
with_full_disk("a", "b")
outbox.keep([task(task_id="kept")], now=0)
with_full_disk("c")
"""
MOUNT_AND_RUN = 'mount -t tmpfs -o size=512k fleet "$1" && exec "$2" -c "$3" "$1"'


def on_a_small_disk(program: str, tmp_path: Path) -> list[str]:
    """Return what ``program`` says where its disk has 512 KiB."""
    # A disk of the process's own, which needs no root where users may have namespaces.
    namespace = ("unshare", "--mount", "--map-root-user")
    if subprocess.run((*namespace, "true"), capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk (`unshare --mount --map-root-user`)")
    done = subprocess.run(
        (*namespace, "sh", "-c", MOUNT_AND_RUN, "sh", str(tmp_path), sys.executable, program),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_disk_that_is_really_full_refuses_the_task_until_there_is_room(tmp_path: Path) -> None:
    refusal, found = on_a_small_disk(ON_A_SMALL_DISK, tmp_path)
    assert "no space is left" in refusal
    assert "| see `df -h -- " in refusal
    count, is_whole = found.split()
    assert (int(count) > 20, is_whole) == (True, "True")


def test_on_a_full_disk_a_task_still_goes_to_a_broker_that_is_there_unless_others_wait(
    tmp_path: Path,
) -> None:
    sent, there, refused, left = on_a_small_disk(WHERE_NOTHING_FITS, tmp_path)
    assert sent == "broker broker"
    assert there == "[] {'fleet.email': ['a', 'b']}"
    assert "no space is left" in refused
    assert left == "['kept'] {'fleet.email': ['a', 'b']}"


#: keeps tasks for ever and says each id after it was kept
KEEP_FOR_EVER = """
import os, sys
from fleet.outbox import Outbox
from tests.integration.outbox.broker import task
outbox = Outbox(sys.argv[1], fleet="test")
for number in range(10**9):
    outbox.keep([task(task_id=f"{sys.argv[2]}-{number}")], now=0)
    os.write(1, f"{sys.argv[2]}-{number}\\n".encode())
"""


def test_what_was_kept_is_there_after_its_programs_were_killed(outbox: Outbox, path: Path) -> None:
    programs = [
        subprocess.Popen(
            (sys.executable, "-c", KEEP_FOR_EVER, str(path), name), cwd=ROOT, stdout=subprocess.PIPE
        )
        for name in "ab"
    ]
    said: list[str] = []
    for program in programs:
        assert program.stdout is not None
        said += [program.stdout.readline().decode().strip() for _ in range(20)]
    for program in programs:
        program.send_signal(signal.SIGKILL)
    for program in programs:
        rest, _ = program.communicate(timeout=20)
        said += rest.decode().splitlines()
    found = ids(outbox)
    assert len(said) >= 40
    for name in "ab":
        told = [one for one in said if one.startswith(name)]
        # One more may be there: killed after it was kept, before it was told.
        assert [one for one in found if one.startswith(name)][: len(told)] == told


def keep_many(path: Path, writer: int) -> None:
    for number in range(20):
        Outbox(path, fleet="test").keep([task(task_id=f"{writer}-{number}")], now=0)


def test_several_processes_keep_at_once_from_nothing(outbox: Outbox, path: Path) -> None:
    processes = [SPAWN.Process(target=keep_many, args=(path, writer)) for writer in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    for writer in range(4):
        mine = [one for one in ids(outbox) if one.startswith(f"{writer}-")]
        assert mine == [f"{writer}-{number}" for number in range(20)]
