"""Is a task finished although its worker is killed in the middle of it?"""

import json
import os
import signal
from typing import Any

from fleet.ops.demo.claims import Claim
from fleet.ops.demo.fleetfile import TASK_SECONDS
from fleet.ops.demo.sandbox import Sandbox, StepFailed, await_true
from fleet.ops.demo.setup import diary_path

ORDER = 42


def show_crash(sandbox: Sandbox) -> list[Claim]:
    """Start a task of the user's own, kill the worker that runs it, and wait for its end."""
    sandbox.report("killing a worker in the middle of a task")
    sandbox.fleet("task", "send", "shop.pack_order", "--json-args", json.dumps({"order": ORDER})).expect(0)
    await_true(lambda: bool(_diary(sandbox)), what="the task's start", timeout_seconds=15)
    first = _diary(sandbox)[0]
    os.kill(first["parent"], signal.SIGKILL)
    seconds = await_true(
        lambda: any(line["event"] == "end" for line in _diary(sandbox)),
        what="the task's end on another worker",
        timeout_seconds=30 + TASK_SECONDS,
    )
    starts, ends = (
        [line["worker"] for line in _diary(sandbox) if line["event"] == event] for event in ("start", "end")
    )
    return [
        Claim(
            claim="a task whose worker is killed is finished all the same",
            evidence=f"{starts[0]} killed; started again on {starts[-1]}, ended {seconds:.0f} s later",
            ok=len(starts) == 2 and len(ends) == 1,
        )
    ]


def _diary(sandbox: Sandbox) -> list[dict[str, Any]]:
    path = diary_path(sandbox)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    if any(line["order"] != ORDER for line in lines):
        raise StepFailed(f"{path} tells of orders that nobody sent")
    return lines
