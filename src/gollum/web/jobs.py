"""Long work, each piece in a process of its own: it can be watched and stopped at any moment."""

from __future__ import annotations

import multiprocessing
import secrets
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from gollum.errors import BusyError
from gollum.web import work

AT_ONCE = 2  # processes
WAITING = 20  # jobs that may wait
KEPT = 60  # jobs that are remembered
NOTES = 50  # of one job

Status = Literal["waiting", "running", "done", "failed", "stopped"]


@dataclass(eq=False)
class Job:
    """A piece of work.

    Attributes:
        id: its name.
        campaign: name of the campaign.
        verb: what is done.
        options: how.
        by: who asked for it.
        expected: version of the campaign upon which it is done, where that matters.
        status: where it stands.
        stage: what it is at, in words.
        done: of `total`.
        total: 0 where that is not known.
        notes: what the user should know.
        error: why it failed, a sentence.
        result: what came of it.
        ended: set once nothing more comes.
        process: that works on it, once there is one.
    """

    id: str
    campaign: str
    verb: str
    options: Mapping[str, Any]
    by: str = ""
    expected: str | None = None
    status: Status = "waiting"
    stage: str = "Waiting"
    done: int = 0
    total: int = 0
    notes: list[str] = field(default_factory=list)
    error: str = ""
    result: Any = None
    ended: threading.Event = field(default_factory=threading.Event)
    process: BaseProcess | None = None

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.status in ("waiting", "running")

    def told(self, kind: str, what: Any) -> None:
        """Take in a word of the process."""
        if kind == "stage":
            self.stage, self.done, self.total = what, 0, 0
        elif kind == "advanced":
            self.done, self.total = what
        elif kind == "noted":
            self.notes = [*self.notes, *what][:NOTES]
        elif self.status == "running":
            self.status = kind  # type: ignore[assignment]
            self.result, self.error = (what, "") if kind == "done" else (None, what)


class Jobs:
    """All work of one server."""

    def __init__(self) -> None:
        methods = multiprocessing.get_all_start_methods()
        # A server that has imported PyTorch once makes processes in no time.
        how = "forkserver" if "forkserver" in methods else "spawn"
        self._context: Any = multiprocessing.get_context(how)
        if how == "forkserver":
            self._context.set_forkserver_preload(list(work.HEAVY))
        self._jobs: dict[str, Job] = {}
        self._turn = threading.Semaphore(AT_ONCE)
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Begin to import what all work needs."""
        if self._context.get_start_method() == "forkserver":
            from multiprocessing.forkserver import ensure_running

            before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for us
            try:
                ensure_running()
            finally:
                signal.signal(signal.SIGINT, before)

    def start(
        self,
        campaign: str,
        path: Path,
        verb: str,
        options: Mapping[str, Any],
        by: str = "",
        expected: str | None = None,
    ) -> Job:
        """Begin something; the same that goes on already is joined, whoever asked for it.

        Raises:
            BusyError: too much waits already.
        """
        with self._lock:
            going = [job for job in self._jobs.values() if job.running]
            for job in going:
                wanted = (campaign, verb, options, expected)
                if (job.campaign, job.verb, job.options, job.expected) == wanted:
                    return job
            if len(going) >= WAITING:
                raise BusyError("Too much waits already; wait until some of it is done.")
            job = Job(secrets.token_hex(8), campaign, verb, dict(options), by, expected)
            self._jobs[job.id] = job
            for old in [j for j in self._jobs.values() if not j.running][: -KEPT or None]:
                del self._jobs[old.id]
        threading.Thread(target=self._run, args=(job, path), daemon=True).start()
        return job

    def find(self, name: str) -> Job | None:
        """The job of this name."""
        return self._jobs.get(name)

    def of(self, campaign: str, verb: str | None = None) -> list[Job]:
        """Jobs of a campaign, the latest last."""
        found = [job for job in list(self._jobs.values()) if job.campaign == campaign]
        return [job for job in found if verb in (None, job.verb)]

    def latest(self, campaign: str, verb: str) -> Job | None:
        """The last job that was done with this."""
        done = [job for job in self.of(campaign, verb) if job.status == "done"]
        return done[-1] if done else None

    def stop(self, job: Job) -> None:
        """End a job; what it has not written by now it never will."""
        if job.running:
            job.status, job.stage = "stopped", "Stopped"
            if job.process is not None:
                with suppress(ValueError):  # it has just ended by itself
                    job.process.kill()

    def close(self) -> None:
        """End all of them."""
        for job in list(self._jobs.values()):
            self.stop(job)

    def _run(self, job: Job, path: Path) -> None:
        try:
            with self._turn:
                if job.status == "waiting":
                    self._work(job, path)
        finally:
            if job.running:
                job.status, job.error = "failed", "The work ended before it was done; try again."
            job.ended.set()

    def _work(self, job: Job, path: Path) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        job.status, job.stage = "running", "Starting"
        process = self._context.Process(
            target=work.apart, daemon=True,
            args=(str(path), job.verb, dict(job.options), job.by, job.expected, theirs),
        )  # fmt: skip
        process.start()
        job.process = process
        if job.status == "stopped":  # type: ignore[comparison-overlap]  # in the meantime
            process.kill()
        theirs.close()
        self._listen(job, ours)
        process.join()
        process.close()

    @staticmethod
    def _listen(job: Job, pipe: Connection) -> None:
        with suppress(EOFError, OSError), pipe:
            while True:
                job.told(*pipe.recv())
