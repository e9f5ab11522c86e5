"""``python -m tests.hosts``: build the images of the hosts that tests ask for, side by side, with progress.

A test would build them, too, but within the time that a test may take.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.hosts.fixtures import host_specs
from tests.hosts.lab.images import provide
from tests.hosts.lab.system import LabFailed, lab_missing


def main() -> int:
    """Build what is missing; where this machine cannot carry a lab, say why and leave it at that."""
    missing = lab_missing()
    if missing:
        print(f"no images of hosts: {missing}")
        return 0
    try:
        images = dict.fromkeys(spec.image for spec in host_specs())
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(lambda image: provide(image, report=print), images))
    except LabFailed as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # The builds die with this process; a pool would wait for them.
        os._exit(130)
