"""What may a unit's processes see and do, beyond what their work asks for? Directives, nothing else.

Everything of Debian's kernel that work does not need is taken away. A backup reads what belongs to others and
must bring it back as theirs, so it has the capabilities for that, and write access to its copies only.
"""

from collections.abc import Iterator
from posixpath import normpath

from fleet.backup.excludes import is_inside
from fleet.model import Backup

#: what a service that talks over TCP and writes its state directory can do without
_ALWAYS = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet={capabilities}",
    "AmbientCapabilities={capabilities}",
    "ProtectSystem=strict",
    "PrivateDevices=yes",
    "DevicePolicy=closed",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID={restrict_suid}",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RemoveIPC=yes",
    "KeyringMode=private",
    "UMask=0077",
    "LimitCORE=0",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
)
#: to read what is others', and to write copies that are theirs
BACKUP_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_SETFCAP",
)
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - names of places, nothing is written there
#: what a backup may not read unless a source says so; credentials of other units systemd hides itself
_SECRET_PLACES = (
    "/etc/fleet/credentials",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssh",
)


def service_sandbox(writable: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the directives for what only talks over the network, and writes to ``writable``."""
    given = [each.format(capabilities="", restrict_suid="yes") for each in _ALWAYS]
    extra = ["PrivateUsers=yes", "PrivateTmp=yes", "ProtectHome=yes"]
    return (*given, *extra, *(f"ReadWritePaths={_path(path)}" for path in writable))


def backup_sandbox(backups: tuple[Backup, ...], writable: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the directives for what makes ``backups`` and brings them back."""
    capabilities = " ".join(BACKUP_CAPABILITIES)
    # A copy of a set-user-ID file is one, too; what may execute it is the destination's own affair.
    given = [each.format(capabilities=capabilities, restrict_suid="no") for each in _ALWAYS]
    sources = _unique(source for backup in backups for source in backup.sources)
    places = backup_places(backups)
    return (
        *given,
        "SystemCallFilter=@chown",
        f"PrivateTmp={'no' if _touches((*sources, *places), _TEMPORARY) else 'yes'}",
        *_homes(sources, (*writable, *places)),
        *(f"InaccessiblePaths=-{path}" for path in _SECRET_PLACES if not _touches(sources, (path,))),
    )


def backup_places(backups: tuple[Backup, ...]) -> tuple[str, ...]:
    """Return where ``backups`` and their restores write."""
    return _unique(
        place for backup in backups for place in (backup.destination, backup.restore_dir) if place is not None
    )


def _homes(sources: tuple[str, ...], writable: tuple[str, ...]) -> Iterator[str]:
    """Hide homes, but for what is backed up of them or written there."""
    inside = [path for path in (*sources, *writable) if any(is_inside(path, home) for home in _HOMES)]
    if any(is_inside(home, source) for source in sources for home in _HOMES):
        yield "ProtectHome=read-only"
        inside = []
    elif inside:
        yield "ProtectHome=tmpfs"
    else:
        yield "ProtectHome=yes"
    for path in sources:
        if path in inside:
            # A source that is not there is the backup's to complain about.
            yield f"BindReadOnlyPaths={_path(path, optional=True)}"
    for path in writable:
        yield f"{'BindPaths' if path in inside else 'ReadWritePaths'}={_path(path)}"


def _touches(paths: tuple[str, ...], places: tuple[str, ...]) -> bool:
    return any(is_inside(path, place) or is_inside(place, path) for path in paths for place in places)


def _unique(paths: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(normpath(path) for path in paths))


def _path(path: str, *, optional: bool = False) -> str:
    """Return ``path`` as one word of a unit file; ``optional`` where it need not be there."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    escaped = f"-{escaped}" if optional else escaped
    return f'"{escaped}"' if any(c in path for c in " \t\"'\\:") else escaped
