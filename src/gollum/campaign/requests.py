"""What is asked of a campaign before any model is needed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from gollum.campaign.events import Met, Request, Span, Together
from gollum.campaign.state import Planned, State
from gollum.data.naming import meant
from gollum.data.pool import cell_text
from gollum.data.spreadsheets.numbers import is_plain
from gollum.data.spreadsheets.units import converted, quantity, unit_in
from gollum.errors import UserError, nearest
from gollum.notes import Note

_BEYOND = re.compile(r"([<>]=?)\s*(.*)")


def open_batch(state: State) -> list[Planned]:
    """The last batch, if nothing has happened since it was suggested."""
    if not state.batches or state.batches[-1].basis < state.changed:
        return []
    return [plan for plan in state.pending() if plan.batch == state.batch]


def asked_for(
    state: State,
    at_most: Mapping[str, int],
    same: Sequence[str],
    cost_weight: float,
    apart: int = 0,
    repeats: int = 0,
    notes: list[Note] | None = None,
) -> Request:
    """A request, checked against the campaign.

    Args:
        state: the campaign.
        at_most: column → how often one value of it may occur in a batch.
        same: columns with one value across the batch.
        cost_weight: power of the cost that the expected improvement is divided by.
        apart: in how many columns any two experiments of a batch differ at least.
        repeats: how many experiments of a batch may have been measured already.
        notes: takes what was understood in a special way.

    Raises:
        UserError: a column is not there, or a number makes no sense.
    """
    columns = [str(c) for c in state.table.columns]
    told = list[Note]() if notes is None else notes
    limits = dict[str, int]()
    for name, most in at_most.items():
        column = meant(name, columns, told)
        if limits.setdefault(column, most) != most:
            raise UserError(f"'{column}' is limited to {limits[column]} and to {most}; keep one.")
    same = (same,) if isinstance(same, str) else same
    same = tuple(dict.fromkeys(meant(column, columns, told) for column in same))
    for column in (*limits, *same):
        if column not in columns:
            raise UserError(
                f"a limit names a column '{column}' that the campaign does not have."
                + (nearest(column, columns) or f" The columns are {', '.join(columns)}.")
            )
    for column, most in limits.items():
        if not isinstance(most, int) or most < 1:
            raise UserError(f"'{column}' can be limited to 1, 2 … times in a batch, not {most}.")
    if not (math.isfinite(cost_weight) and cost_weight >= 0):
        raise UserError(f"the weight of costs is a number from 0 on, not {cost_weight}.")
    if cost_weight and state.costs is None:
        raise UserError(
            "there are no costs to weigh; begin a campaign with --cost COLUMN, or say what options "
            "cost by gollum init CAMPAIGN --price COLUMN=FILE."
        )
    if cost_weight and state.costs is not None and np.nanmin(state.costs) <= 0:
        raise UserError(
            f"'{state.created.cost}' is not above 0 for all candidates, so it can't be weighed as "
            "a cost; leave the weight of costs out."
        )
    if not isinstance(apart, int) or not 0 <= apart <= len(columns):
        raise UserError(
            f"experiments can differ in up to {len(columns)} columns, not in {apart}; give a "
            "smaller number."
        )
    if not isinstance(repeats, int) or repeats < 0:
        raise UserError(f"the number of repeats is 0 or more, not {repeats}.")
    return Request(at_most=limits, same=same, cost_weight=cost_weight, apart=apart, repeats=repeats)


def cell_meant(
    state: State, column: str | None, value: object, notes: list[Note] | None = None
) -> str:
    """A cell (or id, of column None) as candidates have it: '80' for '80 °C' or '176 °F'."""
    cells = state.table.index if column not in state.table else state.table[column].unique()
    known = [cell_text(cell) for cell in cells]
    told = list[Note]() if notes is None else notes
    text = meant(cell_text(value).strip(), known, told)
    if text not in known:  # perhaps a former name
        text = state.renamed.get((column or "", text), text)
    number, given = quantity(text) or ("", "")
    unit = state.created.units.get(column or "") or next(iter(unit_in(column or "") or ()), "")
    if text in known or not (given and unit and is_plain(number)):
        return text
    return cell_text(converted(float(number), given, str(unit))) or text


def span_meant(state: State, column: str | None, value: object) -> Span | None:
    """The numbers that are meant by '> 100', '<=40' or '90:120', in a column of numbers; or None.

    Raises:
        UserError: it is such a span and can't be understood, or the column holds none.
    """
    text = cell_text(value).strip()
    if column not in state.table or text in map(cell_text, state.table[column].unique()):
        return None
    sign, between = _BEYOND.fullmatch(text), text.split(":")
    numeric = pd.api.types.is_numeric_dtype(state.table[column])
    if sign is None and not (numeric and len(between) == 2):
        return None
    if not numeric:
        raise UserError(f"'{column}' holds names, and '{text}' is for numbers; name its values.")
    ends = [cell_meant(state, column, end) for end in ([sign[2]] if sign else between)]
    if not all(is_plain(end) and math.isfinite(float(end)) for end in ends):
        raise UserError(f"write '{column}>100', '{column}<=40' or '{column}=90:120', not '{text}'.")
    low, high = float(ends[0]), float(ends[-1])
    if sign:
        closed = sign[1].endswith("=")
        return Span(low=low, closed=closed) if sign[1][0] == ">" else Span(high=high, closed=closed)
    if low > high:
        raise UserError(f"the range {text} of '{column}' should go up; turn it around.")
    return Span(low=low, high=high)


def together_meant(
    state: State, cells: Mapping[str, object], notes: list[Note] | None = None
) -> Together:
    """Cells, or spans of numbers, of several columns that are avoided where they meet.

    Raises:
        UserError: there is no such column or value, or there are fewer than two.
    """
    columns, found = [str(c) for c in state.table.columns], list[Met]()
    for name, value in cells.items():
        column = meant(name, columns, list[Note]() if notes is None else notes)
        span = span_meant(state, column, value)
        wanted = span or cell_meant(state, column, value, notes)
        check_cells(state, column, [wanted], lift=False)
        found.append(Met(column=column, value=wanted))
    if len({met.column for met in found}) < max(2, len(cells)):
        raise UserError(
            "what is avoided together are values of two columns or more, each named once, such as "
            "'ligand=XPhos and solvent=DMF'."
        )
    return Together(cells=tuple(sorted(found, key=lambda met: columns.index(met.column))))


def check_cells(
    state: State, column: str | None, values: Sequence[str | Span | Together], lift: bool
) -> None:
    """Refuse to avoid cells (or ids, of column None) that no candidate has, or to lift others.

    Raises:
        UserError: there is no such column or value, or it is not avoided and can't be lifted.
    """
    if lift:
        for value in (v for v in values if (column, v) not in state.avoided):
            what = f"{column or 'id'} {value if isinstance(value, Span) else repr(str(value))}"
            what = str(value) if isinstance(value, Together) else what
            raise UserError(f"{what} is not avoided; there is nothing to lift.")
        return
    columns = [str(c) for c in state.table.columns]
    if column is not None and column not in columns:
        raise UserError(
            f"there is no column '{column}'."
            + (nearest(column, columns) or f" The columns are {', '.join(columns)}.")
        )
    known = {cell_text(c) for c in (state.table.index if column is None else state.table[column])}
    where = "no candidate has the id" if column is None else f"column '{column}' never holds"
    for value in (v for v in values if isinstance(v, str) and v not in known):
        raise UserError(f"{where} '{value}'.{nearest(value, known)}")
