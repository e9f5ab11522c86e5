"""How can a backup or a restore fail, and is it worth another attempt?

::

    BackupError           1
    ├── BackupRefused     1  a guard said no before anything was copied, or the result looked wrong
    ├── BackupFailed      1  it cannot work until someone changes something
    ├── BackupPartial     3  a snapshot was published, but files are missing from it
    └── BackupPostponed   1  it may work later: busy, interrupted, a passing fault
"""

from typing import ClassVar

from fleet.errors import FleetError


class BackupError(FleetError):
    """A backup or restore did not end well."""

    is_journaled = True
    #: seconds to wait before another attempt; None where another attempt cannot help
    retry_seconds: ClassVar[int | None] = None


class BackupRefused(BackupError):
    """A guard refused: the run would have harmed, or would have recorded, something that looks wrong."""


class BackupFailed(BackupError):
    """The run failed in a way that another attempt will not mend."""


class BackupPartial(BackupError):
    """Some files could not be read; what could be is in a snapshot marked partial."""

    exit_code = 3


class BackupPostponed(BackupError):
    """The run did not finish, but another attempt may: the copy goes on from what is already there."""

    retry_seconds = 300
