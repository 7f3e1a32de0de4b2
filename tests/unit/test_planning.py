"""What is suggested, and why: on a made-up reaction whose best conditions are known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from campaigns import campaign, measured, recorded
from gollum.acquisition.batch import batch_improvement, select
from gollum.acquisition.scoring import Aim
from gollum.analysis.cross_validation import folds
from gollum.campaign.calibration import left_out, variance_inflation
from gollum.campaign.events import Avoided, Goal, Request, Suggested
from gollum.campaign.explain import intent, main_effects, neighbours
from gollum.campaign.planning import has_enough, propose, stream_of, surrogate_of
from gollum.campaign.requests import asked_for, open_batch
from gollum.campaign.state import Logged, State
from gollum.errors import DataError, UserError
from gollum.surrogates.base import fit_to

LIGAND = {"XPhos": 30.0, "SPhos": 20.0, "dppf": 0.0, "PPh3": 5.0}
BASE = {"K3PO4": 10.0, "Cs2CO3": 5.0, "Et3N": 0.0}
GRID = [(x, b, t) for x in LIGAND for b in BASE for t in (40, 60, 80, 100)]
TABLE = pd.DataFrame(
    GRID, columns=["ligand", "base", "temperature_C"], index=[f"r{i + 1}" for i in range(48)]
).rename_axis("id")
YIELD = {
    i: LIGAND[x] + BASE[b] + 20 - 0.01 * (t - 80) ** 2
    for i, (x, b, t) in zip(TABLE.index, GRID, strict=True)
}
TEMPLATE = "{ligand}, {base}, {temperature_C} °C"


def learn(surrogate, state):
    """As suggestions do."""
    ids, values = state.observations()
    utility = state.scale().utility(values)
    return fit_to(surrogate, ids, utility, stream_of(state), state.extents())


def begun(*events, table=TABLE, **created):
    """A campaign on the grid with the one-hot surrogate, which needs no language model."""
    state, log = campaign(table, *events, surrogate="one_hot", template=TEMPLATE, **created)
    return state, log


def after(log, *events, table=TABLE):
    """The state and log after more events."""
    more = [
        Logged(len(log) + i, "2026-03-02T00:00:00+00:00", "0.1.0", event)
        for i, event in enumerate(events, start=1)
    ]
    return State.of([*log, *more], lambda _: table), [*log, *more]


def some(count=12, seed=0):
    ids = np.random.default_rng(seed).choice(TABLE.index, count, replace=False)
    return {str(i): YIELD[i] for i in ids}


def ids(event: Suggested):
    return [s.id for s in event.suggestions]


def test_without_results_the_first_design_tries_every_option():
    state, _ = begun()
    assert not has_enough(state)
    event = propose(state, 6)
    chosen = TABLE.loc[ids(event)]
    assert event.surrogate is None
    assert set(chosen["ligand"]) == set(LIGAND)
    assert set(chosen["base"]) == set(BASE)
    assert set(chosen["temperature_C"]) == {40, 60, 80, 100}
    assert [s.run for s in event.suggestions] == [f"b1-{i}" for i in range(1, 7)]
    assert all(s.mean is None and s.intent == "start" for s in event.suggestions)


def test_a_first_design_minds_no_formats_and_takes_the_middle_of_numbers():
    state, _ = campaign(TABLE, surrogate="one_hot", template="{ligand} at {temperature_C:.1f} °C")
    assert len(propose(state, 5).suggestions) == 5
    grid = [(x, t) for x in LIGAND for t in (20, 50, 100)]  # as texts, 20 would be in the middle
    table = pd.DataFrame(grid, columns=["ligand", "temperature_C"])
    table.index = pd.Index([f"r{i}" for i in range(12)], name="id")
    state, _ = campaign(table, surrogate="one_hot", template="{ligand}")
    event = propose(state, 4, request=Request(same=("temperature_C",)))
    assert set(table.loc[ids(event), "temperature_C"]) == {50}


def test_with_results_the_best_conditions_are_found():
    results = some()
    best = max(YIELD, key=YIELD.__getitem__)
    results.pop(best, None)
    found = False
    for _ in range(6):
        state, _ = begun(measured(results))
        event = propose(state, 4)
        found = found or best in ids(event)
        results |= {i: YIELD[i] for i in ids(event)}
    assert found


def test_predictions_are_those_of_the_fitted_process():
    state, _ = begun(measured(some()))
    event = propose(state, 3)
    fitted = learn(surrogate_of(state), state)
    mean, variance = fitted.posterior(ids(event))
    wider = event.fit["widening"] ** 2
    noisy = wider * (variance + fitted.noise * fitted.scale.square())
    for i, s in enumerate(event.suggestions):
        np.testing.assert_allclose(s.mean, mean[i].item())
        np.testing.assert_allclose(s.high - s.low, 2 * 1.959964 * noisy[i].item() ** 0.5, rtol=1e-6)
    best = max(some().values())
    z = (mean[0].item() - best) / (wider * variance[0].item()) ** 0.5
    np.testing.assert_allclose(event.suggestions[0].chance, norm.cdf(z), rtol=1e-6)


def test_intervals_are_widened_until_they_hold_what_was_left_out():
    state, _ = begun(measured(some(20)))
    surrogate = surrogate_of(state)

    class Overconfident:
        """The same predictions with deviations a tenth as large."""

        def fit(self, *arguments):
            fitted = surrogate.fit(*arguments)
            noise = fitted.noise / 100

            def posterior(ids):
                mean, variance = fitted.posterior(ids)
                return mean, variance / 100

            return SimpleNamespace(posterior=posterior, noise=noise, scale=fitted.scale)

    ticks = []
    part = folds(state.observations()[0], 0, exact=10, parts=10)
    spread = state.observations()[1].std(ddof=1)
    mean, deviation = left_out(surrogate, state, part, lambda: None, spread=spread)
    z = (state.observations()[1] - mean) / deviation
    own = float(np.sqrt(np.mean(z**2)))
    found = variance_inflation(surrogate, state, lambda *n: ticks.append(n))
    assert found == pytest.approx(max(1, own))
    found = variance_inflation(Overconfident(), state, lambda *_: None)
    assert found == pytest.approx(10 * own, rel=1e-6)
    assert ticks == [(i, 10) for i in range(1, 11)]
    few, _ = begun(measured(some(3)))
    assert variance_inflation(surrogate, few, lambda *_: None) == 1.0


def test_a_lone_hit_does_not_blow_the_intervals_up():
    results = dict.fromkeys(list(some(9)), 0.0)
    hit = next(iter(results))
    for value in (80.0, 0.8):
        state, _ = begun(measured(results | {hit: value}))
        assert variance_inflation(surrogate_of(state), state, lambda *_: None) < 3


def test_of_repeats_the_mean_has_to_be_beaten():
    runs = [("a", "r1", 95.0), ("b", "r1", 55.0), ("c", "r2", 80.0), ("d", "r2", 80.0)]
    state, _ = begun(recorded(*runs))
    fitted = learn(surrogate_of(state), state)
    best = Aim("log_ei").best(fitted) * fitted.scale + fitted.location
    assert best.item() == pytest.approx(80.0)


def test_avoiding_does_not_change_what_was_learned():
    state, log = begun(measured(some()))
    before = learn(surrogate_of(state), state)
    state, _ = after(log, Avoided(column="ligand", values=("dppf",)))
    again = learn(surrogate_of(state), state)
    assert before.report.hyperparameters == again.report.hyperparameters


def test_a_withdrawn_suggestion_that_was_done_anyway_is_not_pending():
    state, log = begun(measured(some()))
    first = propose(state, 3)
    state, log = after(log, first)
    again = propose(state, 3, fresh=True)
    state, log = after(log, again)
    done = first.suggestions[0]
    state, _ = after(log, recorded((done.run, done.id, 50.0)))
    assert done.id not in {p.suggestion.id for p in state.pending()}
    assert len(state.pending()) == 2


def test_minimizing_mirrors_maximizing():
    results = some()
    up, _ = begun(measured(results))
    down, _ = begun(measured({i: -v for i, v in results.items()}), goal=Goal(kind="minimize"))
    one, other = propose(up, 3), propose(down, 3)
    assert ids(one) == ids(other)
    for a, b in zip(one.suggestions, other.suggestions, strict=True):
        np.testing.assert_allclose((a.mean, a.low, a.high), (-b.mean, -b.high, -b.low))
        np.testing.assert_allclose(a.chance, b.chance)


def test_a_target_is_approached_from_both_sides():
    results = some(16)
    state, _ = begun(measured(results), goal=Goal(kind="target", target=35.0))
    event = propose(state, 4)
    off = [abs(YIELD[i] - 35.0) for i in ids(event)]
    everything = [abs(v - 35.0) for v in YIELD.values()]
    assert np.mean(off) < np.quantile(everything, 0.3)
    assert all(s.chance is not None and 0 <= s.chance <= 1 for s in event.suggestions)


def test_the_same_knowledge_gives_the_same_suggestions():
    state, _ = begun(measured(some()))
    assert propose(state, 5).suggestions == propose(state, 5).suggestions


def test_an_extended_batch_keeps_what_it_had_and_minds_it():
    state, log = begun(measured(some()))
    first = propose(state, 3)
    state, log = after(log, first)
    assert [p.suggestion.id for p in open_batch(state)] == ids(first)
    more = propose(state, 5, extends=True)
    assert len(more.suggestions) == 2
    assert [s.run for s in more.suggestions] == ["b1-4", "b1-5"]
    assert not set(ids(more)) & set(ids(first))
    state, log = after(log, more)
    state, _ = after(log, measured({ids(first)[0]: YIELD[ids(first)[0]]}))
    assert open_batch(state) == []
    assert len(state.pending()) == 5  # answered under its id, not under its run


def test_fresh_suggestions_may_take_up_what_was_withdrawn():
    state, log = begun(measured(some()))
    first = propose(state, 3)
    state, log = after(log, first)
    again = propose(state, 3, fresh=True)
    assert set(ids(again)) == set(ids(first))
    state, _ = after(log, again)
    assert {p.suggestion.run for p in state.pending()} == {s.run for s in again.suggestions}


@pytest.mark.parametrize("results", [{}, some()])
def test_limits_hold(results):
    state, _ = begun(*([measured(results)] if results else []))
    begin = [measured(results)] if results else []
    event = propose(state, 6, request=Request(at_most={"ligand": 2}, same=("temperature_C",)))
    assert len(event.suggestions) == 6
    state, _ = begun(*begin, event)
    more = propose(state, 10, request=event.request, extends=True)
    chosen = TABLE.loc[ids(event) + ids(more)]
    assert chosen["ligand"].value_counts().tolist() == [2, 2, 2, 2]
    assert chosen["temperature_C"].nunique() == 1
    state, _ = begun(*begin, event, more)
    with pytest.raises(UserError, match="no candidate meets the limits"):
        propose(state, 10, request=event.request, extends=True)
    alone = Request(same=("ligand", "base", "temperature_C"))
    state, log = begun(*begin)
    one = propose(state, 1, request=alone)
    state, _ = after(log, one)
    with pytest.raises(UserError, match="no further candidate has"):
        propose(state, 2, request=alone, extends=True)


def test_the_shared_value_is_the_one_with_the_better_batch():
    state, _ = begun(measured(some(20)))
    event = propose(state, 4, request=Request(same=("temperature_C",)))
    chosen = TABLE.loc[ids(event), "temperature_C"]
    assert chosen.nunique() == 1
    aim, fitted = Aim("q_log_ei"), learn(surrogate_of(state), state)
    stream = (0, state.learned, state.sequence)
    gains = {}
    for value, rows in TABLE.groupby("temperature_C").groups.items():
        free = fitted.pool.positions([i for i in rows if state.open()[TABLE.index.get_loc(i)]])
        batch = select(fitted, free, aim=aim, batch_size=4, seed=stream)
        gains[value] = batch_improvement(fitted, fitted.pool.positions(batch.ids), aim, stream)
    assert chosen.iloc[0] == max(gains, key=gains.__getitem__)


def test_cost_makes_cheap_experiments_win():
    costs = pd.Series(np.where(TABLE["ligand"] == "XPhos", 1000.0, 1.0), index=TABLE.index)
    table = TABLE.assign(price=costs)
    state, _ = begun(measured(some(16)), table=table, cost="price")
    free = propose(state, 4)
    frugal = propose(state, 4, request=Request(cost_weight=1.0))
    assert "XPhos" in set(TABLE.loc[ids(free), "ligand"])
    assert "XPhos" not in set(TABLE.loc[ids(frugal), "ligand"])
    hot = TABLE.assign(price=np.where(TABLE["temperature_C"] == 80, 1000.0, 1.0))
    state, _ = begun(measured(some(16)), table=hot, cost="price")
    plate = propose(state, 3, request=Request(same=("temperature_C",), cost_weight=1.0))
    assert 80 not in set(TABLE.loc[ids(plate), "temperature_C"])


def test_what_can_t_be_asked():
    state, _ = begun(measured(some()))
    for limits, sentence in (
        (({"ligant": 1}, (), 0.0), "'ligant'.*'ligand'"),
        (({"ligand": 0}, (), 0.0), "1, 2 … times"),
        (({"ligand": 1.5}, (), 0.0), "1, 2 … times"),
        (({}, "bass", 0.0), "'bass'.*'base'"),
        (({}, (), 1.0), "no costs"),
        (({}, (), -1.0), "from 0 on"),
        (({}, (), float("nan")), "from 0 on"),
    ):
        with pytest.raises(UserError, match=sentence):
            asked_for(state, *limits)
    assert asked_for(state, {}, "base", 0.0).same == ("base",)
    state, _ = begun(measured(YIELD))
    with pytest.raises(DataError, match="no candidate is left"):
        propose(state, 1)


def test_effects_are_those_of_the_made_up_reaction():
    state, _ = begun(measured(some(20)))
    found = main_effects(state, np.array([YIELD[i] for i in TABLE.index]))
    ligands = found.table[found.table["column"] == "ligand"].set_index("value")["effect"]
    mean = np.mean(list(LIGAND.values()))
    for name, value in LIGAND.items():
        np.testing.assert_allclose(ligands[name], value - mean)
    row = TABLE.index.get_loc("r1")
    effects = found.effects(row)
    assert effects[0].column == "ligand"
    assert abs(effects[0].effect) >= abs(effects[-1].effect)
    counts = found.table[found.table["column"] == "base"]["measured"].sum()
    assert counts == 20


def test_effects_are_those_at_otherwise_equal_conditions():
    """Only the good ligands are tried at 80, which does nothing beside 20."""
    rows = [(x, t, b) for x in "ABCD" for t in (20, 50, 80) for b in "ab" if t < 80 or x in "CD"]
    table = pd.DataFrame(rows, columns=["ligand", "t", "base"])
    table["phosphine"] = table["ligand"].isin(["C", "D"])  # follows from the ligand
    table.index = pd.Index([f"x{i}" for i in range(len(table))], name="id")
    state, _ = campaign(table.astype({"phosphine": str}), surrogate="one_hot")
    good = table["ligand"].map({"A": 0, "B": 10, "C": 40, "D": 50})
    predicted = (good + table["t"].map({20: 0, 50: 5, 80: 0})).to_numpy(dtype=float)
    found = main_effects(state, predicted).table.set_index(["column", "value"])["effect"]
    for value, of in (("20", 0), ("50", 5)):
        np.testing.assert_allclose(found["t", value] - found["t", "80"], of, atol=1e-6)
    np.testing.assert_allclose(found["ligand", "D"] - found["ligand", "A"], 50, atol=1e-6)
    assert found["phosphine", "True"] - found["phosphine", "False"] == pytest.approx(40)
    np.testing.assert_allclose(found["base"], 0, atol=1e-6)


def test_columns_that_differ_in_most_rows_have_no_effects():
    table = TABLE.assign(name=[f"molecule {i}" for i in range(48)])
    state, _ = begun(table=table)
    found = main_effects(state, np.arange(48.0))
    assert "name" not in set(found.table["column"])
    alone = pd.DataFrame({"name": list("abcd")}, index=pd.Index(list("wxyz"), name="id"))
    state, _ = campaign(alone, surrogate="one_hot", template="{name}")
    assert main_effects(state, np.arange(4.0)).effects(2) == ()


def test_neighbours_are_measured_and_sorted():
    state, _ = begun(measured(some()))
    fitted = learn(surrogate_of(state), state)
    found = neighbours(state, fitted, 0)
    assert 1 <= len(found) <= 3
    assert all(n.id in some() and n.value == pytest.approx(some()[n.id]) for n in found)
    assert [n.similarity for n in found] == sorted((n.similarity for n in found), reverse=True)


def test_intent_by_distance_from_the_best():
    assert intent([9.9, 9.0, 5.0], [1.0, 1.0, 1.0], 10.0) == ["exploit", "balance", "explore"]
