"""Optional loggers of a run; none is imported unless it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gollum.benchmark.spec import RunConfig
from gollum.errors import MissingExtraError
from gollum.features.problem import Problem
from gollum.listener import Listener


def with_logger(config: RunConfig, listener: Listener) -> Listener:
    """The listener itself, or one that also tells the logger of the configuration.

    Raises:
        MissingExtraError: the logger's package is not installed.
    """
    return WandbListener(listener) if config.logger == "wandb" else listener


class WandbListener(Listener):
    """Passes everything on, and logs each evaluation to Weights & Biases."""

    def __init__(self, inner: Listener) -> None:
        try:
            import wandb
        except ImportError:
            raise MissingExtraError("Weights & Biases logging", "wandb") from None
        self._wandb = wandb
        self._inner = inner
        self._done = self._iterations = self._left = 0

    def prepared(self, config: RunConfig, problem: Problem, done: int) -> None:
        """Start a run there."""
        self._done, self._iterations, self._left = done, config.n_iters, len(problem.pool)
        name = config.folder.name
        self._wandb.init(
            project="gollum", name=name, id=name, resume="allow", config=config.model_dump()
        )
        self._inner.prepared(config, problem, done)

    def stage(self, words: str) -> None:
        """Pass on."""
        self._inner.stage(words)

    def advanced(self, done: int, total: int) -> None:
        """Pass on."""
        self._inner.advanced(done, total)

    def noted(self, notes: Sequence[str]) -> None:
        """Pass on."""
        self._inner.noted(notes)

    def consents(self, sentence: str) -> bool:
        """Pass on."""
        return self._inner.consents(sentence)

    def measured(self, rows: list[dict[str, Any]]) -> None:
        """Log each row; end the run there after the last iteration."""
        for row in rows:
            if self._done and row["iteration"] <= self._done:
                continue  # logged before the run was interrupted
            self._wandb.log({key: value for key, value in row.items() if value is not None})
        self._inner.measured(rows)
        self._left -= len(rows)
        if rows and (rows[-1]["iteration"] >= self._iterations or not self._left):
            self._wandb.finish()
