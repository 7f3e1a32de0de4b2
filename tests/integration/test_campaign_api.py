"""Campaigns through the Python interface, with a surrogate that needs no language model."""

import json

import numpy as np
import pandas as pd
import pytest

from gollum.api import Campaign
from gollum.campaign.events import Recorded
from gollum.campaign.store import Moved, Store
from gollum.errors import BusyError, DataError, UserError

OPTIONS = {"objective": "yield", "surrogate": "one_hot"}


def grid():
    rows = [(x, b, t) for x in "ABCD" for b in "KLM" for t in (40, 60, 80)]
    return pd.DataFrame(rows, columns=["ligand", "base", "temperature_C"])


def truth(row):
    return 10.0 * "ABCD".index(row.ligand) + 5.0 * "KLM".index(row.base) + row.temperature_C / 4


@pytest.fixture
def made(tmp_path):
    campaign, _ = Campaign.create(tmp_path / "my.gollum", table=grid(), **OPTIONS)
    return campaign


def filled(sheet):
    return sheet.assign(**{"yield": [truth(row) for row in sheet.itertuples()]})


def test_rounds_of_suggestions_find_the_best(made):
    for _ in range(4):
        intake = made.record(filled(made.suggest(4)))
        assert intake.measured == 4
    results = made.export("results")
    assert len(results) == 16
    assert results["yield"].max() == 60.0
    state = made.state()
    assert state.pending() == []
    assert [b.batch for b in state.batches] == [1, 2, 3, 4]


def test_asking_again_gives_the_same_and_more_extends(made):
    first = made.suggest(3)
    log = len(Store.open(made.path).log())
    pd.testing.assert_frame_equal(made.suggest(3), first)
    assert made.suggest(2)["id"].tolist() == first["id"].tolist()[:2]
    assert len(Store.open(made.path).log()) == log
    larger = made.suggest(5)
    assert larger["id"].tolist()[:3] == first["id"].tolist()
    with pytest.raises(UserError, match="under other limits"):
        made.suggest(5, at_most={"ligand": 1})
    fresh = made.suggest(5, at_most={"ligand": 2}, fresh=True)
    assert fresh["ligand"].value_counts().max() <= 2
    assert len(made.state().pending()) == 5
    made.record(filled(fresh.head(1)))
    other = made.suggest(2)  # something changed: a new batch, and the others stay pending
    assert not set(other["id"]) & set(fresh["id"])
    assert len(made.state().pending()) == 6


def test_who_knows_another_version_changes_nothing(made):
    known = made.at(made.version())
    sheet = known.suggest(2)  # which replaces nothing
    with pytest.raises(Moved, match="somebody else"):
        known.record(filled(sheet))
    with pytest.raises(Moved):
        known.avoid(["r1"])
    assert made.version() == made.log()[-1].sha256
    made.at(made.version()).record(filled(sheet))
    assert len(made.state().measurements) == 2


def test_checking_results_records_none(made):
    sheet = filled(made.suggest(2))
    before = made.version()
    assert made.record(sheet, check=True).measured == 2
    assert made.version() == before
    with pytest.raises(DataError, match="row 2"):
        made.record(sheet.assign(**{"yield": ["x", "y"]}), check=True)


def test_predictions_are_those_of_suggestions(made):
    assert made.predictions() is None
    made.record(filled(made.suggest(6)))
    told = made.predictions()
    sheet = made.suggest(3).set_index("id")
    assert told.index.tolist() == made.state().table.index.tolist()
    for theirs, ours in (
        ("predicted yield", "predicted"),
        ("low 95 %", "low"),
        ("high 95 %", "high"),
    ):
        expected = told.loc[sheet.index, ("yield", ours)].round(1)
        np.testing.assert_allclose(sheet[theirs], expected, atol=0.051)


def test_a_batch_that_can_t_be_filled_is_not_asked_for_again(made):
    sheet = made.suggest(30, at_most={"ligand": 2})
    assert len(sheet) == 8
    assert len(made.suggest(30, at_most={"ligand": 2})) == 8


def test_avoided_options_are_not_suggested_until_lifted(made):
    assert made.avoid(cells={"ligand": ["D"]}, reason="out of stock") == 9
    assert made.avoid(cells={"temperature_C": [40]}) == 18
    sheet = made.suggest(18)
    assert set(sheet["ligand"]) == {"A", "B", "C"}
    assert 40 not in set(sheet["temperature_C"])
    assert len(made.suggest(19)) == 18  # there are no more
    made.record(filled(sheet))
    with pytest.raises(DataError, match=r"no candidate is left.*avoided \(18\)"):
        made.suggest(1)
    assert made.avoid(cells={"ligand": ["D"]}, lift=True) == 12
    with pytest.raises(UserError, match="nothing to lift"):
        made.avoid(cells={"ligand": ["D"]}, lift=True)
    with pytest.raises(UserError, match=r"never holds 'E'"):
        made.avoid(["r1"], cells={"ligand": ["E"]})
    assert (None, "r1") not in made.state().avoided
    with pytest.raises(UserError, match=r"no candidate has the id 'r99'"):
        made.avoid(["r99"])


def test_what_changes_nothing_is_not_written(made):
    first = made.suggest(2)
    made.retell(made.state().template)
    assert made.suggest(2)["id"].tolist() == first["id"].tolist()
    made.avoid(["r1"], reason="broken")
    log = len(Store.open(made.path).log())
    made.avoid(["r1"], reason="broken")
    assert len(Store.open(made.path).log()) == log


def test_new_reagents_join_the_pool(made):
    new = pd.DataFrame([{"ligand": "E", "base": "K", "temperature_C": 80, "yield": 55.0}])
    intake = made.record(new)
    assert (intake.measured, intake.joined) == (1, 1)
    assert len(made.state().table) == 37
    made.record(filled(made.suggest(3)))
    assert len(made.suggest(3)) == 3


def test_replay_agrees_and_notices_a_forged_past(made, tmp_path):
    made.record(filled(made.suggest(4)))
    made.suggest(3)
    made.suggest(5)
    replays = made.replay()
    assert [r.agrees for r in replays] == [True, True, True]
    assert [len(r.event.suggestions) for r in replays] == [4, 3, 2]
    forged, _ = Campaign.create(tmp_path / "forged.gollum", table=grid(), **OPTIONS)
    store = Store.open(forged.path)
    event = replays[0].event
    store.append(event.model_copy(update={"suggestions": event.suggestions[::-1]}))
    (one,) = forged.replay(1)
    assert not one.same_experiments
    with pytest.raises(UserError, match="no batch 7"):
        forged.replay(7)


def test_a_moved_file_goes_on(made, tmp_path):
    first = made.suggest(3)
    elsewhere = tmp_path / "elsewhere" / "other name.gollum"
    elsewhere.parent.mkdir()
    made.path.rename(elsewhere)
    moved = Campaign(elsewhere)
    pd.testing.assert_frame_equal(moved.suggest(3), first)
    moved.record(filled(first))
    assert len(moved.export("results")) == 3


def test_other_words_change_what_is_suggested_from(made):
    made.suggest(2)
    assert made.retell("{ligand} with {base}").columns == ("ligand", "base")
    assert made.state().template == "{ligand} with {base}"
    with pytest.raises(UserError, match="'solvent'"):
        made.retell("{solvent}")
    assert any("temperature_C" in note for note in made.lint())


def test_results_that_arrive_while_choosing_are_minded(made, monkeypatch):
    made.record(filled(made.suggest(4)))
    append, disturbed = Store.append, []

    def late(self, *events, expected=None):
        if not disturbed:
            disturbed.append(1)
            made.record(filled(grid().tail(1)))
        return append(self, *events, expected=expected)

    monkeypatch.setattr(Store, "append", late)
    sheet = made.suggest(3)
    assert len(sheet) == 3
    assert made.state().batches[-1].basis == 4  # created, suggested, recorded, recorded
    monkeypatch.setattr(Store, "append", lambda *_, **__: (_ for _ in ()).throw(Moved("later")))
    with pytest.raises(BusyError, match="try once more"):
        made.suggest(5)


def test_a_file_that_is_replaced_while_choosing_gets_no_suggestion(made, tmp_path, monkeypatch):
    other, _ = Campaign.create(tmp_path / "other.gollum", table=grid().head(9), **OPTIONS)
    append = Store.append

    def replaced_before(store, *events, **options):
        other.path.replace(made.path)
        return append(store, *events, **options)

    monkeypatch.setattr(Store, "append", replaced_before)
    with pytest.raises(DataError, match="was replaced by another campaign meanwhile"):
        made.suggest(3)
    assert Campaign(made.path).state().sequence == 1
    with pytest.raises(DataError, match="was replaced by another campaign meanwhile"):
        made.record(filled(grid().head(2)))


def test_two_results_and_five_hundred(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"x": rng.random(600), "name": rng.choice(list("abcdef"), 600), "yield": np.nan}
    )
    table.loc[:1, "yield"] = [1.0, 2.0]
    few, start = Campaign.create(tmp_path / "few.gollum", table=table, **OPTIONS)
    assert isinstance(start.recorded, Recorded)
    assert few.suggest(2)["predicted yield"].notna().all()
    table.loc[:499, "yield"] = table.loc[:499, "x"] + rng.normal(0, 0.1, 500)
    many, _ = Campaign.create(tmp_path / "many.gollum", table=table, **OPTIONS)
    assert len(many.suggest(8)) == 8


def test_failed_experiments_count_as_the_user_says(tmp_path):
    table = grid()
    for failed_as, expected in ((None, 1), (0.0, 2)):
        path = tmp_path / f"{failed_as}.gollum"
        campaign, _ = Campaign.create(path, table=table, failed_as=failed_as, **OPTIONS)
        sheet = campaign.suggest(3)
        sheet["yield"] = [50.0, None, None]
        sheet["status"] = ["", "failed", "not run"]
        intake = campaign.record(sheet)
        assert (intake.measured, intake.failed, intake.not_run) == (1, 1, 1)
        ids, values = campaign.state().observations()
        assert len(ids) == expected
        assert list(values) == [50.0, 0.0][:expected]
        free = campaign.state().table.index[campaign.state().open()]
        assert sheet["id"][2] in free  # it was not run
        assert sheet["id"][1] not in free


def test_results_may_be_rows(made):
    row = {"ligand": "A", "base": "K", "temperature_C": 40, "yield": 44}
    assert made.record(row).measured == 1
    assert made.record([row, {"id": "r2", "yield": "failed"}]).known == 1
    assert [m.result.id for m in made.state().with_status("failed")] == ["r2"]
    for wrong in ([], [44], {"yield": [1, 2]}, 44, None):
        with pytest.raises(DataError, match="results are a DataFrame, a file, or rows as a list"):
            made.record(wrong)


def test_a_failure_is_not_the_best_there_is(tmp_path):
    table = grid().head(6).assign(**{"yield": [5, 17.25, None, None, None, None]})
    options = OPTIONS | {"table": table, "goal": "minimize"}
    said = r"counts as 0, better than every result so far \(5 to 17.25\), as less is better"
    with pytest.raises(UserError, match=said):
        Campaign.create(tmp_path / "a.gollum", failed_as=0.0, **options)
    with pytest.raises(UserError, match=r"counts as 7.25, better .* as 7 is wanted"):
        Campaign.create(
            tmp_path / "a.gollum",
            failed_as=7.25,
            **options | {"goal": "target", "target": 7.0},
        )
    with pytest.raises(UserError, match="would count as 7, which is the target"):
        Campaign.create(
            tmp_path / "a.gollum",
            failed_as=7.0,
            **options | {"goal": "target", "target": 7.0, "table": grid()},
        )
    made, _ = Campaign.create(
        tmp_path / "a.gollum", failed_as=0.0, bounds="none", **options | {"table": grid().head(6)}
    )
    made.suggest(2)
    (note,) = made.record([{"id": "r1", "yield": 5}, {"id": "r2", "yield": "failed"}]).notes
    assert "gollum init CAMPAIGN --failed-as VALUE" in note
    with pytest.raises(UserError, match=r"counts as 0, better .* gollum init .*a.gollum"):
        made.suggest(2)
    with pytest.raises(UserError, match="give a worse value"):
        made.count_failed_as(4)
    made.count_failed_as(40)
    assert made.suggest(2).shape[0] == 2
    assert made.state().observations()[1].tolist() == [5, 40]
    assert all(one.agrees for one in made.replay())


def test_words_for_failures_may_be_added_later(made):
    made.suggest(2)
    with pytest.raises(DataError, match="lost"):
        made.record([{"id": "r1", "yield": "lost"}])
    assert made.call_failed(["lost", "n.d."]) == ("lost", "n.d.")
    assert made.call_failed("lost") == ("lost", "n.d.")
    with pytest.raises(DataError, match="'skipped' means 'not run' already"):
        made.call_failed(["x", "skipped"])
    intake = made.record([{"id": "r1", "yield": "lost"}, {"id": "r2", "yield": "N.D."}])
    assert intake.failed == 2
    assert made.call_failed(["gone"], forget=True) == ("gone",)
    with pytest.raises(DataError, match="lost"):
        made.record([{"id": "r3", "yield": "lost"}])
    assert len(made.state().with_status("failed")) == 2
    assert all(one.agrees for one in made.replay())


def test_refusals_leave_no_file(tmp_path):
    path = tmp_path / "my.gollum"
    with pytest.raises(DataError, match="no file"):
        Campaign.create(path, table=tmp_path / "missing.csv", **OPTIONS)
    with pytest.raises(DataError, match="yield"):
        Campaign.create(path, table=grid().assign(Yields=1.0), **OPTIONS)
    with pytest.raises(UserError, match="either a table or factors"):
        Campaign.create(path, **OPTIONS)
    with pytest.raises(UserError, match=r"goal 'maximise' is unknown.*'maximize'"):
        Campaign.create(path, table=grid(), goal="maximise", **OPTIONS)
    with pytest.raises(UserError, match="belong together"):
        Campaign.create(path, table=grid(), goal="target", **OPTIONS)
    with pytest.raises(UserError, match="finite number"):
        Campaign.create(path, table=grid(), target=float("nan"), **OPTIONS)
    assert not path.exists()
    Campaign.create(path, table=grid(), **OPTIONS)
    with pytest.raises(DataError, match="exists already"):
        Campaign.create(path, table=grid(), **OPTIONS)


def test_everything_as_json(made):
    made.record(filled(made.suggest(3)))
    made.avoid(["r1"])
    told = json.loads(made.export_json())
    events = [entry["kind"] for entry in told["events"]]
    assert events == ["created", "suggested", "recorded", "avoided"]


def test_another_sheet_of_a_workbook_and_a_head_further_down_are_pointed_out(made, tmp_path):
    file, sheet = tmp_path / "book.xlsx", filled(made.suggest(2))
    with pd.ExcelWriter(file) as book:
        pd.DataFrame({"plan": ["a", "b"], "who": ["x", "y"]}).to_excel(book, sheet_name="Plan")
        sheet.rename(columns={"yield": "Yield"}).to_excel(book, sheet_name="Results 1")
    with pytest.raises(
        DataError, match="sheet 'Plan' has no column 'yield', and sheet 'Results 1'"
    ):
        made.record(file)
    assert made.record(file, sheet="Results 1").measured == 2
    below = pd.DataFrame([["a", ""], list(sheet[["run", "yield"]])], columns=["Plan", "of May"])
    with pytest.raises(DataError, match="row 3 seems to hold the names of the columns"):
        made.record(below)
    with pytest.raises(DataError, match="row 3 seems to hold the names of the columns"):
        Campaign.create(tmp_path / "other.gollum", table=below, **OPTIONS)


def test_what_is_known_of_inexact_results_reaches_the_model_and_replays(tmp_path):
    table = pd.DataFrame([(a, t) for a in "abc" for t in (20.0, 40.0, 60.0, 80.0)],
                         columns=["base", "temperature"])  # fmt: skip
    few = {"averaging.particles": 16, "averaging.moves": 2}
    campaign, _ = Campaign.create(
        tmp_path / "c.gollum", table=table, objective="yield_pct", surrogate="averaged", keys=few
    )
    asked = campaign.suggest(5)
    said = ["<5", "30-40", "52 ± 3", "trace", "61"]
    campaign.record(asked.assign(yield_pct=said))
    extents = campaign.state().extents()
    assert extents.between.tolist() == [True, True, False, True, False]
    assert extents.error.tolist() == [0.0, 0.0, 3.0, 0.0, 0.0]
    campaign.suggest(3)
    assert all(found.agrees for found in campaign.replay())
    first = campaign.state().measurements
    again = asked.assign(yield_pct=["4", "", "", "", ""])
    campaign.record(again, correct=True)
    known = campaign.state().extents()
    assert known.between.tolist() == [False, True, False, True, False]
    assert len(first) == len(campaign.state().measurements) == 5
