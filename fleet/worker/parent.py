"""How does a worker that a supervisor started notice that the supervisor is gone?"""

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
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        # It was gone before the kernel knew that we care.
        os.kill(os.getpid(), signal.SIGTERM)
