"""How does a process notice that its parent is gone, be that a supervisor or a worker?"""

import os
import signal
from collections.abc import Mapping

#: tells a worker which process to end with
PARENT_VARIABLE = "FLEET_SUPERVISOR_PID"

_PR_SET_PDEATHSIG = 1


def end_with_parent(environ: Mapping[str, str]) -> None:
    """When a supervisor started this process, stop (warm) as soon as that supervisor is gone."""
    parent = environ.get(PARENT_VARIABLE)
    if parent is None:
        return
    signal_at_its_end(signal.SIGTERM)
    if os.getppid() != int(parent):
        # It was gone before the kernel knew that we care.
        os.kill(os.getpid(), signal.SIGTERM)


def signal_at_its_end(number: int) -> None:
    """Let the kernel send signal ``number`` to this process when its parent ends. Raises OSError."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
