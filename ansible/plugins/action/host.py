"""Make a host what a fleet file says: `fleet hosts relay` decides and asks, Ansible's connection carries.

What is said between the two is in docs/decisions/0008-ansible.md of fleet.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.plugins.action import ActionBase

ARGUMENTS = {
    "name": {"type": "str"},
    "file": {"type": "path", "required": True},
    "command": {"type": "str", "default": "fleet"},
    "wheels": {"type": "list", "elements": "path", "default": []},
    "allow_destructive": {"type": "bool", "default": False},
    "environment_of_fleet": {"type": "dict", "default": {}, "no_log": True},
}
#: after its last line, how long `fleet` may take to end (s)
FAREWELL_SECONDS = 30.0


class ActionModule(ActionBase):
    """Lends this task's connection to `fleet hosts relay`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what was changed, or would be in check mode."""
        result = super().run(tmp, task_vars)
        _, asked = self.validate_argument_spec(ARGUMENTS)
        if not getattr(self._connection, "has_pipelining", False):
            raise AnsibleActionFail(
                f"the connection `{self._connection.transport}` gives commands no input; use `ssh` or `local`"
            )
        name = asked["name"] or (task_vars or {})["inventory_hostname"]
        with_diff = bool(self._task.diff)
        argv = _argv(name, asked, check=self._task.check_mode, diff=with_diff)
        said, words, exit_code = self._relay(argv, _environ(asked["environment_of_fleet"]))
        if said is None:
            raise AnsibleActionFail(_message(words, exit_code))
        result.update(_result(said, with_diff=with_diff))
        if exit_code:
            result.update(failed=True, msg=_message(words, exit_code))
        return result

    def _relay(self, argv: list[str], environ: dict[str, str]) -> tuple[dict[str, Any] | None, str, int]:
        """Run `fleet`, do what it asks, and return its last word, what it told and its exit code."""
        with tempfile.TemporaryFile() as told, _started(argv, environ, told) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                end = self._answer_all(process.stdout, process.stdin)
                process.stdin.close()
                exit_code = process.wait(FAREWELL_SECONDS)
            except BrokenPipeError:
                # It ended in the middle; what it told says why.
                end, exit_code = None, process.wait(FAREWELL_SECONDS)
            told.seek(0)
            return end, to_text(told.read(), errors="replace").strip(), exit_code

    def _answer_all(self, requests: IO[bytes], answers: IO[bytes]) -> dict[str, Any] | None:
        for line in requests:
            request = json.loads(line)
            if "end" in request:
                end: dict[str, Any] = request["end"]
                return end
            given = requests.read(request["stdin"])
            try:
                done = self._execute(request["run"], given)
            except AnsibleConnectionFailure as error:
                _say(answers, {"unreachable": to_text(error)})
                raise
            stdout, stderr = (
                to_bytes(done[key], errors="surrogate_or_strict") for key in ("stdout", "stderr")
            )
            _say(
                answers,
                {"exit_code": done["rc"], "stdout": len(stdout), "stderr": len(stderr)},
                stdout + stderr,
            )
        return None

    def _execute(self, line: str, given: bytes) -> dict[str, Any]:
        # Without input Ansible would ask for a terminal, in which stdout and stderr are one.
        if not given:
            line, given = f"{line} </dev/null", b"\n"
        with self._unlogged():
            done: dict[str, Any] = self._low_level_execute_command(line, in_data=given)
        return done

    @contextmanager
    def _unlogged(self) -> Iterator[None]:
        """Keep what the host answers out of `-vvv`: digests of secrets are in it."""
        context = self._connection._play_context
        before = context.no_log
        context.no_log = True
        try:
            yield
        finally:
            context.no_log = before


@contextmanager
def _started(argv: list[str], environ: dict[str, str], told: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told
        )
    except OSError as error:
        raise AnsibleActionFail(f"cannot run `{argv[0]}` on the controller: {error.strerror}") from error
    try:
        yield process
    finally:
        # Without an end of ours it would wait for an answer.
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None and not stream.closed:
                _close(stream)


def _close(stream: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        stream.close()


def _say(answers: IO[bytes], answer: dict[str, Any], data: bytes = b"") -> None:
    answers.write(json.dumps(answer).encode() + b"\n" + data)
    answers.flush()


def _argv(name: str, asked: dict[str, Any], *, check: bool, diff: bool) -> list[str]:
    argv = [asked["command"], "--file", asked["file"], "hosts", "relay", "--reason", "ansible"]
    argv += ["--check"] * check + ["--diff"] * diff + ["--allow-destructive"] * asked["allow_destructive"]
    argv += [f"--wheel={wheel}" for wheel in asked["wheels"]]
    return [*argv, "--", name]


def _environ(given: dict[str, Any]) -> dict[str, str]:
    return {**os.environ, **{name: to_text(value) for name, value in given.items()}}


def _result(said: dict[str, Any], *, with_diff: bool) -> dict[str, Any]:
    report = said.get("report")
    changes = said.get("changes", [])
    was_installed = said.get("release", {}).get("installed", True)
    result = {
        "changed": said.get("changed", False)
        if report is None
        else bool(report["done"]) or not was_installed,
        "changes": [{"action": each["action"], "object": each["object"]} for each in changes],
        "release": said.get("release", {}),
        "ends": said.get("ends", []),
        "ending": said.get("ending", []),
        "notes": [*said.get("notes", []), *(report or {}).get("notes", [])],
    }
    if with_diff:
        result["diff"] = [{"prepared": text} for text in map(_diff, changes) if text]
    return result


def _diff(change: dict[str, Any]) -> str:
    """Return a change as it is shown: the lines of a text, else what is done to which object."""
    lines = change.get("diff") or [f"{change['action']} {change['object']}"]
    return "\n".join(lines) + "\n"


def _message(words: str, exit_code: int) -> str:
    return words or f"`fleet` ended with {exit_code} and said nothing"
