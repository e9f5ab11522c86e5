import subprocess
import sys

import fleet


def test_the_client_is_offered_by_the_package() -> None:
    assert fleet.Client.__module__ == "fleet.client"
    assert fleet.SentTask.__module__ == "fleet.client"


def test_importing_the_package_loads_no_broker_client() -> None:
    done = subprocess.run(
        (sys.executable, "-c", "import fleet, sys; print('amqp' in sys.modules)"),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "False\n"
