"""A sweep on the terminal: live progress or plain lines, what is to do, what came out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from gollum.analysis.runs import labelled
from gollum.benchmark.sweeps.cells import Cell, Kind, Outcome, State, finished_summary
from gollum.benchmark.sweeps.engines import Event
from gollum.benchmark.sweeps.records import Records


class SweepDisplay:
    """Shows how many cells are done, have failed and are running, and the time left."""

    def __init__(
        self,
        console: Console,
        states: Mapping[Cell, State],
        jobs: int,
        quiet: bool = False,
    ) -> None:
        self.console, self.quiet = console, quiet
        self.live = console.is_terminal and not quiet
        self._jobs = jobs
        self._total = len(states)
        self._count = Counter(states.values())
        self._kinds = {cell.label: cell.kind for cell in states}
        self._left = {cell.label: 1.0 for cell, state in states.items() if state == "missing"}
        self._taken: dict[Kind, list[float]] = defaultdict(list)
        self._earlier: dict[Kind, list[float]] = defaultdict(list)
        for cell, state in states.items():
            if state == "finished" and (summary := finished_summary(cell.folder)) is not None:
                self._earlier[cell.kind].append(float(summary["seconds"]))
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total}"),
            TextColumn("{task.fields[status]}", markup=False),
            console=console,
            disable=not self.live,
        )
        self._sweep = self._progress.add_task("Sweep", total=self._total, status="")

    def __enter__(self) -> SweepDisplay:
        self._progress.start()
        self._refresh()
        return self

    def __exit__(self, *_: object) -> None:
        for bar in self._bars.values():
            self._progress.remove_task(bar)
        self._progress.stop()

    def happened(self, event: Event) -> None:
        """Advance, and say what came to an end."""
        label, total = event.cell.label, event.cell.config.n_iters
        if event.outcome is not None:
            self._ended(label, event.outcome)
        elif label not in self._bars:
            self._bars[label] = self._progress.add_task(f"  {label}", total=total, status="")
        else:
            self._progress.update(self._bars[label], completed=event.iteration)
            self._left[label] = 1.0 - event.iteration / max(1, total)
        self._refresh()

    @property
    def failed(self) -> int:
        """Cells that have failed, now or earlier."""
        return self._count["failed"]

    def waiting(self, count: int) -> None:
        """Say what it is waiting for."""
        cells = "a cell" if count == 1 else f"{count} cells"
        self.say(f"Waiting for {cells} that another process runs.")

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _ended(self, label: str, outcome: Outcome) -> None:
        if (bar := self._bars.pop(label, None)) is not None:
            self._progress.remove_task(bar)
        if outcome.kind == "locked":
            self._left[label] = 1.0
            return
        self._left.pop(label, None)
        self._count[outcome.kind] += 1
        if outcome.kind == "finished" and outcome.seconds:
            self._taken[self._kinds[label]].append(outcome.seconds)
        if outcome.kind == "failed" or not (self.live or self.quiet):
            done = self._count["finished"] + self._count["failed"]
            failed = "failed: " if outcome.kind == "failed" else ""
            taken = f" · {outcome.seconds:.1f} s" if outcome.seconds else ""
            left = f" · {left}" if (left := self._time_left()) else ""
            place = f"[{done}/{self._total}] {label}"
            self.say(f"{place} · {failed}{outcome.message}{taken}{left}")

    def _refresh(self) -> None:
        failed = self._count["failed"]
        running = min(len(self._bars), self._jobs)
        parts = (f"{running} running", f"{failed} failed" if failed else "", self._time_left())
        self._progress.update(
            self._sweep,
            completed=self._count["finished"] + failed,
            status=" · ".join(filter(None, parts)),
        )

    def _time_left(self) -> str:
        left: dict[Kind, float] = defaultdict(float)
        for label, share in self._left.items():
            left[self._kinds[label]] += share
        # What ended earlier kept the time of fits and choices only: it counts until more is known.
        known = {**self._earlier, **self._taken}
        seconds = time_left(left, known, min(self._jobs, max(1, len(self._left))))
        return f"{spoken(seconds)} left" if left and seconds is not None else ""


def time_left(
    left: Mapping[Kind, float], known: Mapping[Kind, Sequence[float]], jobs: int
) -> float | None:
    """Seconds that the rest of a sweep takes.

    Args:
        left: cells of each kind, those under way by the share that is left.
        known: seconds of finished cells of a kind; what is unknown takes the mean of the kinds.
        jobs: how many run at a time.

    Returns:
        None where nothing is known.
    """
    means = {kind: sum(taken) / len(taken) for kind, taken in known.items() if taken}
    if not means:
        return None
    usual = sum(means.values()) / len(means)
    return sum(count * means.get(kind, usual) for kind, count in left.items()) / jobs


def spoken(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def state_table(states: Mapping[Cell, State]) -> Table:
    """What is done, missing and failed, a row per task and method."""
    table = Table()
    for column in ("task and method", "seeds", "finished", "missing", "failed"):
        table.add_column(column, justify="left" if column == "task and method" else "right")
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in states:
        groups[cell.method].append(cell)
    for method, cells in groups.items():
        count = Counter(states[cell] for cell in cells)
        seeds = _ranges(cell.config.seed for cell in cells)
        table.add_row(
            method, seeds, *(str(count[s] or "") for s in ("finished", "missing", "failed"))
        )
    return table


def print_results(console: Console, records: Records, failed: pd.DataFrame) -> None:
    """Mean coverage, and what failed."""
    if len(records.table):
        console.print(coverage_table(records))
    for row in failed.itertuples():
        console.print(f"Failed: {row.folder}: {row.message}", highlight=False, soft_wrap=True)
    if len(failed):
        console.print("The same command with --retry-failed runs what failed again.")


def coverage_table(records: Records) -> Table:
    """Mean share of the top 5 % found per task and method, with the number of seeds."""
    runs, _ = labelled(records.table, records.traces)
    cells = runs.groupby(["task", "method"])["top5_coverage"].agg(["mean", "size"])
    means = cells["mean"].unstack()
    shown = cells.apply(lambda c: f"{100 * c['mean']:.1f} % ({c['size']:.0f})", axis=1)
    table = Table(title="Top 5 % found, mean (seeds)")
    table.add_column("task")
    for method in means:
        table.add_column(str(method), justify="right", overflow="fold", min_width=9)
    for task, row in shown.unstack(fill_value="").iterrows():
        table.add_row(str(task), *row)
    if len(means) > 1:
        whole = means.mean().where(means.notna().all())
        table.add_section()
        table.add_row("all tasks", *("" if pd.isna(v) else f"{100 * v:.1f} %" for v in whole))
    return table


def _ranges(numbers: Iterable[int]) -> str:
    """0-4, 7 for 0, 1, 2, 3, 4 and 7."""
    runs: list[list[int]] = []
    for n in sorted(numbers):
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
