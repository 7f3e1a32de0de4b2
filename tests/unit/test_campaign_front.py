"""Several outcomes of a campaign: the front, what limits cost, and how both are told."""

import io

import numpy as np
import pytest
from rich.console import Console

from campaigns import campaign, candidates
from gollum.campaign.advice import best, improvement, progress, progress_of
from gollum.campaign.changes import changed
from gollum.campaign.events import Configured, Prediction, Recorded, Result, Suggestion
from gollum.campaign.forecast import forecast
from gollum.campaign.front import bindings, front_of, trades
from gollum.campaign.insights import insights
from gollum.campaign.sheets import sheet_names
from gollum.campaign.state import Logged
from gollum.data.fronts import hypervolume, reference_point
from gollum.data.outcomes import Goal, Outcome
from gollum.errors import UserError
from gollum.report.campaign.page import render
from gollum.report.campaign.status import print_status
from pages import Page

HOSTILE = '<script>alert("x")</script>'
RESULTS = [  # id, yield, cost, ee
    ("r1", 40.0, 10.0, 95.0),
    ("r2", 70.0, 30.0, 80.0),
    ("r3", 55.0, 12.0, 91.0),
    ("r4", 50.0, 20.0, 97.0),
    ("r5", 60.0, None, 99.0),
    ("r6", 20.0, 5.0, None),
]


def begun(*goals, results=RESULTS, names=("yield", "cost", "ee"), **details):
    """A campaign with a goal for each of up to three outcomes."""
    outcomes = tuple(
        Outcome(name=name, goal=Goal.of(goal), **details.get(name, {}))
        for name, goal in zip(names, goals, strict=False)
    )
    told = tuple(
        Result(run=f"{row[0]}~1", id=row[0], status="measured",
               values={n: v for n, v in zip(names, row[1:], strict=True) if v is not None})
        for row in results
    )  # fmt: skip
    return campaign(
        candidates(), *([Recorded(results=told)] if told else []), surrogate="one_hot",
        objective=names[0], goal=outcomes[0].goal, also=names[1:], outcomes=outcomes,
        template="{ligand}",
    )  # fmt: skip


def told(state):
    stream = io.StringIO()
    print_status(Console(file=stream, width=200), state)
    return stream.getvalue()


def test_the_front_within_limits():
    state, _ = begun("maximize", "minimize", "at-least=90")
    front = front_of(state)
    assert front.table.index.tolist() == ["r1", "r2", "r3", "r4", "r6"]  # r5 has no cost
    assert front.table["feasible"].tolist() == [True, False, True, True, False]
    assert front.members.index.tolist() == ["r3", "r1"]
    merits = front.table[["yield", "cost"]].to_numpy() * [1, -1]
    point = reference_point(merits)
    np.testing.assert_allclose(front.reference, point * [1, -1])
    box = np.prod(merits.max(axis=0) - point)
    expected = [hypervolume(merits[rows], point) / box for rows in ([0], [0], [0, 2], [0, 2, 3])]
    np.testing.assert_allclose(front.table["volume"], [*expected, expected[-1]])


def test_no_front_of_one_objective_of_weights_or_of_nothing():
    assert front_of(begun("maximize", "watch", "at-least=90")[0]) is None
    bounded = {"yield": {"bounds": (0, 100), "weight": 1.0}, "cost": {"bounds": (0, 50)}}
    weighed, _ = begun("maximize", "minimize", **bounded)
    assert front_of(weighed) is None
    assert best(weighed).id == "r3"
    assert front_of(begun("maximize", "minimize", results=[])[0]) is None


def test_what_limits_cost():
    state, _ = begun("maximize", "at-most=15", "at-least=90")
    cost, ee = bindings(state)  # the one that binds most comes first
    assert (ee.outcome.name, ee.met, ee.known, ee.gain) == ("ee", 4, 5, 0.0)
    assert (cost.outcome.name, cost.met, cost.known, cost.gain) == ("cost", 3, 5, 5.0)


def test_a_limit_that_binds():
    state, log = begun("maximize", "watch", "at-least=96")
    (limit,) = bindings(state)
    assert (limit.met, limit.known, limit.gain) == (2, 5, 10.0)
    assert best(state).id == "r5"
    table = progress(state)
    assert table["best"].isna().tolist() == [True, True, True, False, False, False]
    assert table["best"].tolist()[3:] == [50.0, 60.0, 60.0]
    text = told(state)
    assert "Best so far: yield 60.0 (r5)" in text
    assert (
        "ee at least 96: 2 of 5 meet it; without it, the best yield would be 10.0 better." in text
    )
    for known, said in ((state, True), (begun("maximize", "watch", "watch")[0], False)):
        page = " ".join(Page(render(known, log, None)).text.split())
        assert ("For the line of yield only experiments within all limits count" in page) is said


def test_while_nothing_meets_the_limits():
    state, _ = begun("maximize", "watch", "at-least=99.5")
    assert best(state) is None
    assert "No experiment is known to meet all limits so far." in told(state)
    (limit,) = bindings(state)
    assert np.isinf(limit.gain)
    assert "0 of 5 meet it, none of them within the other limits" in told(state)


def test_the_front_on_the_terminal():
    text = told(begun("maximize", "minimize", "at-least=90")[0])
    assert "maximize yield; minimize cost; ee at least 90" in text
    assert "On the front: 2 of 5 experiments with all of yield, cost." in text
    assert "  r3: yield 55.0, cost 12.0" in text
    assert "without it, the hypervolume would be" in text


@pytest.mark.parametrize(
    "goals",
    [
        ("maximize", "minimize", "at-least=90"),
        ("maximize", "minimize", "maximize"),
        ("target=50", "minimize"),
        ("maximize", "watch", "at-least=99.5"),
    ],
)
def test_every_kind_of_goal_makes_a_sound_page(goals):
    names = (HOSTILE, "cost", "$ee$")
    for results in (RESULTS, []) if goals[1] == "minimize" else (RESULTS[:1],):
        state, log = begun(*goals, results=results, names=names)
        page = Page(render(state, log, None))
        assert HOSTILE in page.text
        assert page.tags.count("script") == 0
        assert "What is wanted" in page.text


def test_the_page_and_advice_with_models():
    for goals, whole in (
        (("maximize", "minimize", "at-least=90"), "the hypervolume so far"),
        (("maximize", "watch", "at-least=90"), "the range of your results"),
    ):
        state, log = begun(*goals, results=RESULTS[:4])
        found = insights(state)
        assert found.advice.candidates["chance"].between(0, 1).all()
        assert (found.advice.candidates["gain"] >= 0).all()
        assert found.advice.left == 8
        assert whole in found.advice.rule
        page = Page(render(state, log, found))
        front = goals[1] == "minimize"
        assert ("2 experiments on the front" in page.text) == front
        assert ("gain of hypervolume" in page.text) == front
        assert ("Side by side" in page.text) == front
        assert [learned.outcome.name for learned in found.learned] == ["yield", "cost", "ee"]
        assert page.text.count("Is the language model helping?") == 3
        assert [*found.advice.further] == ["cost", "ee"]
        assert found.advice.limits.shape == (8,)


def test_each_outcome_has_its_own_best_so_far():
    state, _ = begun("maximize", "minimize", "at-least=90", results=RESULTS[:4])
    cost, ee = (progress_of(state, outcome) for outcome in state.outcomes[1:])
    assert cost["best"].tolist() == np.minimum.accumulate(cost["value"]).tolist()
    assert ee["best"].isna().all()
    assert ee["value"].notna().all()


def test_the_best_by_weight_is_told_with_its_desirability():
    state, _ = begun("maximize", "minimize", results=RESULTS[:4])
    weighed = tuple(
        o.model_copy(update={"weight": 1.0, "bounds": (0.0, 100.0)}) for o in state.outcomes
    )
    after = state.after(Logged(state.sequence + 1, "", "", Configured(outcomes=weighed)))
    found = best(after)
    assert found.desirability == pytest.approx(after.worth(after.means_of_all).max())
    assert progress(after)["best"].iloc[-1] == found.value


def test_gains_end_at_the_best_there_can_be():
    mean, deviation = np.array([90.0, 99.0]), np.array([8.0, 5.0])
    gain, _ = improvement(mean, deviation, 95.0, Goal(), 100.0)
    draws = np.random.default_rng(0).normal(mean, deviation, (400_000, 2)).clip(None, 100)
    np.testing.assert_allclose(gain, (draws - 95).clip(0).mean(0), rtol=0.02)
    low, _ = improvement(100 - mean, deviation, 5.0, Goal(kind="minimize"), 0.0)
    np.testing.assert_allclose(low, gain)


def test_another_goal_reorders_nothing_and_old_results_stay():
    state, log = begun("maximize", "watch")
    outcomes = (state.outcomes[0], Outcome(name="cost", goal=Goal.of("at-most=15")))
    later = state.after(
        type(log[0])(len(log) + 1, "", "", Configured(outcomes=(*outcomes, Outcome(name="new"))))
    )
    assert [o.name for o in later.outcomes] == ["yield", "cost", "new"]
    assert later.created.also == ("cost", "ee", "new")
    assert later.limits == (outcomes[1],)
    assert later.pursued[-1].name == "new"


def test_own_columns_for_each_outcome():
    names = sheet_names(begun("maximize", "minimize", "at-least=90")[0])
    assert names.chance == "chance to join front"
    assert names.others == {
        "cost": ("predicted cost", "low 95 % cost", "high 95 % cost"),
        "ee": ("predicted ee", "low 95 % ee", "high 95 % ee"),
    }
    assert set(names.others["ee"]) <= set(names.every)


def test_a_row_says_what_it_trades_against_the_best_known():
    state, _ = begun("maximize", "minimize", "at-least=90", results=RESULTS[:4])
    others = {
        "cost": Prediction(mean=11.0, low=9, high=13),
        "ee": Prediction(mean=92, low=9, high=95),
    }
    like = Suggestion(run="a", id="r9", mean=50.0, low=0, high=90, others=others)
    assert trades(state, [like]) == ["r3: yield −5, cost −1, ee +1"]
    alone = like.model_copy(update={"others": {}})
    assert state.front_of(like)
    assert not state.front_of(alone)
    assert trades(state, [alone])[0].endswith("yield −5")


def test_every_candidate_is_predicted_with_a_map_of_two_columns():
    state, _ = begun("maximize", "minimize", "at-least=90", results=RESULTS[:4])
    table, cells = forecast(state)
    names = sheet_names(state)
    assert len(table) == 12
    assert (table[names.low] <= table[names.predicted]).all()
    assert table[names.limits].between(0, 1).all()
    assert cells.shape[0] > 1
    state, _ = begun("maximize", results=RESULTS[:0])
    with pytest.raises(UserError, match="no model yet"):
        forecast(state)


def test_what_a_failure_counts_as_is_taken_back():
    state, _ = begun("maximize", results=RESULTS[:2])
    for value, kept in ((0.0, 0.0), ("none", None)):
        event = changed(state, (), None, {"failed_as": value})
        state = state.after(Logged(state.sequence + 1, "", "", event))
        assert state.objective.failed_as == state.created.failed_as == kept
