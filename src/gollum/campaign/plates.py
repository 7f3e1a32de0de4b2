"""Where the experiments of a batch stand on a plate: A1, A2 … in the order of the sheet."""

from __future__ import annotations

import pandas as pd

from gollum.campaign.sheets import in_unit, sheet_names
from gollum.campaign.state import State
from gollum.data.pool import cell_text, telling_columns
from gollum.errors import ConfigError

PLATES = {6: (2, 3), 12: (3, 4), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24)}
"""Wells → rows and columns."""
MAP = "plate map"


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
