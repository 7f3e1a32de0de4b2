"""A pool in all the forms that representations read: rows, words and reactions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from gollum.data.pool import Pool
from gollum.data.source import SourceTask
from gollum.errors import DataError
from gollum.features.layout import require_columns
from gollum.text.template import Template


@dataclass(frozen=True, eq=False)
class Problem:
    """A pool in all the forms that representations read.

    Attributes:
        pool: the candidates.
        texts: each candidate in words.
        template: what the texts were written by.
        structures: columns that hold SMILES.
        reactions: reaction SMILES of each candidate, where it is a reaction.
        title: what is being optimized, for people.
        unit: of the objective, or empty.
        notes: what a user should know, one sentence each.
        noise: seed of random vectors that stand for the texts' embeddings; None for real ones.
        reaction: what the reaction SMILES were written by.
        sources: results of other tasks that a model may learn from.
    """

    pool: Pool
    texts: tuple[str, ...]
    template: Template | None = None
    structures: tuple[str, ...] = ()
    reactions: tuple[str, ...] | None = None
    title: str = ""
    unit: str = ""
    notes: tuple[str, ...] = ()
    noise: int | None = None
    reaction: Template | None = None
    sources: tuple[SourceTask, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the pool and everything a representation reads of it."""
        parts = [self.pool.fingerprint, *self.structures, *self.texts, *(self.reactions or ())]
        parts += [] if self.noise is None else [f"noise {self.noise}"]
        parts += [source.fingerprint for source in self.sources]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def texts_of(self, table: pd.DataFrame) -> tuple[str, ...]:
        """Other rows in the words of the candidates.

        Raises:
            DataError: their texts come from no template, or a column is missing.
        """
        return self._written(table, self.template, "texts")

    def reactions_of(self, table: pd.DataFrame) -> tuple[str, ...]:
        """Reaction SMILES of other rows, as those of the candidates.

        Raises:
            DataError: as for `texts_of`.
        """
        return self._written(table, self.reaction, "reaction SMILES", blank="")

    def _written(
        self, table: pd.DataFrame, template: Template | None, what: str, **options: str
    ) -> tuple[str, ...]:
        name = self.pool.name
        if template is None:
            raise DataError(
                f"{name}: the {what} of its candidates come from no template, so those of other "
                "rows can't be written; give a template."
            )
        require_columns(table, template.columns, name)
        values = np.full(len(table), np.nan)
        rows = replace(self.pool, table=table, values=values)
        return tuple(template.texts(rows, **options))
