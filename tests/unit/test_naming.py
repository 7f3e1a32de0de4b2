"""Names as people write them."""

import unicodedata

import pandas as pd
import pytest

from campaigns import campaign, candidates, suggested
from gollum.api import Campaign
from gollum.campaign.intake import read_results
from gollum.data.naming import meant
from gollum.errors import DataError


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("ligand", ["Ligand", "base"], "Ligand"),
        ("x phos", ["XPhos", "SPhos"], "XPhos"),
        ("temperature C", ["temperature_C"], "temperature_C"),
        ("t-BuOH", ["tBuOH"], "tBuOH"),
        ("Lo\u0308sung", ["lösung"], "lösung"),
        ("1-2", ["12", "1_2"], "1_2"),
        ("-5", ["5"], "-5"),  # another number
        ("ligand", ["Ligand", "LIGAND"], "ligand"),  # one of two
        ("ligan", ["Ligand"], "ligan"),
    ],
)
def test_one_name_that_differs_in_spelling_alone_is_meant(name, known, expected):
    notes = []
    assert meant(name, known, notes) == expected
    assert notes == ([f"'{name}' is taken for '{expected}'"] if expected != name else [])


def test_another_unicode_form_is_no_other_spelling():
    notes = []
    assert meant(unicodedata.normalize("NFD", "Lösung"), ["Lösung"], notes) == "Lösung"
    assert notes == []


def test_heads_of_a_sheet_may_be_spelt_in_another_way():
    table = candidates().rename(columns={"hours": "time h"})
    state, _ = campaign(table, suggested(("b1-1", "r2")), units={"time h": "h"})
    row = {"Ligand": "SPhos", "Time_H (hours)": 1, "SUBSTRATE": "CCO", "Yield": 5, "run": "b1-1"}
    intake = read_results(state, pd.DataFrame([row]), source=None, name="own.csv")
    assert intake.measured == 1
    assert "own.csv: 'Ligand' is taken for 'ligand'" in intake.notes
    twice = pd.DataFrame([{"run": "b1-1", "Yield": 5, "YIELD": 6}])
    with pytest.raises(DataError, match="two columns are called 'yield'"):
        read_results(state, twice, source=None, name="own.csv")


def test_columns_are_named_in_any_spelling_at_the_beginning_and_in_options(tmp_path):
    table = candidates().assign(Price=1.0, Yield="", Purity="").reset_index(drop=True)
    campaign, start = Campaign.create(
        tmp_path / "my.gollum", table=table, objective="yield", also=["purity"], cost="price",
        inputs=["Ligand", "hours"], surrogate="one_hot",
    )  # fmt: skip
    created = campaign.state().created
    assert (created.objective, created.also, created.cost) == ("Yield", ("Purity",), "Price")
    assert "table: 'Ligand' is taken for 'ligand'" in [
        n.replace("my:", "table:") for n in start.notes
    ]
    count, notes = campaign.add(options=[{"LIGAND": "BrettPhos", "price": "2"}])
    assert (count, "'LIGAND' is taken for 'ligand'" in notes) == (12, True)
