"""A process that runs the cells it is sent, one after the other.

Nothing heavy is imported before the number of threads is set: the numerical libraries read it when
they are loaded.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip


def bounds(threads: int | None) -> dict[str, str]:
    """Environment variables that keep a process to so many threads; without a number, to all."""
    limits = {} if threads is None else dict.fromkeys(THREADS, str(threads))
    return {**limits, "TOKENIZERS_PARALLELISM": "false"}


def serve(connection: Connection, threads: int | None, log: str) -> None:
    """Run cells until the connection is closed.

    Each cell received is answered by the numbers of its iterations and then its outcome. Ctrl-C
    is left to the parent, which ends this process by SIGTERM. Without a parent it ends by itself
    after the iteration under way.

    Args:
        connection: to the parent.
        threads: processor threads of this process.
        log: file for what libraries print, and for where the process was when it crashed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    os.environ.update(bounds(threads))
    _print_into(log)
    from gollum.benchmark.sweeps.cells import execute
    from gollum.benchmark.sweeps.shelf import shelf

    def send(message: Any) -> None:
        try:
            connection.send(message)
        except OSError:
            sys.exit()

    while True:
        try:
            cell = connection.recv()
        except (EOFError, OSError):
            return
        send(execute(cell, shelf().build, send))


def _leave(*_: Any) -> None:
    """Unwind, so that locks and passing files are removed."""
    sys.exit(128 + signal.SIGTERM)


def _print_into(log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    with suppress(OSError):  # where open files have to keep their names, the parent removes it
        os.unlink(log)
    faulthandler.enable()
