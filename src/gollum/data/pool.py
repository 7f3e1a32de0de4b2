"""Pool: the immutable set of candidate experiments that an optimization chooses from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.naming import meant
from gollum.data.spreadsheets.numbers import SPACES, is_number_like
from gollum.errors import DataError, listed, nearest
from gollum.notes import Note

Direction = Literal["maximize", "minimize"]
HEADER_ROWS = 1  # of a table that does not say where its first row was
_ATOMS = re.compile(r"[BCNOPSFIHbcnopsilr\d@+\-\[\]()=#/\\%.]+")  # of a SMILES, or a formula


@dataclass(frozen=True, eq=False)
class Pool:
    """Candidates, named by ids, with what is known of their objective.

    Attributes:
        name: what the pool is called in reports.
        table: the N x k input columns; its index holds the ids, in file order.
        objective: name of the objective column.
        direction: whether large or small objective values are wanted.
        values: the N objective values in their own units; NaN where not measured.
        notes: what was dropped or changed on the way in, one sentence each.
        orders: column → its names in order, of columns of names that have one.
    """

    name: str
    table: pd.DataFrame
    objective: str
    direction: Direction
    values: NDArray[np.float64]
    notes: tuple[Note, ...] = field(default=())
    orders: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            raise DataError(
                f"direction must be 'maximize' or 'minimize', not '{self.direction}'."
                + nearest(self.direction, get_args(Direction))
            )
        if len(self.table) == 0:
            raise DataError(f"{self.name}: the pool is empty; give a table with at least one row.")
        if self.values.shape != (len(self.table),):
            raise DataError(
                f"{self.name}: expected {len(self.table)} objective values, "
                f"got shape {self.values.shape}."
            )
        self.values.setflags(write=False)

    @classmethod
    def from_table(
        cls,
        table: pd.DataFrame,
        objective: str,
        direction: Direction = "maximize",
        *,
        inputs: Sequence[str] | None = None,
        id_column: str | None = None,
        name: str = "table",
    ) -> Pool:
        """Check a table and make a pool of it.

        Of rows with exactly the same inputs the first measured one is kept (the first, if none
        is), and the number of others is reported in `notes`. Cells of the objective may be empty:
        those rows stay in the pool with value NaN.

        Args:
            table: one row per experiment, with its objective column.
            objective: name of the objective column.
            direction: 'maximize' or 'minimize'.
            inputs: columns that describe the experiment; all but the objective by default.
            id_column: column of unique names for the rows; `r1`, `r2` … (data row) by default.
            name: file or task name, for messages.

        Raises:
            DataError: a column is missing, the objective is not numeric, an id repeats, or no
                row is left.
        """
        check_table(table, [objective, *(inputs or []), *([id_column] if id_column else [])], name)
        first = int(table.attrs.get("first_row", HEADER_ROWS + 1))
        values = _numeric(table[objective], name, first)
        reserved = {objective, id_column}
        columns = list(inputs) if inputs is not None else [c for c in table if c not in reserved]
        if not columns:
            raise DataError(
                f"{name}: no input column besides '{objective}'; add columns that describe "
                "the experiments."
            )
        for given in map(str, columns):
            if given == objective or columns.count(given) > 1:
                what = "is the objective" if given == objective else "is named twice"
                raise DataError(f"{name}: the input '{given}' {what}; leave it out of the inputs.")
        ids = _ids(table, id_column, name, first)
        kept = _first_of_each(table[columns], values)
        notes = tuple(map(Note.of, table.attrs.get("notes", ())))
        if not kept.all():
            row = int(np.flatnonzero(~kept)[0]) + first
            told = (
                f"{int((~kept).sum())} of {len(table)} rows repeat the inputs of another row (the "
                f"first is row {row}) and were dropped."
            )
            notes += (Note("repeated-rows", name, told),)
        data = table.loc[kept, columns].copy()
        data.index = pd.Index(ids[kept], name="id")
        return cls(name, data, objective, direction, values[kept], notes)

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def ids(self) -> NDArray[np.str_]:
        """The N ids, in file order."""
        ids = self.table.index.to_numpy(copy=True)
        ids.flags.writeable = False
        return ids

    @property
    def utility(self) -> NDArray[np.float64]:
        """Objective values with the sign that makes larger better."""
        return self.values if self.direction == "maximize" else -self.values

    def sign(self) -> float:
        """+1 when maximizing, −1 when minimizing: utility = sign · objective."""
        return 1.0 if self.direction == "maximize" else -1.0

    @cached_property
    def _position_of(self) -> dict[str, int]:
        return {candidate: i for i, candidate in enumerate(self.ids)}

    def positions(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Row positions of some ids, in their order.

        Raises:
            DataError: an id is not in the pool.
        """
        try:
            return np.array([self._position_of[i] for i in ids], dtype=np.int64)
        except KeyError as error:
            raise DataError(f"{self.name}: there is no candidate with id {error}.") from None

    def labelled(self) -> Pool:
        """The candidates whose objective is known, for replaying a pool as a benchmark.

        Raises:
            DataError: none is known, or all known values are equal.
        """
        known = np.isfinite(self.values)
        if not known.any():
            raise DataError(
                f"{self.name}: column '{self.objective}' holds no number; a replay needs known "
                "objective values."
            )
        if np.ptp(self.values[known]) == 0:
            raise DataError(
                f"{self.name}: every value of '{self.objective}' equals "
                f"{self.values[known][0]:g}, so there is nothing to optimize; check the column."
            )
        if known.all():
            return self
        told = f"{int((~known).sum())} rows without '{self.objective}' were dropped."
        return replace(
            self,
            table=self.table.loc[known],
            values=self.values[known],
            notes=(*self.notes, Note("unmeasured-rows", self.name, told)),
        )

    def numeric_columns(self) -> list[str]:
        """Input columns that hold numbers."""
        return [str(c) for c in self.table if pd.api.types.is_numeric_dtype(self.table[c])]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over ids, inputs, objective values and direction."""
        digest = hashlib.sha256(f"{self.objective}\n{self.direction}\n".encode())
        digest.update(self.table.to_csv(lineterminator="\n").encode())
        digest.update(np.ascontiguousarray(self.values).tobytes())
        if self.orders:
            digest.update(repr({c: tuple(order) for c, order in self.orders.items()}).encode())
        return digest.hexdigest()


def smiles_columns(table: pd.DataFrame) -> list[str]:
    """Columns called SMILES that hold molecules and not reactions, whose arrows are no bonds."""

    def holds_reactions(column: pd.Series) -> bool:
        cells = (str(cell).replace("->", "") for cell in column.dropna())
        return any(">" in cell for cell in cells)

    called = [str(c) for c in table.columns if "smiles" in str(c).casefold()]
    return [c for c in called if not holds_reactions(table[c])]


def refuse_slips(pool: Pool, table: pd.DataFrame) -> None:
    """Refuse cells of other rows that would count as something new and are slips.

    What may be atoms is left alone: CO is not Co, and C1CCCCC1 not c1ccccc1.

    Raises:
        DataError: a cell is blank where no candidate's is, or a name is a known one, spelt
            otherwise.
    """
    numbers = pool.numeric_columns()
    for column in pool.table.columns.intersection(table.columns):
        cells, known = table[column], pool.table[column]
        if cells.isna().any() and not known.isna().any():
            row = cells.index[cells.isna()][0]
            raise DataError(f"row '{row}', column '{column}' is blank; fill it in.")
        if column in numbers:
            continue
        every = known.dropna().astype(str).unique().tolist()
        new = cells.dropna().astype(str)
        for row, name in new[~new.isin(every)].items():
            like = name if _ATOMS.fullmatch(name) else meant(name, every, [])
            if like != name:
                raise DataError(
                    f"row '{row}', column '{column}': '{name}' is spelt otherwise than '{like}'; "
                    "write it as it is there."
                )


def is_blank(cells: pd.Series) -> NDArray[np.bool_]:
    """N flags: the cell of a column of numbers or texts holds nothing but spaces."""
    if pd.api.types.is_numeric_dtype(cells):
        return cells.isna().to_numpy(dtype=bool)
    return (cells.str.strip(SPACES) == "").to_numpy(dtype=bool)


def telling_columns(table: pd.DataFrame, structures: Sequence[str] = ()) -> list[str]:
    """Columns to know rows by: those that differ, less structures that a name beside them says.

    Args:
        table: N rows.
        structures: columns with SMILES.
    """
    columns = [str(c) for c in table]
    varied = [c for c in columns if table[c].nunique(dropna=False) > 1] or columns
    names = [c for c in varied if c not in structures]

    def is_said(structure: str, name: str) -> bool:
        pairs = table[[name, structure]].drop_duplicates()
        return len(pairs) == pairs[name].nunique(dropna=False)

    return [c for c in varied if c in names or not any(is_said(c, name) for name in names)]


def cell_text(value: object) -> str:
    """A cell as text: numbers in the shortest form that reads back, so that 80.0 is '80'."""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{float(value):.15g}"
    return "" if value is None else str(value)


def check_columns(table: pd.DataFrame, columns: Iterable[str], name: str) -> None:
    """Refuse a table without one of these columns.

    Raises:
        DataError: with the columns that there are.
    """
    for column in columns:
        if column not in table.columns:
            raise DataError(
                f"{name}: there is no column '{column}'.{nearest(column, map(str, table.columns))} "
                f"The columns are {listed(table.columns)}."
            )


def check_table(table: pd.DataFrame, columns: Iterable[str], name: str) -> None:
    """Refuse a table without one of these columns, or without rows.

    Raises:
        DataError: it is one.
    """
    check_columns(table, columns, name)
    if len(table) == 0:
        raise DataError(f"{name}: the table has a header but no rows; add some candidates.")


def _first_of_each(inputs: pd.DataFrame, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """N flags: the first row with these inputs, measured ones before others."""
    measured_first = np.argsort(np.isnan(values), kind="stable")
    kept = np.empty(len(values), dtype=bool)
    kept[measured_first] = ~inputs.iloc[measured_first].duplicated(keep="first").to_numpy()
    return kept


def _numeric(column: pd.Series, name: str, first: int) -> NDArray[np.float64]:
    blank = column.isna() | (column.astype(str).str.strip() == "")
    numbers = pd.to_numeric(column.where(~blank), errors="coerce").astype("float64")
    values: NDArray[np.float64] = np.array(numbers, dtype=np.float64)
    wrong = ~np.isfinite(values) & ~blank.to_numpy()
    if wrong.any():
        rows = [int(row) for row in np.flatnonzero(wrong)]
        # A decimal comma is only text because of another cell; name that one.
        row = next((r for r in rows if not is_number_like(str(column.iloc[r]))), rows[0])
        raise DataError(
            f"{name}: row {row + first}, column '{column.name}': "
            f"'{column.iloc[row]}' is not a finite number; correct it or leave the cell empty."
        )
    return values


def _ids(table: pd.DataFrame, id_column: str | None, name: str, first: int) -> NDArray[np.object_]:
    if id_column is None:
        return np.array([f"r{i + 1}" for i in range(len(table))], dtype=object)
    ids = table[id_column].astype(str)
    repeated = ids.duplicated().to_numpy()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise DataError(
            f"{name}: row {row + first}, column '{id_column}': the id "
            f"'{ids.iloc[row]}' is used twice; ids must be unique."
        )
    return ids.to_numpy(dtype=object)
