from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from campaigns import campaign, candidates, measured, recorded, suggested
from gollum.campaign.advice import advice, best, decide, improvement, progress
from gollum.campaign.events import Goal
from gollum.campaign.trust import trust
from gollum.data.outcomes import Outcome
from gollum.errors import FitError
from gollum.features.base import FixedFeatures
from gollum.features.problem import Problem
from gollum.settings import LbfgsSettings, Settings
from gollum.surrogates.gaussian_process import GaussianProcess
from helpers import CPU, build_surrogate

SETTINGS = Settings(lbfgs=LbfgsSettings(prior="dimension_scaled"))
SIZE = 40
X = np.linspace(-1, 1, SIZE)
YIELD = 90 - 60 * X**2  # smooth in X, which only the "language model" sees
IDS = [f"r{i + 1}" for i in range(SIZE)]


def one_hot(state):
    problem = Problem(state.pool, tuple(state.table["ligand"]))
    return build_surrogate(problem, "one_hot", SETTINGS, CPU)


def language(state, features=X):
    """A surrogate that passes for a language model, on given features."""
    matrix = np.asarray(features, dtype=np.float64).reshape(len(state.table), -1)
    return GaussianProcess(state.pool, FixedFeatures(matrix), SETTINGS, CPU)


def fit(state):
    ids, values = state.observations()
    return language(state).fit(ids, state.scale().utility(values), (0, 0))


def shuffled(seed=0):
    """Candidates whose columns say nothing about X."""
    table = candidates(SIZE).sample(frac=1, random_state=seed)
    return table.set_axis(pd.Index(IDS, name="id"))


def some(count, values=YIELD, seed=1):
    rows = np.random.default_rng(seed).permutation(SIZE)[:count]
    return {IDS[i]: float(values[i]) for i in rows}


# --- trust ---------------------------------------------------------------------------------------


def test_a_model_that_knows_what_matters_is_found_to_help():
    state, _ = campaign(shuffled(), measured(some(15)))
    found = trust(state, {"pllm": language(state), "one_hot": one_hot(state)})
    assert (found.answer, found.language, found.experiments) == ("yes", "pllm", 15)
    assert found.sentences[0].startswith("Yes: the language model (pllm)")
    assert len(found.sentences) == 3
    errors = found.errors.set_index("method")
    assert list(errors.index) == ["random", "pllm", "one_hot"]
    assert errors.loc["pllm", "r2"] > 0.95
    assert errors.loc["random", "r2"] == 0
    assert np.isnan(errors.loc["random", "spearman"])
    assert (found.gains[["low", "nats_low"]] > 0).all(axis=None)


def test_a_model_that_knows_less_than_one_hot_is_found_out():
    values = 50 + 10 * pd.Series({"XPhos": 3, "SPhos": 0, "dppf": -3})
    table = candidates(SIZE)
    outcome = values[table["ligand"]].to_numpy() + np.random.default_rng(0).normal(size=SIZE)
    state, _ = campaign(table, measured(some(24, outcome)))
    noise = np.random.default_rng(3).normal(size=SIZE)
    found = trust(state, {"pllm": language(state, noise), "one_hot": one_hot(state)})
    assert found.answer == "no"
    assert "one-hot encoding predicts better" in found.sentences[0]
    assert "larger than that of one-hot encoding" in found.sentences[2]
    assert found.sentences[2].endswith("% larger.")  # the squared error


@pytest.mark.parametrize("seed", range(4))
def test_nothing_helps_with_pure_noise(seed):
    outcome = np.random.default_rng(seed).normal(size=SIZE)
    state, _ = campaign(shuffled(), measured(some(12, outcome)))
    assert trust(state, {"pllm": language(state)}).answer != "yes"


def test_models_that_know_the_same_can_not_be_told_apart():
    noisy = YIELD + 8 * np.random.default_rng(1).normal(size=SIZE)
    state, _ = campaign(shuffled(), measured(some(20, noisy)))
    twin = X + 0.01 * np.random.default_rng(0).normal(size=SIZE)
    found = trust(state, {"pllm": language(state), "static": language(state, twin)})
    assert found.answer == "can't tell yet"
    assert found.language == "pllm"
    assert "not reliably better or worse than static" in found.sentences[0]
    assert "which may be chance" not in found.sentences[1]  # than guessing
    assert "which may be chance" in found.sentences[2]


@pytest.mark.parametrize(("count", "more"), [(0, 8), (2, 6), (7, 1)])
def test_few_experiments_are_not_compared(count, more):
    state, _ = campaign(shuffled(), measured(some(count)))
    found = trust(state, {"pllm": language(state)})
    assert found.answer == "can't tell yet"
    assert found.sentences == (
        f"Can't tell yet: {count} different experiments have a result, and a comparison needs 8; "
        f"{more} more to go.",
    )
    assert len(found.gains) == 0
    assert len(found.errors) == (2 if count == 7 else 0)


def test_equal_results_leave_nothing_to_predict():
    state, _ = campaign(shuffled(), measured(dict.fromkeys(IDS[:9], 3.0)))
    found = trust(state, {"pllm": language(state)})
    assert found.sentences == ("Can't tell yet: all results are equal.",)
    assert found.predictions.empty


def test_each_prediction_comes_of_the_other_experiments():
    """Repeats go together: the prediction equals that of a fit without any of them."""
    values = some(9)
    first = next(iter(values))
    again = recorded((f"{first}~2", first, 12.0))
    state, _ = campaign(shuffled(), measured(values), again, seed=7)
    surrogate = one_hot(state)
    predictions = trust(state, {"one_hot": surrogate}).predictions
    rows = predictions[(predictions["method"] == "one_hot") & (predictions["id"] == first)]
    assert rows["fold"].nunique() == 1
    others = [i for i in values if i != first]
    fitted = surrogate.fit(
        others, np.array([values[i] for i in others]), (7, int(rows["fold"].iloc[0]))
    )
    mean, variance = fitted.posterior([first])
    noise = fitted.process.gp.noise.item() * fitted.scale.item() ** 2
    assert rows["observed"].tolist() == [values[first], 12.0]
    assert rows["mean"].tolist() == pytest.approx([mean.item()] * 2)
    assert rows["deviation"].tolist() == pytest.approx([np.sqrt(variance.item() + noise)] * 2)


def test_guessing_predicts_the_mean_and_spread_of_the_others():
    values = dict(zip(IDS, [1.0, 2.0, 6.0, 7.0], strict=False))
    state, _ = campaign(shuffled(), measured(values))
    rows = trust(state, {}).predictions
    assert sorted(rows["fold"]) == [0, 1, 2, 3]
    assert rows["mean"].tolist() == pytest.approx([5, 14 / 3, 10 / 3, 3])
    assert rows["deviation"].iloc[0] == pytest.approx(np.std([2, 6, 7], ddof=1))
    assert rows["baseline"].tolist() == rows["mean"].tolist()


def test_minimizing_predicts_in_the_objectives_own_sign():
    values = some(10)
    up, _ = campaign(shuffled(), measured(values))
    down, _ = campaign(shuffled(), measured(values), goal=Goal(kind="minimize"))
    both = [trust(s, {"static": language(s)}).predictions for s in (up, down)]
    assert both[1]["mean"].tolist() == pytest.approx(both[0]["mean"].tolist(), rel=1e-3)


def test_a_model_that_is_too_sure_of_itself_is_named():
    class Sure:
        """Knows the mean to a hundredth."""

        def fit(self, ids, utility, seed):
            def posterior(asked):
                return torch.full((len(asked),), utility.mean()), torch.full((len(asked),), 1e-4)

            return SimpleNamespace(posterior=posterior, noise=0.0, scale=torch.tensor(1.0))

    state, _ = campaign(shuffled(), measured(some(15)))
    assert trust(state, {"pllm": language(state)}).notes == ()
    (note,) = trust(state, {"pllm": Sure()}).notes
    assert note.startswith("The model pllm is too sure of itself: 0 % of the left-out results")


def test_more_than_thirty_experiments_are_left_out_in_parts():
    state, _ = campaign(shuffled(), measured(some(33)))
    seen = []
    found = trust(state, {"one_hot": one_hot(state)}, lambda *args: seen.append(args))
    assert found.predictions["fold"].nunique() == 10
    assert seen == [(i, 10) for i in range(1, 11)]
    assert "10 parts" in found.scheme
    assert found.sentences == ("Can't tell: no language model was among the models compared.",)


def test_a_model_that_fails_is_left_out_with_a_note(monkeypatch):
    state, _ = campaign(shuffled(), measured(some(9)))
    broken = language(state)

    def fail(*args):
        raise FitError("no luck.")

    monkeypatch.setattr(type(broken), "fit", fail)
    found = trust(state, {"pllm": broken})
    assert found.notes == ("pllm could not be fitted and is left out: no luck.",)
    assert (found.language, found.answer) == (None, "can't tell yet")


# --- how far it has come -------------------------------------------------------------------------


def test_progress_follows_the_mean_of_repeats():
    state, _ = campaign(
        candidates(),
        recorded(("r1", "r1", 50), ("r2", "r2", 80), ("r3", "r3", "failed"), ("r4", "r4", 40)),
        recorded(("r2~2", "r2", 10), ("r5", "r5", "not run"), ("r6", "r6", 60)),
    )
    table = progress(state)
    assert table["run"].tolist() == ["r1", "r2", "r3", "r4", "r2~2", "r6"]
    assert table["best"].tolist() == [50, 80, 80, 80, 50, 60]
    assert table["improved"].tolist() == [True, True, False, False, False, False]
    assert np.isnan(table["value"].iloc[2])
    found = best(state)
    assert (found.id, found.value, found.count) == ("r6", 60, 1)


@pytest.mark.parametrize(
    ("goal", "expected", "trace"),
    [
        (Goal(kind="minimize"), "r2", [50, 20, 20, 20]),
        (Goal(kind="target", target=52), "r1", [50, 50, 50, 50]),
        (Goal(kind="target", target=28), "r3", [50, 20, 30, 30]),
    ],
)
def test_the_best_follows_the_goal(goal, expected, trace):
    values = {"r1": 50, "r2": 20, "r3": 30, "r4": 90}
    state, _ = campaign(candidates(), measured(values), goal=goal)
    assert best(state).id == expected
    assert progress(state)["best"].tolist() == trace


def test_a_correction_replaces_what_was_said():
    state, _ = campaign(candidates(), measured({"r1": 50, "r2": 95}), measured({"r2": 9.5}))
    assert best(state).value == 50
    assert progress(state)["value"].tolist() == [50, 9.5]


def test_no_result_has_no_best():
    state, _ = campaign(candidates(), recorded(("r1", "r1", "failed")), failed_as=0.0)
    assert best(state) is None
    assert np.isnan(progress(state)["best"]).all()


# --- what is left to gain ------------------------------------------------------------------------

GAINS = {
    Goal(): lambda f: max(f - 50, 0),
    Goal(kind="minimize"): lambda f: max(50 - f, 0),
    Goal(kind="target", target=57): lambda f: max(7 - abs(f - 57), 0),
}


@pytest.mark.parametrize("goal", GAINS, ids=lambda goal: goal.kind)
@pytest.mark.parametrize(("mean", "deviation"), [(45.0, 6.0), (58.0, 2.0), (70.0, 9.0)])
def test_improvement_is_the_integral_of_its_definition(goal, mean, deviation):
    gained, density = GAINS[goal], norm(mean, deviation).pdf
    span, kinks = (mean - 60, mean + 60), [50, 57, 64]
    expected, _ = quad(lambda f: gained(f) * density(f), *span, points=kinks, limit=200)
    better, _ = quad(lambda f: (gained(f) > 0) * density(f), *span, points=kinks, limit=200)
    gain, chance = improvement(np.array([mean]), np.array([deviation]), 50.0, goal)
    assert gain.item() == pytest.approx(expected, abs=1e-6)
    assert chance.item() == pytest.approx(better, abs=1e-6)


def test_nothing_is_closer_than_the_target():
    gain, chance = improvement(
        np.array([10.0, 12.0]), np.array([1.0, 1.0]), 10.0, Goal(kind="target", target=10)
    )
    assert gain.tolist() == pytest.approx([0, 0], abs=1e-12)
    assert chance.tolist() == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({}, "go on"),
        ({"gain": 1.9}, "little is left to gain"),
        ({"gain": 0.4}, "stop"),
        ({"gain": 0.4, "quiet": 7}, "little is left to gain"),
        ({"gain": 0.0, "experiments": 7}, "go on"),
        ({"gain": 0.0, "noise": 0.6}, "go on"),
        ({"gain": 0.0, "spread": 0.0}, "go on"),
        ({"left": 0}, "stop"),
    ],
)
def test_the_rule(changes, decision):
    usual = {"gain": 5, "spread": 100, "experiments": 20, "left": 9, "quiet": 10, "noise": 0.01}
    assert decide(**usual | changes)[0] == decision


def test_go_on_while_the_top_of_the_hill_is_untried():
    low = {IDS[i]: float(YIELD[i]) for i in (0, 1, 2, 3, 4, 5, 6, 7, 38, 39)}
    state, _ = campaign(shuffled(), measured(low))
    found = advice(state, fit(state))
    assert found.decision == "go on"
    assert found.left == 30
    assert found.single <= found.chance <= 1
    assert found.candidates["gain"].is_monotonic_decreasing
    assert found.gain == pytest.approx(found.candidates["gain"].sum())
    assert abs(X[IDS.index(found.candidates["id"][0])]) < 0.6


@pytest.mark.parametrize("goal", [Goal(), Goal(kind="target", target=95)], ids=lambda g: g.kind)
def test_stop_when_the_top_is_known_and_nothing_improved_since(goal):
    order = [19, 20, 0, 39, 10, 30, 5, 34, 15, 25, 2, 37, 13, 27]
    state, _ = campaign(shuffled(), measured({IDS[i]: float(YIELD[i]) for i in order}), goal=goal)
    found = advice(state, fit(state))
    assert found.decision == "stop"
    assert found.quiet >= 8
    assert found.gain < 0.3
    assert "the last" in found.sentence
    assert found.outlook.startswith("The chance that any of the 8 most promising candidates ")
    asked = suggested(("2-1", IDS[21], 1, 0, 2), ("2-2", IDS[22], 1, 0, 2))
    state, _ = campaign(
        shuffled(), measured({IDS[i]: float(YIELD[i]) for i in order}), asked, goal=goal
    )
    waits = advice(state, fit(state)).sentence
    assert waits.startswith("After the 2 pending experiments, stop: the model expects next to")


def test_the_interval_of_what_is_left_to_gain_stays_inside_the_bounds():
    values = {IDS[i]: float(YIELD[i]) for i in range(0, 30, 3)}
    top, found = max(values.values()) + 0.5, list[pd.DataFrame]()
    for bounds in ((0.0, top), (None, None)):
        outcomes = (Outcome(name="yield", bounds=bounds),)
        state, _ = campaign(shuffled(), measured(values), outcomes=outcomes)
        found.append(advice(state, fit(state)).candidates.set_index("id"))
    inside, outside = found[0].align(found[1], join="inner", axis=0)
    assert outside["high"].max() > top
    for column in ("mean", "low", "high"):
        np.testing.assert_allclose(inside[column], outside[column].clip(0, top))


def test_a_lucky_measurement_is_no_reason_to_stop():
    """The bar is what the model believes of the best experiment, not its luckiest value."""
    rng = np.random.default_rng(0)
    rows = [(f"{i}", IDS[i], YIELD[i] + 5 * rng.normal()) for i in range(0, 16, 2)]
    lucky = [("l1", IDS[5], 130.0), ("l2", IDS[5], 25.0), ("l3", IDS[5], 35.0)]
    state, _ = campaign(shuffled(), recorded(*rows, *lucky))
    found = advice(state, fit(state))
    moments = (found.candidates[c].to_numpy() for c in ("mean", "deviation"))
    assert found.single > 0.3
    assert improvement(*moments, 130.0, Goal())[1].max() < 0.1


def test_pending_and_avoided_candidates_promise_nothing():
    state, _ = campaign(
        shuffled(), measured({i: float(y) for i, y in zip(IDS[:10], YIELD, strict=False)}),
        suggested(("1-1", IDS[20])),
    )  # fmt: skip
    found = advice(state, fit(state))
    assert found.left == 29
    assert IDS[20] not in set(found.candidates["id"])


def test_no_open_candidate_means_stop():
    state, _ = campaign(shuffled(), measured(some(SIZE)))
    found = advice(state, fit(state))
    assert (found.decision, found.left, found.gain) == ("stop", 0, 0)
    assert found.candidates.empty


def test_only_failures_mean_go_on():
    state, _ = campaign(
        shuffled(), recorded(("a", "r1", "failed"), ("b", "r2", "failed")), failed_as=0.0
    )
    found = advice(state, fit(state))
    assert found.decision == "go on"
    assert found.quiet == 2


def test_minimizing_is_maximizing_upside_down():
    values = some(12)
    up, _ = campaign(shuffled(), measured(values))
    down, _ = campaign(
        shuffled(), measured({i: -v for i, v in values.items()}), goal=Goal(kind="minimize")
    )
    above, below = advice(up, fit(up)), advice(down, fit(down))
    assert below.gain == pytest.approx(above.gain)
    assert below.candidates["id"].tolist() == above.candidates["id"].tolist()
    assert below.candidates["mean"].tolist() == pytest.approx((-above.candidates["mean"]).tolist())


def test_a_model_that_hears_only_noise_does_not_advise_to_stop():
    values = np.random.default_rng(5).normal(size=30)
    state, _ = campaign(
        shuffled(), recorded(*((f"{i}", IDS[i % 10], v) for i, v in enumerate(values)))
    )
    found = advice(state, fit(state))
    assert found.sentence.startswith("Go on: the model takes most differences")
