"""Rows that are no experiments, and blanks that mean "as above"."""

import pandas as pd
import pytest

from gollum.data.strays import refuse_fill_down, refuse_strays
from gollum.errors import DataError

HEAD = ["ligand", "solvent", "T", "yield"]
ROWS = [
    ["XPhos", "THF", "40", "5"],
    ["XPhos", "DMF", "60", ""],
    ["SPhos", "THF", "40", "9"],
    ["SPhos", "DMF", "60", ""],
]


def table(*more, rows=ROWS):
    """As it is read: columns of numbers where all filled cells are."""
    frame = pd.DataFrame([*rows, *more], columns=HEAD).astype("str")
    for name in HEAD:
        numbers = pd.to_numeric(frame[name].where(frame[name] != ""), errors="coerce")
        if (numbers.notna() == (frame[name] != "")).all():
            frame[name] = numbers
    return frame


@pytest.mark.parametrize(
    ("more", "row", "told"),
    [
        ([["Mean", "", "", "7"]], 6, "'Mean' sums up other rows"),
        ([["Total:", "", "", ""]], 6, "'Total:' is all that the row holds"),
        ([["average", "", "50", "7"], ["SD", "", "10", "2"]], 6, "'average' sums up"),
        ([["", "Summe", "200", "14"]], 6, "'Summe' sums up"),
        ([["Mittelwert", "x", "50", "7"]], 6, "'Mittelwert' sums up"),
        ([["", "", "", ""], ["measured by JD", "", "", ""]], 7, "all that the row holds"),
        ([["", "", "", "14"]], 6, "'14' is all that the row holds"),
        ([["", "", "", ""], HEAD], 7, "the names of the columns stand here again"),
        ([["", "", "", ""], ["base", "acid", "pH", "area"]], 7, "a second table seems to begin"),
    ],
)
def test_rows_that_are_no_experiments_are_refused(more, row, told):
    with pytest.raises(DataError, match=f"t.csv: row {row}: .*{told}"):
        refuse_strays(table(*more), "t.csv")


@pytest.mark.parametrize(
    "more",
    [
        [],
        [["", "", "", ""], ["dppf", "THF", "40", ""]],
        [["max", "THF", "40", ""], ["dppf", "THF", "40", ""]],
        [["dppf", "", "40", ""]],
        [["dppf", "", "", ""], ["dppf", "THF", "40", ""]],
        [["dppf", "THF", "", "failed"]],
    ],
)
def test_experiments_are_left_alone(more):
    refuse_strays(table(*more), "t.csv")


def fill_down(*cells):
    """Whether a first column like this is refused, beside two solvents at several temperatures."""
    rows = [[c, ("THF", "DMF")[i % 2], str(i % 4 // 2), ""] for i, c in enumerate(cells)]
    try:
        refuse_fill_down(table(rows=rows), "t.csv", HEAD[:3])
    except DataError as error:
        return "column 'ligand' is blank in" in str(error)
    return False


@pytest.mark.parametrize(
    ("cells", "refused"),
    [
        (["a", "", "", "", "b", "", "", ""], True),
        (["1", "", "", "", "2", "", "", ""], True),
        (["a", "", "", "", "", "b", "", "", ""], True),
        (["a", "", "b", "", "c", "", "d", ""], True),  # rows 3 and 7 would melt into one
        (["a", "", "b", ""], False),  # with and without each
        (["a", "", "", ""], False),
        (["", "", "a", "", "", "", "b", ""], False),
        (["a", "a", "", "", "a", "a", "", ""], False),
        (["a", "b", "c", "d", "", "", "", ""], False),
        (["a", "b", "c", "d"], False),
    ],
)
def test_blanks_that_mean_as_above_are_refused(cells, refused):
    assert fill_down(*cells) == refused
