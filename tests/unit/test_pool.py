import contextlib
import dataclasses

import numpy as np
import pandas as pd
import pytest

from gollum.data.pool import Pool
from gollum.errors import DataError


def table(**changes):
    columns = {
        "ligand": ["XPhos", "SPhos", "dppf", "none"],
        "temperature": [20.0, 40.0, 60.0, 80.0],
        "yield": [3.0, 50.5, 12.0, 7.0],
    }
    return pd.DataFrame({**columns, **changes})


def pool(frame=None, **options):
    return Pool.from_table(
        table() if frame is None else frame, "yield", **{"name": "t.csv", **options}
    )


def refusal(*args, **options):
    with pytest.raises(DataError) as caught:
        pool(*args, **options)
    message = str(caught.value)
    assert message.startswith("t.csv: ") or "direction" in message
    assert message.endswith((".", "?"))
    return message


def test_rows_are_numbered_in_file_order_and_the_objective_is_no_input():
    p = pool()
    assert list(p.ids) == ["r1", "r2", "r3", "r4"]
    assert list(p.table.columns) == ["ligand", "temperature"]
    assert p.values.tolist() == [3.0, 50.5, 12.0, 7.0]
    assert len(p) == 4
    assert p.notes == ()
    assert p.direction == "maximize"


def test_inputs_can_be_chosen():
    assert list(pool(inputs=["temperature"]).table.columns) == ["temperature"]


def test_an_id_column_names_the_rows_and_is_no_input():
    p = pool(table(label=[9, 7, 8, 1]), id_column="label")
    assert list(p.ids) == ["9", "7", "8", "1"]
    assert "label" not in p.table.columns


def test_numeric_columns():
    assert pool().numeric_columns() == ["temperature"]


def test_a_missing_column_is_named_with_the_nearest_and_all_there_are():
    with pytest.raises(DataError) as caught:
        Pool.from_table(table(), "yeild", name="t.csv")
    message = str(caught.value)
    assert "'yeild'" in message
    assert "Did you mean 'yield'?" in message
    assert all(f"'{c}'" in message for c in ("ligand", "temperature", "yield"))


@pytest.mark.parametrize("option", [{"inputs": ["ligan"]}, {"id_column": "ligan"}])
def test_missing_inputs_and_ids_are_named_too(option):
    assert "Did you mean 'ligand'?" in refusal(**option)


@pytest.mark.parametrize("cell", ["n.d.", "12 %", "1,5", "inf", "-inf", "nan?"])
def test_a_cell_that_is_no_number_is_named_by_its_spreadsheet_row(cell):
    message = refusal(table(**{"yield": ["3", "4", cell, "5"]}))
    assert "row 4" in message
    assert "column 'yield'" in message
    assert f"'{cell}'" in message


def test_infinite_floats_are_refused():
    assert "row 3" in refusal(table(**{"yield": [1.0, np.inf, 2.0, np.nan]}))


@pytest.mark.parametrize("cell", ["", "   ", None, np.nan])
def test_blank_objectives_stay_as_unknown(cell):
    p = pool(table(**{"yield": ["3", cell, "5", "6"]}))
    assert np.isnan(p.values[1])
    assert p.values[[0, 2, 3]].tolist() == [3.0, 5.0, 6.0]
    assert len(p) == 4


def test_a_repeated_id_is_refused_with_row_and_column():
    message = refusal(table(label=["a", "b", "c", "b"]), id_column="label")
    assert "row 5" in message
    assert "column 'label'" in message
    assert "'b'" in message


def test_a_table_without_rows_is_refused():
    assert "no rows" in refusal(table().head(0))


def test_a_table_of_objectives_only_is_refused():
    assert "no input column" in refusal(table()[["yield"]])
    assert "no input column" in refusal(
        pd.DataFrame({"label": ["a"], "yield": [1.0]}), id_column="label"
    )


def test_the_objective_can_not_be_an_input():
    assert "'yield'" in refusal(inputs=["ligand", "yield"])


def test_an_input_can_not_be_listed_twice():
    assert "'ligand'" in refusal(inputs=["ligand", "temperature", "ligand"])


def test_a_wrong_direction_is_refused_with_the_nearest():
    message = refusal(direction="maximise")
    assert "'maximise'" in message
    assert "Did you mean 'maximize'?" in message


def test_repeated_inputs_are_dropped_and_reported_and_the_first_stays():
    frame = pd.DataFrame(
        {"a": ["x", "y", "x", "y", "z"], "n": [1, 2, 1, 2, 1], "yield": [1.0, 2.0, 8.0, 9.0, 3.0]}
    )
    p = pool(frame)
    assert list(p.ids) == ["r1", "r2", "r5"]
    assert p.values.tolist() == [1.0, 2.0, 3.0]
    (note,) = p.notes
    assert "t.csv" in note
    assert "2 of 5 rows" in note
    assert "row 4" in note


def test_rows_that_differ_in_an_unused_column_only_are_repeats():
    frame = table(ligand=["XPhos"] * 4)
    assert len(pool(frame)) == 4
    assert list(pool(frame, inputs=["ligand"]).ids) == ["r1"]


def test_labelled_drops_unknown_rows_with_a_note():
    p = pool(table(**{"yield": [3.0, np.nan, 5.0, np.nan]}))
    known = p.labelled()
    assert list(known.ids) == ["r1", "r3"]
    assert known.values.tolist() == [3.0, 5.0]
    assert "2 rows without 'yield'" in known.notes[-1]
    assert known.fingerprint != p.fingerprint
    assert list(p.ids) == ["r1", "r2", "r3", "r4"]


def test_labelled_keeps_earlier_notes():
    frame = pd.DataFrame({"a": ["x", "x", "y", "z"], "yield": [1.0, 2.0, np.nan, 4.0]})
    notes = pool(frame).labelled().notes
    assert len(notes) == 2
    assert "repeat" in notes[0]


def test_labelled_is_the_pool_itself_when_all_is_known():
    p = pool()
    assert p.labelled() is p


def test_labelled_refuses_a_constant_objective():
    with pytest.raises(DataError, match=r"t\.csv: every value of 'yield' equals 4\.5"):
        pool(table(**{"yield": [4.5, 4.5, np.nan, 4.5]})).labelled()


def test_labelled_refuses_an_unmeasured_pool():
    with pytest.raises(DataError, match=r"t\.csv: column 'yield' holds no number"):
        pool(table(**{"yield": [np.nan] * 4})).labelled()


def test_an_unknown_id_is_named():
    with pytest.raises(DataError, match=r"t\.csv: .*'r9'"):
        pool().positions(["r1", "r9"])


def test_positions_follow_the_order_of_the_question():
    assert pool().positions(["r3", "r1", "r3"]).tolist() == [2, 0, 2]
    assert pool().positions([]).dtype == np.int64


def test_utility_has_the_sign_that_makes_larger_better():
    up, down = pool(), pool(direction="minimize")
    assert up.utility.tolist() == [3.0, 50.5, 12.0, 7.0]
    assert down.utility.tolist() == [-3.0, -50.5, -12.0, -7.0]
    assert (up.sign(), down.sign()) == (1.0, -1.0)
    assert down.values.tolist() == up.values.tolist()


def changed(column, row, value):
    frame = table(label=list("abcd")).astype({column: object})
    frame.loc[row, column] = value
    return frame.infer_objects()


CHANGES = {
    "text": changed("ligand", 2, "dppe"),
    "number": changed("temperature", 0, 20.000000000000004),
    "value": changed("yield", 3, 7.000000000000001),
    "id": changed("label", 1, "B"),
    "column": table(label=list("abcd")).rename(columns={"ligand": "Ligand"}),
    "order": table(label=list("abcd")).iloc[::-1],
    "row": table(label=list("abcd")).head(3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_sees_every_change(change):
    before = pool(table(label=list("abcd")), id_column="label")
    after = pool(CHANGES[change], id_column="label")
    assert before.fingerprint != after.fingerprint


def test_fingerprint_sees_direction_and_objective():
    frame = table()
    prints = {
        pool(frame).fingerprint,
        pool(frame, direction="minimize").fingerprint,
        Pool.from_table(frame.rename(columns={"yield": "y"}), "y", name="t.csv").fingerprint,
    }
    assert len(prints) == 3


def test_fingerprint_ignores_what_the_file_is_called_and_how_often_it_is_read():
    first, second = pool(), pool(table().copy(), name="other.csv")
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 64


def test_a_cell_boundary_is_not_lost_in_the_fingerprint():
    one = pd.DataFrame({"a": ["x,y"], "b": ["z"], "yield": [1.0]})
    two = pd.DataFrame({"a": ["x"], "b": ["y,z"], "yield": [1.0]})
    assert pool(one).fingerprint != pool(two).fingerprint


def test_a_pool_can_not_be_changed():
    p = pool()
    with pytest.raises(ValueError, match="read-only"):
        p.values[0] = 99.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.direction = "minimize"
    with contextlib.suppress(ValueError):  # a read-only view would do as well as a copy
        p.ids[0] = "other"
    assert list(p.ids) == ["r1", "r2", "r3", "r4"]


def test_a_pool_does_not_follow_later_changes_of_its_table():
    frame = table()
    p = pool(frame)
    before = p.fingerprint
    frame.loc[:, "ligand"] = "changed"
    frame.loc[:, "yield"] = 0.0
    assert p.table["ligand"].tolist() == ["XPhos", "SPhos", "dppf", "none"]
    assert p.values.tolist() == [3.0, 50.5, 12.0, 7.0]
    assert dataclasses.replace(p).fingerprint == before


def test_reading_a_table_leaves_it_writable():
    frame = table()
    pool(frame)
    frame.loc[0, "yield"] = 1.0
    assert frame["yield"][0] == 1.0


def test_values_of_the_wrong_length_are_refused():
    with pytest.raises(DataError, match=r"expected 4 objective values, got shape \(3,\)"):
        dataclasses.replace(pool(), values=np.zeros(3))


def test_an_empty_pool_is_refused():
    with pytest.raises(DataError, match="empty"):
        dataclasses.replace(pool(), table=pool().table.head(0), values=np.zeros(0))
