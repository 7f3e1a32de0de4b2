"""What runs the cells of a sweep: here, processes of this machine (a cluster: `cluster`).

An engine takes cells and yields what happens to them; closed early, it stops what is under way and
leaves folders that can go on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import NamedTemporaryFile

from gollum.benchmark.sweeps.cells import Cell, Outcome, keep_failure
from gollum.benchmark.sweeps.worker import serve

GRACE = 10.0  # seconds that processes may take to stop by themselves
TAIL = 20_000  # characters of what a crashed process printed last that are kept


@dataclass(frozen=True)
class Event:
    """Something that happened to a cell.

    Attributes:
        cell: the cell.
        outcome: how it ended; None while it runs.
        iteration: the last one done; 0 when it has just been handed out.
    """

    cell: Cell
    outcome: Outcome | None = None
    iteration: int = 0


Events = Generator[Event, None, None]
Engine = Callable[[Sequence[Cell]], Events]


def on_processes(cells: Sequence[Cell], jobs: int, threads: int | None) -> Events:
    """Run cells in so many processes at a time; each runs many, so that little is loaded twice.

    A process that dies costs its cell, and another takes its place.

    Args:
        cells: in the order in which they are wanted; among those of one seed, a process gets
            one that it is prepared for, where there is one.
        jobs: processes.
        threads: processor threads of each; all by default.
    """
    waiting = list(cells)
    idle: list[_Process] = []
    busy: list[_Process] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                process = idle.pop() if idle else _Process(threads)
                cell = _choose(waiting, process, busy)
                waiting.remove(cell)
                busy.append(process)
                process.start(cell)
                yield Event(cell)
            ready = wait([process.connection for process in busy])
            for process in [p for p in busy if p.connection in ready]:
                event = process.receive()
                if event.outcome is not None:
                    busy.remove(process)
                    if process.alive:
                        idle.append(process)
                    else:
                        _stop([process])
                yield event
    finally:
        _stop([*busy, *idle])


def _choose(waiting: Sequence[Cell], process: _Process, others: Iterable[_Process]) -> Cell:
    """Of the cells whose seed is next, the first that least has to be prepared for."""
    elsewhere: set[str] = set().union(*(other.prepared for other in others))

    def cost(cell: Cell) -> int:
        return 0 if cell.method in process.prepared else 1 + (cell.method in elsewhere)

    seed = waiting[0].config.seed
    return min((cell for cell in waiting if cell.config.seed == seed), key=cost)


class _Process:
    """A process that runs one cell at a time, on the parent's side.

    Attributes:
        connection: what it says.
        prepared: tasks with methods that it has run already.
    """

    def __init__(self, threads: int | None) -> None:
        self._log = NamedTemporaryFile(  # noqa: SIM115 (as long as the process)
            "r", encoding="utf-8", errors="replace", prefix="gollum-", delete=False
        )
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, threads, self._log.name)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()
        self.prepared: set[str] = set()
        self._cell: Cell | None = None
        self._began = 0.0

    @property
    def alive(self) -> bool:
        """Whether it can be given another cell."""
        return self._process.is_alive()

    def start(self, cell: Cell) -> None:
        """Hand it a cell; whether it is still there to take it shows when it answers."""
        self._cell, self._began = cell, time.perf_counter()
        self.prepared.add(cell.method)
        with suppress(OSError):
            self.connection.send(cell)

    def receive(self) -> Event:
        """What it says next of its cell; that it has died, if it has."""
        assert self._cell is not None  # noqa: S101
        try:
            message: int | Outcome = self.connection.recv()
        except (EOFError, OSError):
            message = self._death(self._cell)
        if isinstance(message, Outcome):
            return Event(self._cell, message)
        return Event(self._cell, iteration=message)

    def _death(self, cell: Cell) -> Outcome:
        self._process.join(GRACE)
        message = f"its process {_cause(self._process.exitcode)}."
        keep_failure(cell, message, self._log.read()[-TAIL:])
        return Outcome("failed", time.perf_counter() - self._began, message)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.connection.close()
        self._process.terminate()

    def join(self, deadline: float) -> None:
        """Wait until it has; after the deadline it is killed."""
        self._process.join(max(0.0, deadline - time.monotonic()))
        self._process.kill()
        self._process.join()
        self._log.close()
        Path(self._log.name).unlink(missing_ok=True)


def _stop(processes: Sequence[_Process]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE
    for process in processes:
        process.join(deadline)


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended (exit code {code})"
    name = signal.Signals(-code).name
    hint = " (the system does that when memory runs out)" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A process started here never hears Ctrl-C; one that comes meanwhile reaches this one later.

    The set of blocked signals is inherited, so there is no moment in which the new process could
    be interrupted. Windows has no such sets.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # else started along with it, which lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
