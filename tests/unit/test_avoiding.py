"""Spans of numbers that are avoided."""

import numpy as np
import pytest

from campaigns import campaign, candidates
from gollum.api import Campaign
from gollum.campaign.events import Added, Avoided, Cells, Span, parse
from gollum.campaign.requests import span_meant
from gollum.campaign.state import within
from gollum.errors import UserError


@pytest.mark.parametrize(
    ("text", "span", "hours"),
    [
        ("> 9", Span(low=9, closed=False), [10, 11]),
        (">=9", Span(low=9), [9, 10, 11]),
        ("<2", Span(high=2, closed=False), [0, 1]),
        ("<= 60 min", Span(high=1), [0, 1]),
        ("9 : 10.5", Span(low=9, high=10.5), [9, 10]),
    ],
)
def test_spans_are_read_as_they_are_shown(text, span, hours):
    state, _ = campaign(candidates(), units={"hours": "h"})
    assert span_meant(state, "hours", text) == span == span_meant(state, "hours", str(span))
    numbers = state.table["hours"].to_numpy()
    assert numbers[within(numbers, span)].tolist() == hours
    assert not within(np.array([np.nan]), span).any()


def test_rounding_errors_move_no_number_out_of_a_span():
    assert within(np.array([0.1 + 0.2]), Span(high=0.3)).all()
    assert not within(np.array([0.1 + 0.2]), Span(low=0.3, closed=False)).any()


@pytest.mark.parametrize(
    ("column", "text", "says"),
    [
        ("hours", "> warm", "write 'hours>100'"),
        ("hours", "5:2", "should go up"),
        ("ligand", "> 5", "'ligand' holds names"),
    ],
)
def test_spans_that_mean_nothing_are_refused(column, text, says):
    with pytest.raises(UserError, match=says):
        span_meant(campaign(candidates())[0], column, text)


def test_spans_cover_what_joins_later_and_old_events_have_none():
    joined = Cells(ids=("n1",), columns={"ligand": ("X",), "hours": (40.0,), "substrate": ("C",)})
    span = Avoided(column="hours", values=(), spans=(Span(low=9, closed=False),))
    state, _ = campaign(candidates(), parse(span.model_dump_json()), Added(joined=joined))
    assert state.table.index[state.locked()].tolist() == ["r11", "r12", "n1"]
    assert parse('{"kind": "avoided", "column": "hours", "values": ["1"]}').spans == ()


def test_a_span_is_lifted_as_it_was_set(tmp_path):
    table = candidates().reset_index(drop=True)
    campaign, _ = Campaign.create(
        tmp_path / "my.gollum", table=table, objective="yield", surrogate="one_hot"
    )
    assert campaign.avoid(cells={"hours": [">9", 5]}, reason="too slow") == 3
    assert campaign.state().avoidances() == ["hours 5 (too slow)", "hours > 9 (too slow)"]
    with pytest.raises(UserError, match="hours >= 9 is not avoided"):
        campaign.avoid(cells={"hours": [">=9"]}, lift=True)
    assert campaign.avoid(cells={"hours": ["> 9.0"]}, lift=True) == 1


def test_what_meets_is_avoided_together_and_lifted_again(tmp_path):
    table = candidates().reset_index(drop=True)
    campaign, _ = Campaign.create(
        tmp_path / "a.gollum", table=table, objective="yield", surrogate="one_hot"
    )
    meeting = {"hours": "> 5", "Ligand": "XPhos"}
    assert campaign.avoid(together=[meeting], reason="smell") == 2  # of 6 and 4
    assert campaign.state().avoidances() == ["ligand=XPhos and hours > 5 (smell)"]
    campaign.rename("ligand", {"XPhos": "x-phos"})
    state = campaign.state()
    assert state.table["ligand"][state.locked()].tolist() == ["x-phos"] * 2
    assert campaign.avoid(together=[{"ligand": "x-phos", "hours": "> 5"}], lift=True) == 0
    for wrong in ({"ligand": "SPhos"}, {"ligand": "nope", "hours": 5}):
        with pytest.raises(UserError, match=r"two columns|never holds"):
            campaign.avoid(together=[wrong])
