"""The inputs of a sheet beside those of the candidates, so that equal cells are equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.campaign.filled import Mask, Sheet, Texts, mapped, refuse_all, together
from gollum.campaign.slips import denoised
from gollum.data.molecules import can_read, canonical
from gollum.data.pool import cell_text
from gollum.data.spreadsheets.numbers import SPACES, bare, composed
from gollum.errors import DataError
from gollum.notes import Note

Rows = NDArray[np.int64]

_TOLERANCE = 5e-6  # relative; two numbers of the same six digits differ by less
_DIGITS = (6, 15)  # that numbers are compared with; more where six make candidates the same


class Input(NamedTuple):
    """One input in the table and in the sheet, in a form in which equal cells are equal.

    Attributes:
        column: its name.
        table: n cells of the candidates.
        sheet: N cells of the sheet.
        texts: these as they stand there; '' where blank or without such a column.
    """

    column: str
    table: NDArray[Any]
    sheet: NDArray[Any]
    texts: Texts

    @property
    def is_text(self) -> bool:
        """Whether the cells are texts; '' where blank, as NaN is among numbers."""
        return bool(self.sheet.dtype == object)

    def differ(self, at: Rows) -> Mask:
        """N flags: the sheet's cell is not blank, and another one than that of table row `at`."""
        there = self.table[at]
        if self.is_text:
            return np.asarray((self.sheet != "") & (self.sheet != there), dtype=bool)
        same = np.isclose(there, self.sheet, _TOLERANCE, 0)
        return np.asarray(~np.isnan(self.sheet) & ~same, dtype=bool)

    def filled(self, rows: Rows, at: Rows, cells: pd.Series) -> Input:
        """The same with the cells of table rows `at`, which are `cells`, in some rows."""
        sheet, texts = self.sheet.copy(), self.texts.copy()
        sheet[rows], texts[rows] = self.table[at], cells.iloc[at].map(cell_text)
        return self._replace(sheet=sheet, texts=texts)

    def keys(self, rows: Rows, digits: int) -> NDArray[Any]:
        """Cells of the table, then those of some rows of the sheet, as they are compared."""
        cells = np.concatenate([self.table, self.sheet[rows]])
        return cells if self.is_text else _rounded(cells, digits)


def read_inputs(sheet: Sheet, wanted: Mask, every: bool = False) -> tuple[list[Input], list[Note]]:
    """The inputs that the sheet has, or `every` one of the campaign; and notes on numbers."""
    inputs, told, wrong = list[Input](), list[Note](), list[DataError]()
    units = sheet.state.created.units
    for column, cells in sheet.state.table.items():
        name = str(column)
        here = name in sheet.frame
        if not (here or every):
            continue
        texts = sheet.texts(name if here else None)
        if pd.api.types.is_numeric_dtype(cells):
            instead = "all candidates have a number there"
            numbers, notes = np.full(len(texts), np.nan), list[Note]()
            with together(wrong):
                if here:
                    numbers, notes = sheet.numbers(name, wanted, units.get(name, ""), instead)
            known = cells.to_numpy(dtype=np.float64)
            inputs.append(Input(name, known, denoised(numbers, known), texts))
            told += notes
        else:
            ours = mapped(cells.to_numpy(dtype=object), lambda t: composed(str(t).strip(SPACES)))
            molecules = name in sheet.state.created.structures and can_read()
            key = _molecule if molecules else _keys(set(ours))
            if here:
                _refuse_merged(sheet, name)
            former = {old: new for (c, old), new in sheet.state.renamed.items() if c == name}
            today = texts if not former else mapped(texts, partial(_today, former))
            inputs.append(Input(name, mapped(ours, key), mapped(today, key), today))
    refuse_all(sheet.name, wrong)
    return inputs, told


def _today(former: Mapping[str, str], text: str) -> str:
    """What an option is called now."""
    return former.get(text, text)


def _refuse_merged(sheet: Sheet, column: str) -> None:
    """Refuse names such as 1.1 and 1.10 in a sheet that was read as if they were numbers."""
    merged = [texts for texts in sheet.written(column).values() if len(texts) > 1]
    if merged:
        one, other, *_ = merged[0]
        raise DataError(
            f"{sheet.name}: column '{column}': '{one}' and '{other}' are read as one number, but "
            "are names here; name the experiments by run or id, and leave the column out."
        )


def _keys(levels: Collection[str]) -> Callable[[str], str]:
    """What texts are compared by: 80 for 80.0, as workbooks may hold it, unless both are levels."""
    shared = {form for form, count in Counter(map(bare, levels)).items() if count > 1}

    def key(text: str) -> str:
        form = bare(text)
        return text if form in shared else form

    return key


def grouped(inputs: Sequence[Input], rows: Rows) -> tuple[list[int], dict[int, int]]:
    """A number for each row, the same for the same inputs, and the candidate with that number."""
    size = len(inputs[0].table)
    for digits in _DIGITS:
        keys = pd.DataFrame({i: cells.keys(rows, digits) for i, cells in enumerate(inputs)})
        groups = keys.groupby(list(keys), sort=False).ngroup().to_numpy()
        if len(np.unique(groups[:size])) == size:
            break
    numbers = groups.tolist()
    return numbers[size:], {g: at for at, g in reversed(list(enumerate(numbers[:size])))}


def _rounded(cells: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Numbers with so many digits; infinite where blank."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.abs(cells))))
        rounded = np.round(cells * scale) / scale
    return np.where(np.isnan(cells), np.inf, np.where(np.isfinite(rounded), rounded, cells))


def _molecule(text: str) -> str:
    """A SMILES in the form that all spellings of a molecule share; another text as it is."""
    bare = str(text).strip(SPACES)
    return (canonical(bare) if bare else "") or bare
