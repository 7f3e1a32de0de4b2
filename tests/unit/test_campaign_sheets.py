"""Tables of a campaign: what they hold, and that our own columns never hide the user's."""

import json

import numpy as np
import pandas as pd
import pytest

from campaigns import campaign, candidates, recorded, suggested
from gollum.campaign.events import (
    Avoided,
    Cells,
    Effect,
    Neighbour,
    Recorded,
    Result,
    Suggestion,
    parse,
)
from gollum.campaign.intake import read_results
from gollum.campaign.plates import MAP, check_plate, plate_map, well, with_wells
from gollum.campaign.requests import cell_meant
from gollum.campaign.sheets import (
    export_frame,
    export_json,
    headed,
    look_of,
    sheet_names,
    suggestion_sheet,
    why,
)
from gollum.data.readers import read_table
from gollum.data.roles import OURS
from gollum.data.spreadsheets.looks import FILL, Look
from gollum.data.writers import write_sheet
from gollum.errors import ConfigError, DataError
from gollum.report.campaign.status import conditions

PLAN = suggested(("1-1", "r2", 71.234, 40.5, 99.87654), ("1-2", "r3"))


def test_a_suggestion_sheet_has_all_that_is_needed_to_do_the_experiments():
    state, _ = campaign(candidates(), recorded(("r1~1", "r1", 20), ("r4~1", "r4", 80)), PLAN)
    sheet = suggestion_sheet(state, state.pending())
    assert sheet.columns.tolist() == [
        "run", "id", "ligand", "hours", "substrate",
        "predicted yield", "low 95 %", "high 95 %", "chance to beat best", "why",
        "yield", "status", "note",
    ]  # fmt: skip
    first, second = sheet.to_dict("records")
    assert (first["run"], first["id"], first["ligand"], first["hours"]) == ("1-1", "r2", "SPhos", 1)
    assert [first[c] for c in sheet.columns[5:8]] == [71.2, 40.5, 99.9]
    assert np.isnan(second["predicted yield"])
    assert np.isnan(first["yield"])
    assert (first["status"], first["note"]) == ("", "")


def test_the_order_is_that_of_the_plans_and_costs_and_further_results_have_columns():
    table = candidates().assign(price=np.arange(12.0) + 1)
    state, _ = campaign(table, PLAN, cost="price", also=("purity",))
    sheet = suggestion_sheet(state, state.pending()[::-1])
    assert sheet["run"].tolist() == ["1-2", "1-1"]
    assert sheet["price"].tolist() == [3, 2]
    assert sheet["purity"].isna().all()
    assert suggestion_sheet(state, []).shape == (0, sheet.shape[1])


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_a_written_sheet_reads_back(tmp_path, ending):
    state, _ = campaign(candidates(), PLAN)
    sheet = suggestion_sheet(state, state.pending())
    write_sheet(sheet, tmp_path / f"next.{ending}")
    back = read_table(tmp_path / f"next.{ending}")
    assert back["run"].tolist() == ["1-1", "1-2"]
    assert back["predicted yield"].tolist()[0] == sheet["predicted yield"].tolist()[0]


@pytest.mark.parametrize(("scale", "written"), [(1e-4, 71.234e-6), (1.0, 71.234), (1e4, 71.0)])
def test_predictions_are_rounded_to_the_scale_of_the_results(scale, written):
    told = recorded(("r1~1", "r1", 0.0), ("r4~1", "r4", scale))
    mean = 71.234e-6 if scale < 1 else 71.234
    state, _ = campaign(candidates(), told, suggested(("1-1", "r2", mean, 0, 1)))
    found = suggestion_sheet(state, state.pending())["predicted yield"][0]
    assert found == pytest.approx(written, abs=1e-3 * scale)
    assert found == round(found, 3 - int(np.log10(scale)) if scale < 1e4 else 0)


def test_own_columns_give_way_to_those_of_the_user():
    table = candidates().rename(columns={"ligand": "why", "hours": "Status", "substrate": "id"})
    state, _ = campaign(table, PLAN, objective="note", template="{why}")
    names = sheet_names(state)
    assert (names.why, names.status, names.id) == ("why (gollum)", "status (gollum)", "id (gollum)")
    sheet = suggestion_sheet(state, state.pending())
    assert sheet.columns.is_unique
    assert sheet["why"].tolist() == ["SPhos", "dppf"]
    ours = {c.removesuffix(" (gollum)").casefold() for c in sheet} - {"predicted note"}
    assert set(OURS) - {"chance to join front", "chance that limits hold"} == ours


def test_the_users_name_of_the_id_column_is_kept():
    state, _ = campaign(candidates(), PLAN, id_column="Entry")
    assert suggestion_sheet(state, state.pending())["Entry"].tolist() == ["r2", "r3"]


def test_a_reason_is_one_readable_sentence():
    suggestion = Suggestion(
        run="1-1",
        id="r2",
        intent="exploit",
        neighbours=(
            Neighbour(id="r12", value=71.21, similarity=0.9),
            Neighbour(id="r3", value=60, similarity=0.8),
            Neighbour(id="r4", value=50, similarity=0.1),
        ),
        effects=(
            Effect(column="ligand", value="XPhos", effect=8.31),
            Effect(column="base", value="K3PO4", effect=-2.1),
            Effect(column="hours", value="2", effect=0.01),
        ),
    )
    assert why(suggestion, "yield", 1) == (
        "exploits: like r12 (yield 71.2) and r3 (yield 60.0); ligand XPhos +8.3, base K3PO4 -2.1"
    )
    long = Effect(column="substrate", value="C" * 99, effect=1)
    assert len(why(suggestion.model_copy(update={"effects": (long,)}), "yield", 1)) < 110
    start = why(Suggestion(run="1-1", id="r2"), "yield", 1)
    assert start == "first design, spread over the candidates"


@pytest.mark.parametrize("head", ["hours (h)", "hours [hr]", "hours"])
def test_units_stand_in_the_heads_and_are_understood_there(head):
    units = {"hours": "h", "yield": "mg", "ligand_C": "°C"}
    state, _ = campaign(candidates(), PLAN, units=units)
    sheet = headed(state, suggestion_sheet(state, state.pending()))
    assert {"hours (h)", "yield (mg)", "ligand"} < set(sheet.columns)
    sheet = sheet.rename(columns={"hours (h)": head}).drop(columns=["run", "id"])
    sheet[head] = sheet[head].map(lambda hours: f"{60 * hours} min")
    sheet["yield (mg)"] = ["5 mg", "0.25 g"]
    intake = read_results(state, sheet, source=None, name="s")
    found = [(r.run, r.values) for r in intake.event.results]
    assert found == [("1-1", {"yield": 5}), ("1-2", {"yield": 250})]
    twice = sheet.assign(**{"hours(h)": 1, "hours [h]": 1}).drop(columns=head)
    with pytest.raises(DataError, match="two columns are called 'hours'"):
        read_results(state, twice, source=None, name="s")
    other = sheet.rename(columns={head: "hours (min)"})
    with pytest.raises(
        DataError, match=r"column 'hours \(min\)' has another unit than 'hours', wh"
    ):
        read_results(state, other, source=None, name="s")


def test_one_unit_may_be_spelt_in_two_ways_in_heads():
    table = candidates().rename(columns={"hours": "time (h)", "ligand": "a (b)"})
    state, _ = campaign(table, PLAN, objective="IC50 (µM)")
    row = {"a (b)": "SPhos", "time [hrs]": 1, "substrate": "CCO", "IC50, \u03bcM": 5}
    intake = read_results(state, pd.DataFrame([row]), source=None, name="s")
    assert intake.event.results[0].run == "1-1"
    for name in ("IC50", "IC50 (nM)"):
        wrong = pd.DataFrame([row]).rename(columns={"IC50, \u03bcM": name})
        with pytest.raises(DataError, match=r"another unit|there is no column"):
            read_results(state, wrong, source=None, name="s")


def test_a_unit_that_the_name_says_is_not_said_again():
    state, _ = campaign(candidates().rename(columns={"hours": "t_h"}), units={"t_h": "h"})
    assert "t_h" in headed(state, export_frame(state, "candidates"))
    table = candidates().assign(**{"hours (h)": 1})
    state, _ = campaign(table, units={"hours": "h"})
    assert export_frame(state, "candidates").equals(
        headed(state, export_frame(state, "candidates"))
    )


def test_cells_may_be_named_with_their_unit():
    state, _ = campaign(candidates(), units={"hours": "h"})
    for cell in (2, "2", "2 h", "2 hours", "120 min"):
        assert cell_meant(state, "hours", cell) == "2"
    assert cell_meant(state, "hours", "2 °C") == "2 °C"
    assert cell_meant(state, "ligand", "XPhos") == "XPhos"
    assert cell_meant(state, None, "r1") == "r1"


def test_reasons_and_conditions_say_units():
    state, _ = campaign(candidates(), units={"hours": "h"})
    assert conditions(state, "r3", ["ligand", "hours"]) == [("ligand", "dppf"), ("hours", "2 h")]
    effects = (Effect(column="hours", value="2", effect=1),)
    suggestion = Suggestion(run="1-1", id="r2", effects=effects)
    assert why(suggestion, "yield", 1, {"hours": "h"}).endswith(": hours 2 h +1.0")


def corrected_campaign():
    """1-1 was 70 and is 75, 1-2 failed, r9 is a repeat outside any batch, 1-3 waits."""
    return campaign(
        candidates(),
        suggested(("1-1", "r2", 71, 40, 99), ("1-2", "r3", 5, 1, 9), ("1-3", "r4", 5, 1, 9)),
        recorded(("1-1", "r2", 70), ("1-2", "r3", "failed"), ("r9~1", "r9", 3)),
        recorded(("1-1", "r2", 75), ("r9~2", "r9", 5)),
        Avoided(column="ligand", values=("dppf",)),
    )


def test_results_show_the_latest_word_and_history_the_earlier_ones_too():
    state, _ = corrected_campaign()
    results = export_frame(state)
    assert results["run"].tolist() == ["1-1", "1-2", "r9~1", "r9~2"]
    assert results["yield"].tolist()[:1] == [75]
    assert results["status"].tolist() == ["measured", "failed", "measured", "measured"]
    assert results["batch"].tolist()[:2] == [1, 1]
    assert results["batch"].isna().tolist()[2:] == [True, True]
    assert results["predicted yield"].tolist()[0] == 71
    assert f"{results['time (UTC)'][0].isoformat()}+00:00" == state.measurements["1-1"].time
    history = export_frame(state, "history")
    assert history["yield"].tolist()[:2] == [70, 75]
    assert history["replaced"].tolist() == ["yes", "", "", "", ""]


def test_a_repeat_of_a_run_shows_what_was_predicted_for_it():
    state, _ = campaign(candidates(), PLAN, recorded(("1-1", "r2", 1), ("1-1~2", "r2", 2)))
    assert export_frame(state)["predicted yield"].tolist() == [71.234, 71.234]


def test_exported_suggestions_say_what_came_of_them():
    state, _ = corrected_campaign()
    assert export_frame(state, "suggestions")["status"].tolist() == [
        "measured",
        "failed",
        "pending",
    ]
    fresh = suggested(("2-1", "r5"), batch=2).model_copy(update={"fresh": True})
    state, _ = campaign(candidates(), PLAN, fresh)
    table = export_frame(state, "suggestions")
    assert table["status"].tolist() == ["withdrawn", "withdrawn", "pending"]
    assert table["predicted yield"][0] == 71.234


def test_exported_candidates_say_where_they_stand():
    state, _ = corrected_campaign()
    table = export_frame(state, "candidates").set_index("id")
    assert len(table) == 12
    assert table["state"][["r1", "r2", "r3", "r4", "r6", "r9"]].tolist() == [
        "open", "measured", "failed", "pending", "avoided", "measured",
    ]  # fmt: skip
    assert table.loc["r9", ["results", "mean yield"]].tolist() == [2, 4]
    assert table["results"].sum() == 3


def test_the_json_holds_everything():
    joined = Cells(ids=("n1",), columns={"ligand": ("new",), "hours": (None,), "substrate": ("C",)})
    result = Result(run="n1~1", id="n1", status="measured", values={"yield": 0.1 + 0.2}, note="ü")
    state, log = campaign(
        candidates(), PLAN, recorded(("1-1", "r2", 1)), recorded(("1-1", "r2", 2)),
        Recorded(results=(result,), joined=joined), Avoided(values=("r7",), reason="spilt"),
    )  # fmt: skip
    content = json.loads(export_json(state, log))
    events = [
        parse(json.dumps({k: v for k, v in e.items() if k not in ("sequence", "time", "version")}))
        for e in content["events"]
    ]
    assert events == [entry.event for entry in log]
    table = content["candidates"]
    assert table["ids"][-1] == "n1"
    assert table["columns"]["hours"][-1] is None
    assert table["columns"]["ligand"][-1] == "new"
    first, last = content["results"]
    assert (first["values"], first["earlier"][0]["values"]) == ({"yield": 2}, {"yield": 1})
    assert (last["values"], last["note"]) == ({"yield": 0.1 + 0.2}, "ü")
    assert content["pending"] == ["1-2"]
    assert content["avoided"] == [{"column": None, "value": "r7", "reason": "spilt"}]


def test_an_empty_campaign_exports_empty_tables():
    state, log = campaign(candidates())
    for what in ("results", "history", "suggestions"):
        table = export_frame(state, what)
        assert len(table) == 0
        assert {"run", "id", "ligand", "yield", "status"} <= set(table.columns)
    assert (export_frame(state, "candidates")["state"] == "open").all()
    assert json.loads(export_json(state, log))["results"] == []
    assert isinstance(export_frame(state), pd.DataFrame)


def test_a_batch_in_a_workbook_is_made_for_the_bench(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    state, _ = campaign(candidates(), suggested(("b1-1", "r1", 5, 1, 9), ("b1-2", "r2", 6, 2, 9)))
    sheet = with_wells(state, suggestion_sheet(state, state.pending()), 24)
    look, more = look_of(state, sheet), {MAP: (plate_map(state, sheet, 24), Look(tall=4))}
    write_sheet(sheet, tmp_path / "next.xlsx", look, more)
    book = openpyxl.load_workbook(tmp_path / "next.xlsx")
    page, heads = book.worksheets[0], [cell.value for cell in book.worksheets[0][1]]
    assert heads[:2] == ["well", "run"]
    assert [page.cell(row, 1).value for row in (2, 3)] == ["A1", "A2"]
    assert page.freeze_panes == "A2"
    assert page.cell(1, 1).font.bold
    colours = {name: page.cell(2, i).fill.start_color.rgb[2:] for i, name in enumerate(heads, 1)}
    assert {n for n, colour in colours.items() if colour == FILL} == {"yield", "status", "note"}
    (choice,) = page.data_validations.dataValidation
    assert choice.formula1 == '"measured,failed,not run"'
    assert book[MAP]["B2"].value == "b1-1\nXPhos\n0\nCO"
    filled = read_table(tmp_path / "next.xlsx").assign(**{"yield": [3.0, 4.0]})
    assert not any("sheet" in note.code for note in filled.attrs["notes"])
    assert read_results(state, filled, source=None, name="next.xlsx").measured == 2


@pytest.mark.parametrize(("size", "count"), [(7, 1), (24, 25)])
def test_plates_that_do_not_exist_or_are_too_small_are_refused(size, count):
    with pytest.raises(ConfigError, match="wells"):
        check_plate(size, count)
    assert [well(i, 96) for i in (0, 11, 12, 95)] == ["A1", "A12", "B1", "H12"]
