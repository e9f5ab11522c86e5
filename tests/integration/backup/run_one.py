"""Run one backup in this process: the stand-in for a worker's child that tests may kill."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from fleet.backup.failure import BackupError
from fleet.backup.run import run_backup
from tests.integration.backup.site import backup_from


def main() -> None:
    order = json.loads(sys.argv[1])
    try:
        done = run_backup(
            backup_from(order["backup"]),
            host="alpha",
            task_id=order["task_id"],
            state_dir=Path(order["state_dir"]),
            clock=lambda: datetime.now(UTC),
        )
    except BackupError as error:
        print(f"{type(error).__name__}: {error}")
    else:
        print(done.manifest.outcome.value)


if __name__ == "__main__":
    main()
