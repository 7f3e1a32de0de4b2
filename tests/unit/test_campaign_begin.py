import datetime
import os
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gollum.campaign.begin import begin
from gollum.campaign.events import Goal, Source
from gollum.campaign.factors import read_factors
from gollum.campaign.intake import read_results
from gollum.campaign.sheets import export_frame, suggestion_sheet
from gollum.campaign.state import Logged, State
from gollum.campaign.store import table_sha256
from gollum.data.readers import read_frame, read_table
from gollum.data.spreadsheets.quantities import without_units
from gollum.data.writers import write_sheet
from gollum.errors import ConfigError, DataError, TemplateError, UserError

SOURCE = Source(name="t.csv", sha256="0" * 64)
TABLE = pd.DataFrame(
    {"ligand": ["XPhos", "SPhos", "dppf"], "temperature_C": [80, 100, 80], "yield": [71.2, None, 3]}
)


def start(frame=TABLE, *, objective="yield", goal=None, source=SOURCE, **options):
    goal = goal or Goal()
    return begin(frame, objective=objective, goal=goal, name="my", source=source, **options)


def refusal(frame=TABLE, kind=DataError, **options):
    with pytest.raises(UserError) as caught:
        start(frame, **options)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return message


def csv(folder, text):
    file = folder / "t.csv"
    file.write_text(text, encoding="utf-8")
    return read_table(file)


def results(begun):
    """(id, status, values) of what the table held, in order."""
    found = begun.recorded.results if begun.recorded else ()
    return [(r.id, r.status, r.values) for r in found]


def state_of(begun):
    events = [begun.created, *([begun.recorded] if begun.recorded else [])]
    log = [Logged(i, "", "0", event) for i, event in enumerate(events, 1)]
    return State.of(log, lambda _: begun.candidates)


# --- the surrogate -------------------------------------------------------------------------------


def test_the_preset_names_the_surrogate_unless_another_is_given():
    assert (start().created.surrogate, start().created.preset) == ("combined", "default")
    assert start(TABLE.assign(ligand=[1, 2, 3])).created.surrogate == "combined"
    assert start(surrogate="one_hot").created.surrogate == "one_hot"
    assert start(preset="fast").created.surrogate == "pllm"


def test_a_column_of_reactions_holds_no_structures():
    smiles = ["N->[Cu]", "CCO", "CCN"]
    table = TABLE.assign(ligand_smiles=smiles, rxn_smiles=[f"{s}>>CC" for s in "CNO"])
    assert start(table).created.structures == ("ligand_smiles",)


# --- columns and candidates ----------------------------------------------------------------------


def test_a_plain_table_begins_a_campaign():
    begun = start()
    assert begun.candidates.index.tolist() == ["r1", "r2", "r3"]
    assert begun.candidates.columns.tolist() == ["ligand", "temperature_C"]
    assert begun.created.candidates == table_sha256(begun.candidates)
    assert begun.created.source == SOURCE
    assert begun.template.source == "ligand: {ligand}; temperature: {temperature_C} °C."
    assert begun.created.template == begun.template.source
    assert results(begun) == [("r1", "measured", {"yield": 71.2}), ("r3", "measured", {"yield": 3})]
    assert "t.csv: it holds results of 2 of 3 experiments." in begun.notes
    assert state_of(begun).observations()[0] == ["r1", "r3"]


@pytest.mark.parametrize(
    ("cells", "says"),
    [(None, "no column 'yield' yet"), (["", "", ""], "'yield' is blank in every")],
)
def test_a_table_may_have_no_results_yet(cells, says):
    table = TABLE.drop(columns="yield")
    begun = start(table if cells is None else table.assign(**{"yield": cells}))
    assert begun.recorded is None
    assert any(says in note for note in begun.notes)


def test_the_order_of_inputs_and_their_types_are_kept():
    table = TABLE.assign(
        small=np.array([1, 2, 3], dtype="int8"),
        nullable=pd.array([1, None, 3], dtype="Int64"),
        flag=[True, False, True],
        kind=pd.Categorical(["a", "b", "a"]),
        day=[datetime.date(2024, 1, i) for i in (1, 2, 3)],
        amount=[Decimal("0.1"), Decimal("0.2"), Decimal("0.3")],
    )
    candidates = start(table).candidates
    assert candidates.dtypes.map(str).tolist() == [
        "str", "int64", "int64", "float64", "str", "str", "str", "float64",
    ]  # fmt: skip
    assert candidates["flag"].tolist() == ["True", "False", "True"]
    assert candidates["day"].tolist()[0] == "2024-01-01"
    assert candidates["amount"].tolist() == [0.1, 0.2, 0.3]


def test_the_given_table_is_not_changed():
    table = TABLE.assign(ligand=[" XPhos", "SPhos", "dppf"], t=["80 °C", "90 °C", "95 °C"])
    before = table.copy(deep=True)
    start(table)
    pd.testing.assert_frame_equal(table, before)
    assert table.attrs == {}


def test_a_rounding_error_is_zero():
    table = pd.DataFrame({"x": [0.0, -1e-16, 1e-9, 0.5], "a": 1.0})
    assert start(table).candidates["x"].tolist() == [0, 1e-9, 0.5]


def test_equal_inputs_are_one_candidate_and_their_results_repeats(tmp_path):
    text = "ligand,t,yield\nXPhos,80,70\ndppf,80,\nXPhos,80.0,72\nXPhos ,80,failed\n"
    begun = start(csv(tmp_path, text))
    assert begun.candidates.index.tolist() == ["r1", "r2"]
    assert [(i, s) for i, s, _ in results(begun)] == [
        ("r1", "measured"), ("r1", "measured"), ("r1", "failed"),
    ]  # fmt: skip
    assert len({r.run for r in begun.recorded.results}) == 3
    assert any("2 rows have the inputs of an earlier one (such as row 4 those of row 2)" in n
               for n in begun.notes)  # fmt: skip


def test_blank_rows_are_passed_over_and_rows_keep_their_numbers():
    table = pd.DataFrame({"a": ["x", None, "y"], "yield": [1.0, None, 2.0]})
    begun = start(table)
    assert begun.candidates.index.tolist() == ["r1", "r3"]
    assert [r.row for r in begun.recorded.results] == [2, 4]
    assert "t.csv: 1 blank rows were passed over." in begun.notes
    assert "row 4, column 'yield'" in refusal(table.assign(**{"yield": ["1", "", "x"]}))


def test_partly_blank_inputs_are_kept_and_blank_columns_left_out():
    begun = start(TABLE.assign(base=["", "K3PO4", ""], colour=["", "", ""], t=[1.5, None, None]))
    assert begun.candidates["base"].tolist() == ["", "K3PO4", ""]
    assert "t.csv: left out, as all cells are blank: 'colour'." in begun.notes
    assert "base: none" in begun.template.render(begun.candidates.iloc[0].to_dict()).text


def test_statuses_notes_and_further_results_are_taken_over(tmp_path):
    rows = ["a,71,5,,first", "b,,,failed,", "c,,,not run,", "d,failed,,,", "e,,,,"]
    text = "\n".join(["ligand,yield,ee,Status,note", *rows])
    begun = start(csv(tmp_path, text), also=["ee", "purity"])
    assert results(begun) == [
        ("r1", "measured", {"yield": 71.0, "ee": 5.0}), ("r2", "failed", {}),
        ("r3", "not run", {}), ("r4", "failed", {}),
    ]  # fmt: skip
    assert begun.recorded.results[0].note == "first"
    assert begun.candidates.columns.tolist() == ["ligand"]
    assert "t.csv: what came of experiments and is no input: 'Status', 'note'." in begun.notes


def test_words_among_results_are_no_slips(tmp_path):
    begun = start(csv(tmp_path, "ligand,yield\nA,10\nB,failed\nC,35\nD,\n"))
    assert [status for _, status, _ in results(begun)] == ["measured", "failed", "measured"]
    assert not any("is not a number" in note for note in begun.notes)
    begun = start(csv(tmp_path, "dose,yield\n10,1\nmuch,2\n35,\n"))
    assert any("'much' in row 3 is not a number" in note for note in begun.notes)


def test_everything_measured_is_said():
    begun = start(TABLE.assign(**{"yield": [1, 2, 3]}))
    assert begun.notes[-1] == "t.csv: nothing is left to suggest; `gollum add` adds candidates."


# --- ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["id", "ID", "Id"])
def test_a_column_called_id_names_the_rows(name):
    begun = start(TABLE.assign(**{name: [7, 8.0, 9]}))
    assert begun.candidates.index.tolist() == ["7", "8", "9"]
    assert begun.created.id_column == name
    assert f"t.csv: column '{name}' names the rows." in begun.notes
    assert results(begun)[0][0] == "7"


def test_the_first_id_of_equal_rows_counts():
    table = pd.DataFrame({"nr": ["p", "q", "q", "s"], "a": [1, 2, 2, 1], "yield": [1.0, 2, 3, 4]})
    begun = start(table, id_column="nr")
    assert begun.candidates.index.tolist() == ["p", "q"]
    assert [i for i, _, _ in results(begun)] == ["p", "q", "q", "p"]


def test_ids_are_as_they_are_written(tmp_path):
    begun = start(csv(tmp_path, "id,ligand\n1E1,A\n1.10,B\n2,C\n"))
    assert begun.candidates.index.tolist() == ["1E1", "1.10", "2"]
    said = "row 3, column 'id': '1.1' names another experiment"
    assert said in refusal(csv(tmp_path, "id,ligand\n1.1,A\n1.10,B\n"))


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["a", "", "c"], "row 3, column 'nr': the id is blank"),
        (["a", "b", "a"], "row 4, column 'nr': 'a' names another experiment in row 2"),
        (["a", "3-1", "c"], "row 3, column 'nr': '3-1' can't be an id"),
        (["a~2", "b", "c"], "row 2, column 'nr': 'a~2' can't be an id"),
        (["a", "b", "c/d"], "row 4, column 'nr': 'c/d' can't be an id"),
    ],
)
def test_ids_that_can_not_be(ids, says):
    assert says in refusal(TABLE.assign(nr=ids), id_column="nr")


def test_ids_that_are_neither_runs_nor_dates():
    begun = start(TABLE.assign(nr=["2024-117", "2024-11", "117-24"]), id_column="nr")
    assert begun.candidates.index.tolist() == ["2024-117", "2024-11", "117-24"]


@pytest.mark.parametrize(
    ("name", "cells", "numbers"),
    [
        ("time (h)", ["0:30", "2:00", "12:15"], [0.5, 2, 12.25]),
        ("time (min)", ["0:30:00", "1 day, 2:00:00", "45"], [30, 1560, 45]),
        ("time_min", ["0:30", "2:00", "12:15"], None),  # or minutes and seconds
        ("time", ["0:30", "2:00", "12:15"], None),
        ("ratio (g)", ["0:30", "2:00", "12:15"], None),
    ],
)
def test_times_are_numbers_where_the_name_says_the_unit(name, cells, numbers):
    begun = start(TABLE.assign(**{name: cells}))
    column = begun.candidates[name]
    assert column.tolist() == (numbers or cells)
    what = "are read as numbers in" if numbers else "are read as text; "
    assert [what in n for n in begun.notes if f"column '{name}': times such as" in n] == [True]
    if numbers:
        rows = TABLE.assign(**{name: cells, "yield": [1, 2, 3]})
        assert read_results(state_of(begun), rows, source=None, name="r").joined == 0


# --- what the user names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"inputs": ["ligan"]}, "no column 'ligan'. Did you mean 'ligand'?"),
        ({"cost": "price"}, "no column 'price'."),
        ({"id_column": "nr"}, "no column 'nr'."),
        ({"structures": ["ligands"]}, "no input 'ligands' to hold SMILES. Did you mean 'ligand'?"),
        ({"inputs": ["ligand", "ligand"]}, "'ligand' is an input; name it only once"),
        ({"inputs": ["ligand", "yield"]}, "'yield' is the objective; name it only once"),
        ({"also": ["yield"]}, "'yield' is the objective"),
        ({"cost": "ligand", "inputs": ["ligand"]}, "'ligand' is the cost"),
        ({"inputs": []}, "the list of inputs is empty"),
        ({"objective": "Yields"}, "no column 'Yields', and 'yield' would count as an input"),
        ({"objective": "yeild"}, "did you mean 'yield'?"),
        ({"also": ["temperature"]}, "'temperature_C' would count as an input"),
        ({"cost": "ligand"}, "row 2, column 'ligand': 'XPhos' is not a finite number above 0"),
    ],
)
def test_names_that_can_not_be(options, says):
    assert says in refusal(**options)


def test_an_absent_objective_may_resemble_an_input_that_is_listed():
    begun = start(TABLE.drop(columns="yield"), objective="ligand yield", inputs=["ligand"])
    assert begun.candidates.columns.tolist() == ["ligand"]


def test_structures_are_the_columns_called_smiles():
    table = TABLE.assign(base_SMILES=["C", "N", "O"])
    begun = start(table)
    assert begun.created.structures == ("base_SMILES",)
    assert "t.csv: taken for SMILES: 'base_SMILES'." in begun.notes
    named = table.assign(ligand=["C", "CC", "CCC"])
    assert start(named, structures=["ligand"]).created.structures == ("ligand",)
    assert start(table, structures=[]).created.structures == ()


def test_costs_are_kept_beside_the_inputs():
    begun = start(TABLE.assign(price=[1, 2.5, 3]), cost="price")
    assert begun.candidates["price"].tolist() == [1, 2.5, 3]
    assert "price" not in begun.created.template
    assert state_of(begun).costs.tolist() == [1, 2.5, 3]
    assert state_of(begun).table.columns.tolist() == ["ligand", "temperature_C"]


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        ([1, None, 3], "row 3, column 'price': the cost is blank"),
        ([1, 2, "inf"], "row 4, column 'price': 'inf' is not a finite number above 0"),
        (["1e999", 2, 3], "row 2, column 'price': '1e999' is not a finite number above 0"),
        ([1, 2, 0], "row 4, column 'price': '0' is not a finite number above 0"),
        ([1, -2, 3], "row 3, column 'price': '-2'"),
        (["1", "cheap", "3"], "row 3, column 'price': 'cheap'"),
    ],
)
def test_costs_that_can_not_be(prices, says):
    assert says in refusal(TABLE.assign(price=prices), cost="price")


def test_one_experiment_has_one_cost():
    table = pd.DataFrame({"a": ["x", "y", "x"], "price": [1, 2, 3], "yield": [1, None, 2]})
    assert "row 4, column 'price': the same experiment has another cost in row 2" in refusal(
        table, cost="price"
    )


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"goal": Goal(kind="target")}, ConfigError, "target"),
        ({"goal": Goal(kind="minimize", target=3.0)}, ConfigError, "target"),
        ({"failed_as": float("nan")}, ConfigError, "can't count as nan"),
        ({"surrogate": "pllmm"}, ConfigError, "Did you mean 'pllm"),
        ({"preset": "fas"}, ConfigError, "Did you mean 'fast'?"),
        ({"template": "{ligands}"}, TemplateError, "Did you mean 'ligand'?"),
        ({"template": "{ligand} {yield}"}, TemplateError, "'yield', which is the objective"),
        ({"template": "{ligand:.1f}"}, TemplateError, "does not suit the value 'XPhos'"),
        ({"template": "no slot"}, TemplateError, "reads no column"),
        ({"template": "{ligand"}, TemplateError, "unmatched"),
    ],
)
def test_settings_that_can_not_be(options, kind, says):
    assert says in refusal(kind=kind, **options)


def test_a_template_of_the_users_own_is_kept():
    source = "{ligand}[ at {temperature_C:.0f} degrees]"
    begun = start(TABLE.assign(temperature_C=[80, None, 100]), template=source)
    assert begun.template.source == begun.created.template == source


# --- tables that can not be ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("t.csv", "expected a pandas DataFrame, got str"),
        (TABLE.iloc[:0], "the table has no rows"),
        (TABLE.iloc[:1], "fewer than two different experiments"),
        (TABLE.iloc[[0, 0]], "fewer than two different experiments"),
        (TABLE[["yield"]], "no column describes the experiments"),
        (TABLE.set_axis(["a", 3, "yield"], axis=1), "a column is called 3"),
        (TABLE.set_axis(["a", "a", "yield"], axis=1), "two columns are called 'a'"),
        (TABLE.assign(temperature_C=[1, np.inf, 3]), "row 3, column 'temperature_C'"),
        (TABLE.assign(run=["1", "2", "3"]), "have a column 'run' of their own"),
        (TABLE.assign(Why=["1", "2", "3"]), "have a column 'Why' of their own"),
    ],
)
def test_tables_that_can_not_be(frame, says):
    assert says in refusal(frame)


def test_results_without_inputs_are_refused():
    table = pd.DataFrame({"a": ["x", "y", ""], "yield": [1.0, None, 2.0]})
    assert "row 4: all inputs are blank" in refusal(table)


def test_names_of_our_own_columns_are_no_inputs():
    message = refusal(TABLE.assign(run=["a", "b", "c"]), inputs=["ligand", "run"])
    assert "it can't be an input" in message
    begun = start(TABLE.assign(run=["a", "b", "c"]), inputs=["ligand", "temperature_C"])
    assert begun.candidates.columns.tolist() == ["ligand", "temperature_C"]


def test_our_own_sheets_begin_a_new_campaign(tmp_path):
    first = start(TABLE)
    exported = export_frame(state_of(first))
    write_sheet(exported, tmp_path / "t.xlsx")
    again = start(read_table(tmp_path / "t.xlsx"))
    assert again.candidates.columns.tolist() == ["ligand", "temperature_C"]
    assert again.candidates.index.tolist() == ["r1", "r3"]
    assert results(again) == results(first)
    assert any("as of an earlier campaign: 'run'" in note for note in again.notes)
    history = export_frame(state_of(first), "history")
    assert "exported history" in refusal(history)
    empty = suggestion_sheet(state_of(first), [])
    assert "no rows" in refusal(empty)


# --- units ---------------------------------------------------------------------------------------


def test_cells_with_one_unit_are_numbers(tmp_path):
    text = "t;c;yield\n80 °C;2,5 mol%;1\n100 °C;;2\n90°C;5 mol%;\n"
    begun = start(csv(tmp_path, text))
    assert begun.candidates["t"].tolist() == [80, 100, 90]
    assert begun.candidates["c"].tolist()[::2] == [2.5, 5.0]
    assert begun.created.units == {"t": "°C", "c": "mol%"}
    assert begun.template.source == "t: {t} °C; c: {c} mol%."
    assert any("column 't': its cells are numbers in °C" in note for note in begun.notes)
    assert not any("is read as text" in note for note in begun.notes)


def test_a_name_in_an_advised_command_is_quoted():
    begun = start(TABLE.rename(columns={"yield": "Yield (%)"}), objective="Yield (%)")
    assert any('say --bounds "Yield (%)=none" if not' in note for note in begun.notes)


def test_of_cells_with_a_unit_it_is_told_once_and_truly():
    begun = start(pd.DataFrame({"T": ["60 °C", "80 °C", "70 °C"], "yield": [1, 2, 3]}))
    (told,) = [note for note in begun.notes if note.column == "T"]
    assert told.text == "its cells are numbers in °C."
    begun = start(pd.DataFrame({"T": ["60 °C", 80, "70 °C"], "yield": [1, 2, 3]}))
    (told,) = [note for note in begun.notes if note.column == "T"]
    assert told.code == "unit-among-numbers"
    begun = start(pd.DataFrame({"T (°C)": ["60 °C", 80, "70 °C"], "yield": [1, 2, 3]}))
    assert "unit-among-numbers" not in [note.code for note in begun.notes]


@pytest.mark.parametrize(
    ("cells", "numbers", "unit"),
    [
        ("5 mol %, 10 mol%", [5, 10], "mol %"),
        ("80 ºC, 100 ˚C, 90 °C, 70℃", [80, 100, 90, 70], "°C"),
        ("10 µL, 20 \u03bcL, 30 uL", [10, 20, 30], "µL"),
        ("1 hr, 12 hrs, 2 hours, 3h", [1, 12, 2, 3], "hr"),
        ("2 days, 1 d", [2, 1], "days"),
        ("5 wt.%, 10 % w/w", [5, 10], "wt.%"),
        ("1,2 Äq., 2 equiv, 3 eq", [1.2, 2, 3], "Äq."),
        ("12 Std, 1 Tag", [12, 24], "Std"),
        ("5 Gew.-%, 7 wt%", [5, 7], "Gew.-%"),
        ("5 vol %, 10 %", None, ""),
        ("1 M, 2 mol/L, 3 mol L⁻¹, 4 mol·L-1", [1, 2, 3, 4], "M"),
        ("30 min, 2 h, 90 s", [30, 120, 1.5], "min"),
        ("80 °C, 353.15 K", [80, 80], "°C"),
        ("80 °C, 2 h", None, ""),
        ("80 °C, 90", None, ""),
        ("3a, 3b, 3c", None, ""),
        ("1A, 2B", None, ""),
    ],
)
def test_a_unit_is_one_in_all_its_spellings_and_others_are_converted(cells, numbers, unit):
    cells = cells.split(", ")
    begun = start(pd.DataFrame({"t": cells, "n": range(len(cells))}))
    assert begun.candidates["t"].tolist() == (cells if numbers is None else numbers)
    assert begun.created.units == ({"t": unit} if unit else {})


def test_units_are_converted_or_left_with_a_note(tmp_path):
    begun = start(csv(tmp_path, "t,yield\n30 min,1\n2 h,\n"))
    assert "t.csv: column 't': cells in h such as '2 h' were converted to min." in begun.notes
    assert begun.candidates["t"].dtype == "int64"
    assert not any("is read as text" in note for note in begun.notes)
    begun = start(csv(tmp_path, "t,yield\n80 °C,1\n2 h,\n"))
    assert any("'80 °C' in row 2, '2 h' in row 3" in note for note in begun.notes)
    begun = start(csv(tmp_path, "t,yield\n5 drops,1\n1 drop,\n"))
    assert any("a number followed by 'drop', which is no unit known" in n for n in begun.notes)


def test_a_unit_in_the_name_and_in_the_cells_is_written_once():
    table = TABLE.assign(temperature_C=["80 °C", "90 °C", "95"])
    begun = start(table)
    assert "temperature: {temperature_C} °C." in begun.template.source
    assert begun.created.units == {}
    table = table.rename(columns={"temperature_C": "T [K]"})
    assert start(table).candidates["T [K]"].tolist() == [353.15, 363.15, 95]
    said = "row 2, column 'time (h)': '80 °C' has another unit than the name of the column"
    assert said in refusal(table.rename(columns={"T [K]": "time (h)"}))


def test_results_may_have_units_in_their_cells_or_their_name():
    table = TABLE.rename(columns={"yield": "IC50 (nM)"}).assign(ee=["90 %", "", "failed"])
    table["IC50 (nM)"] = ["12 nM", "0.25 µM", "failed"]
    begun = start(table, objective="IC50 (nM)", also=["ee"])
    assert results(begun)[:2] == [
        ("r1", "measured", {"IC50 (nM)": 12, "ee": 90}), ("r2", "measured", {"IC50 (nM)": 250})
    ]  # fmt: skip
    assert begun.created.units == {"ee": "%"}
    assert not any("read as text" in note for note in begun.notes)
    table = table.rename(columns={"IC50 (nM)": "IC50"})
    assert start(table, objective="IC50", also=["ee"]).created.units["IC50"] == "nM"
    assert "'3 h' has another unit than the name of the column" in refusal(
        TABLE.assign(x=["1 nM", "3 h", ""]).rename(columns={"x": "x (nM)"}),
        objective="x (nM)",
        remark=["yield"],
    )


def test_percentages_of_a_workbook_count_as_those_of_a_text(tmp_path):
    book = pytest.importorskip("openpyxl").Workbook()
    for row in (("loading", "yield"), (0.05, 0.855), (0.1, None)):
        book.active.append(row)
    for cell in (*book.active[2], *book.active[3]):
        cell.number_format = "0.0%"
    book.save(tmp_path / "t.xlsx")
    begun = start(read_table(tmp_path / "t.xlsx"))
    assert begun.candidates["loading"].tolist() == [5, 10]
    assert begun.created.units == {"loading": "%", "yield": "%"}
    assert results(begun) == [("r1", "measured", {"yield": 85.5})]
    text = start(csv(tmp_path, "loading,yield\n5 %,85.5 %\n10 %,\n"))
    assert text.created.units == begun.created.units
    assert text.candidates.equals(begun.candidates.astype("int64"))


def test_names_that_merely_end_like_a_unit_are_left_alone():
    begun = start(TABLE.assign(vitamin_C=["none", "some", "much"], dose_C=["1 mg", "2 mg", "3 mg"]))
    assert "vitamin C: {vitamin_C}; dose C: {dose_C} mg." in begun.template.source
    assert begun.created.units == {"dose_C": "mg"}


def test_numbers_with_a_unit_are_refused_where_they_have_two_meanings():
    table = read_frame(pd.DataFrame({"v": ["1,234 mL", "2 mL"]}))
    with pytest.raises(DataError, match="may mean"):
        without_units(table, ["v"], "t.csv")


# --- factors and files ---------------------------------------------------------------------------


def test_factors_begin_a_campaign(tmp_path):
    file = tmp_path / "factors.yaml"
    file.write_text("factors:\n  code: ['007', 1-2]\n  t: [80 °C, 90 °C]\n", encoding="utf-8")
    begun = start(read_factors(file), source=None)
    assert begun.candidates.index.tolist() == ["r1", "r2", "r3", "r4"]
    assert begun.candidates["code"].tolist() == ["007", "007", "1-2", "1-2"]
    assert begun.candidates["t"].tolist() == [80, 90, 80, 90]
    assert begun.notes[0] == "factors.yaml: 2 code × 2 t make 4 combinations."
    assert "'t' is a factor and no result" in refusal(read_factors(file), objective="t")


def test_a_table_in_parquet_has_numbers_and_texts(tmp_path):
    TABLE.astype({"temperature_C": "int32"}).to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(
        start(read_table(tmp_path / "t.parquet")).candidates, start(TABLE).candidates
    )


def test_a_real_screen_begins_with_its_results():
    folder = os.environ.get("GOLLUM_DATA")
    if not folder or not Path(folder, "reactions/bh_reaction_1.csv").is_file():
        pytest.skip("GOLLUM_DATA names no folder with reactions/bh_reaction_1.csv")
    table = read_table(Path(folder, "reactions/bh_reaction_1.csv"))
    begun = start(table, objective=str(table.columns[-1]))
    assert len(begun.recorded.results) == len(table)
    assert len(state_of(begun).observations()[0]) == len(table)


# --- reactions -----------------------------------------------------------------------------------


def test_a_column_of_reactions_is_known_by_its_arrows_or_said():
    table = TABLE.assign(rxn_smiles=["CBr.CN>>CNC", "CCl.CN>>CNC", "CI.CN>>CNC"])
    begun = start(table, surrogate="drfp")
    assert begun.created.reaction == "{rxn_smiles}"
    assert begun.created.structures == ()
    renamed = table.rename(columns={"rxn_smiles": "rxn"})
    assert start(renamed).created.reaction is None
    assert start(renamed, surrogate="drfp", reaction="rxn").created.reaction == "{rxn}"
    told = refusal(renamed, kind=ConfigError, surrogate="drfp")
    assert "needs reaction SMILES; name their column" in told
    assert "'rnx'" in refusal(renamed, kind=TemplateError, reaction="rnx")


# --- columns -------------------------------------------------------------------------------------


def test_rows_that_only_a_forgotten_column_tells_apart_are_no_repeats(tmp_path):
    text = "ligand,t,note,yield\nXPhos,80,a,5\nXPhos,100,b,7\ndppf,80,,3\n"
    told = refusal(csv(tmp_path, text), inputs=["ligand"])
    assert "row 3, column 't': '100' tells the experiment apart from that of row 2 ('80')" in told
    assert "--remark t" in told
    begun = start(csv(tmp_path, text), inputs=["ligand"], remark=["t"])
    assert begun.candidates.index.tolist() == ["r1", "r3"]
    assert len(begun.recorded.results) == 3


def test_two_spellings_of_a_molecule_are_one_option():
    pytest.importorskip("rdkit")
    table = TABLE.assign(solvent_smiles=["CCO", "OCC", "C"], ligand="XPhos", temperature_C=80)
    begun = start(table)
    assert begun.candidates["solvent_smiles"].tolist() == ["CCO", "C"]
    assert "the same molecules, spelt differently: 'OCC' (row 3) is 'CCO' (row 2)" in str(
        begun.notes
    )
    wrong = table.assign(solvent_smiles=["CCO", "not_a_smiles", "C"])
    told = refusal(wrong)
    assert "row 3, column 'solvent_smiles': 'not_a_smiles' is not a valid SMILES" in told
    assert "--category solvent_smiles" in told
    assert start(wrong, category=["solvent_smiles"]).created.structures == ()
    stereo = table.assign(solvent_smiles=["C[C@H](O)F", "C[C@@H](O)F", "C[C@H](O)F.Cl"])
    assert len(start(stereo).candidates) == 3


def test_a_model_that_is_not_here_is_told_at_once():
    assert not any(n.code == "model-away" for n in start(TABLE).notes)
    (note,) = (n for n in start(TABLE, model="t5-base").notes if n.code == "model-away")
    assert "`gollum models get t5-base`" in note


def test_what_columns_were_taken_for_is_kept():
    table = TABLE.assign(time=["2 h", "3 h", "4 h"], remark="", catalyst_no=[1, 2, 3])
    begun = start(table, category=["catalyst_no"])
    told = {c.name: (c.role, c.kind, c.unit) for c in begun.columns}
    assert told == {
        "ligand": ("input", "category", ""),
        "temperature_C": ("input", "number", ""),
        "yield": ("objective", "number", ""),
        "time": ("input", "number", "h"),
        "remark": ("left out", "blank", ""),
        "catalyst_no": ("input", "category", ""),
    }
    assert begun.candidates["catalyst_no"].tolist() == ["1", "2", "3"]


def test_declared_words_mean_that_an_experiment_failed():
    begun = start(TABLE.assign(**{"yield": [71.2, "N.D.", "no  conversion"]}),
                  failed_word=["n.d.", "no conversion"])  # fmt: skip
    assert [status for _, status, _ in results(begun)] == ["measured", "failed", "failed"]
    row = pd.DataFrame([{"ligand": "SPhos", "temperature_C": 100, "yield": "", "status": "n.d."}])
    assert read_results(state_of(begun), row, source=None, name="r").known == 1
    for word, says in (("0", "no word for what failed"), ("running", "means 'pending' already")):
        assert says in refusal(failed_word=[word])
    assert start().created.failed_words == ()


def test_the_unit_of_a_column_can_be_said():
    table = pd.DataFrame({
        "heat": [60, 80, 90], "time": ["30 min", "2", "1 h"], "mass": [None, 3.5, 4],
    })  # fmt: skip
    begun = start(table, objective="mass", unit={"heat": "°C", "Time": "h", "mass": "mg"})
    assert begun.created.units == {"heat": "°C", "time": "h", "mass": "mg"}
    assert begun.candidates["time"].tolist() == [0.5, 2, 1]
    assert {c.name: c.unit for c in begun.columns} == {"heat": "°C", "time": "h", "mass": "mg"}
    assert "°C" in begun.template.source


@pytest.mark.parametrize(("unit", "why"), [
    ({"ligand": "h"}, "not all cells of 'ligand' are numbers"),
    ({"ligant": "h"}, "no column 'ligant'"),
    ({"heat": "furlongs"}, "no unit that is known"),
    ({"t (h)": "°C"}, "says h and you say °C"),
])  # fmt: skip
def test_a_unit_that_cant_be_is_refused(unit, why):
    table = pd.DataFrame({"ligand": ["a", "b"], "heat": [1, 2], "t (h)": [3, 4]})
    assert why in refusal(table, unit=unit)
