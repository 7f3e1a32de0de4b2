"""What joins a campaign that runs, or is renamed in it: candidates, options, and factors.

An option is a new value of a column, with the values of the columns that go with it (a ligand and
its SMILES); it is combined with everything that the other columns hold. A factor is a new column,
in which all experiments so far had one value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from gollum.campaign.begin import default_template, kept_lists
from gollum.campaign.events import Added, Cells, Event, Renamed, Retold, Source
from gollum.campaign.factors import MOST_COMBINATIONS as MOST
from gollum.campaign.filled import Sheet
from gollum.campaign.identity import identify
from gollum.campaign.options import numbers
from gollum.campaign.prices import checked
from gollum.campaign.sheets import users_columns
from gollum.campaign.state import Logged, State
from gollum.data.naming import meant
from gollum.data.pool import cell_text
from gollum.data.roles import OURS
from gollum.data.spreadsheets.numbers import SPACES, is_plain
from gollum.errors import ConfigError, DataError, listed, nearest, quoted
from gollum.notes import Note

Option = Mapping[str, str]


def with_factors(state: State, factors: Mapping[str, str]) -> tuple[Event, ...]:
    """Events that add columns.

    Args:
        state: the campaign.
        factors: name of a new column → its value in all experiments so far.

    Raises:
        DataError: there is such a column already, or a value is blank.
    """
    if not factors:
        return ()
    values: dict[str, str | int | float] = {}
    taken = {c.casefold() for c in (*users_columns(state), *OURS)}
    for name, value in factors.items():
        if not name.strip() or name.casefold() in taken:
            raise DataError(f"there is a column '{name}' already; give the new one another name.")
        if not value.strip():
            raise DataError(
                f"what all experiments so far had in '{name}' is blank; say it, such as "
                f"{quoted(f'{name}=none')}."
            )
        values[name] = _typed(value.strip())
    event = Added(columns=values)
    after = state.after(Logged(state.sequence + 1, "", "", event))
    if state.template == default_template(state.table, state.created).source:
        return event, Retold(template=default_template(after.table, state.created).source)
    return (event,)


def rows_of_options(state: State, options: Sequence[Option]) -> pd.DataFrame:
    """The experiments that options make with everything that the other columns hold.

    Args:
        state: the campaign.
        options: column → new value; several columns where these go together.

    Returns:
        M x k cells as text and numbers, as a sheet has them; no candidate is among them twice.

    Raises:
        DataError: there is no such column, one that goes with it is missing, or they are too many.
    """
    table = state.table.reset_index(drop=True)
    if state.own_cost is not None:
        table = table.assign(**{state.own_cost: state.costs})
    known = len(table)
    for group in _groups(state, table, options):
        others = table.drop(columns=list(group[0])).drop_duplicates()
        if len(table) + len(others) * len(group) > MOST:
            raise DataError(
                f"with these options there are more than {MOST:,} candidates; add fewer, or a "
                "table of those that you mean."
            )
        made = [others.assign(**_values(table, option)) for option in group]
        table = pd.concat([table, *made], ignore_index=True)[table.columns]
    return table[known:].reset_index(drop=True)


def candidates(
    state: State,
    frame: pd.DataFrame,
    *,
    name: str,
    source: Source | None = None,
    new_names: bool = False,
) -> tuple[Added | None, list[Note]]:
    """The experiments of a table that are no candidates yet.

    Args:
        state: the campaign.
        frame: N rows with all inputs.
        name: of the file, for messages.
        source: where the rows are from.
        new_names: whether names that are spelt almost like known ones are new options.

    Returns:
        The event, None if all are candidates already, and what was understood in a special way.

    Raises:
        DataError: naming row and column of what can't be understood.
    """
    sheet = Sheet.of(state, frame, name, results=False)
    wanted = ~sheet.blank()
    found = identify(sheet, wanted, new_names)
    notes = [*sheet.notes(), *found.told]
    objective = state.created.objective
    if objective in sheet.frame and (sheet.texts(objective) != "").any():
        what = f"results are not read here; `gollum record` takes '{objective}'"
        notes.append(Note("results-not-read", "", what, objective))
    joined = found.joined
    new = 0 if joined is None else len(joined.ids)
    if len(state.table) + new > MOST:
        raise DataError(f"{name}: a campaign has at most {MOST:,} candidates; add fewer.")
    if (again := int(wanted.sum()) - new) > 0:
        notes.append(Note("known-candidates", "", f"{again} rows are candidates already"))
    if joined is None:
        return None, notes
    rows = state.joined(joined).table[-new:]
    if state.own_cost is not None:
        _check_costs(state.own_cost, joined, name)
    if state.created.prices:
        checked(state.created.prices, rows, name)
    lists = kept_lists(frame.attrs.get("drawn_from", ""), rows, state.own_cost, name, notes)
    return Added(source=source, joined=joined, drawn_from=lists), notes


def renamed(state: State, column: str, names: Mapping[str, str], notes: list[Note]) -> Renamed:
    """The event that gives options of a column new names.

    Args:
        state: the campaign.
        column: the column.
        names: name so far → new name.
        notes: takes what was understood in a special way.

    Raises:
        DataError: there is no such column or option, or a new name is taken or blank.
    """
    column = meant(column, map(str, state.table.columns), notes)
    if column not in state.table:
        close = nearest(column, map(str, state.table.columns))
        raise DataError(f"there is no column '{column}'.{close}")
    if pd.api.types.is_numeric_dtype(state.table[column]):
        raise DataError(f"'{column}' holds numbers, which have no names.")
    levels = set(state.table[column])
    known = {meant(old, sorted(levels), notes): new for old, new in names.items()}
    if len(known) < len(names):
        raise DataError(f"an option of '{column}' is given twice; say once what it is to be.")
    names = known
    for old, new in names.items():
        if old not in levels or not old:
            raise DataError(f"column '{column}' never holds '{old}'.{nearest(old, levels)}")
        if not new.strip() or new != new.strip():
            raise DataError(f"the new name of '{old}' is blank or has spaces around; correct it.")
        if new in levels or list(names.values()).count(new) > 1:
            raise DataError(
                f"'{new}' is another option of '{column}', and the experiments of two can't be "
                "merged; choose another name."
            )
    return Renamed(column=column, names=dict(names))


def numbers_of_range(text: str) -> list[str]:
    """'40:140:10' as 40, 50, … 140.

    Raises:
        ConfigError: it is no range.
    """
    words = text.split(":")
    if len(words) != 3 or not all(is_plain(word.strip()) for word in words):
        raise ConfigError(f"a range is FROM:TO:STEP, such as 40:140:10, not '{text}'.")
    start, end, step = (Fraction(word.strip()) for word in words)
    if step <= 0 or end < start or (end - start) / step > MOST:
        raise ConfigError(f"the range {text} should go up, in at most {MOST:,} steps above 0.")
    steps = (end - start) / step
    if steps.denominator != 1:
        last = float(start + math.floor(steps) * step)
        raise ConfigError(
            f"the steps of the range {text} reach {last:g} and miss {float(end):g}; change the end "
            "or the step."
        )
    return list(map(cell_text, numbers(start, step, int(steps))))


def _groups(
    state: State, table: pd.DataFrame, options: Sequence[Option]
) -> list[list[dict[str, str]]]:
    """Options of the same columns together, each with all columns that go with them."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    named = {c for option in options for c in option if c in table}
    companions = {column: _companions(table, column) for column in named}
    for option in options:
        for column in option:
            if column not in table:
                close = nearest(column, map(str, table.columns))
                raise DataError(
                    f"there is no column '{column}'.{close} The columns are "
                    f"{listed(table.columns)}; --column adds one."
                )
        for column in option:
            for other in companions[column]:
                if other not in option:
                    shown = ",".join(f"{c}={v}" for c, v in option.items())
                    raise DataError(
                        f"'{other}' goes with '{column}', so an option needs both: --option "
                        f"{quoted(f'{shown},{other}=…')}; or add a table of the new experiments."
                    )
        cost = state.own_cost
        if cost is not None and cost not in option:
            raise DataError(
                f"new experiments need their '{cost}'; add it to the option, as in "
                f"{quoted(f'{cost}=1')}, or add a table of the new experiments."
            )
        groups.setdefault(tuple(sorted(option)), []).append(dict(option))
    return list(groups.values())


def _companions(table: pd.DataFrame, column: str) -> list[str]:
    """Columns that rename the levels of this one."""
    codes = pd.factorize(table[column], use_na_sentinel=False)[0]
    levels = len(np.unique(codes))
    found = []
    for other in table.columns.drop(column):
        others = pd.factorize(table[other], use_na_sentinel=False)[0]
        pairs = len(np.unique(np.column_stack([codes, others]), axis=0))
        if levels > 1 and pairs == levels == len(np.unique(others)):
            found.append(str(other))
    return found


def _values(table: pd.DataFrame, option: Option) -> dict[str, Any]:
    """Cells of an option, numbers where the column has them.

    Raises:
        DataError: a name stands where numbers are.
    """
    values: dict[str, Any] = {}
    for column, text in option.items():
        bare = text.strip(SPACES)
        if pd.api.types.is_numeric_dtype(table[column]):
            if not is_plain(bare):
                raise DataError(f"'{column}' holds numbers, and '{text}' is none; correct it.")
            values[column] = float(bare)
        elif not bare:
            raise DataError(f"the option of '{column}' is blank; name it.")
        else:
            values[column] = bare
    return values


def _check_costs(cost: str, joined: Cells, name: str) -> None:
    costs = joined.columns.get(cost, (None,) * len(joined.ids))
    if None in costs:
        raise DataError(f"{name}: new experiments need their '{cost}'; add the column.")


def _typed(text: str) -> str | int | float:
    if not is_plain(text):
        return text
    number = float(text)
    return int(number) if number.is_integer() and "." not in text else number
