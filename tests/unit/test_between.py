"""Quantities of a sample that suggestions move: within all lines, in the file, and again."""

import json

import numpy as np
import pandas as pd
import pytest

from gollum.acquisition import moving
from gollum.api import Campaign
from gollum.campaign import grid
from gollum.campaign.events import Suggested, parse
from gollum.campaign.factors import options_in, read_factors
from gollum.campaign.planning import propose
from gollum.campaign.state import State
from gollum.campaign.store import Store

LISTS = """
factors:
  ligand: [XPhos, SPhos, dppf]
  temperature_C: {from: 20, to: 140, step: 0.5}
  ramp_C: {from: 20, to: 140, step: 0.5}
  hours: [1, 2, 4]
mixture: {parts: [water, THF, DMF], total: 10, step: 0.1, at_most: 2}
exclude:
  - {ligand: dppf, temperature_C: {above: 100}}
relations:
  - ramp_C <= temperature_C
  - temperature_C + 2*water <= 130
sample: 150
"""


def truth(rows):
    heat = ((rows["temperature_C"] - 83.5) / 40) ** 2 + ((rows["ramp_C"] - 61) / 50) ** 2
    return 90 * np.exp(-heat - ((rows["water"] - 3.3) / 6) ** 2) + 2.0 * (rows["ligand"] == "XPhos")


def keeps(rows):
    """Flags of the rows that keep every line, computed anew."""
    numbers, parts = rows[["temperature_C", "ramp_C"]], rows[["water", "THF", "DMF"]]
    return (
        ((numbers * 2) % 1 == 0).all(axis=1)
        & (numbers.ge(20) & numbers.le(140)).all(axis=1)
        & ((parts * 10 - (parts * 10).round()).abs() < 1e-9).all(axis=1)
        & ((parts.sum(axis=1) - 10).abs() < 1e-9)
        & ((parts > 0).sum(axis=1) <= 2)
        & ~((rows["ligand"] == "dppf") & (rows["temperature_C"] > 100))
        & (rows["ramp_C"] <= rows["temperature_C"])
        & (rows["temperature_C"] + 2 * rows["water"] <= 130 + 1e-9)
        & rows["hours"].isin([1, 2, 4])
    )


def written(folder, text=LISTS):
    file = folder / "lists.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def create(folder, text=LISTS):
    return Campaign.create(
        folder / "my.gollum", factors=written(folder, text), objective="yield", surrogate="one_hot"
    )


@pytest.fixture(autouse=True)
def _short_searches(monkeypatch):
    monkeypatch.setattr(moving, "ROUNDS", 4)
    monkeypatch.setattr(moving, "DRAWN", 24)
    monkeypatch.setattr(moving, "STARTS", 1)


@pytest.fixture
def made(tmp_path):
    campaign, _ = create(tmp_path)
    campaign.record(campaign.state().table[:12].assign(**{"yield": truth}))
    return campaign


def last(campaign):
    event = Store.open(campaign.path).log()[-1].event
    assert isinstance(event, Suggested)
    return event


def test_what_is_suggested_keeps_all_lines_and_joins(made):
    before = made.state().table
    sheet = made.suggest(2)
    event, after = last(made), made.state().table
    assert event.joined.ids == ("n1", "n2")
    assert sheet["id"].tolist() == list(event.joined.ids)
    assert after.index[-2:].tolist() == list(event.joined.ids)
    assert after[:-2].equals(before)
    assert after.dtypes.equals(before.dtypes)
    assert keeps(after).all()
    assert not after.duplicated().any()
    assert made.suggest(2).equals(sheet)  # asked again, the same open batch
    assert len(made.suggest(3)) == 3
    intake = made.record(sheet.assign(**{"yield": [50.0, 60.0]}))
    assert (intake.measured, intake.joined) == (2, 0)
    assert all(one.agrees for one in made.replay())
    old = json.loads(event.model_dump_json())
    del old["joined"]  # as former versions wrote it
    assert parse(json.dumps(old)).joined is None


def test_what_is_found_is_better_than_all_that_was_drawn(tmp_path):
    names, peak = [f"x{i}" for i in range(3)], np.array([31.5, 64.0, 47.5])
    lines = "".join(f"  {name}: {{from: 0, to: 100, step: 0.5}}\n" for name in names)
    made, _ = create(tmp_path, f"factors:\n{lines}sample: 60\n")

    def peaked(rows):
        return -((rows[names] - peak) ** 2).sum(axis=1) / 100

    made.record(made.state().table[:12].assign(**{"yield": peaked}))
    drawn = peaked(made.state().table).max()  # of all 60, measured or not
    for _ in range(3):
        made.record(made.suggest(2).assign(**{"yield": peaked}))
    assert 0.5 * drawn < made.export("results")["yield"].max() < 0


def test_several_objectives_move_too_and_what_did_not_replays(tmp_path):
    made, _ = Campaign.create(
        tmp_path / "my.gollum", factors=written(tmp_path), objective=["yield", "waste:minimize"],
        surrogate="one_hot",
    )  # fmt: skip
    results = {"yield": truth, "waste": lambda rows: 30 - rows["DMF"] + rows["hours"]}
    made.record(made.state().table[:12].assign(**results))
    sheet = made.suggest(2)
    event = last(made)
    assert event.together
    assert set(event.joined.ids) <= set(sheet["id"])
    assert keeps(made.state().table).all()
    assert sheet.filter(like="waste").notna().any(axis=None)
    assert all(one.agrees for one in made.replay())
    known = State.of(made.log()[: event.basis], made._store.table)
    before = propose(known, 2, together=False)  # as former versions did
    assert before.joined is None
    old = json.loads(before.model_dump_json())
    del old["together"]
    assert not parse(json.dumps(old)).together


def test_limits_and_what_is_avoided_hold_between_candidates_too(made):
    made.avoid(cells={"temperature_C": ["> 70"], "ligand": ["SPhos"]})
    sheet = made.suggest(3, at_most={"ligand": 2}, same=["ramp_C"], apart=3)
    assert last(made).joined is not None
    table = made.state().table
    assert keeps(table).all()
    assert sheet["temperature_C"].max() <= 70
    assert "SPhos" not in set(sheet["ligand"])
    assert sheet["ligand"].value_counts().max() <= 2
    assert sheet["ramp_C"].nunique() == 1
    inputs = sheet[table.columns].to_numpy()
    assert all((a != b).sum() >= 3 for i, a in enumerate(inputs) for b in inputs[:i])


def test_names_that_changed_and_options_that_no_list_has(made):
    made.rename("ligand", {"XPhos": "SPhos2"})
    made.avoid(cells={"ligand": ["SPhos", "dppf"]})
    sheet = made.suggest(1)
    assert sheet[["id", "ligand"]].to_numpy().tolist() == [["n1", "SPhos2"]]
    made.add(options=[{"ligand": "NewPhos"}])
    made.avoid(cells={"ligand": ["SPhos2"]})
    assert made.suggest(1, fresh=True)["ligand"].tolist() == ["NewPhos"]
    assert last(made).joined is None


def test_finer_lists_that_are_added_are_moved_within(made, tmp_path):
    finer = LISTS.replace("20, to: 140, step: 0.5", "60.25, to: 90.25, step: 0.25")
    assert made.add(written(tmp_path, finer.replace("sample: 150", "sample: 30")))[0] == 30
    assert len(made.state().drawn_from) == 2
    made.avoid(made.state().table.index[12:150].tolist())
    steps = made.suggest(2)["temperature_C"]
    assert steps.between(60.25, 90.25).all()
    assert ((steps * 4) % 1 == 0).all()


def test_draws_are_of_what_lies_in_a_box(tmp_path, monkeypatch):
    options = options_in(LISTS)
    table = read_factors(written(tmp_path))
    table.index = pd.Index([f"r{i}" for i in range(150)])
    assert options.uncovered(table) == []
    row = table.iloc[[7]]
    near = options.near(row, 0.05, 300, (1, 2))
    assert len(near.drop_duplicates()) == len(near) == 300
    assert keeps(near).all()
    assert (near[["ligand", "hours"]] == row[["ligand", "hours"]].to_numpy()[0]).all(axis=None)
    assert ((near["ramp_C"] - row["ramp_C"].iloc[0]).abs() <= 6).all()
    assert near.equals(options.near(row, 0.05, 300, (1, 2)))
    kept = options.near(row, 0.05, 5, (1,), kept=["ramp_C"])
    assert (kept["ramp_C"] == row["ramp_C"].iloc[0]).all()
    assert options.near(row.assign(ligand="other"), 0.05, 5, (1,)).empty
    assert options.near(row.drop(columns="ligand"), 0.05, 5, (1,)).empty
    assert options.uncovered(table.assign(ligand="other")) == ["ligand"]
    monkeypatch.setattr(grid, "SMALL", 0)
    monkeypatch.setattr(grid, "MOST_LINKS", 10)
    assert options.near(row, 0.05, 5, (1,)).empty


def test_without_a_sample_or_without_quantities_nothing_moves(tmp_path):
    names = "".join(f"  x{i}: [a, b, c, d]\n" for i in range(6))
    for text in (
        LISTS.replace("0.5", "30").replace("0.1", "5").replace("150", "1500"),
        f"factors:\n{names}sample: 50\n",
    ):
        table = read_factors(written(tmp_path, text))
        assert table.attrs["drawn_from"] == ""
        assert "move" not in " ".join(map(str, table.attrs["notes"]))


def test_a_column_that_others_have_no_value_of_keeps_to_the_candidates(tmp_path):
    _, start = create(tmp_path, LISTS + "columns: {hours: remark}\n")
    assert start.created.drawn_from == ""
    assert "'hours' is known for those that were drawn only" in " ".join(map(str, start.notes))
