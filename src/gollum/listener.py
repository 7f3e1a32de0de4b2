"""The one protocol by which runs, sweeps and campaigns tell what they do while they do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Listener:
    """Told what happens; each method does nothing unless a subclass overrides it."""

    def prepared(self, config: Any, problem: Any, done: int) -> None:
        """A run's pool is loaded; `done` iterations were found in its folder."""

    def stage(self, words: str) -> None:
        """Something begins that may take a while."""

    def advanced(self, done: int, total: int) -> None:
        """So many of the texts are read, or of the fits made."""

    def noted(self, notes: Sequence[str]) -> None:
        """What the user should know, one sentence each."""

    def measured(self, rows: list[dict[str, Any]]) -> None:
        """New rows of a run's trace."""

    def consents(self, sentence: str) -> bool:
        """Whether the user agrees to what a sentence says; nobody is there to ask."""
        return False


SILENT = Listener()
