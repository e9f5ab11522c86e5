"""A child that is forked while another thread of its parent writes a log line still writes its own."""

import subprocess
import sys
from pathlib import Path

from tests.servers import clean_environ

FORKS = """\
import logging, os, sys, threading
from fleet.worker.logs import stderr_handler

read, write = os.pipe()
os.dup2(write, 2)
logging.basicConfig(level="INFO", handlers=[stderr_handler()])
writing = threading.Thread(target=logging.info, args=("x" * 1_000_000,), daemon=True)
writing.start()
os.read(read, 1)  # it has begun, and nobody reads on
child = os.fork()
if not child:
    os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 2)
    logging.info("the child's own line")
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_writes_though_it_was_forked_in_the_middle_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    argv = (sys.executable, "-c", FORKS, file)
    # Not unbuffered, whatever the developer's shell says: the buffer's lock is what this is about.
    done = subprocess.run(argv, env=clean_environ(), timeout=20, check=False)
    assert done.returncode == 0
    assert "the child's own line" in file.read_text()
