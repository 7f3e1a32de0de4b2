"""Reactions in SURF: which column goes where, in which unit, and what is refused."""

import io

import pandas as pd
import pytest

from gollum.api import Campaign
from gollum.campaign.surf import surf_text
from gollum.errors import UserError

ROWS = [
    ("XPhos", "CC", 5.0, 2, "water", 333.15, 30, "a"),
    ("SPhos", "CO", 10.0, 1, "THF", 353.15, 90, "b"),
    ("dppf", "CN", 10.0, 3, "DMF", 353.15, 60, "c"),
]
COLUMNS = ["Ligand", "ligand_smiles", "ligand_mol_pct", "base_equiv", "Solvent", "temperature (K)",
           "time [min]", "vial"]  # fmt: skip


def made(folder, rows=ROWS, columns=COLUMNS, objective="yield", **options):
    table = pd.DataFrame(rows, columns=columns)
    return Campaign.create(
        folder / "c.gollum", table=table, objective=objective, surrogate="one_hot", **options
    )[0]


def read(content):
    return pd.read_csv(io.BytesIO(content), sep="\t", dtype=str, keep_default_na=False)


@pytest.fixture
def campaign(tmp_path):
    campaign = made(tmp_path, category=["vial"], also=["ee"])
    campaign.suggest(3)
    runs = {plan.suggestion.id: run for run, plan in campaign.state().plans.items()}
    campaign.record([
        {"run": runs["r1"], "yield": 44.5, "ee": 90, "note": "=1+1"},
        {"run": runs["r2"], "yield": "failed"},
        {"run": runs["r3"], "yield": "<5"},
    ])  # fmt: skip
    return campaign


def test_conditions_and_components_are_in_the_units_of_the_format(campaign):
    table, notes = campaign.surf()
    rows = read(surf_text(table, ".tsv")).set_index("ligand_1_name")
    assert notes == []
    row = rows.loc["XPhos"]
    assert (row.temperature_deg_c, row.time_h) == ("60", "0.5")
    assert (row.ligand_1_smiles, row.ligand_1_eq) == ("CC", "0.05")
    assert (row.reagent_1_eq, row.solvent_1_name) == ("2", "water")
    assert (row.product_1_yield, row.product_1_yieldtype, row.ee) == ("44.5", "UNKNOWN", "90")
    assert row.vial == "a"
    assert row.comment == "'=1+1"
    assert row.rxn_id.startswith("c-b1-")
    assert len(row.rxn_date) == 10
    assert (rows.loc["SPhos"].product_1_yield, rows.loc["SPhos"].comment) == ("0", "failed")
    assert rows.loc["dppf"].comment == "yield: <5"


def test_the_columns_stand_in_the_order_of_the_format(campaign):
    names = [*campaign.surf()[0].columns]
    assert names[:3] == ["rxn_id", "source_id", "source_type"]
    parts = ["ligand_1_name", "ligand_1_smiles", "ligand_1_eq", "reagent_1_eq", "solvent_1_name",
             "product_1_yield", "product_1_yieldtype", "provenance"]  # fmt: skip
    assert names[13:21] == parts
    assert names[-2:] == ["vial", "ee"]


def test_what_is_pending_says_what_is_expected(tmp_path):
    campaign = made(tmp_path)
    with pytest.raises(UserError, match="nothing is pending"):
        campaign.surf("surf-next")
    campaign.suggest(2)
    table, _ = campaign.surf("surf-next")
    assert table["comment"].tolist() == ["to do", "to do"]
    with pytest.raises(UserError, match="no result yet"):
        campaign.surf()


def test_a_unit_that_is_not_known_is_not_guessed(tmp_path):
    rows = [("A", 60), ("B", 80)]
    campaign = made(tmp_path, rows, ["aryl halide", "temperature"])
    campaign.suggest(2)
    table, (note,) = campaign.surf("surf-next")
    assert "the unit of 'temperature' is not known to be °C" in note
    assert set(table["temperature"]) == {"60", "80"}
    assert set(table["temperature_deg_c"]) == {""}
    assert set(table["startingmat_1_name"]) == {"A", "B"}


def test_reaction_smiles_say_what_no_column_does(tmp_path):
    rows = [("A", "C.CO>>CCO"), ("B", "C.CN>>CCN")]
    campaign = made(tmp_path, rows, ["ligand", "rxn_smiles"], reaction="rxn_smiles")
    campaign.suggest(2)
    rows = campaign.surf("surf-next")[0].set_index("ligand_1_name")
    assert rows.loc["A", ["startingmat_1_smiles", "startingmat_2_smiles"]].tolist() == ["C", "CO"]
    assert rows.loc["B", "product_1_smiles"] == "CCN"


def test_what_is_about_something_else_is_refused(tmp_path):
    campaign = made(tmp_path, [("red", 1), ("blue", 2)], ["colour", "size"], objective="weight")
    campaign.suggest(2)
    with pytest.raises(UserError, match="nothing says that this is about reactions"):
        campaign.surf("surf-next")
