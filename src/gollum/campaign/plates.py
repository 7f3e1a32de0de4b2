"""Where the experiments of a batch stand on a plate: A1, A2 … in the order of the sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from gollum.campaign.events import Placed
from gollum.campaign.sheets import in_unit, sheet_names
from gollum.campaign.state import State
from gollum.data.pool import cell_text, telling_columns
from gollum.errors import ConfigError

PLATES = {6: (2, 3), 12: (3, 4), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24)}
"""Wells → rows and columns."""
MAP = "plate map"
ORDERS = {
    "rows": "by rows: A1, A2, A3 …", "columns": "by columns: A1, B1, C1 …",
    "snake": "as a snake: A1 … A12, B12 …",
}  # fmt: skip


def check_plate(size: int, count: int) -> None:
    """Refuse a plate that does not exist or is too small.

    Raises:
        ConfigError: it is.
    """
    if size not in PLATES:
        raise ConfigError(f"--plate is {', '.join(map(str, PLATES))} wells, not {size}.")
    if count > size:
        raise ConfigError(
            f"{count} experiments don't fit on a plate of {size} wells; ask for fewer, or take a "
            "larger one."
        )


def layout(
    state: State, size: int, wells: Mapping[str, str], controls: Sequence[str], order: str
) -> Placed:
    """The event that keeps which experiment stands in which well.

    Args:
        state: the campaign.
        size: number of wells.
        wells: well → run.
        controls: wells that are kept free for controls.
        order: in which wells are read: a key of `ORDERS`.

    Raises:
        ConfigError: there is no such plate, well, order or run, or something has two places.
    """
    if size not in PLATES:
        raise ConfigError(f"a plate has {', '.join(map(str, PLATES))} wells, not {size}.")
    if order not in ORDERS:
        raise ConfigError(f"wells are read {', '.join(ORDERS)}, not '{order}'.")
    names = {well(i, size) for i in range(size)}
    for name in (*wells, *controls):
        if name not in names:
            raise ConfigError(f"a plate of {size} wells has no well '{name}'.")
    for run in wells.values():
        if run not in state.plans:
            raise ConfigError(f"there is no run '{run}' to place.")
    twice = [run for run, count in Counter(wells.values()).items() if count > 1]
    twice += [name for name in controls if name in wells]
    if twice:
        raise ConfigError(f"'{twice[0]}' has two places; keep one.")
    controls = tuple(dict.fromkeys(controls))
    return Placed(size=size, order=order, controls=controls, wells=dict(wells))


def well(number: int, size: int) -> str:
    """Name of a well by its number from 0, row by row."""
    row, column = divmod(number, PLATES[size][1])
    return f"{chr(ord('A') + row)}{column + 1}"


def with_wells(state: State, sheet: pd.DataFrame, size: int) -> pd.DataFrame:
    """A batch with a column that says the well of each experiment."""
    placed = sheet.copy()
    wells = [well(i, size) for i in range(len(sheet))]
    placed.insert(0, sheet_names(state).well, pd.Series(wells, index=sheet.index, dtype="str"))
    return placed


def plate_map(state: State, sheet: pd.DataFrame, size: int) -> pd.DataFrame:
    """What stands in each well: run and inputs, a line each; a row per row of the plate."""
    rows, columns = PLATES[size]
    run, units = sheet_names(state).run, state.created.units
    inputs = telling_columns(state.table, state.created.structures)
    texts = [
        "\n".join([str(row[run]), *(in_unit(cell_text(row[c]), units.get(c)) for c in inputs)])
        for row in sheet.to_dict("records")
    ]
    texts += [""] * (size - len(texts))
    names = [chr(ord("A") + row) for row in range(rows)]
    cells = {str(c + 1): texts[c::columns] for c in range(columns)}
    return pd.DataFrame({"": names} | cells, dtype="str")


def lines_of(state: State) -> int:
    """How many lines the text of a well has."""
    return 1 + len(telling_columns(state.table, state.created.structures))
