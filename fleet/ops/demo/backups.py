"""Does a scheduled and an asked-for backup end in a snapshot from which a deleted file comes back?"""

from pathlib import Path

from fleet.ops.demo.claims import Claim
from fleet.ops.demo.fleetfile import HOSTS
from fleet.ops.demo.sandbox import Sandbox, await_true
from fleet.ops.demo.tree import differing, fingerprint, fingerprints, restored_root

SCHEDULED_SECONDS = 40.0
#: a file of the tree, relative to the backup's source
VICTIM = "awkward names/Größe ☃.txt"


def snapshots(sandbox: Sandbox, host: str) -> list[Path]:
    """Return the finished snapshots of ``host``, oldest first."""
    directory = sandbox.directory / "backups" / host / "docs" / "snapshots"
    found = directory.iterdir() if directory.is_dir() else ()
    return sorted(path for path in found if path.name[0].isdigit() and path.is_dir())


def show_schedule(sandbox: Sandbox) -> list[Claim]:
    """Wait until beat's schedule has backed up every host."""
    sandbox.report("waiting for the scheduled backups")
    await_true(
        lambda: all(snapshots(sandbox, host) for host in HOSTS),
        what="a snapshot of each host by beat's schedule",
        timeout_seconds=SCHEDULED_SECONDS,
    )
    return [
        Claim(
            claim="beat's schedule backs up every host",
            evidence=", ".join(f"{host}: {snapshots(sandbox, host)[0].name}" for host in HOSTS),
            ok=True,
        )
    ]


def show_run(sandbox: Sandbox) -> list[Claim]:
    """Ask for one more backup, and wait for its outcome."""
    sandbox.report("asking for one more backup")
    before = len(snapshots(sandbox, "alpha"))
    done = sandbox.fleet("backup", "run", "docs", "--host", "alpha", "--wait").expect(0)
    after = snapshots(sandbox, "alpha")
    return [
        Claim(
            claim="a backup can be asked for, and waited for",
            evidence=f"`{done.line}`: {after[-1].name}",
            ok=len(after) > before,
        )
    ]


def show_restore(sandbox: Sandbox) -> list[Claim]:
    """Delete a file and bring it back in place; bring the whole tree back beside it, and compare."""
    sandbox.report("deleting a file and restoring it; restoring the whole tree beside it")
    source = sandbox.directory / "data" / "docs"
    # Named, for the schedule may make a newer one between the loss and the restore.
    snapshot = snapshots(sandbox, "alpha")[-1].name
    return [_deleted_file(sandbox, source / VICTIM, snapshot), _whole_tree(sandbox, source, snapshot)]


def _restore(sandbox: Sandbox, path: Path, snapshot: str, *where: str) -> None:
    chosen = ("--host", "alpha", "--snapshot", snapshot)
    sandbox.fleet("backup", "restore", "docs", str(path), *chosen, *where).expect(0)


def _deleted_file(sandbox: Sandbox, victim: Path, snapshot: str) -> Claim:
    before = fingerprint(victim)
    victim.unlink()
    _restore(sandbox, victim, snapshot, "--in-place", "--yes")
    after = fingerprint(victim)
    return Claim(
        claim="a deleted file comes back, bit for bit",
        evidence=f"`{victim.name}`: sha256 {before[:12]}… before, {after[:12]}… restored",
        ok=before == after,
    )


def _whole_tree(sandbox: Sandbox, source: Path, snapshot: str) -> Claim:
    target = sandbox.directory / "restored" / "alpha"
    _restore(sandbox, source, snapshot, "--to", str(target))
    wanted = fingerprints(source)
    found = fingerprints(restored_root(target, source))
    return Claim(
        claim="a whole tree comes back, bit for bit",
        evidence=f"{len(found)} of {len(wanted)} files restored, {differing(wanted, found)} differ",
        ok=found == wanted,
    )
