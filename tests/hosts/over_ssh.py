"""The lab's own way to a host, as a runner: the `ssh` program with the lab's configuration."""

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence

from provisioning.errors import HostTimeout, HostUnreachable
from provisioning.hosts.runner import Ran
from tests.hosts.lab import Host


class OverSsh:
    """Runs programs on a host of the lab, where every login is root's.

    ``half_way`` is called once, when half of a stream of more than ``LARGE`` bytes was sent; it may raise.
    """

    LARGE = 500_000

    def __init__(self, host: Host, *, half_way: Callable[[], None] | None = None) -> None:
        self.name = host.name
        self._host = host
        self._half_way = half_way

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        del as_root
        ssh = ("ssh", "-F", str(self._host.ssh_config), "-l", "root", "--", self.name, shlex.join(argv))
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with subprocess.Popen(ssh, stdin=subprocess.PIPE, stdout=out, stderr=err) as process:
                try:
                    self._feed(process, stdin)
                    code = process.wait(timeout_seconds)
                except subprocess.TimeoutExpired as error:
                    raise HostTimeout(f"host `{self.name}` took too long") from error
                finally:
                    process.kill()
            out.seek(0)
            err.seek(0)
            ran = Ran(exit_code=code, stdout=out.read(), stderr=err.read())
        if ran.exit_code == 255:
            raise HostUnreachable(f"host `{self.name}`: {ran.stderr.decode(errors='replace').strip()}")
        return ran

    def close(self) -> None:
        """Nothing stays open."""

    def _feed(self, process: "subprocess.Popen[bytes]", stdin: Iterable[bytes]) -> None:
        assert process.stdin is not None
        try:
            for chunk in self._halved(b"".join(stdin)):
                process.stdin.write(chunk)
                process.stdin.flush()
            process.stdin.close()
        except BrokenPipeError:
            # An agent that stops early does not read the rest; how it ended says more.
            return

    def _halved(self, sent: bytes) -> Iterator[bytes]:
        middle = len(sent) // 2
        yield sent[:middle]
        if self._half_way and len(sent) > self.LARGE:
            call, self._half_way = self._half_way, None
            call()
        yield sent[middle:]
