"""What a sample of options was drawn from, around one experiment of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from gollum.campaign.grid import EntangledError, Grid
from gollum.campaign.options import Factor
from gollum.data.pool import cell_text

Names = Mapping[tuple[str, str], str]  # (column, option as it was listed) → as it is called now


@dataclass(frozen=True, eq=False)
class Options:
    """The options of factors, and which of them go together.

    Attributes:
        factors: in their order; those that are continuous are quantities in steps.
        grid: the combinations that no line rules out.
    """

    factors: Sequence[Factor]
    grid: Grid

    def uncovered(self, table: pd.DataFrame) -> list[str]:
        """Names of factors that these experiments lack, or whose cells are no options."""
        return [
            factor.name
            for factor in self.factors
            if factor.name not in table
            or any(_place(factor, cell, {}) is None for cell in table[factor.name].unique())
        ]

    def near(
        self,
        row: pd.DataFrame,
        reach: float,
        count: int,
        seed: Sequence[int],
        *,
        kept: Collection[str] = (),
        names: Names | None = None,
    ) -> pd.DataFrame:
        """Draw from a box of quantities around an experiment; its other cells stay.

        Args:
            row: its 1 x k inputs.
            reach: half the box's width, as a part of each quantity's range; one step at least.
            count: how many at most.
            seed: names the draws.
            kept: columns that stay as well.
            names: of options that have others by now.

        Returns:
            Up to count x k inputs, all different; none where the experiment has other options than
            these, or the box ties together more than can be gone through.
        """
        stretches, free = list[slice](), list[bool]()
        for factor in self.factors:
            if factor.name not in row:
                return row[:0]
            column = row[factor.name]
            moves = factor.continuous and factor.name not in kept and is_numeric_dtype(column)
            cell = column.iloc[0]
            place = _nearest(factor, cell) if moves else _place(factor, cell, names or {})
            if place is None:
                return row[:0]
            width = max(1, round(reach * (len(factor.options) - 1))) if moves else 0
            stretches.append(slice(max(0, place - width), place + width + 1))
            free.append(moves)
        box = self.grid.part(stretches)
        try:
            codes = box.draw(min(count, box.total), seed) if box.total else None
        except EntangledError:
            codes = None
        if codes is None:
            return row[:0]
        found = row.loc[row.index.repeat(len(codes))]
        for i in np.flatnonzero(free).tolist():
            cells = self.factors[i].array[stretches[i].start + codes[:, i]]
            found = found.assign(**{self.factors[i].name: cells})
        return found


def _nearest(factor: Factor, number: float) -> int | None:
    """Place of the option that is nearest to a number; None where that is missing."""
    off = np.abs(factor.array - number)
    return None if np.isnan(off).any() else int(off.argmin())


def _place(factor: Factor, cell: object, names: Names) -> int | None:
    """Place of the option that a cell holds."""
    text = cell_text(cell)
    listed = [old for (column, old), new in names.items() if (column, new) == (factor.name, text)]
    if (factor.name, text) not in names:
        listed.append(text)
    known = factor.number_of
    return next((known[option] for option in listed if option in known), None)
