"""A cell of a sweep: one run, its folder, what became of it, and running it."""

from __future__ import annotations

import csv
import json
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from gollum.benchmark.config import flatten
from gollum.benchmark.record import RunFolder
from gollum.benchmark.spec import RunConfig
from gollum.benchmark.sweeps.settings import settings_of
from gollum.errors import BusyError, DataError, GollumError
from gollum.files import write_text
from gollum.listener import Listener
from gollum.surrogates.specs import surrogate_factory, surrogate_names

State = Literal["finished", "failed", "missing"]
Kind = tuple[str, str, str]


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        config: the run; it writes into the cell's folder.
        label: the folder below that of the sweep, with slashes on every system.
    """

    config: RunConfig = field(hash=False)  # it may hold lists
    label: str

    @property
    def folder(self) -> RunFolder:
        """Where the run writes."""
        return RunFolder(self.config.folder)

    @property
    def method(self) -> str:
        """Task, surrogate, model, preset, control and settings: everything but the seed."""
        return self.label.rpartition("/")[0]

    @property
    def kind(self) -> Kind:
        """Surrogate, model and preset: cells that agree in these take about as long."""
        names = self.names()
        return str(names["surrogate"]), str(names["model"]), str(names["preset"])

    def state(self) -> State:
        """What became of it, read from its folder."""
        summary = finished_summary(self.folder)
        if summary is not None and is_whole(dict(flatten(self.config.model_dump())), summary):
            return "finished"
        return "failed" if self.folder.failure_file.is_file() else "missing"

    def names(self) -> dict[str, str | int]:
        """What records call the run: task, surrogate, model, preset, control, settings and seed."""
        return run_names(dict(flatten(self.config.model_dump())))


@dataclass(frozen=True)
class Outcome:
    """How it went.

    Attributes:
        kind: 'locked' when another process is at it.
        seconds: that it took just now; 0 where nothing was left to do.
        message: why it failed, or the result in a few words.
    """

    kind: Literal["finished", "failed", "locked"]
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a cell failed, as kept in its folder.

    Attributes:
        message: one sentence.
        traceback: where it happened, or what its process said last.
        time: when, in UTC.
        run: what records call the run.
    """

    message: str
    traceback: str
    time: str
    run: dict[str, str | int]


def model_of(keys: Mapping[str, Any]) -> str:
    """The language model of a run, from its dotted keys; blank where there is no choice of one."""
    if not has_choice_of_model(str(keys.get("surrogate"))):
        return ""
    return str(keys.get("remote.model") or keys.get("model.name", ""))


def has_choice_of_model(surrogate: str) -> bool:
    """Whether a surrogate uses a language model that is not fixed by its name."""
    if surrogate not in surrogate_names():
        return False
    factory = surrogate_factory(surrogate)
    return "texts" in getattr(factory, "needs", ()) and getattr(factory, "model", None) is None


def run_names(keys: Mapping[str, Any]) -> dict[str, str | int]:
    """What records call a run, from its dotted keys; a table has its own name or its file's."""
    named = keys.get("data.task") or keys.get("data.name")
    return {
        "task": named or Path(str(keys.get("data.path"))).name,
        "surrogate": keys["surrogate"],
        "model": model_of(keys),
        "preset": keys["preset"],
        "control": keys.get("control", "none"),
        "settings": settings_of(keys),
        "seed": keys["seed"],
    }


def finished_summary(folder: RunFolder) -> dict[str, Any] | None:
    """The figures of a run that has ended, or None; a run killed while it saved has not."""
    try:
        summary = folder.summary()
        with folder.trace_file.open(newline="", encoding="utf-8") as stream:
            rows = sum(1 for _ in csv.reader(stream)) - 1
    except (OSError, ValueError, DataError):
        return None
    ended = summary.get("status") == "finished" and summary.get("evaluations") == rows
    return summary if ended else None


def is_whole(keys: Mapping[str, Any], summary: Mapping[str, Any]) -> bool:
    """Whether a run that has ended, by its figures, did all that its dotted keys ask for."""
    enough = summary["iterations"] >= keys["n_iters"]
    exhausted = summary["evaluations"] == summary.get("candidates")
    return (enough or exhausted) and (not keys.get("quality") or "quality" in summary)


def execute(
    cell: Cell, build: Callable[..., Any], advanced: Callable[[int], None] = lambda _: None
) -> Outcome:
    """Run a cell unless that has been done; what goes wrong is written into its folder.

    Args:
        cell: what to run.
        build: makes a surrogate by its factory.
        advanced: told the number of each iteration done.
    """
    from gollum.benchmark.run import run  # PyTorch: not for those who only look at cells

    state = cell.state()
    if state == "finished":
        return Outcome("finished", message="was done already")
    if state == "failed":
        return Outcome("failed", message=read_failure(cell.folder).message)
    began = time.perf_counter()
    try:
        result = run(cell.config, _Steps(advanced), build)
    except BusyError:
        return Outcome("locked")
    except Exception as error:  # whatever it is costs this cell only
        own = isinstance(error, GollumError)
        message = str(error) if own else f"{type(error).__name__}: {error}"
        keep_failure(cell, message, traceback.format_exc())
        return Outcome("failed", time.perf_counter() - began, " ".join(message.split()))
    share = f"{100 * result.summary['top5_coverage']:.0f} %"
    return Outcome("finished", time.perf_counter() - began, f"top 5 % found {share}")


def keep_failure(cell: Cell, message: str, details: str) -> None:
    """Write down why a cell failed, if its folder can be written."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    failure = Failure(" ".join(message.split()), details, now, cell.names())
    text = json.dumps(asdict(failure), indent=2, ensure_ascii=False) + "\n"
    with suppress(OSError):  # a full disk, say: the sweep still shows it
        cell.folder.path.mkdir(parents=True, exist_ok=True)
        write_text(cell.folder.failure_file, text)


def read_failure(folder: RunFolder) -> Failure:
    """Why the cell in a folder failed."""
    try:
        return Failure(**json.loads(folder.failure_file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return Failure(f"'{folder.failure_file}' can't be read.", "", "", {})


class _Steps(Listener):
    """Passes on nothing but the iterations."""

    def __init__(self, advanced: Callable[[int], None]) -> None:
        self._advanced = advanced

    def measured(self, rows: list[dict[str, Any]]) -> None:
        """Pass the iteration on."""
        if rows:
            self._advanced(int(rows[-1]["iteration"]))
