"""What may be suggested between the candidates that were drawn from lists of options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
import pandas as pd

from gollum.acquisition.strategy import BatchRequest
from gollum.campaign.events import Cells
from gollum.campaign.factors import options_in
from gollum.campaign.identity import free_ids
from gollum.campaign.state import State


@dataclass(frozen=True, eq=False)
class Between:
    """A `gollum.acquisition.strategy.Space` of quantities in steps.

    Attributes:
        state: the campaign.
        wanted: what is asked for at a state.
        kept: columns whose cells stay.
    """

    state: State
    wanted: Callable[[State], BatchRequest]
    kept: Collection[str] = ()

    @cached_property
    def _known(self) -> set[int]:
        return set(_hashed(self.state.table))

    def near(
        self, row: pd.DataFrame, reach: float, count: int, seed: Sequence[int]
    ) -> pd.DataFrame:
        """Draw from the latest lists that have the experiment; see `Space.near`."""
        found = row[:0]
        for text in reversed(self.state.drawn_from):
            options = options_in(text)
            found = options.near(row, reach, count, seed, kept=self.kept, names=self.state.renamed)
            if len(found):
                break
        found = found.astype(self.state.table.dtypes.to_dict())
        new = np.array([number not in self._known for number in _hashed(found)], dtype=bool)
        found = found.loc[new].set_axis([f"~{i}" for i in range(new.sum())], axis=0)
        free: pd.DataFrame = found.loc[~replace(self.state, table=found).locked()]
        return free

    def request(self, rows: pd.DataFrame) -> BatchRequest:
        """What is asked for with these rows behind the candidates."""
        return self.wanted(self.state.joined(Cells.of(rows)))

    def names(self, count: int) -> list[str]:
        """n1, n2, … as far as they are free."""
        return list(islice(free_ids(set(self.state.table.index)), count))


def _hashed(table: pd.DataFrame) -> list[int]:
    """A number for each row, by its cells."""
    numbers: list[int] = pd.util.hash_pandas_object(table, index=False).tolist()
    return numbers
