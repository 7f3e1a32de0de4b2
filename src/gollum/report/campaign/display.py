"""A campaign's suggestions on the terminal, and what happens while they are made."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.prompt import Confirm

from gollum.campaign.events import Suggestion
from gollum.campaign.sheets import sheet_names
from gollum.campaign.state import State
from gollum.listener import Listener
from gollum.report.campaign.status import (
    conditions,
    outlook,
    slot_words,
    sources,
    telling,
    visible,
)
from gollum.report.drawing import shortened

TRUSTED = 5  # columns and representations that are told with a batch


class Display(Listener):
    """Stages with a bar, a clock and the time left; plain lines where there is no terminal."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.console, self.quiet = console, quiet
        self._live = console.is_terminal and not quiet
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._live,
            transient=True,
        )
        self._task = self._progress.add_task("Starting", total=None)

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advanced(self, done: int, total: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total)

    def stage(self, words: str) -> None:
        """Begin a new bar, or print a line."""
        self._progress.reset(self._task, description=words, total=None)
        if not self._live and not self.quiet:
            self.console.print(f"{words} …", highlight=False)

    def consents(self, sentence: str) -> bool:
        """Ask on a terminal; elsewhere nobody is there to agree."""
        if not (self._live and sys.stdin.isatty()):
            return False
        self._progress.stop()
        self.console.print(visible(self.console, sentence), highlight=False, soft_wrap=True)
        agreed = Confirm.ask("Send them?", console=self.console, default=False)
        self._progress.start()
        return agreed

    def noted(self, notes: Sequence[str]) -> None:
        """Print remarks."""
        if not self.quiet:
            for note in notes:
                text = visible(self.console, f"Note: {note}")
                self.console.print(text, highlight=False, soft_wrap=True)


def print_suggestions(console: Console, state: State, sheet: pd.DataFrame) -> None:
    """A batch on the terminal: what to do, what is expected of it, and what it is for."""
    objective, columns = state.created.objective, telling(state)
    by = state.batches[-1].surrogate if state.batches else None
    console.print(f"{len(sheet)} experiments to do:", highlight=False)
    for run in sheet[sheet_names(state).run]:
        suggestion = state.plans[run].suggestion
        cells = conditions(state, suggestion.id, columns)
        what = ", ".join(f"{column} {shortened(cell)}" for column, cell in cells)
        expected = _expected(suggestion, objective, by, state.front_of(suggestion))
        for line in (
            f"  {run} ({suggestion.id})  {expected}",
            *(f"    {line}" for line in _further(suggestion)),
            f"    {what}",
        ):
            console.print(visible(console, line), highlight=False, soft_wrap=True)
    for line in (*outlook(state), *sources(state)):
        console.print(visible(console, line), highlight=False, soft_wrap=True)
    weights = state.batches[-1].weights if state.batches else {}
    if len(weights) > 1:
        console.print(visible(console, _told_apart_by(weights)), highlight=False, soft_wrap=True)


def _told_apart_by(weights: dict[str, tuple[float, float, float]]) -> str:
    """The few columns and representations that count most, and how surely."""
    most = sorted(weights.items(), key=lambda weight: -weight[1][0])[:TRUSTED]
    parts = []
    for slot, (share, low, high) in most:
        told = slot_words(slot)
        between = f" ({100 * low:.0f} to {100 * high:.0f})" if low < high else ""
        name = " by ".join(filter(None, (told["column"], told["representation"])))
        parts.append(f"{name} {100 * share:.0f} %{between}")
    return f"What tells experiments apart most: {', '.join(parts)}."


def _short(number: float) -> str:
    """Three digits, and no powers of ten where there are more before the point."""
    return f"{number:.0f}" if 1000 <= abs(number) < 1e7 else f"{number:.3g}"


def _further(suggestion: Suggestion) -> list[str]:
    """What is predicted of further outcomes, a line; none without any."""
    parts = []
    for name, predicted in suggestion.others.items():
        low, high = _short(predicted.low), _short(predicted.high)
        parts.append(f"{name} {_short(predicted.mean)}" + f" ({low} to {high})" * (low != high))
    if suggestion.limits is not None:
        parts.append(f"all limits hold with {100 * suggestion.limits:.0f} %")
    return [", ".join(parts)] if parts else []


def _expected(suggestion: Suggestion, objective: str, by: str | None, front: bool) -> str:
    mean, low, high, chance = (
        suggestion.mean, suggestion.low, suggestion.high, suggestion.chance,
    )  # fmt: skip
    if mean is None or low is None or high is None:
        return f"chosen by {by}" if by else "first design"
    before = ""
    if suggestion.inherited is not None:
        before = f", by earlier results alone {_short(suggestion.inherited)}"
    told = f"predicted {objective} {_short(mean)} ({_short(low)} to {_short(high)}){before}"
    if chance is None:
        return f"{told}; nothing is measured yet"
    success = "joins the front" if front else "beats the best"
    return f"{told}, {success} with {100 * chance:.0f} %: {suggestion.intent}"
