"""What is understood of a sheet of results, and what is refused."""

import time
import unicodedata
from functools import partial

import numpy as np
import pandas as pd
import pytest

from campaigns import campaign, candidates, recorded, suggested
from gollum.campaign.events import Cells, Result, Source
from gollum.campaign.intake import read_results
from gollum.campaign.requests import asked_for
from gollum.campaign.sheets import export_frame, suggestion_sheet
from gollum.campaign.state import Logged, State
from gollum.data.readers import read_table
from gollum.data.writers import write_sheet
from gollum.errors import DataError
from gollum.notes import Note

PLAN = suggested(("1-1", "r2"), ("1-2", "r3"), ("1-3", "r4"))


def demo(*events, table=None, **created):
    return campaign(candidates() if table is None else table, *(events or (PLAN,)), **created)[0]


def read(state, rows, *, columns=None, **options):
    """Rows as dicts; they count from row 2 on."""
    frame = pd.DataFrame(rows, columns=columns)
    return read_results(state, frame, source=None, name="results.xlsx", **options)


def told(intake):
    """run → (status, value of the objective)."""
    return {r.run: (r.status, r.values.get("yield")) for r in intake.event.results}


def after(state, *intakes):
    """The state with what was read."""
    for intake in intakes:
        log = [
            Logged(1, "", "", state.created),
            *(Logged(i + 2, "t", "", e) for i, e in enumerate(history(state))),
            Logged(99, "t", "", intake.event),
        ]
        table = state.table.iloc[:12]
        state = State.of(log, lambda _, table=table: table)
    return state


def history(state):
    """Events that lead to a state: its batches, then all results in one."""
    found = [m.result for m in state.measurements.values()]
    return [*state.batches, *([recorded().model_copy(update={"results": tuple(found)})])]


def refused(state, rows, says, **options):
    with pytest.raises(DataError) as caught:
        read(state, rows, **options)
    assert says in str(caught.value)
    assert str(caught.value).startswith("results.xlsx: ")
    assert "\n" not in str(caught.value)


INPUTS = {"r2": {"ligand": "SPhos", "hours": 1, "substrate": "CCO"}}


# Which experiment


def test_our_own_sheet_partly_filled_and_in_another_order():
    state = demo()
    sheet = suggestion_sheet(state, state.pending()).iloc[::-1]
    sheet["yield"] = [71.2, None, 0.0]
    sheet["status"] = ["", "", "failed"]
    intake = read(state, sheet)
    assert told(intake) == {"1-3": ("measured", 71.2), "1-1": ("failed", None)}
    assert [r.row for r in intake.event.results] == [2, 4]
    assert (intake.measured, intake.failed, intake.waiting, intake.known) == (1, 1, 1, 0)
    assert intake.notes == ()


@pytest.mark.parametrize(
    "row",
    [
        {"run": "1-1"},
        {"RUN ": "1-1"},
        {"id": "r2"},
        INPUTS["r2"],
        INPUTS["r2"] | {"hours": "1.0", "ligand": " SPhos "},
        {"run": None, "id": "r2", "ligand": ""},
    ],
)
def test_a_row_may_name_its_experiment_in_three_ways(row):
    row = {name.strip(): cell for name, cell in row.items()}
    assert told(read(demo(), [row | {"yield": 50}])) == {"1-1": ("measured", 50)}


def test_numbers_are_compared_with_six_digits_unless_candidates_need_more():
    table = candidates().assign(hours=np.arange(12) / 3 + 1)
    row = {"ligand": "SPhos", "hours": 1.333333, "substrate": "CCO", "yield": 5}
    assert read(demo(table=table), [row]).joined == 0
    close = candidates(2).assign(ligand="L", substrate="C", hours=[1.0, 1.0000001])
    row = {"ligand": "L", "hours": 1.0000001, "substrate": "C", "yield": 5}
    intake = read(demo(recorded(), table=close), [row])
    assert intake.event.results[0].id == "r2"


def test_an_experiment_that_was_never_suggested_gets_a_run_of_its_own():
    intake = read(demo(), [{"id": "r9", "yield": 5}, {"id": "r8", "yield": "failed"}])
    assert told(intake) == {"r9~1": ("measured", 5), "r8~1": ("failed", None)}


def test_ids_may_be_numbers():
    table = candidates().set_axis(pd.Index([str(i) for i in range(12)], name="id"))
    state = demo(recorded(), table=table)
    rows = [{"id": 3, "yield": 5}, {"id": None, "yield": None}]  # a blank makes them 3.0
    assert list(told(read(state, rows))) == ["3~1"]


def test_what_an_export_says_of_a_result_is_no_other_note():
    state = demo(PLAN)
    rows = [{"run": "1-1", "yield": "<5"}, {"run": "1-2", "yield": "<7", "note": "cloudy"}]
    event = read(state, rows).event
    state = state.after(Logged(3, "2026-03-01T09:30:00+00:00", "", event))
    sheet = export_frame(state)
    assert sheet["note"].tolist() == ["yield: <5", "cloudy; yield: <7"]
    again = read(state, sheet)
    assert (again.event, again.known) == (None, 2)
    assert not [note for note in again.notes if note.code == "known-result"]
    changed = read(state, sheet.assign(**{"yield": [30, 8]}))
    assert [result.note for result in changed.event.results] == ["", "cloudy"]


def test_a_row_that_stands_twice_counts_once():
    state = demo(PLAN)
    rows = [{"run": "1-1", "yield": 50}, {"run": "1-1", "yield": 50.0}]
    intake = read(state, rows)
    assert told(intake) == {"1-1": ("measured", 50)}
    assert (intake.known, intake.repeated) == (1, 0)
    (note,) = [note for note in intake.notes if note.code == "known-result"]
    assert "row 3: 1-1 stands twice with 50, which counts once" in note
    state = after(state, intake)
    assert read(state, rows).event is None
    once = read(state, [rows[0] | {"yield": 60}] * 2)
    assert told(once) == {"1-1": ("measured", 60)}
    assert read(state, [rows[0], {"id": "r2", "yield": 50}]).repeated == 1


def test_a_unit_that_the_name_of_the_column_has_is_known():
    state = demo(PLAN, objective="Yield (%)")
    says = "row 2, column 'Yield (%)': '44 mg' has another unit than the column (%); convert it."
    refused(state, [{"run": "1-1", "Yield (%)": "44 mg"}], says)


def test_a_unit_in_every_cell_is_read_away_where_the_table_had_it():
    state = demo(PLAN, units={"hours": "h"})
    row = {"ligand": "SPhos", "hours": "1 h", "substrate": "CCO", "yield": 5}
    assert told(read(state, [row])) == {"1-1": ("measured", 5)}
    for cell in ("60 min", "1 hr", "3600 s"):
        intake = read(state, [row | {"hours": cell}])
        assert told(intake) == {"1-1": ("measured", 5)}
        assert any("were converted to h" in note for note in intake.notes) == (cell != "1 hr")
    refused(state, [row | {"hours": "1 °C"}], "row 2, column 'hours': '1 °C' has another unit than")


def test_new_rows_join_once_and_say_what_is_new():
    rows = [
        {"ligand": "Xphos", "hours": 1, "substrate": "CCO", "yield": 5},
        {"ligand": "BrettPhos", "hours": 1, "substrate": "C", "yield": 6},
        {"ligand": "Xphos ", "hours": 1.0, "substrate": "CCO", "yield": 7},
        {"ligand": "XPhos", "hours": 77, "substrate": "CCO", "yield": None},
    ]
    state = demo()
    refused(state, rows, "row 2, column 'ligand': 'Xphos' is new, but spelt almost like 'XPhos'")
    refused(state, [rows[1] | {"substrate": ""}], "row 2, column 'substrate': the cell is blank")
    refused(state, [rows[1] | {"hours": ""}], "row 2, column 'hours': the cell is blank")
    refused(state, [rows[1] | {"ligand": "X-Phos"}], "almost like 'XPhos'")
    intake = read(state, rows, new_names=True)
    assert intake.event.joined == Cells(
        ids=("n1", "n2"),
        columns={"ligand": ("Xphos", "BrettPhos"), "hours": (1, 1), "substrate": ("CCO", "C")},
    )
    assert list(told(intake)) == ["n1~1", "n2~1", "n1~2"]
    assert (intake.joined, intake.repeated, intake.waiting) == (2, 1, 1)
    notes = " | ".join(intake.notes)
    assert (
        "row 2 joins the candidates as n1: ligand 'Xphos' is new (did you mean 'XPhos'?)" in notes
    )
    assert "row 3 joins the candidates as n2: ligand 'BrettPhos' is new" in notes
    grown = after(state, intake)
    assert grown.table.loc["n1"].tolist() == ["Xphos", 1.0, "CCO"]
    assert read(grown, rows).event is None
    assert read(grown, [rows[0] | {"hours": 2}]).event.joined.ids == ("n3",)


def test_new_rows_without_a_result_say_that_they_add_nothing():
    new = {"ligand": "RuPhos", "hours": 1, "substrate": "C", "yield": None}
    known = INPUTS["r2"] | {"yield": None}
    intake = read(demo(), [new, known, {"run": "1-2"}, {"id": "r9"}])
    assert intake.notes == (
        "1 rows are of no candidate: rows without a result add nothing; `gollum add` adds "
        "candidates",
    )
    assert (intake.waiting, intake.joined) == (4, 0)
    assert read(demo(), [known, {"run": "1-2"}, {"id": "r9"}]).notes == ()


def test_a_new_experiment_keeps_the_users_id():
    row = {"id": "EXP-7", "ligand": "dppe", "hours": 1, "substrate": "C", "yield": 5}
    intake = read(demo(), [row])
    assert intake.event.joined.ids == ("EXP-7",)
    assert list(told(intake)) == ["EXP-7~1"]
    refused(demo(), [row | {"id": "4-1"}], "row 2: '4-1' can't be the id of a new experiment")
    other = row | {"ligand": "dppb"}
    refused(demo(), [row, other], "row 2 and row 3 are different experiments with the same id")


def test_an_unknown_id_with_known_inputs_is_that_candidate():
    intake = read(demo(), [INPUTS["r2"] | {"id": "EXP-1", "yield": 5}])
    assert told(intake) == {"1-1": ("measured", 5)}
    assert "row 2: 'EXP-1' has the inputs of r2 and is that" in intake.notes


def test_names_that_come_close_are_pointed_out():
    table = candidates().replace("XPhos", "tetrakis(triphenylphosphine)")
    row = {"ligand": "tetrakis(triphenylphosphin)", "hours": 1, "substrate": "CO", "yield": 5}
    (note,) = read(demo(table=table), [row]).notes
    assert "(did you mean 'tetrakis(triphenylphosphine)'?)" in note
    state = demo(structures=("substrate",))  # a structure that differs in a letter is another one
    row = {"ligand": "XPhos", "hours": 1, "substrate": "CCN", "yield": 5}
    assert "did you mean" not in read(state, [row]).notes[0]


@pytest.mark.parametrize(
    ("known", "saved"),
    [
        ("1-2", "02-Jan, 2-Jan, 01-Feb, 2026-01-02 00:00:00, 02.01.2026, Jan 2, 02. Jan"),
        ("MAR1", "01-Mar, 1-Mär, 2026-03-01 00:00:00"),
        ("1/4", "04-Jan, 01. Apr"),
        ("1-32", "Jan-32"),
        ("0123", "123"),
        ("1E1", "1.00E+01, 10"),
        ("1.10", "1.1"),
        ("12345678901234567", "1.23457E+16, 12345678901234600"),
        ("False", "FALSCH, Faux"),
        ("02:00:00", "2:00:00, 2:00, 02:00 AM"),
    ],
)
def test_a_name_as_a_spreadsheet_program_saves_it_is_no_new_one(known, saved):
    table = candidates().assign(ligand=[known, *["THF", "2-3"] * 5, "x"])
    state = demo(suggested(("b1-1", "r1")), table=table)
    new = {"hours": 12, "substrate": "N", "yield": 5}
    for text in saved.split(", "):
        row = new | {"ligand": text}
        refused(state, [row], f"what a spreadsheet program makes of '{known}'; format the cells")
        assert read(state, [row], new_names=True).joined == 1
        # Our own sheet says which experiment it is, whatever became of its cells.
        intake = read(state, [{"run": "b1-1", "id": "r1", "ligand": text, "yield": 5}])
        assert told(intake) == {"b1-1": ("measured", 5)}
        assert intake.notes == (
            f"row 2, column 'ligand': '{text}' is taken for '{known}', which b1-1 has",
        )
    for text in ("3-2", "15-Mar", "124", "SEPT1", known):
        assert read(state, [new | {"ligand": text}]).joined == 1


@pytest.mark.parametrize(
    ("levels", "slips", "fine"),
    [
        ([40, 60, 80], [400, 4, 8, 800, -40, 1000, 161], [100, 50, 20, 45.5, 0]),
        ([1, 2.5, 5], [0.5, 50, 0.25, -1, 10], [8, 3, 0.7]),
        ([-20, 0, 20], [-200, 200, 61], [-40, 40, 2]),
        ([40], [400, 81, -40], [50, 80]),
    ],
)
def test_new_numbers_far_from_the_known_ones_are_refused(levels, slips, fine):
    table = candidates(len(levels)).assign(hours=np.array(levels, dtype=float))
    state = demo(recorded(), table=table)
    row = {"ligand": "XPhos", "substrate": "CO", "yield": 5}
    for number in slips:
        said = f"row 2, column 'hours': '{number:g}' is far from the candidates, which "
        refused(state, [row | {"hours": number}], said)
        assert read(state, [row | {"hours": number}], new_names=True).joined == 1
    for number in fine:
        assert read(state, [row | {"hours": float(number)}]).joined == 1


def test_rounding_errors_make_no_new_numbers():
    table = candidates(3).assign(ligand="L", substrate="C", hours=[0, 0.3, 1])
    state = demo(recorded(), table=table)
    rows = [
        {"ligand": "L", "substrate": "C", "hours": hours, "yield": 5}
        for hours in (-1e-16, 0.1 + 0.2, 1 - 1e-15)
    ]
    assert [r.id for r in read(state, rows).event.results] == ["r1", "r2", "r3"]
    new = [row | {"ligand": "M"} for row in rows]
    assert read(state, new).event.joined.columns["hours"] == (0, 0.3, 1)
    assert read(state, [rows[0] | {"id": "r1"}]).event.results[0].id == "r1"
    tiny = demo(recorded(), table=table.assign(hours=[1e-9, 1e-6, 1.0]))
    assert read(tiny, [rows[0] | {"hours": 2e-9}]).joined == 1


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_names_are_the_same_in_both_unicode_forms(forms):
    """A campaign may have been begun when names were kept as they came."""
    ours, theirs = (partial(unicodedata.normalize, form) for form in forms)
    table = pd.DataFrame(
        {ours("Lösung"): [ours("Äthanol"), "DMF"]}, index=pd.Index(["r1", "r2"], name="id")
    )
    state = demo(recorded(), table=table, objective=ours("Ausbeute für ee"))
    row = {theirs("Lösung"): theirs("Äthanol"), theirs("Ausbeute für ee"): 5}
    (result,) = read(state, [row]).event.results
    assert (result.id, list(result.values)) == ("r1", [ours("Ausbeute für ee")])
    assert asked_for(state, {theirs("Lösung"): 1}, [], 0.0).at_most == {ours("Lösung"): 1}


def test_two_lots_may_be_the_same_number():
    table = candidates(3).assign(ligand=["1.1", "1.10", "80"], hours=0, substrate="C")
    state = demo(recorded(), table=table)
    rows = [{"ligand": lot, "hours": 0, "substrate": "C", "yield": 5} for lot in ("1.10", "1.1")]
    for row, expected in zip(rows, ("r2", "r1"), strict=True):
        assert read(state, [row]).event.results[0].id == expected
    refused(state, rows, "column 'ligand': '1.10' and '1.1' are read as one number, but are names")
    rows[1] = rows[1] | {"ligand": "x"}
    assert [r.id for r in read(state, rows).event.results] == ["r2", "n1"]
    assert read(state, [rows[0] | {"ligand": "80.0"}]).event.results[0].id == "r3"
    assert read(demo(recorded(), table=table), [rows[0] | {"ligand": "80"}]).joined == 0
    refused(state, [rows[0] | {"ligand": "1.100"}], "what a spreadsheet program makes of '1.1")


def test_ids_as_a_spreadsheet_program_saves_them():
    table = candidates().set_axis(pd.Index([f"00{i}" for i in range(12)], name="id"))
    state = demo(suggested(("b1-1", "007")), table=table)
    assert told(read(state, [{"run": "b1-1", "id": 7, "yield": 5}])) == {"b1-1": ("measured", 5)}
    refused(state, [{"id": 7, "yield": 5}], "there is no candidate '7', and the column 'ligand'")
    refused(state, [{"id": 7, "yield": 5}], "Did you mean '007'?")
    new = {"id": 7, "ligand": "RuPhos", "hours": 1, "substrate": "C", "yield": 5}
    refused(state, [new], "the id '7' is new, and what a spreadsheet program makes of '007'")
    refused(state, [{"run": "b1-1", "id": "005", "yield": 5}], "run b1-1 is 007, but the row says")
    years = candidates().set_axis(pd.Index([f"2024-{i + 1}" for i in range(12)], name="id"))
    state = demo(suggested(("b1-1", "2024-11")), table=years)
    for saved in ("Nov-24", "2024-11-01"):
        assert read(state, [{"run": "b1-1", "id": saved, "yield": 5}]).measured == 1


def test_costs_of_new_experiments_are_kept():
    table = candidates().assign(price=1.0)
    state = demo(table=table, cost="price")
    row = {"ligand": "new", "hours": 1, "substrate": "C", "price": 2.5, "yield": 5}
    assert read(state, [row]).event.joined.columns["price"] == (2.5,)
    refused(state, [row | {"price": 0}], "column 'price': a cost is more than 0")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"run": "1-9"}, "row 2, column 'run': there is no run '1-9'. Did you mean '1-"),
        ({"id": "r99"}, "row 2, column 'id': there is no candidate 'r99', and the column 'ligand'"),
        ({"run": "1-1", "id": "r3"}, "column 'id': run 1-1 is r2, but the row says 'r3'"),
        (INPUTS["r2"] | {"run": "1-2"}, "column 'ligand': 1-2 has 'dppf' there, but the row says"),
        (INPUTS["r2"] | {"id": "r3", "ligand": "dppf"}, "column 'hours': r3 has '2' there, but"),
        (INPUTS["r2"] | {"hours": "one"}, "row 2, column 'hours': 'one' is not a finite number"),
        (
            {"ligand": "XPhos", "hours": 1},
            "row 2: the row names neither a run nor",
        ),
        ({"ligand": "", "hours": None, "substrate": ""}, "and the inputs are blank"),
    ],
)
def test_rows_that_name_no_experiment_or_two_are_refused(row, says):
    refused(demo(), [row | {"yield": 50}], says)


def test_a_row_that_says_nothing_is_not_looked_at():
    rows = [{"run": "remarks", "yield": None}, {"run": None, "yield": None}]
    intake = read(demo(), rows)
    assert (intake.event, intake.waiting) == (None, 1)


def test_the_results_need_a_column():
    with pytest.raises(DataError, match=r"no column 'yield'\. Did you mean 'Yields'\?"):
        read(demo(), [{"run": "1-1", "Yields": 5}])


def test_columns_of_ours_in_other_capitals_are_understood_and_others_are_named():
    rows = [{"Run": "1-1", "STATUS": "Failed", "yield": None, "operator": "AB", "why": "x"}]
    intake = read(demo(), rows)
    assert told(intake) == {"1-1": ("failed", None)}
    assert intake.notes == ("columns that the campaign does not have were left out: 'operator'",)


def test_columns_of_the_user_keep_their_meaning():
    table = candidates().rename(columns={"ligand": "status"})
    state = demo(table=table, template="{status}")
    row = {"run": "1-1", "status": "SPhos", "yield": None, "status (gollum)": "not run"}
    assert told(read(state, [row])) == {"1-1": ("not run", None)}
    state = demo(table=candidates().rename(columns={"ligand": "id"}), template="{id}")
    row = {"id": "SPhos", "hours": 1, "substrate": "CCO", "yield": 5}
    assert told(read(state, [row])) == {"1-1": ("measured", 5)}


# What came of it


@pytest.mark.parametrize(
    ("cell", "status", "expected"),
    [
        (5, "", ("measured", 5)),
        (5, "Done", ("measured", 5)),
        ("", "FAILED ", ("failed", None)),
        (0, "no_product", ("failed", None)),
        ("Failed", "", ("failed", None)),
        ("failed", "failed", ("failed", None)),
        ("not-run", "", ("not run", None)),
        ("", "Skipped", ("not run", None)),
        ("71,2", "", ("measured", 71.2)),
        ("71.2 %", "", ("measured", 71.2)),
        ("1e1", "ok", ("measured", 10)),
        (0.1 + 0.2, "", ("measured", 0.1 + 0.2)),
    ],
)
def test_what_a_result_may_look_like(cell, status, expected):
    # The word in the second row makes a column of texts of the first.
    rows = [
        {"run": "1-1", "yield": cell, "status": status},
        {"run": "1-2", "yield": "failed", "status": ""},
    ]
    assert told(read(demo(), rows))["1-1"] == expected


@pytest.mark.parametrize(
    ("cell", "status", "says"),
    [
        (
            "n.d.",
            "",
            "row 2, column 'yield': 'n.d.' is not a finite number; write a number, 'failed'",
        ),
        ("n/a", "", "or 'not run', or leave the cell blank"),
        ("-", "failed", "'-' is not a finite number"),
        (">high", "", "'>high' is not a finite number"),
        ("done", "", "'done' is not a finite number"),
        ("1e400", "", "row 2, column 'yield': '1e400' is not a finite number"),
        (float("inf"), "", "the number is infinite"),
        ("71 mg", "", "'71 mg' has a unit, and the column none"),
        ("1,234", "", "'1,234' may mean 1.234 or 1234"),
        ("", "measured", "row 2, column 'yield': the status is 'measured', but there is no value"),
        (5, "not run", "the status is 'not run', but there is a result"),
        (5, "pending", "the status is 'pending', but there is a result"),
        (5, "failed", "the status is 'failed', but there is a result"),
        ("failed", "measured", "the status is 'measured', but 'yield' says 'failed'"),
        (5, "perhaps", "row 2, column 'status': the status 'perhaps' is not known; write measured"),
    ],
)
def test_results_that_can_mean_two_things_are_refused(cell, status, says):
    rows = [
        {"run": "1-1", "yield": cell, "status": status},
        {"run": "1-2", "yield": "failed" if isinstance(cell, str) else 1, "status": ""},
    ]
    refused(demo(), rows, says)


def test_rows_count_from_the_first_row_of_the_file():
    frame = pd.DataFrame({"run": ["1-1", "1-2"], "yield": ["5", "?"]}, dtype="str")
    frame.attrs |= {"first_row": 10, "notes": ("a note of the reader",)}
    with pytest.raises(DataError, match="row 11, column 'yield'"):
        read_results(demo(), frame, source=None, name="f")
    frame.loc[1, "yield"] = ""
    intake = read_results(demo(), frame, source=None, name="f")
    assert intake.event.results[0].row == 10
    assert intake.notes == ("a note of the reader",)


def test_further_results_are_kept():
    state = demo(PLAN, also=("purity", "e.e."))
    rows = [
        {"run": "1-1", "yield": 5, "purity": "95 %"},
        {"run": "1-2", "yield": None, "purity": "80"},
        {"run": "1-3", "yield": "failed", "purity": "3"},
    ]
    intake = read(state, rows)
    found = {r.run: (r.values, r.note) for r in intake.event.results}
    assert found["1-1"] == ({"yield": 5, "purity": 95}, "")
    assert found["1-2"] == ({"purity": 80}, "")
    assert found["1-3"] == ({}, "purity 3")
    assert "row 3: kept, though 'yield' is still missing" in intake.notes
    state = after(state, intake)
    assert read(state, rows).event is None
    # A sheet without the further results takes nothing away, and the yield comes later.
    later = read(state, [{"run": "1-1", "yield": 5}, {"run": "1-2", "yield": 60}])
    (result,) = later.event.results
    assert result.values == {"purity": 80, "yield": 60}
    assert (later.known, later.corrected, later.added) == (1, 0, {"yield": 1})


def test_a_further_result_that_comes_later_is_no_correction():
    state = demo(PLAN, also=("purity",))
    state = after(state, read(state, [{"run": f"1-{n}", "yield": 10 * n} for n in (1, 2, 3)]))
    rows = [{"run": "1-1", "yield": None, "purity": 90}, {"run": "1-2", "purity": 80}]
    intake = read(state, rows)
    assert not intake.notes
    assert (intake.measured, intake.corrected, intake.added) == (0, 0, {"purity": 2})
    assert intake.event.results[0].values == {"yield": 10, "purity": 90}
    changed = read(after(state, intake), [{"run": "1-1", "yield": 11, "purity": 95}])
    assert (changed.measured, changed.corrected, changed.added) == (1, 1, {})
    assert "row 2: 1-1 was 10, purity 90 and is 11, purity 95 now" in changed.notes


def test_words_in_further_results_mean_what_they_mean_in_the_objective():
    row = {"run": "1-1", "yield": "", "ee": 40, "purity": "pending"}
    state = demo(PLAN, also=("ee", "purity"))
    assert read(state, [row]).event.results[0].values == {"ee": 40}
    state = demo(PLAN, also=("ee",))
    rows = [
        {"run": "1-1", "yield": "PENDING", "ee": "PENDING"},
        {"run": "1-2", "yield": "60", "ee": "pending"},
        {"run": "1-3", "yield": "", "ee": "failed"},
    ]
    intake = read(state, rows)
    assert told(intake) == {"1-2": ("measured", 60), "1-3": ("failed", None)}
    assert intake.waiting == 1
    assert read(state, [{"run": "1-2", "yield": 60, "ee": "planned"}]).event.results[0].values == {
        "yield": 60
    }
    for word in ("failed", "not run"):
        row = {"run": "1-1", "yield": 5, "ee": word}
        refused(state, [row], f"row 2, column 'ee': the cell says '{word}', but the row is")
    state = demo(PLAN, also=("ee",), failed_words=("n.d.",))
    row = {"run": "1-1", "yield": 5, "ee": "n.d."}
    refused(state, [row], "the cell says 'n.d.', which means 'failed', but the row is 'measured'")


def test_a_word_that_may_say_that_it_failed_is_asked_about():
    says = "or say gollum init CAMPAIGN --failed-word n.d. if it means that the experiment failed."
    for column in ("yield", "ee"):
        row = {"run": "1-1", "yield": 5, "ee": 5} | {column: "n.d."}
        text = f"row 2, column '{column}': 'n.d.' is not a finite number; write a number, "
        refused(demo(PLAN, also=("ee",)), [row], text)
        refused(demo(PLAN, also=("ee",)), [row], says)


def test_a_word_in_a_further_result_undoes_no_other_result():
    state = demo(PLAN, also=("ee",))
    state = after(state, read(state, [{"run": "1-1", "yield": 40}, {"run": "1-2", "yield": 50}]))
    for word in ("failed", "not run"):
        says = f"row 2, column 'ee': the cell says '{word}', and 1-1 is 40; leave the cell blank"
        refused(state, [{"run": "1-1", "yield": None, "ee": word}], says)
        refused(state, [{"id": "r2", "yield": "", "ee": word}], "r2 has a result; leave the cell")
        refused(state, [{"id": "r2", "yield": "", "ee": word}], "1-1 is 40", correct=True)
        rows = [{"run": "1-1", "yield": None, "ee": word, "status": word}]
        assert told(read(state, rows)) == {"1-1": (word, None)}
    twice = [{"run": "1-3", "yield": 5}, {"run": "1-3", "yield": None, "ee": "failed"}]
    refused(state, twice, "row 3, column 'ee': the cell says 'failed', and 1-3 has a result")
    rows = [{"run": "1-1", "yield": None, "ee": "failed", "status": "measured"}]
    refused(state, rows, "the status is 'measured', but 'ee' says 'failed'")
    failed = read(state, [{"run": "1-3", "yield": None, "ee": "failed"}])
    assert told(failed) == {"1-3": ("failed", None)}


def test_odd_percentages_are_pointed_out():
    rows = [{"run": "1-1", "yield": 120}, {"run": "1-2", "yield": -3}, {"run": "1-3", "yield": 5}]
    notes = read(demo(), rows).notes
    assert notes == (
        "row 2, column 'yield': 120 is not within 0 to 100",
        "row 3, column 'yield': -3 is not within 0 to 100",
    )
    state = demo(PLAN, recorded(("1-1", "r2", 71)))
    (note,) = read(state, [{"run": "1-2", "yield": 0.85}]).notes
    assert "if these are fractions" in note
    state = demo(PLAN, recorded(("1-1", "r2", 0.71), ("1-2", "r3", 0.2)))
    (note,) = read(state, [{"run": "1-3", "yield": 90}]).notes
    assert "90 is above 1, unlike all earlier results; if those are fractions" in note
    frame = pd.DataFrame([{"run": "1-3", "yield": 90}])
    frame.attrs["notes"] = (Note("percentages", "", "", "yield"),)
    with pytest.raises(DataError, match="45 % would count as 45, unlike earlier results"):
        read_results(state, frame, source=None, name="s")
    state = demo(PLAN, objective="selectivity")
    assert read(state, [{"run": "1-1", "selectivity": 120}]).notes == ()


# Twice, repeats, corrections


def test_the_same_file_again_is_recognised(tmp_path):
    state = demo()
    sheet = suggestion_sheet(state, state.pending())
    sheet["yield"], sheet["status"] = [1.5, None, None], ["", "failed", "not run"]
    sheet["note"] = ["turned black", "", ""]
    write_sheet(sheet, tmp_path / "results.xlsx")
    frame = read_table(tmp_path / "results.xlsx")
    source = Source(name="results.xlsx", sha256="0" * 64)
    first = read_results(state, frame, source=source, name="results.xlsx")
    assert first.event.source == source
    assert first.event.results[0].note == "turned black"
    again = read_results(after(state, first), frame, source=source, name="results.xlsx")
    assert (again.event, again.known, again.notes) == (None, 3, ())


def test_exported_results_are_recognised_and_a_history_is_refused():
    plan = recorded(
        ("1-1", "r2", 5), ("1-1~2", "r2", 5), ("1-2", "r3", "failed"), ("r9~1", "r9", 3)
    )
    state = demo(PLAN, plan)
    for what in ("results", "suggestions"):
        assert read(state, export_frame(state, what)).event is None
    digits = export_frame(demo(PLAN, recorded(("1-1", "r2", 1 / 3))))
    digits["yield"] = digits["yield"].round(15)  # as in a workbook
    assert read(demo(PLAN, recorded(("1-1", "r2", 1 / 3))), digits).event is None
    edited = export_frame(state)
    edited.loc[0, "yield"] = 6
    assert told(read(state, edited)) == {"1-1": ("measured", 6)}
    refused(state, export_frame(state, "history"), "this is an exported history")


def test_rows_of_one_run_are_repeats():
    state = demo()
    rows = [{"run": "1-1", "yield": y} for y in (70, 72, 70)]
    intake = read(state, rows)
    assert {run: y for run, (_, y) in told(intake).items()} == {"1-1": 70, "1-1~2": 72, "1-1~3": 70}
    assert (intake.measured, intake.repeated) == (3, 2)
    assert intake.notes[0] == "row 3: 1-1 has a result already; 72 is kept as a repeat, 1-1~2"
    state = after(state, intake)
    shuffled = read(state, rows[::-1])
    assert (shuffled.event, shuffled.known) == (None, 3)
    by_id = read(state, [{"id": "r2", "yield": y} for y in (72, 70, 70)])
    assert by_id.event is None


def test_another_value_of_a_run_is_a_correction():
    state = demo(PLAN, recorded(("1-1", "r2", 70), ("1-2", "r3", 5)))
    rows = [{"run": "1-1", "yield": 75}, {"run": "1-2", "yield": "not run"}]
    intake = read(state, rows)
    assert told(intake) == {"1-1": ("measured", 75), "1-2": ("not run", None)}
    assert intake.notes == (
        "row 2: 1-1 was 70 and is 75 now",
        "row 3: 1-2 was 5 and is not run now",
    )
    assert (intake.corrected, intake.measured, intake.not_run, intake.known) == (2, 1, 1, 0)


def test_an_old_sheet_does_not_undo_a_correction():
    state = demo(PLAN, recorded(("1-1", "r2", 70)), recorded(("1-1", "r2", 75)))
    rows = [{"run": "1-1", "yield": 70}]
    intake = read(state, rows)
    assert (intake.event, intake.known) == (None, 1)
    assert "1-1 was 70 until it was corrected to 75, which stays" in intake.notes[0]
    assert told(read(state, rows, correct=True)) == {"1-1": ("measured", 70)}


def test_a_row_by_id_answers_the_suggestion_and_then_repeats():
    state = demo()
    intake = read(state, [{"id": "r2", "yield": 70}, {"id": "r2", "yield": 72}])
    assert told(intake) == {"1-1": ("measured", 70), "r2~1": ("measured", 72)}
    assert (intake.measured, intake.repeated) == (2, 1)


def test_a_row_by_id_of_a_measured_experiment_is_a_repeat_unless_it_corrects():
    state = demo(PLAN, recorded(("1-1", "r2", 71.2)))
    rows = [{"id": "r2", "yield": 68}]
    intake = read(state, rows)
    assert told(intake) == {"r2~1": ("measured", 68)}
    assert intake.notes == (
        "row 2: r2 has a result already (71.2); 68 is kept as a repeat, r2~1; use --correct if it "
        "replaces a result",
    )
    assert told(read(state, rows, correct=True)) == {"1-1": ("measured", 68)}
    both = [{"id": "r2", "yield": 71.2}, *rows]  # 71.2 is confirmed, so 68 can't replace it
    assert told(read(state, both, correct=True)) == {"r2~1": ("measured", 68)}
    state = demo(PLAN, recorded(("1-1", "r2", 71.2), ("r2~1", "r2", 72)))  # which of them?
    assert told(read(state, rows, correct=True)) == {"r2~2": ("measured", 68)}


def test_a_known_result_of_an_experiment_that_is_pending_again_is_pointed_out():
    state = demo(PLAN, recorded(("1-1", "r2", "not run")), suggested(("2-1", "r2"), batch=2))
    intake = read(state, [{"id": "r2", "yield": "not run"}])
    assert intake.notes == ("row 2: 1-1 has this result already, and 2-1 is still pending",)
    assert told(read(state, [{"id": "r2", "yield": 4}])) == {"2-1": ("measured", 4)}


def test_rows_by_run_and_by_id_do_not_take_the_same_result():
    state = demo()
    rows = [{"run": "1-1", "id": "r2", "yield": 70}, {"run": "", "id": "r2", "yield": 70}]
    intake = read(state, rows)
    assert list(told(intake)) == ["1-1", "r2~1"]
    assert read(after(state, intake), rows[::-1]).event is None
    state = demo(PLAN, recorded(("1-1", "r2", 70)))
    assert list(told(read(state, rows))) == ["r2~1"]


def test_a_late_result_of_a_withdrawn_suggestion_is_taken():
    fresh = suggested(("2-1", "r9"), batch=2).model_copy(update={"fresh": True})
    assert list(told(read(demo(PLAN, fresh), [{"run": "1-1", "yield": 5}]))) == ["1-1"]


def test_a_note_alone_is_recorded_and_a_blank_one_erases_nothing():
    known = Result(run="1-1", id="r2", status="measured", values={"yield": 70}, note="old")
    state = demo(PLAN, recorded().model_copy(update={"results": (known,)}))
    intake = read(state, [{"run": "1-1", "yield": 70, "note": "new"}])
    assert intake.event.results == (known.model_copy(update={"note": "new", "row": 2}),)
    assert (intake.known, intake.measured) == (1, 0)
    assert intake.notes == ("row 2: 1-1 has another note; its result is the same",)
    assert read(state, [{"run": "1-1", "yield": 70, "note": ""}]).event is None
    (corrected,) = read(state, [{"run": "1-1", "yield": 75, "note": ""}]).event.results
    assert corrected.note == "old"
    again = known.model_copy(update={"run": "1-1~2", "note": "other"})
    repeated = demo(PLAN, recorded().model_copy(update={"results": (known, again)}))
    rows = [{"run": "1-1", "yield": 70, "note": note} for note in ("other", "old")]
    assert read(repeated, rows).event is None
    waiting = read(state, [{"run": "1-2", "yield": None, "note": "Monday"}])
    assert waiting.notes == ("row 2: the note waits for a result and was left out",)


def test_many_notes_of_one_kind_are_cut_short():
    rows = [{"run": "1-1", "yield": y} for y in range(50)]
    notes = read(demo(), rows).notes
    assert len(notes) == 11
    assert notes[-1] == "… and 39 more rows like these"


def test_an_empty_sheet_says_nothing():
    frame = pd.DataFrame({"run": [], "yield": []}).astype({"run": "str"})
    assert read_results(demo(), frame, source=None, name="f").event is None


@pytest.mark.slow
def test_large_sheets_take_seconds():
    count = 200_000
    table = candidates(count)
    frame = table.assign(**{"yield": np.arange(count) % 97 / 1.3})
    frame.attrs |= {"first_row": 2, "notes": ()}  # as from a file
    state, _ = campaign(table)
    start = time.process_time()
    intake = read_results(state, frame, source=None, name="f")
    seconds = time.process_time() - start
    assert intake.measured == count
    assert seconds < 6  # twice what a free processor needs


def test_all_cells_that_are_wrong_are_told_at_once():
    state = demo(suggested(*((f"b1-{k}", f"r{k}") for k in range(1, 13))), also=("purity",))
    rows = [{"run": f"b1-{k}", "yield": "x" * k, "purity": "pure"} for k in range(1, 4)]
    says = "row 2, column 'yield': 'x' is not a finite number; write a number, 'failed'"
    refused(state, rows, says)
    refused(state, rows, "experiment failed; likewise row 3 ('xx'), row 4 ('xxx'). row 2, column")
    refused(state, rows, "column 'purity': 'pure' is not a finite number")
    refused(state, [{"id": "r1", "yield": "?"}] * 25, "row 21 ('?') and 5 more.")
