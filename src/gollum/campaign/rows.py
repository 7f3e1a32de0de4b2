"""The rows of a table of possible experiments, told apart by their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.campaign.identity import NO_ID
from gollum.campaign.slips import ROUNDING
from gollum.data.pool import cell_text, is_blank
from gollum.data.spreadsheets.columns import Column
from gollum.data.spreadsheets.numbers import SPACES
from gollum.data.spreadsheets.quantities import unit_of_cells, without_units
from gollum.data.spreadsheets.units import alike, is_unit, quantity, says_unit, unit_in
from gollum.errors import DataError, nearest, quoted
from gollum.notes import Note


class Rows:
    """The rows of a table, told apart by their inputs.

    Attributes:
        where: file or table, for messages.
        table: the whole table; inputs with a unit in all cells are numbers.
        inputs: columns that describe an experiment.
        units: those that the names of the columns don't say.
        said: units that were said, by column.
        kept: positions of the n rows that are not blank.
        first: for each of these, the position of the first row with its inputs.

    Raises:
        DataError: a row has no inputs, or there are no two different ones.
    """

    def __init__(
        self,
        where: str,
        table: pd.DataFrame,
        inputs: Sequence[str],
        said: Mapping[str, str] | None = None,
    ) -> None:
        self.where, self.inputs, self.said = where, list(inputs), dict(said or {})
        self.table, self.units = without_units(table, inputs, where, self.said)
        for column in inputs:
            cells = self.table[column]
            if column in self.said and not pd.api.types.is_numeric_dtype(cells):
                raise DataError(
                    f"{where}: not all cells of '{column}' are numbers, as they would have to be "
                    f"in {self.said[column]}; leave its unit out."
                )
            if not pd.api.types.is_numeric_dtype(cells):
                self.table[column] = cells.str.strip(SPACES).astype("str")
            elif pd.api.types.is_float_dtype(cells):
                self.table[column] = cells.mask(cells.abs() <= ROUNDING * cells.abs().max(), 0.0)
        described = self.table[self.inputs]
        blank = blank_rows(table)
        for row in np.flatnonzero(blank_rows(described) & ~blank)[:1]:
            what = "all inputs are blank; write none where nothing is used, or delete the row"
            raise self.refusal(row, what)
        self.kept = np.flatnonzero(~blank)
        groups = described.iloc[self.kept].groupby(self.inputs, dropna=False, sort=False)
        number = groups.ngroup().to_numpy()
        firsts = self.kept[np.unique(number, return_index=True)[1]]
        self.first = firsts[number]
        if len(firsts) < 2:
            raise DataError(
                f"{where}: there are fewer than two different experiments to choose from; add some."
            )

    def units_of(self, results: Sequence[str]) -> dict[str, str]:
        """The units of results that the names of their columns don't say, where one fits all."""
        first, units = int(self.table.attrs["first_row"]), dict[str, str]()
        percent = {n.column for n in self.table.attrs["notes"] if n.code == "percentages"}
        units |= {name: self.said[name] for name in results if name in self.said}
        for name in (c for c in results if c in self.table.columns):
            cells = [cell for cell in map(cell_text, self.table[name]) if quantity(cell)]
            column = Column(self.where, self.where, name, first, cells)
            own = "%" if name in percent else unit_of_cells(column, self.said.get(name, ""))
            unit = self.said.get(name) or own
            if unit and not says_unit(name, unit):
                units[name] = unit
        return units

    def row(self, position: int) -> str:
        """A row as the spreadsheet counts it."""
        return f"row {self.table.attrs['first_row'] + position}"

    def refusal(self, position: int, problem: str, column: str | None = None) -> DataError:
        """A refusal that names row and column."""
        place = self.row(position) + ("" if column is None else f", column '{column}'")
        return DataError(f"{self.where}: {place}: {problem}.")

    def ids(self, column: str | None) -> NDArray[np.object_]:
        """The id of each row that is kept: that of the first row with its inputs.

        Args:
            column: names the rows; None for r1, r2, … by row.

        Raises:
            DataError: an id is blank, can't be one, or names two experiments.
        """
        if column is None:
            return np.array([f"r{i + 1}" for i in self.first], dtype=object)
        ids = [cell_text(cell).strip(SPACES) for cell in self.table[column].tolist()]
        if pd.api.types.is_numeric_dtype(self.table[column]):
            written = self.table.attrs.get("written", {}).get(column, {})
            ids = [written.get(name, (name,))[0] for name in ids]
        owner: dict[str, int] = {}
        for row, first in zip(self.kept.tolist(), self.first.tolist(), strict=True):
            if not ids[row]:
                raise self.refusal(row, "the id is blank; give each experiment one", column)
            if NO_ID.fullmatch(ids[row]):
                what = f"'{ids[row]}' can't be an id, as runs are called b3-1 or r5~1, 3-1 is taken"
                advice = "for a date, and ids have no slash or line break; change it"
                raise self.refusal(row, f"{what} {advice}", column)
            if owner.setdefault(ids[row], first) != first:
                what = f"'{ids[row]}' names another experiment in {self.row(owner[ids[row]])}"
                advice = "give each its own id, or rename the column if it is something else"
                raise self.refusal(row, f"{what}; {advice}", column)
        return np.array([ids[i] for i in self.first], dtype=object)

    def refuse_merged(self, columns: Sequence[str]) -> None:
        """Refuse rows that only these columns tell apart.

        Args:
            columns: that were not listed among the inputs, and may have been forgotten.

        Raises:
            DataError: there are such rows.
        """
        again = np.flatnonzero(self.kept != self.first)
        here, there = self.kept[again], self.first[again]
        for column in columns:
            cells = self.table[column].map(cell_text).to_numpy()
            for i in np.flatnonzero(cells[here] != cells[there])[:1]:
                what = (
                    f"'{cells[here[i]]}' tells the experiment apart from that of "
                    f"{self.row(there[i])} ('{cells[there[i]]}'), and the column is not among the "
                    f"inputs; add it to them, or say --remark {quoted(column)} if the two are "
                    "repeats"
                )
                raise self.refusal(here[i], what, column)

    def candidates(
        self, ids: NDArray[np.object_], cost: str | None, positive: bool = True
    ) -> pd.DataFrame:
        """The different experiments by id, in the order of the table, with their cost if known.

        Args:
            ids: of the rows that are kept.
            cost: column with the cost, or with another outcome that is known of all.
            positive: whether it is above 0, as a cost is.

        Raises:
            DataError: a cost is blank, infinite or not above 0, or an experiment has two.
        """
        if cost is not None:
            self._check_cost(cost, positive)
        own = self.kept == self.first
        columns = self.inputs if cost is None else [*self.inputs, cost]
        candidates: pd.DataFrame = self.table[columns].iloc[self.kept[own]]
        candidates.index = pd.Index(ids[own], name="id", dtype="str")
        candidates.attrs = {}
        return candidates

    def _check_cost(self, column: str, positive: bool) -> None:
        called, above = ("cost", " above 0") if positive else ("value", "")
        costs = pd.to_numeric(self.table[column], errors="coerce").to_numpy(dtype=np.float64)
        right = np.isfinite(costs) & ((costs > 0) | (not positive))
        for row in self.kept[~right[self.kept]][:1]:
            cell = cell_text(self.table[column].iloc[row])
            what = f"'{cell}' is not a finite number{above}" if cell else f"the {called} is blank"
            raise self.refusal(row, f"{what}; give each experiment a {called}{above}", column)
        for i in np.flatnonzero(costs[self.kept] != costs[self.first])[:1]:
            what = f"the same experiment has another {called} in {self.row(self.first[i])}"
            raise self.refusal(self.kept[i], f"{what}; give it one {called}", column)

    def notes(self) -> list[Note]:
        """What became of rows that are blank or repeat others."""
        notes = []
        if blank := len(self.table) - len(self.kept):
            notes.append(Note("blank-rows", self.where, f"{blank} blank rows were passed over."))
        if len(again := np.flatnonzero(self.kept != self.first)):
            here, there = self.row(self.kept[again[0]]), self.row(self.first[again[0]])
            told = (
                f"{len(again)} rows have the inputs of an earlier one (such as {here} those of "
                f"{there}) and are the same candidate."
            )
            notes.append(Note("repeated-rows", self.where, told))
        return notes


def check_units(said: Mapping[str, str], table: pd.DataFrame, where: str) -> dict[str, str]:
    """Units that were said of columns, without those that their names say as well.

    Raises:
        DataError: there is no such column or unit, or a name says another one.
    """
    for column, unit in said.items():
        named = unit_in(column)
        if column not in table.columns:
            close = nearest(column, map(str, table.columns))
            raise DataError(f"{where}: there is no column '{column}' to have a unit.{close}")
        if not is_unit(unit):
            raise DataError(
                f"{where}: '{unit}' of '{column}' is no unit that is known; write it as in h, °C, "
                "mol% or mmol/L."
            )
        if named is not None and named[1] and not alike(named[0], unit):
            raise DataError(
                f"{where}: the name of '{column}' says {named[0]} and you say {unit}; keep one."
            )
    return {column: unit for column, unit in said.items() if not says_unit(column, unit)}


def blank_rows(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Flags of the rows without any entry."""
    blank = np.ones(len(table), dtype=bool)
    for name in table.columns:
        blank &= is_blank(table[name])
    return blank
