"""``python -m tests.hosts``: build the images of the hosts that tests ask for, side by side, with progress.

A test would build them, too, but within the time that a test may take.
"""

from concurrent.futures import ThreadPoolExecutor

from tests.hosts.fixtures import host_specs
from tests.hosts.lab.images import provide
from tests.hosts.lab.system import lab_missing


def main() -> None:
    """Build what is missing; where this machine cannot carry a lab, say why and leave it at that."""
    missing = lab_missing()
    if missing:
        print(f"no images of hosts: {missing}")
        return
    images = dict.fromkeys(spec.image for spec in host_specs())
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda image: provide(image, report=print), images))


if __name__ == "__main__":
    main()
