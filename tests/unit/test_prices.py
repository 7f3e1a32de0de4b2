"""Prices of options: read, checked, summed, and known when others join or are renamed."""

import pandas as pd
import pytest

from gollum.api import Campaign
from gollum.campaign.factors import read_factors
from gollum.campaign.prices import read_prices
from gollum.errors import UserError

LIGANDS = {"XPhos": 12.0, "SPhos": 3.5, "none": 0.0}
TABLE = pd.DataFrame(
    [(x, s, t) for x in LIGANDS for s in ("THF", "DMF") for t in (40, 60)],
    columns=["ligand", "solvent", "t"],
)


def made(folder, **options):
    said = {"table": TABLE, "objective": "yield", "surrogate": "one_hot"} | options
    return Campaign.create(folder / "c.gollum", **said)[0]


def refusal(action, *words, **options):
    with pytest.raises(UserError) as caught:
        action(*words, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_experiment_costs_the_sum_of_its_prices(tmp_path):
    file = tmp_path / "prices.csv"
    file.write_text("solvent;price\nDMF;2\nTHF;1,5\nwater;0\n")
    campaign = made(tmp_path, prices={"ligand": LIGANDS, "Solvent": file})
    state = campaign.state()
    wanted = TABLE["ligand"].map(LIGANDS) + TABLE["solvent"].map({"THF": 1.5, "DMF": 2.0})
    assert state.costs.tolist() == wanted.tolist()
    assert [*state.table.columns] == ["ligand", "solvent", "t"]
    batch = campaign.suggest(2)
    assert batch["cost"].tolist() == [wanted[int(id_[1:]) - 1] for id_ in batch["id"]]
    assert campaign.export("candidates")["cost"].tolist() == wanted.tolist()


def test_cheap_experiments_are_preferred_where_costs_weigh(tmp_path):
    campaign = made(tmp_path, prices={"ligand": {"XPhos": 1000, "SPhos": 1, "none": 1}})
    campaign.record([{"ligand": x, "solvent": "THF", "t": 40, "yield": y}
                     for x, y in (("XPhos", 50), ("SPhos", 48), ("none", 10))])  # fmt: skip
    assert "XPhos" in set(campaign.suggest(3)["ligand"])
    cheap = campaign.suggest(3, fresh=True, cost_weight=2)
    assert "XPhos" not in set(cheap["ligand"])


def test_prices_hold_for_what_joins_and_are_renamed_along(tmp_path):
    campaign = made(tmp_path)
    assert campaign.state().costs is None
    campaign.price({"ligand": LIGANDS})
    assert "'New' of 'ligand' has no price" in refusal(campaign.add, options=[{"ligand": "New"}])
    campaign.price({"ligand": LIGANDS | {"New": 7}})
    campaign.add(options=[{"ligand": "New"}])
    campaign.rename("ligand", {"New": "NewPhos"})
    state = campaign.state()
    assert state.costs[state.table["ligand"] == "NewPhos"].tolist() == [7.0] * 4
    intake = campaign.record({"ligand": "OldPhos", "solvent": "THF", "t": 40, "yield": 3})
    assert "'OldPhos' of 'ligand' has no price" in " ".join(intake.notes)
    price = {"ligand": LIGANDS | {"New": 8, "OldPhos": 1}}  # by its former name
    assert campaign.price(price)["ligand"]["NewPhos"] == 8
    campaign.record({"ligand": "NextPhos", "solvent": "THF", "t": 40, "yield": 3})
    assert pd.isna(campaign.state().costs[-1])
    campaign.price({"ligand": None})
    assert campaign.state().costs is None
    assert campaign.state().created.cost is None


def test_the_sum_may_be_an_outcome(tmp_path):
    campaign = made(tmp_path, objective=["yield", "cost:minimize"], prices={"ligand": LIGANDS})
    state = campaign.state()
    assert state.known(state.outcomes[1]).tolist() == TABLE["ligand"].map(LIGANDS).tolist()


@pytest.mark.parametrize(("options", "why"), [
    ({"prices": {"ligand": {"XPhos": 1}}}, "'SPhos' of 'ligand' has no price"),
    ({"prices": {"ligant": LIGANDS}}, "no input 'ligant'"),
    ({"prices": {"ligand": LIGANDS | {"XPhos": -1}}}, "is a number from 0 on, not -1"),
    ({"prices": {"ligand": LIGANDS}, "cost": "p", "table": TABLE.assign(p=1.0)}, "both say"),
    ({"prices": {"ligand": "none.csv"}}, "none.csv"),
])  # fmt: skip
def test_prices_that_are_wrong_are_refused(tmp_path, options, why):
    assert why in refusal(made, tmp_path, **options)
    assert not (tmp_path / "c.gollum").exists()


def test_what_renamed_options_were_called_is_read(tmp_path):
    campaign = made(tmp_path)
    campaign.rename("ligand", {"XPhos": "XX"})
    assert campaign.price({"ligand": LIGANDS})["ligand"]["XX"] == 12
    twice = refusal(campaign.price, {"ligand": LIGANDS | {"XX": 1}})
    assert "'XX' of 'ligand' has two prices" in twice
    assert campaign.order({"ligand": ["none", "XPhos", "SPhos"]})["ligand"][1] == "XX"
    assert campaign.avoid(cells={"ligand": ["XPhos"]}) == 4


@pytest.mark.parametrize("odd", ["n/a", "22 EUR"])
def test_the_price_that_is_no_number_is_blamed(tmp_path, odd):
    file = tmp_path / "p.csv"
    file.write_text(f"ligand;price\nA;12,50\nB;8,5\nC;15\nD;{odd}\n")
    assert f"'D' is a number from 0 on, not {odd}" in refusal(read_prices, "ligand", file)


def test_what_joins_without_its_cost_is_told(tmp_path):
    campaign = made(tmp_path, table=TABLE.assign(p=1.0), cost="p")
    intake = campaign.record({"ligand": "Old", "solvent": "THF", "t": 40, "yield": 3})
    assert "n1 joins the candidates without its 'p', which was not given" in intake.notes


def test_prices_are_a_table_of_two_columns(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("ligand,supplier,price\nA,x,3\nB,y,4\n")
    assert read_prices("ligand", file) == {"A": 3.0, "B": 4.0}
    file.write_text("ligand,a,b\nA,x,3\nB,y,4\n")
    assert "two columns" in refusal(read_prices, "ligand", file)
    file.write_text("ligand,price\nA,3\nA,4\n")
    assert "two prices" in refusal(read_prices, "ligand", file)


def test_lists_of_options_say_prices_too(tmp_path):
    lists = tmp_path / "lists.csv"
    lists.write_text("ligand,ligand price,t\nA,3,40\nB,4.5,60\n,,80\n")
    frame = read_factors(lists)
    assert [*frame.columns] == ["ligand", "t"]
    assert frame.attrs["prices"] == {"ligand": {"A": 3.0, "B": 4.5}}
    yaml = tmp_path / "f.yaml"
    yaml.write_text("factors: {ligand: [A, B], t: [40, 60]}\nprices: {ligand: {A: 3, B: 4.5}}\n")
    campaign = made(tmp_path, table=None, factors=yaml)
    assert campaign.state().costs.tolist() == [3.0, 3.0, 4.5, 4.5]
