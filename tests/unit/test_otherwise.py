"""Experiments that were done differently from what their run asked for."""

import pandas as pd
import pytest

from campaigns import campaign, candidates, suggested
from gollum.campaign.intake import read_results
from gollum.campaign.sheets import export_frame, suggestion_sheet
from gollum.campaign.state import Logged
from gollum.errors import DataError
from gollum.report.campaign.learned import outcomes

RUNS = [(f"b1-{k}", f"r{k + 1}", 50.0, 40.0, 60.0) for k in range(1, 7)]


@pytest.fixture
def state():
    return campaign(candidates(), suggested(*RUNS))[0]


def sheet(state, done, value=71.0):
    """Our sheet, in which some cells of runs are others: (run, column) → cell."""
    frame = suggestion_sheet(state, state.pending()).set_index("run", drop=False)
    for (run, column), cell in done.items():
        frame.loc[run, [column, "yield"]] = [cell, value]
    return frame.reset_index(drop=True)


def read(state, frame, **options):
    options = {"as_done": True} | options
    return read_results(state, frame, source=None, name="done.xlsx", **options)


def after(state, *intakes):
    for intake in intakes:
        state = state.after(Logged(state.sequence + 1, "2026-03-01", "", intake.event))
    return state


def test_what_was_done_is_recorded_under_the_run_that_asked(state):
    intake = read(state, sheet(state, {("b1-1", "hours"): 1.5}))
    (result,) = intake.event.results
    assert (result.run, result.id, intake.joined, intake.otherwise) == ("b1-1", "n1", 1, 1)
    assert "row 2: b1-1 asked r2, done n1: hours 1.5, not 1" in intake.notes
    later = after(state, intake)
    assert later.table.loc["n1"].tolist() == ["SPhos", 1.5, "CCO"]
    assert [p.suggestion.run for p in later.pending()] == [f"b1-{k}" for k in range(2, 7)]
    assert dict(zip(later.table.index, later.open(), strict=True))["r2"]
    assert outcomes(later).empty


def test_what_was_done_may_be_a_candidate_and_columns_may_be_missing(state):
    rows = pd.DataFrame([{"run": "b1-1", "hours": 4, "substrate": "CO", "yield": 5}])
    assert read(state, rows).event.results[0].id == "r5"
    by_id = pd.DataFrame([{"run": "b1-1", "id": "r12", "yield": 5}])
    intake = read(state, by_id)
    assert (intake.event.results[0].id, intake.joined) == ("r12", 0)


def test_exports_say_what_was_asked(state):
    later = after(state, read(state, sheet(state, {("b1-1", "hours"): 1.5})))
    (row,) = export_frame(later, "results").to_dict("records")
    assert (row["id"], row["asked"], row["hours"]) == ("n1", "r2", 1.5)
    assert pd.isna(row["predicted yield"])
    row, *_ = export_frame(later, "suggestions").to_dict("records")
    assert (row["id"], row["status"], row["note"]) == ("r2", "not run", "asked r2, done n1")
    assert "asked" not in export_frame(state, "results")


def test_the_same_sheet_again_is_known_and_another_cell_a_correction(state):
    frame = sheet(state, {("b1-1", "hours"): 1.5})
    later = after(state, read(state, frame))
    for options in ({}, {"as_done": False}):
        assert read(later, frame, **options).known == 1
    assert read(later, export_frame(later, "results"), as_done=False).known == 1
    asked = sheet(state, {("b1-1", "hours"): 1.0})
    with pytest.raises(DataError, match=r"b1-1 has '1\.5' there, .* or record with --as-done"):
        read(later, asked, as_done=False)
    intake = read(later, asked)
    assert intake.corrected == 1
    assert "row 2: b1-1 was n1 with 71 and is r2 with 71 now" in intake.notes
    assert after(later, intake).done() == ["r2"]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (
            {("b1-1", "hours"): 2, ("b1-2", "hours"): 1},
            "column 'hours': cells other than was asked",
        ),
        ({(f"b1-{k}", "hours"): 5 for k in range(1, 4)}, "3 of 3 rows with a run have cells of"),
        (
            {("b1-1", c): v for c, v in {"ligand": "SPhos", "hours": 4, "substrate": "CO"}.items()},
            "row 2, column 'run': the row has the cells of b1-4, not of b1-1",
        ),
        ({("b1-1", "ligand"): "sphos", ("b1-1", "hours"): 1.5}, "spelt almost like 'SPhos'"),
        ({("b1-1", "id"): "r9", ("b1-1", "hours"): 1.5}, "r9 has 'dppf' there, but the row says"),
    ],
)
def test_sheets_that_were_sorted_in_part_and_slips_are_refused(state, cells, says):
    with pytest.raises(DataError, match=says):
        read(state, sheet(state, cells))


def test_a_change_of_the_whole_batch_is_none_of_them(state):
    intake = read(state, sheet(state, {(f"b1-{k}", "substrate"): "CCCCN" for k in range(1, 7)}))
    assert (intake.otherwise, intake.joined) == (6, 6)


def test_a_run_is_one_experiment_and_what_was_not_run_was_not_done(state):
    twice = pd.DataFrame([{"run": "b1-1", "hours": h, "yield": h} for h in (1.5, 1.6)])
    with pytest.raises(DataError, match="b1-1 is in the sheet with other cells too"):
        read(state, twice)
    with pytest.raises(DataError, match="b1-1 has '1' there"):
        read(state, pd.DataFrame([{"run": "b1-1", "hours": 1.5, "yield": "not run"}]))
