"""What `fleet remove` says before it asks."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.cli.main import fleet

TEXT = """\
[broker]
url = "amqp://mq1"
password = "env:P"
[hosts.alpha]
[hosts.beta]
[queues.shop]
tasks = ["shop.*"]
[workers.shop]
queues = ["shop"]
[schedule.tick]
task = "shop.tick"
every = "1h"
"""


@pytest.mark.parametrize(("host", "is_said"), [("alpha", True), ("beta", False)])
def test_that_the_schedule_rests_is_said_of_the_host_that_runs_beat(
    host: str, *, is_said: bool, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(TEXT)
    done = CliRunner().invoke(fleet, ["--file", str(file), "remove", host, "--lost", "--check"])
    assert f"`{host}` is still in the fleet" in str(done.exception)
    assert (f"{host} runs beat: the schedule rests until" in done.output) is is_said
