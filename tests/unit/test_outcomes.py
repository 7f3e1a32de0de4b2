"""What is wanted of outcomes, and the scales on which they are learned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from gollum.data.outcomes import (
    HALF_STEP,
    UNBOUNDED,
    Goal,
    Outcome,
    Scale,
    bounds_of,
    found_bounds,
    spelt,
    wanted_words,
)
from gollum.errors import ConfigError

PERCENT = (0.0, 100.0)
SCALES = [
    Scale("identity", PERCENT),
    Scale("identity", PERCENT, -1.0),
    Scale("logit", PERCENT),
    Scale("logit", PERCENT, -1.0),
    Scale("log", (0.0, None)),
    Scale("log", UNBOUNDED, -1.0),
]


@pytest.mark.parametrize(
    ("text", "goal", "words"),
    [
        ("maximize", Goal(), "maximize"),
        ("Minimise", Goal(kind="minimize"), "minimize"),
        ("target=7.4", Goal(kind="target", target=7.4), "come close to 7.4"),
        ("at-least=90", Goal(kind="at-least", low=90), "at least 90"),
        ("at_most = 5", Goal(kind="at-most", high=5), "at most 5"),
        ("at-most -5", Goal(kind="at-most", high=-5), "at most -5"),
        ("range=6.5:7.5", Goal(kind="range", low=6.5, high=7.5), "from 6.5 to 7.5"),
        ("watch", Goal(kind="watch"), "watch"),
    ],
)
def test_goals_as_they_are_typed(text, goal, words):
    assert Goal.of(text) == goal
    assert goal.words() == words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("maximise it", "write maximize, not"),
        ("highest", "'highest' is no goal; write maximize, minimize"),
        ("at-least", "write at-least=90, not 'at-least'"),
        ("at-least=high", "write at-least=90"),
        ("target=nan", "write target=7"),
        ("range=8", "write range=6:8"),
        ("range=8:6", "the range 8:6 should go up"),
        ("minimize=3", "write minimize, not"),
        ("", "'' is no goal"),
    ],
)
def test_what_is_no_goal_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        Goal.of(text)


def test_merits_and_limits():
    values = np.array([80.0, 90.0, 95.0, np.nan])
    np.testing.assert_array_equal(Goal(kind="minimize").merit(values[:2]), [-80, -90])
    np.testing.assert_array_equal(Goal(kind="target", target=90).merit(values[:3]), [-10, 0, -5])
    span = Goal(kind="range", low=85, high=92)
    np.testing.assert_array_equal(span.merit(values[:3]), [-5, 0, -3])
    assert span.holds(values).tolist() == [False, True, False, False]
    assert Goal(kind="at-least", low=90).holds(values).tolist() == [False, True, True, False]
    assert Goal().holds(values).tolist() == [True, True, True, False]
    assert span.alone == Goal(kind="target", target=88.5)
    assert Goal(kind="at-most", high=5).alone == Goal(kind="minimize")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"bounds": (9.0, 3.0)}, "bounds 9:3 should go up"),
        ({"transform": "logit", "bounds": (0.0, None)}, "logit needs both bounds"),
        ({"bounds": PERCENT, "goal": Goal(kind="at-least", low=120)}, "limit 120 is outside"),
        ({"bounds": PERCENT, "goal": Goal(kind="target", target=-1)}, "target -1 is outside"),
        ({"bounds": PERCENT, "failed_as": -5.0}, "outside of the bounds"),
        ({"bounds": PERCENT, "failed_as": 100.0}, "the best that there can be"),
        ({"goal": Goal(kind="target", target=7.0), "failed_as": 7.0}, "which is the target"),
        ({"goal": Goal(kind="at-most", high=5), "failed_as": 0.0}, "which is what is wanted"),
        ({"weight": 0.0}, "a weight is a number above 0"),
    ],
)
def test_outcomes_that_contradict_themselves(fields, said):
    with pytest.raises(ConfigError, match=said):
        Outcome(name="y", **fields).check()


@pytest.mark.parametrize("scale", SCALES)
@given(data=st.data())
def test_there_and_back_and_inside(scale, data):
    low, high = (scale.bounds[0] or 0.001), (scale.bounds[1] or 1e6)
    numbers = st.floats(low if scale.transform != "log" else 1e-6, high)
    values = np.array(data.draw(st.lists(numbers, min_size=1, max_size=9)))
    np.testing.assert_allclose(scale.values(scale.utility(values)), values, rtol=1e-7, atol=1e-7)
    order = np.argsort(values, kind="stable")
    assert (np.diff(scale.sign * scale.utility(values)[order]) >= 0).all()
    anything = np.array(data.draw(st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=9)))
    ends = [scale.values(anything), *scale.interval(anything, np.abs(anything))]
    for found in ends:
        assert np.isfinite(found).all()
        assert (found >= (scale.bounds[0] or -np.inf)).all()
        assert (found <= (scale.bounds[1] or np.inf)).all()
    assert (ends[1] <= ends[0]).all()
    assert (ends[0] <= ends[2]).all()


def test_the_logit_pulls_ends_in_by_half_a_step():
    scale = Scale("logit", PERCENT)
    share = HALF_STEP / (1 + 2 * HALF_STEP)
    np.testing.assert_allclose(scale.utility(np.array([0.0]))[0], np.log(share / (1 - share)))
    np.testing.assert_allclose(scale.utility(np.array([50.0])), 0.0, atol=1e-12)


def test_the_probability_of_a_result_is_that_of_what_is_rounded_to_it():
    values = np.array([10.0, 11.0, 0.0, 100.0])
    mean, deviation = np.array([12.0, 12.0, -5.0, 95.0]), np.array([3.0, 3.0, 4.0, 4.0])
    below, above = norm.cdf(values - 0.5, mean, deviation), norm.cdf(values + 0.5, mean, deviation)
    open_ended = Scale().log_probability(values, mean, deviation)
    np.testing.assert_allclose(open_ended, np.log(above - below), rtol=1e-9)
    below[2], above[3] = 0.0, 1.0  # what lies beyond a bound counts as the bound
    for sign in (1.0, -1.0):
        scale = Scale("identity", PERCENT, sign)
        found = scale.log_probability(values, sign * mean, deviation)
        np.testing.assert_allclose(found, np.log(above - below), rtol=1e-9)
    logit = Scale("logit", PERCENT)
    middle = logit.utility(mean.clip(0, 100))
    ends = [logit.utility(values + shift) for shift in (-0.5, 0.5)]
    inside = norm.cdf(ends[1], middle, 1.0) - norm.cdf(ends[0], middle, 1.0)
    found = logit.log_probability(values, middle, np.ones(4))
    np.testing.assert_allclose(found[:2], np.log(inside[:2]), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "unit", "values", "bounds"),
    [
        ("yield", "", [], PERCENT),
        ("yield_2", "", [3.0, 88.0], PERCENT),
        ("yield", "", [0.2, 0.9], (0.0, 1.0)),
        ("yield", "", [3.0, 104.0], UNBOUNDED),
        ("area", "%", [3.0], PERCENT),
        ("yield", "mg", [3.0], UNBOUNDED),
        ("ee", "", [-20.0, 30.0], UNBOUNDED),
        ("degree", "", [3.0], UNBOUNDED),
        ("IC50", "nM", [3.0], UNBOUNDED),
    ],
)
def test_bounds_by_unit(name, unit, values, bounds):
    assert found_bounds(name, unit, np.array(values)) == bounds


def test_found_bounds_give_way_and_said_ones_stay():
    values = np.array([20.0, 104.0])
    found = Outcome(name="y", bounds=PERCENT, found=True, transform="logit")
    assert found.scale(values).bounds == (0.0, None)
    assert found.scale(values).transform == "identity"
    assert found.scale(-values).bounds == (None, 100.0)
    assert found.scale(values[:1]).bounds == PERCENT
    assert found.scale(values[:1]).transform == "logit"
    assert Outcome(name="y", bounds=PERCENT).scale(values).bounds == PERCENT


@pytest.mark.parametrize("text", ["0:100", "0:", ":100", "none"])
def test_bounds_as_they_are_typed(text):
    low, high = bounds_of(text)
    assert (low, high) == {"0:100": PERCENT, "0:": (0.0, None), ":100": (None, 100.0)}.get(
        text, UNBOUNDED
    )
    for odd in ("100", "a:b", ":", "0:1:2"):
        with pytest.raises(ConfigError, match="write bounds as 0:100"):
            bounds_of(odd)


def test_in_words():
    outcomes = [
        Outcome(name="yield"), Outcome(name="ee", goal=Goal.of("at-least=90")),
        Outcome(name="pH", goal=Goal.of("target=7")), Outcome(name="cost", goal=Goal.of("watch")),
    ]  # fmt: skip
    assert wanted_words(outcomes) == "maximize yield; ee at least 90; bring pH to 7; watch cost"
    assert [spelt(b) for b in (PERCENT, (0.0, None), (None, 1.0), UNBOUNDED)] == [
        "0 to 100", "from 0 on", "up to 1", "none"
    ]  # fmt: skip
