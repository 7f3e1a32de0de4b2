"""Results that are no plain number: what they count as, and that they stay as they were said."""

import pandas as pd
import pytest

from campaigns import campaign, candidates
from gollum.campaign.begin import begin
from gollum.campaign.intake import read_results
from gollum.campaign.sheets import export_frame
from gollum.campaign.state import Logged
from gollum.data.outcomes import UNBOUNDED, Goal, Outcome
from gollum.data.spreadsheets.inexact import inexact
from gollum.errors import DataError

PERCENT = (0.0, 100.0)


@pytest.mark.parametrize(
    ("text", "bounds", "value", "reason"),
    [
        ("<5", PERCENT, 2.5, "the middle of 0 to 5"),
        ("≤ 5 %", PERCENT, 2.5, "the middle of 0 to 5"),
        ("< 0,5", PERCENT, 0.25, "the middle of 0 to 0.5"),
        (">99", PERCENT, 99.5, "the middle of 99 to 100"),
        ("<5", UNBOUNDED, 5.0, "as there is no bound behind it"),
        (">= 99", (0.0, None), 99.0, "as there is no bound behind it"),
        ("2-4", UNBOUNDED, 3.0, "the middle of 2 to 4"),
        ("2 – 4 %", PERCENT, 3.0, "the middle of 2 to 4"),
        ("2 to 4", UNBOUNDED, 3.0, "the middle of 2 to 4"),
        ("12 ± 1", UNBOUNDED, 12.0, "with an error of 1"),
        ("12.5+/-0.5 %", PERCENT, 12.5, "with an error of 0.5"),
        ("Trace", PERCENT, 0.5, "just above 0"),
    ],
)
def test_what_it_counts_as(text, bounds, value, reason):
    assert inexact(text, "%" if bounds == PERCENT else "", bounds)[:2] == (value, reason)


def test_numbers_in_other_units_are_converted():
    assert inexact("<30 min", "h", (0.0, None))[:2] == (0.25, "the middle of 0 to 0.5")
    assert inexact("<30 g", "h", UNBOUNDED) is None


@pytest.mark.parametrize(
    "text", ["5", "high", "<", "<high", "4-2", "2024-01-05", "1-2-3", "± 3", "trace", "a-b", ""]
)
def test_other_texts_are_none_of_these(text):
    assert inexact(text, "", UNBOUNDED) is None


def test_they_count_within_bounds_that_are_found():
    table = pd.DataFrame({"ligand": ["a", "b", "c"], "yield": ["<5", "50", ""]})
    begun = begin(table, objective="yield", goal=Goal(), name="my", source=None)
    assert begun.recorded.results[0].values == {"yield": 2.5}
    assert any("'<5' counts as 2.5, the middle of 0 to 5" in note for note in begun.notes)
    assert not any("no bound behind" in note for note in begun.notes)


def test_they_are_told_kept_as_said_and_known_again():
    outcomes = (Outcome(name="yield", bounds=PERCENT),)
    state, _ = campaign(candidates(), outcomes=outcomes, also=("ee",))
    sheet = pd.DataFrame(
        {"id": ["r1", "r2", "r3", "r4"], "yield": ["<5", "40", "trace", "n.d."],
         "ee": ["90–94", "", "", ""]}
    )  # fmt: skip

    def read(frame, known=state):
        return read_results(known, frame, source=None, name="s.csv")

    with pytest.raises(DataError, match=r"row 5, column 'yield': 'n\.d\.' is not a finite number"):
        read(sheet)
    intake = read(sheet.head(3))
    assert [str(n) for n in intake.notes if n.code == "inexact"] == [
        "row 2, column 'yield': '<5' counts as 2.5, the middle of 0 to 5",
        "row 4, column 'yield': 'trace' counts as 0.5, just above 0",
        "row 2, column 'ee': '90–94' counts as 92, the middle of 90 to 94",
    ]
    first = intake.event.results[0]
    assert first.values == {"yield": 2.5, "ee": 92.0}
    assert first.said == {"yield": "<5", "ee": "90–94"}
    after = state.after(Logged(2, "", "", intake.event))
    assert read(sheet.head(3), after).known == 3
    assert export_frame(after)["note"].tolist() == ["yield: <5; ee: 90–94", "", "yield: trace"]
    corrected = read(pd.DataFrame({"run": ["r1~1"], "id": ["r1"], "yield": [3.0]}), after)
    assert corrected.corrected == 1
    assert corrected.event.results[0].said == {"ee": "90–94"}
