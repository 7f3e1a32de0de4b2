"""Candidates, options and factors that join a campaign that runs."""

import itertools

import numpy as np
import pandas as pd
import pytest

from gollum.api import Campaign
from gollum.campaign.adding import numbers_of_range
from gollum.errors import ConfigError, DataError, UserError
from gollum.listener import Listener

TABLE = pd.DataFrame(
    [
        [ligand, structure, solvent, t]
        for ligand, structure in (("XPhos", "CC"), ("SPhos", "CCP"))
        for solvent in ("THF", "DMF")
        for t in (40, 60)
    ],
    columns=["ligand", "ligand_smiles", "solvent", "T"],
)
NEW = {"ligand": "NewPhos", "ligand_smiles": "C=CP"}


@pytest.fixture
def campaign(tmp_path):
    table = TABLE.assign(**{"yield": [5.0, None, 21.0, None, 40.0, None, None, 60.0]})
    return Campaign.create(
        tmp_path / "a.gollum", table=table, objective="yield", surrogate="one_hot"
    )[0]


def refusal(campaign, *rows, **options):
    before = campaign.state().sequence
    with pytest.raises(DataError) as caught:
        campaign.add(*rows, **options)
    assert campaign.state().sequence == before  # nothing half-written
    return str(caught.value)


def test_an_option_meets_everything_that_the_other_columns_hold(campaign):
    count, _ = campaign.add(options=[NEW])
    state = campaign.state()
    new = state.table[state.table["ligand"] == "NewPhos"]
    assert count == len(new) == 4
    assert set(zip(new["solvent"], new["T"], strict=True)) == {
        (s, t) for s in ("THF", "DMF") for t in (40, 60)
    }
    assert set(new["ligand_smiles"]) == {"C=CP"}
    assert state.table["T"].dtype == "int64"
    assert state.open().sum() == 8


def test_options_of_several_columns_meet_each_other(campaign):
    count, _ = campaign.add(options=[NEW, {"T": "80"}, {"T": "100"}])
    assert count == 3 * 2 * 4 - 8
    table = campaign.state().table
    assert ((table["ligand"] == "NewPhos") & (table["T"] == 100)).sum() == 2
    assert not table.duplicated().any()


def test_a_factor_has_one_value_so_far_and_more_later(campaign):
    campaign.suggest(2)
    asked = campaign.state().batches[0]
    campaign.add(columns={"additive": "none", "equiv": "1"}, options=[{"additive": "LiCl"}])
    state = campaign.state()
    assert len(state.table) == 16
    assert set(state.table["additive"][:8]) == {"none"}
    assert state.table["equiv"].tolist() == [1] * 16
    assert "additive: {additive}" in state.template
    assert [m.result.id for m in state.measurements.values()] == ["r1", "r3", "r5", "r8"]
    assert {"none", "LiCl"} == set(campaign.suggest(16, fresh=True)["additive"])
    (first, *_) = campaign.replay()
    assert first.event == asked
    assert first.same_experiments


def test_an_own_template_stays_as_it_is(campaign):
    campaign.retell("{ligand} at {T}")
    campaign.add(columns={"additive": "none"})
    assert campaign.state().template == "{ligand} at {T}"


def test_rows_of_a_table_join_once(campaign):
    rows = pd.concat([TABLE, TABLE.assign(**NEW).drop_duplicates()])
    count, notes = campaign.add(rows)
    assert count == 4
    assert "8 rows are candidates already" in str(notes)
    count, notes = campaign.add(rows.assign(**{"yield": 5.0}))
    assert count == 0
    assert "results are not read here" in str(notes)
    assert len(campaign.state().measurements) == 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "nothing to add was named"),
        ({"options": [{"ligand": "NewPhos"}]}, "'ligand_smiles' goes with 'ligand'"),
        ({"options": [{"lignd": "NewPhos"}]}, "there is no column 'lignd'. Did you mean 'ligand'?"),
        ({"options": [{"solvent": "thf"}]}, "spelt almost like 'THF'"),
        ({"options": [{"solvent": "THF"}]}, "candidates already"),
        ({"options": [{"solvent": " "}]}, "the option of 'solvent' is blank"),
        ({"options": [{"T": "hot"}]}, "'T' holds numbers, and 'hot' is none"),
        ({"columns": {"Yield": "1"}}, "there is a column 'Yield' already"),
        ({"columns": {"additive": " "}}, "what all experiments so far had in 'additive' is blank"),
        ({"options": [{"T": str(i)} for i in range(300_000)]}, "more than 1,000,000 candidates"),
    ],
)
def test_what_can_not_be_added(campaign, options, told):
    assert told in refusal(campaign, **options)


def test_rows_without_an_input_are_refused(campaign):
    rows = TABLE.assign(**NEW).drop(columns="solvent")
    assert "row 2" in refusal(campaign, rows)
    assert "the column 'solvent' is missing" in refusal(campaign, rows)


def test_new_experiments_have_costs_where_others_do(tmp_path):
    table = TABLE.assign(price=1.0)
    campaign, _ = Campaign.create(
        tmp_path / "c.gollum", table=table, objective="yield", cost="price"
    )
    assert "need their 'price'" in refusal(campaign, options=[NEW])
    assert "need their 'price'" in refusal(campaign, TABLE.assign(**NEW))
    campaign.add(options=[{**NEW, "price": "2.5"}])
    assert campaign.state().costs.tolist() == [1.0] * 8 + [2.5] * 4


def test_a_range_is_exact():
    assert numbers_of_range("0.1:0.5:0.1") == ["0.1", "0.2", "0.3", "0.4", "0.5"]
    with pytest.raises(ConfigError, match="range 40:65:10 reach 60 and miss 65; change the end"):
        numbers_of_range("40:65:10")
    for wrong in ("40", "40:20:5", "1:2:0", "a:b:c", "0:1e9:0.1"):
        with pytest.raises(ConfigError, match="range"):
            numbers_of_range(wrong)


def test_the_goal_can_change(campaign):
    campaign.suggest(2)
    campaign.aim("minimize")
    state = campaign.state()
    assert state.created.goal.kind == "minimize"
    assert state.utility(np.array([3.0]))[0] == -3
    campaign.aim("target", 30)
    assert campaign.state().created.goal.words() == "come close to 30"
    assert campaign.replay()[0].same_experiments
    with pytest.raises(ConfigError, match="has no target"):
        Campaign.configure(campaign, {"acquisition": "ucb"})
    with pytest.raises(UserError, match="goal 'best' is unknown"):
        campaign.aim("best")


def test_options_can_have_other_names(campaign):
    campaign.avoid(cells={"solvent": ["DMF"]})
    sheet = campaign.suggest(2)
    told = []
    listener = type("Told", (Listener,), {"noted": lambda self, notes: told.extend(notes)})()
    event = campaign.rename(
        "Solvent", {"dmf": "dimethylformamide", "THF": "oxolane"}, listener=listener
    )
    assert (event.column, event.names["DMF"]) == ("solvent", "dimethylformamide")
    assert list(map(str, told)) == ["'Solvent' is taken for 'solvent'", "'dmf' is taken for 'DMF'"]
    state = campaign.state()
    assert set(state.table["solvent"]) == {"dimethylformamide", "oxolane"}
    assert state.locked().sum() == 4
    assert campaign.replay()[0].same_experiments
    taken = campaign.record(sheet.assign(**{"yield": [1.0, 2.0]}))  # says THF
    assert taken.measured == 2
    loose = TABLE[:1].assign(**{"yield": 3.0})
    assert campaign.record(loose).joined == 0
    campaign.rename("solvent", {"oxolane": "THF"})
    assert campaign.record(loose.replace("THF", "oxolane").assign(**{"yield": 4.0})).joined == 0


@pytest.mark.parametrize(
    ("column", "names", "told"),
    [
        ("solvnt", {"THF": "x"}, "Did you mean 'solvent'?"),
        ("T", {"40": "x"}, "'T' holds numbers"),
        ("solvent", {"HF": "x"}, "never holds 'HF'"),
        ("solvent", {"THF": "DMF"}, "'DMF' is another option"),
        ("solvent", {"THF": "x", "DMF": "x"}, "'x' is another option"),
        ("solvent", {"THF": " "}, "is blank"),
        ("solvent", {"THF": "x", "thf": "y"}, "an option of 'solvent' is given twice"),
    ],
)
def test_names_that_options_can_not_have(campaign, column, names, told):
    with pytest.raises(DataError) as caught:
        campaign.rename(column, names)
    assert told in str(caught.value)


def test_lists_of_options_make_a_region_denser(campaign, tmp_path):
    finer = tmp_path / "finer.yaml"
    finer.write_text(
        "factors:\n  ligand: [XPhos]\n  ligand_smiles: [CC]\n  solvent: [THF]\n"
        "  T: {from: 38, to: 42, step: 0.5}\nrelations:\n  - T > 38.5\n"
    )
    count, notes = campaign.add(finer)
    state = campaign.state()
    assert count == 6  # 39 … 42, less 40
    assert sorted(state.table["T"][8:]) == [39, 39.5, 40.5, 41, 41.5, 42]
    assert any("2 of them are excluded and 7 stay" in note for note in notes)


def test_what_a_file_says_of_columns_agrees_with_the_campaign(campaign, tmp_path):
    finer = tmp_path / "finer.yaml"
    text = (
        "factors:\n  ligand: [XPhos]\n  ligand_smiles: [CC]\n  solvent: [THF]\n  T: [41]\n"
        "columns: {solvent: category, T: number, ligand_smiles: structure}\n"
    )
    finer.write_text(text)
    assert campaign.add(finer)[0] == 1
    for before, after, says in (
        ("T: number", "T: category", "finer.yaml: 'T' is category there and something else"),
        ("solvent: category", "solvent: ordinal", "'solvent' has the order THF there"),
        ("solvent: category", "solvent: remark", "take it out of 'columns'"),
    ):
        finer.write_text(text.replace(before, after))
        with pytest.raises(ConfigError, match=says):
            campaign.add(finer)


@pytest.mark.parametrize("known", [True, False])
def test_experiments_of_a_batch_can_be_kept_apart(tmp_path, known):
    """Columns that rename each other count once; where no more are far enough, there are fewer."""
    table = TABLE.assign(**{"yield": [5.0, 9.0, *[None] * 6] if known else None})
    made = Campaign.create(
        tmp_path / "a.gollum", table=table, objective="yield", surrogate="one_hot"
    )[0]
    batch = made.suggest(8, apart=2)
    assert 2 <= len(batch) <= 4
    inputs = batch[["ligand", "solvent", "T"]].to_numpy()
    for i, j in itertools.combinations(range(len(batch)), 2):
        assert (inputs[i] != inputs[j]).sum() >= 2
    assert len(made.suggest(8, apart=2)) == len(batch)
    with pytest.raises(UserError, match="up to 4 columns, not in 5"):
        made.suggest(2, apart=5)
    assert made.replay()[0].same_experiments


@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_measured_experiments_come_again_where_noise_decides(tmp_path, noise):
    rng = np.random.default_rng(0)
    twice = pd.concat([TABLE[:6]] * 4 + [TABLE[6:]], ignore_index=True)
    values = 10.0 * twice["T"] / 20 + noise * rng.normal(size=len(twice))
    values[24:] = np.nan
    table = twice.assign(**{"yield": values})
    made = Campaign.create(
        tmp_path / "a.gollum", table=table, objective="yield", surrogate="one_hot"
    )[0]
    measured = set(made.state().measured().index)
    assert not measured & set(made.suggest(2)["id"])
    batch = made.suggest(2, repeats=1, fresh=True)
    again = [i for i in batch["id"] if i in measured]
    assert len(batch) == 2
    assert len(again) <= 1
    assert bool(again) == (noise > 0)
    taken = made.record(batch.assign(**{"yield": 1.0}))
    assert taken.measured == 2
    assert made.replay()[-1].same_experiments
    with pytest.raises(UserError, match="number of repeats"):
        made.suggest(2, repeats=-1)
