"""Numbers that stand for a missing value."""

import numpy as np
import pandas as pd
import pytest

from campaigns import campaign, candidates
from gollum.api import Campaign
from gollum.campaign.intake import read_results
from gollum.data.sentinels import sentinel
from gollum.errors import DataError


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([-999, 5, 70, -999, 81, np.nan], "-999 in 2 rows"),
        ([-99, 5, 70, -99, 8100], "-99 in 2 rows"),
        ([9999, 5, 70, 9999, 81], "9999 in 2 rows"),
        ([-999, 5, 70, 81], ""),  # once
        ([-99, 5, -7, -99, 81], ""),  # among other negative numbers
        ([999, 500, 700, 999, 810], ""),  # not far
        ([99, 5, 7, 99, 8], ""),  # a yield
        ([0, 999, 999, 0, 0], ""),  # a design
        ([-999, -999, -999, 5, 7], ""),  # most
    ],
)
def test_repeated_numbers_of_nines_may_mean_missing(numbers, found):
    assert sentinel(np.array(numbers, dtype=float)) == found


def test_they_are_asked_about_at_the_beginning(tmp_path):
    table = candidates().reset_index(drop=True).assign(**{"yield": [-999, -999, 3, 5, *[8] * 8]})

    def create(frame, **options):
        return Campaign.create(
            tmp_path / "my.gollum", table=frame, objective="yield", surrogate="one_hot", **options
        )

    with pytest.raises(DataError, match="column 'yield': -999 in 2 rows may mean missing; leave"):
        create(table)
    held = table.assign(hours=[999, 999, *range(1, 11)], **{"yield": ""})
    with pytest.raises(DataError, match=r"column 'hours': 999 in 2 rows .* or say --number hours"):
        create(held)
    assert create(table, number=["yield"])[1].recorded.results[0].values == {"yield": -999}


def test_they_are_asked_about_in_sheets():
    state, _ = campaign(candidates())
    rows = pd.DataFrame({"id": [f"r{i}" for i in range(1, 6)], "yield": [-99, -99, 1, 2, 3]})
    with pytest.raises(DataError, match="column 'yield': -99 in 2 rows may mean missing; leave"):
        read_results(state, rows, source=None, name="r.csv")
    assert read_results(state, rows, source=None, name="r.csv", new_names=True).measured == 5
