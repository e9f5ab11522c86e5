"""How does a program start so that it cannot outlive the process that wants it?

Run as a program of its own (``python launch.py PARENT_PID PROGRAM ARGUMENT…``), because nothing but a plain
``exec`` may happen between fork and exec in a process that has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for SIGTERM when the parent dies, then become the program."""
    parent, *command = sys.argv[1:]
    # A worker child ignores or blocks some signals, and what is ignored or blocked is inherited.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # The parent may have died before the kernel was asked; then no signal will come.
    if os.getppid() != int(parent):
        sys.exit(128 + signal.SIGTERM)
    os.execv(command[0], command)  # noqa: S606 - the point of this program; there is no shell


if __name__ == "__main__":
    main()
