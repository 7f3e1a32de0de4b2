"""Campaigns that learn from earlier ones: what is matched, kept, shown and refused."""

import pandas as pd
import pytest

from gollum import Campaign
from gollum.campaign.given import Given
from gollum.errors import ConfigError, DataError, UserError

LIGANDS = ["XPhos", "SPhos", "DavePhos", "PPh3", "BINAP"]
BASES = ["K3PO4", "Cs2CO3", "DBU", "NEt3"]
KEYS = {"averaging.particles": 16, "averaging.moves": 2}


def worth(table, ligand="ligand", base="base"):
    return [
        10.0 * LIGANDS.index(a) + 4.0 * BASES.index(b)
        for a, b in zip(table[ligand], table[base], strict=True)
    ]


def grid():
    return pd.MultiIndex.from_product([LIGANDS, BASES], names=["ligand", "base"]).to_frame(False)


def earlier(**names):
    """Twelve results under other names of columns and options."""
    table = grid().sample(12, random_state=0).reset_index(drop=True)
    table["yield"] = worth(table)
    return table.rename(columns=names)


@pytest.fixture
def campaign(tmp_path):
    options = {"surrogate": "averaged", "keys": KEYS}
    return Campaign.create(tmp_path / "new.gollum", table=grid(), objective="yield", **options)[0]


def of(campaign, source, **options):
    event, matches, notes = campaign.learn_from(source, **options)
    return event, {m.column: (m.theirs, m.why) for m in matches}, [n.code for n in notes]


# --- what is matched -----------------------------------------------------------------------------


def test_columns_are_matched_by_name_and_by_what_they_hold(campaign):
    table = earlier(ligand="Ligand", base="what was added")
    table["Ligand"] = table["Ligand"].str.upper()
    event, matches, _ = of(campaign, table)
    assert matches["ligand"] == ("Ligand", "the same name")
    assert matches["base"] == ("what was added", "100% of the options in common")
    assert set(event.results.columns["ligand"]) <= set(LIGANDS)  # in the spelling of this campaign
    assert event.comparable
    assert list(event.values) == table["yield"].tolist()


def test_a_match_can_be_said(campaign):
    table = earlier(ligand="A", base="B")
    table["A"] = "other " + table["A"]
    assert set(of(campaign, table)[1]) == {"base"}
    campaign.forget("table")
    _, matches, _ = of(campaign, table, match={"Ligand": "a"})
    assert matches["ligand"] == ("A", "as said")


def test_numbers_are_converted_to_the_unit_of_the_campaign(tmp_path):
    ours = pd.DataFrame({"temperature_C": [20, 40, 60, 80], "base": ["u", "v"] * 2})
    keys = {"surrogate": "averaged", "keys": KEYS}
    campaign, _ = Campaign.create(tmp_path / "c.gollum", table=ours, objective="yield", **keys)
    theirs = pd.DataFrame(
        {"Temp (K)": [293.15, 313.15, 353.15], "base": ["u", "v", "v"], "yield": [1.0, 2.0, 4.0]}
    )
    event, matches, _ = of(campaign, theirs)
    assert matches["temperature_C"] == ("Temp (K)", "the only column in °C")
    assert event.results.columns["temperature_C"] == pytest.approx((20.0, 40.0, 80.0))


def test_structures_are_compared_as_molecules(tmp_path):
    pytest.importorskip("rdkit")
    ours = pd.DataFrame({"smiles": ["c1ccccc1", "CCO", "CCN", "CCC"]})
    keys = {"surrogate": "averaged", "keys": KEYS}
    campaign, _ = Campaign.create(tmp_path / "c.gollum", table=ours, objective="gap", **keys)
    theirs = pd.DataFrame({"smiles_of_it": ["C1=CC=CC=C1", "OCC", "NCC"], "gap": [1.0, 2.0, 3.0]})
    event, _, _ = of(campaign, theirs)
    assert event.results.columns["smiles"] == ("c1ccccc1", "CCO", "CCN")


def test_another_outcome_counts_by_its_order(campaign):
    table = earlier().rename(columns={"yield": "waste"})
    with pytest.raises(ConfigError, match="is more of 'waste' better or worse"):
        campaign.learn_from(table, objective="waste")
    event, _, codes = of(campaign, table, objective="waste", direction="minimize")
    assert not event.comparable
    assert list(event.values) == [-value for value in table["waste"]]
    assert "other-objective" in codes


@pytest.mark.parametrize("ours", ["yield", "yield_pct", "Yield (%)"])
def test_outcomes_are_compared_without_their_units(tmp_path, ours):
    keys = {"surrogate": "averaged", "keys": KEYS}
    file = tmp_path / "c.gollum"
    campaign, _ = Campaign.create(file, table=grid(), objective=ours, **keys)
    for theirs in ("yield", "yield_pct", "Yield (%)"):
        table = earlier().rename(columns={"yield": theirs})
        event, _, _ = campaign.learn_from(table, objective=theirs, name=f"said {theirs}")
        assert event.comparable
        assert list(event.values) == table[theirs].tolist()
        assert campaign.learn_from(table, name=f"found {theirs}")[0].comparable
    old, _ = Campaign.create(tmp_path / "o.gollum", table=earlier(), objective="yield", **keys)
    assert campaign.learn_from(old.path, objective="Yield (%)")[0].comparable


def test_a_result_below_a_number_counts_within_the_bounds_of_the_campaign(tmp_path):
    keys = {"surrogate": "averaged", "keys": KEYS, "bounds": "0:100"}
    campaign, _ = Campaign.create(tmp_path / "c.gollum", table=grid(), objective="Y", **keys)
    table = earlier().rename(columns={"yield": "Y"}).astype({"Y": object})
    table.loc[0, "Y"] = "<5"
    table.loc[1, "Y"] = "120"
    assert campaign.learn_from(table)[0].values[:2] == (2.5, 120)


# --- what follows --------------------------------------------------------------------------------


def test_the_first_batch_is_chosen_by_what_was_learned_and_replays(campaign, tmp_path):
    campaign.learn_from(earlier())
    sheet = campaign.suggest(3)
    assert min(worth(sheet)) >= 30
    (batch,) = campaign.replay()
    assert batch.agrees
    suggestion = next(iter(campaign.state().plans.values())).suggestion
    assert suggestion.inherited == pytest.approx(suggestion.mean, abs=1e-6)  # nothing else is known
    assert suggestion.chance is None
    sheet["yield"] = worth(sheet)
    campaign.record(sheet)
    campaign.suggest(2)
    assert all(one.agrees for one in campaign.replay())
    (name,) = campaign.state().batches[-1].trust
    assert name == "table"


def test_a_campaign_is_a_source_and_stays_as_it_was(campaign, tmp_path):
    old, _ = Campaign.create(tmp_path / "old.gollum", table=earlier(), objective="yield")
    before = old.path.read_bytes()
    event, _, _ = of(campaign, old.path)
    assert event.name == "old.gollum"
    assert event.beginning
    assert old.path.read_bytes() == before
    old.path.unlink()  # its results are in the new file
    assert len(campaign.state().sources["old.gollum"].values) == 12
    assert len(campaign.suggest(2)) == 2


def test_a_source_can_be_forgotten(campaign):
    campaign.learn_from(earlier())
    campaign.forget("table")
    assert campaign.state().sources == {}
    with pytest.raises(UserError, match="does not learn from 'table'"):
        campaign.forget("table")
    assert campaign.suggest(2)["predicted yield"].isna().all()  # a first design again


def test_renamed_options_stay_those_of_the_sources(campaign):
    campaign.learn_from(earlier())
    campaign.rename("ligand", {"BINAP": "rac-BINAP"})
    assert "rac-BINAP" in set(campaign.suggest(3)["ligand"])


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.assign(**{"yield": ""}), "holds no result of 'yield'"),
        (lambda t: t.drop(columns="yield"), "there is no column 'yield' with results"),
        (lambda t: t.rename(columns={"ligand": "p", "base": "q"}).assign(p=[3.5, 1.0] * 6, q="z"),
         "none of its columns"),
    ],
)  # fmt: skip
def test_what_nothing_can_be_learned_from_is_refused(campaign, change, reason):
    with pytest.raises(DataError, match=reason):
        campaign.learn_from(change(earlier()))
    assert campaign.state().sources == {}


def test_a_campaign_does_not_learn_from_itself(campaign, tmp_path):
    with pytest.raises(DataError, match="is this campaign itself"):
        campaign.learn_from(campaign.path)
    keys = {"surrogate": "averaged", "keys": KEYS}
    other, _ = Campaign.create(tmp_path / "b.gollum", table=earlier(), objective="yield", **keys)
    sheet = campaign.suggest(2)
    sheet["yield"] = worth(sheet)
    campaign.record(sheet)
    other.learn_from(campaign.path)
    with pytest.raises(DataError, match="has learned from this campaign"):
        campaign.learn_from(other.path)


def test_a_source_is_learned_from_once(campaign):
    campaign.learn_from(earlier())
    with pytest.raises(DataError, match="learned from already"):
        campaign.learn_from(earlier())


def test_a_surrogate_that_can_not_learn_is_told_at_once(tmp_path):
    path = tmp_path / "c.gollum"
    campaign, _ = Campaign.create(path, table=grid(), objective="yield", surrogate="one_hot")
    with pytest.raises(ConfigError, match="can't learn from earlier campaigns"):
        campaign.learn_from(earlier())


def test_a_surrogate_that_can_not_learn_later_on_is_told(campaign):
    campaign.learn_from(earlier())
    campaign.configure({"surrogate": "one_hot", "kernel": None})
    with pytest.raises(ConfigError, match="can't learn from 'table'"):
        campaign.suggest(2)


@pytest.mark.parametrize("match", [{"ligant": "base"}, {"ligand": "basse"}])
def test_matches_that_name_nothing_are_refused(campaign, match):
    with pytest.raises(ConfigError, match="--match names a column"):
        campaign.learn_from(earlier(), match=match)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("old.csv", ("old.csv", None, None)),
        ("old.csv:yield", ("old.csv", "yield", None)),
        ("old.csv:yield:minimize", ("old.csv", "yield", "minimize")),
        ("public:esol", ("public:esol", None, None)),
        ("minimize.csv:minimize", ("minimize.csv", "minimize", None)),
    ],
)
def test_sources_as_they_are_typed(text, parts):
    given = Given.of(text)
    assert (given.source, given.objective, given.direction) == parts
