"""A run on the terminal: live progress, plain lines where there is no terminal, a final table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.prompt import Confirm
from rich.table import Table

from gollum.benchmark.run import RunResult
from gollum.benchmark.spec import RunConfig
from gollum.data.pool import cell_text, telling_columns
from gollum.features.problem import Problem
from gollum.listener import Listener

TOP_ROWS = 5


class ConsoleListener(Listener):
    """Shows iteration, best value, share of the top 5 % found, seconds and time left."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.console, self.quiet = console, quiet
        self.live = console.is_terminal and not quiet
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[status]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[eta]}"),
            console=console,
            disable=not self.live,
        )
        self._reading: Any = None
        self._running: Any = None
        self._config: RunConfig | None = None
        self._unit = ""
        self._began = self._first = 0.0
        self._resumed_at = 0

    def __enter__(self) -> ConsoleListener:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def prepared(self, config: RunConfig, problem: Problem, done: int) -> None:
        """Print what is about to run."""
        pool = problem.pool
        self._config, self._unit, self._resumed_at = config, problem.unit, done
        self._began = time.monotonic()
        self._tell(f"{problem.title}: {len(pool)} candidates, {pool.direction} {pool.objective}.")
        self._tell(
            f"Surrogate {config.surrogate} ({config.preset} preset), {config.n_init} starting "
            f"points, {config.n_iters} iterations, seed {config.seed} → {config.folder}"
        )
        if done:
            self._tell(f"Resuming after iteration {done}.")
        self._running = self._progress.add_task(
            "Optimizing", total=config.n_iters, completed=done, status="", eta=""
        )

    def advanced(self, done: int, total: int) -> None:
        """Advance the reading bar."""
        if self._reading is None:
            self._reading = self._progress.add_task("Reading texts", total=total, status="", eta="")
            if not self.live:
                self._tell(f"The language model reads {total} texts.")
        self._first = time.monotonic()
        self._progress.update(self._reading, completed=done, visible=done < total)

    def noted(self, notes: Sequence[str]) -> None:
        """Print remarks."""
        for note in notes:
            self._say(f"Note: {note}")

    def consents(self, sentence: str) -> bool:
        """Ask on a terminal; elsewhere nobody is there to agree."""
        if not (self.live and sys.stdin.isatty()):
            return False
        self._progress.stop()
        self._say(sentence)
        agreed = Confirm.ask("Send them?", console=self.console, default=False)
        self._progress.start()
        return agreed

    def measured(self, rows: list[dict[str, Any]]) -> None:
        """Advance, or print a line."""
        if self._config is None or not rows:
            return
        last = rows[-1]
        iteration = int(last["iteration"])
        status = (
            f"best {_number(last['best_so_far'], self._spaced_unit())} · "
            f"top 5 % found {100 * last['top5_coverage']:.0f} %"
        )
        eta = self._eta(iteration)
        self._progress.update(self._running, completed=iteration, status=status, eta=eta)
        if not self.live:
            elapsed = time.monotonic() - self._began
            label = f"iteration {iteration}/{self._config.n_iters}"
            self._tell(f"{label} · {status} · {elapsed:.1f} s{' · ' + eta if eta else ''}")

    def _eta(self, iteration: int) -> str:
        """Time left, from the iterations of this session; none before the first has ended."""
        if self._config is None or iteration <= self._resumed_at:
            self._first = time.monotonic()
            return ""
        per_iteration = (time.monotonic() - self._first) / (iteration - self._resumed_at)
        left = per_iteration * (self._config.n_iters - iteration)
        return f"{left:.0f} s left"

    def _spaced_unit(self) -> str:
        return f" {self._unit}" if self._unit else ""

    def _tell(self, text: str) -> None:
        """Say how it goes, which a quiet run does not."""
        if not self.quiet:
            self._say(text)

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_result(console: Console, result: RunResult, random_coverage: float) -> None:
    """The short table at the end of a run.

    Args:
        console: where to.
        result: the finished run.
        random_coverage: mean coverage of random search after as many experiments, 0 to 1.
    """
    summary, pool = result.summary, result.problem.pool
    unit = f" {result.problem.unit}" if result.problem.unit else ""
    table = Table(title=f"{pool.name}, {result.config.surrogate}, seed {result.config.seed}")
    table.add_column("result")
    table.add_column("value", justify="right")
    for label, value in (
        ("experiments", f"{summary['evaluations']}"),
        (f"best {pool.objective}", _number(summary["best"], unit)),
        ("best possible", f"{_extreme(result):.4g}{unit}"),
        ("top 5 % found", f"{100 * summary['top5_coverage']:.0f} %"),
        ("random search", f"{100 * random_coverage:.0f} %"),
        ("seconds to fit and choose", f"{summary['seconds']:.1f}"),
    ):
        table.add_row(label, value)
    console.print(table)
    console.print(_best_rows(result))
    console.print(f"Picture: {result.folder.picture}", markup=False, soft_wrap=True)


def _extreme(result: RunResult) -> float:
    pool = result.problem.pool
    return pool.sign() * float(pool.utility.max())


def _number(value: float | None, unit: str) -> str:
    """A value with its unit; in words where every experiment failed so far."""
    return "none yet" if value is None else f"{value:.4g}{unit}"


def _best_rows(result: RunResult) -> Table:
    """The best experiments that were found, with the columns that tell them apart."""
    pool = result.problem.pool
    ascending = pool.direction == "minimize"
    best = result.trace.sort_values("objective", ascending=ascending, kind="stable").head(TOP_ROWS)
    short = telling_columns(pool.table, result.problem.structures)
    table = Table(title="Best experiments found")
    for column in ("id", *short, pool.objective):
        table.add_column(str(column), overflow="fold")
    for candidate, value in zip(best["id"], best["objective"], strict=True):
        row = pool.table.loc[candidate, short]
        table.add_row(str(candidate), *map(cell_text, row), f"{value:.4g}")
    return table
