"""How is a host reached by whoever started this program, over a connection of that program's own?

Both sides speak over two streams of bytes. A message is a line of JSON, and then as many bytes as it says:

    out  {"run": "COMMAND LINE", "stdin": 12}                 and 12 bytes for the command's input
    in   {"exit_code": 0, "stdout": 5, "stderr": 0}           and 5 bytes that it printed
    in   {"unreachable": "why"}                               where the connection is lost, or never was

The command line is for the shell of the user that the other side becomes, who must be root.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from provisioning.errors import HostAccessRefused, HostTimeout, HostUnreachable, HostUnusable
from provisioning.hosts.command import TIMED_OUT_CODES, AfterMark, Rights, command_line, words
from provisioning.hosts.runner import Ran

#: more than any answer of a host that is sound (bytes)
MOST_OUTPUT_BYTES = 64 * 1024 * 1024


class RelayRunner:
    """A host for which another program runs what it is asked to run."""

    def __init__(self, name: str, *, requests: IO[bytes], answers: IO[bytes]) -> None:
        self.name = name
        self._requests = requests
        self._answers = answers
        self._is_root = False

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        """Have ``argv`` run; see ``Runner``."""
        if as_root:
            self._require_root()
        return self._run(argv, b"".join(stdin), timeout_seconds)

    def close(self) -> None:
        """The connection is not ours."""

    def _require_root(self) -> None:
        """Ask once whether the other side is root there: it, not we, decides that."""
        if self._is_root:
            return
        number = self._run(("id", "-u"), b"", 30.0).stdout.decode(errors="replace").strip()
        if number != "0":
            raise HostAccessRefused(
                f"host `{self.name}`: only root may do that there, and the connection's user is {number}",
                hint="with Ansible, set `become: true`",
            )
        self._is_root = True

    def _run(self, argv: Sequence[str], given: bytes, timeout_seconds: float) -> Ran:
        mark = secrets.token_hex(16)
        line = command_line(argv, mark=mark, prompt="", rights=Rights.OWN, timeout_seconds=timeout_seconds)
        self._ask({"run": line, "stdin": len(given)}, given)
        answer = self._answer()
        stdout, stderr = (AfterMark(mark.encode(), most=MOST_OUTPUT_BYTES) for _ in range(2))
        stdout.take(self._bytes(answer["stdout"]))
        stderr.take(self._bytes(answer["stderr"]))
        if not stdout.has_begun:
            said = words(stderr.before or stdout.before) or "no word"
            raise HostUnusable(
                f"host `{self.name}`: `{argv[0]}` was not begun, exit code {answer['exit_code']}: {said}"
            )
        if answer["exit_code"] in TIMED_OUT_CODES:
            raise HostTimeout(
                f"host `{self.name}`: `{argv[0]}` did not end within {timeout_seconds:g} s, and was ended"
            )
        return Ran(exit_code=answer["exit_code"], stdout=stdout.after, stderr=stderr.after)

    def _ask(self, request: Mapping[str, object], given: bytes) -> None:
        try:
            self._requests.write(json.dumps(request).encode() + b"\n" + given)
            self._requests.flush()
        except BrokenPipeError as error:
            raise self._lost() from error

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise self._lost()
        answer: dict[str, Any] = json.loads(line)
        if "unreachable" in answer:
            raise HostUnreachable(
                f"host `{self.name}` cannot be reached: {words(str(answer['unreachable']).encode())}"
            )
        return answer

    def _bytes(self, count: int) -> bytes:
        data = self._answers.read(count)
        if len(data) < count:
            raise self._lost()
        return data

    def _lost(self) -> HostUnreachable:
        return HostUnreachable(f"host `{self.name}`: the program that reaches it for us has ended")
