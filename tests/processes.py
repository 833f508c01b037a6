"""Programs run by two processes of two devices each."""

import os
import socket
import subprocess
import sys
import textwrap

from tests.conftest import ROOT
from tests.training import toy


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def run_two(code: str, *arguments: object) -> list[str]:
    """What two processes print that both end well; `code` finds port, process and the arguments in `sys.argv[1:]`."""
    port, running = str(free_port()), []
    settings = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": toy.XLA_FLAGS.format(2), "PYTHONPATH": str(ROOT)}
    for process in ("0", "1"):
        command = [sys.executable, "-c", textwrap.dedent(code), port, process, *map(str, arguments)]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        running.append(subprocess.Popen(command, env={**os.environ, **settings}, cwd=ROOT, text=True, **streams))
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    return outputs
