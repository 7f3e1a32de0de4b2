"""Limits of further outcomes and several objectives: BoTorch and sampling as oracles."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from botorch.acquisition.analytic import LogConstrainedExpectedImprovement
from botorch.models import ModelList
from botorch.utils.multi_objective.hypervolume import Hypervolume
from scipy.stats import norm

from gollum.acquisition import several as module
from gollum.acquisition.batch import batch_improvement, select
from gollum.acquisition.limits import Limits
from gollum.acquisition.model_based import ModelBased, constraint_of
from gollum.acquisition.scoring import Aim, Constraint, score
from gollum.acquisition.several import Several, select_several
from gollum.acquisition.strategy import BatchRequest, Observed
from gollum.data.outcomes import Goal, Outcome, Scale
from gollum.errors import ConfigError
from gollum.features.base import FixedFeatures
from gollum.settings import Settings
from gollum.surrogates.gaussian_process import GaussianProcess
from gollum.surrogates.positions import PositionModel
from helpers import CPU, make_pool

N, TRAIN = 60, 14
FEATURES = np.random.default_rng(0).normal(size=(N, 2))
TRUTH = {
    "yield": 50 + 12 * np.sin(FEATURES[:, 0]) + 6 * FEATURES[:, 1],
    "ee": 85 + 8 * np.cos(FEATURES[:, 0]) - 5 * FEATURES[:, 1],
    "cost": 20 + 6 * FEATURES[:, 0] ** 2 + 3 * FEATURES[:, 1],
    "time": 3 + np.abs(FEATURES[:, 1]),
}
POOL = make_pool(N, values=TRUTH["yield"])
SURROGATE = GaussianProcess(POOL, FixedFeatures(FEATURES), Settings(), CPU)
IDS = list(POOL.ids[:TRAIN])
REST = np.arange(TRAIN, N)


def observed(name, goal="maximize", ids=IDS, **details):
    outcome = Outcome(name=name, goal=Goal.of(goal), **details)
    values = TRUTH[name][POOL.positions(ids)]
    return Observed(outcome, ids, values, outcome.scale(values))


FITS = {}


def fit(one):
    key = (one.outcome.name, one.scale, len(one.ids))
    if key not in FITS:
        FITS[key] = SURROGATE.fit(one.ids, one.utility, (0, 1))
    return FITS[key]


def limit(name, goal):
    one = observed(name, goal)
    return constraint_of(one, fit(one))


def several(*ones, limits=()):
    return Several.of(ones, [fit(one) for one in ones], [limit(*one) for one in limits])


def request(count=4, rows=REST, **options):
    return BatchRequest(count, rows, ties=(0, 1), **options)


def test_one_at_a_time_it_is_botorchs_constrained_log_ei():
    first = observed("yield")
    fitted, ee = fit(first), limit("ee", "range=80:92")
    aim = Aim.of(fitted, "log_ei", constraints=(ee,))
    models = ModelList(PositionModel(fitted), PositionModel(ee.fitted))
    held = (TRUTH["ee"][:TRAIN] >= 80) & (TRUTH["ee"][:TRAIN] <= 92)
    best = torch.tensor(TRUTH["yield"][:TRAIN][held].max())
    theirs = LogConstrainedExpectedImprovement(models, best, 0, {1: (80.0, 92.0)})
    expected = theirs(torch.tensor(REST, dtype=torch.float64).view(-1, 1, 1))
    found = score(fitted, REST, aim) + fitted.scale.log()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_limits_that_always_hold_change_nothing():
    fitted = fit(observed("yield"))
    loose = limit("ee", "at-least=-1000")
    for criterion in ("log_ei", "q_log_ei"):
        plain, bound = (
            select(fitted, REST, aim=Aim.of(fitted, criterion, constraints=limits), batch_size=4,
                   seed=(0,), pending=np.array([20]))
            for limits in ((), (loose,))
        )  # fmt: skip
        assert plain.ids == bound.ids


@pytest.mark.parametrize("goal", ["at-least=88", "at-most=85", "range=84:90"])
def test_a_batch_is_worth_what_sampling_says(goal):
    """The joint gain of one more is that of the batch with it less that without."""
    fitted, ee = fit(observed("yield")), limit("ee", goal)
    aim = Aim.of(fitted, "q_log_ei", constraints=(ee,))
    chosen = select(fitted, REST, aim=aim, batch_size=3, seed=(3,))
    rows = POOL.positions(chosen.ids)
    gains = np.exp(chosen.scores)
    whole = [batch_improvement(fitted, rows[: k + 1], aim, (0, k)) for k in range(3)]
    np.testing.assert_allclose(np.cumsum(gains), whole, rtol=0.15, atol=2e-3)


def test_while_no_limit_is_met_the_chance_to_meet_it_decides():
    fitted, far = fit(observed("yield")), limit("ee", "at-least=99")
    aim = Aim.of(fitted, "log_ei", constraints=(far,))
    merits = (fitted.utility - fitted.location) / fitted.scale
    assert aim.best(fitted) == pytest.approx(merits.min().item() - 1.0)
    chosen = select(fitted, REST, aim=aim, batch_size=1, seed=(0,))
    chance = far.log_chance(*far.fitted.standardised(REST))
    place = int(np.flatnonzero(POOL.positions(chosen.ids)[0] == REST)[0])
    assert chance[place] >= chance.quantile(0.9)


def test_log_chances_keep_their_digits():
    constraint = Constraint(fit(observed("ee")), None, None)
    edge = replace(constraint, low=constraint.fitted.location.item())
    mean = torch.tensor([-30.0, 0.0, 30.0]).double()
    found = edge.log_chance(mean, torch.ones(3).double())
    np.testing.assert_allclose(found, norm.logcdf(mean.numpy()), rtol=1e-9)
    assert constraint.log_chance(mean, torch.ones(3).double()).abs().max() < 1e-12
    span = replace(edge, high=(constraint.fitted.location + constraint.fitted.scale).item())
    exact = norm.logsf(30.0) + np.log1p(-np.exp(norm.logsf(31.0) - norm.logsf(30.0)))
    assert span.log_chance(mean, torch.ones(3).double())[0] == pytest.approx(exact, rel=1e-9)


def test_a_criterion_without_logarithms_knows_no_limits():
    with pytest.raises(ConfigError, match="'ei' has no limits; use log_ei or q_log_ei"):
        Aim.of(fit(observed("yield")), "ei", constraints=(limit("ee", "at-least=90"),))


def test_limits_by_a_model_of_minus_the_value():
    one = observed("cost", "at-most=25")
    assert one.scale.sign == -1.0
    found = constraint_of(one, fit(one))
    assert (found.low, found.high) == (-25.0, None)
    assert found.known(np.arange(TRAIN)).tolist() == (TRUTH["cost"][:TRAIN] <= 25).tolist()
    assert not found.known(np.array([N - 1])).any()  # not measured


@pytest.mark.parametrize(
    ("ones", "by"),
    [
        ([("yield",), ("cost", "minimize")], "hypervolume"),
        ([("yield",), ("ee", "target=90"), ("cost", "minimize"), ("time", "minimize")],
         "scalarization"),
    ],
)  # fmt: skip
def test_a_front_grows_by_what_is_chosen(ones, by):
    made = several(*(observed(*one) for one in ones))
    assert made.by == by
    chosen, scores, notes = select_several(made, request(5), (0, 1))
    assert len(set(chosen)) == 5
    assert set(chosen) <= set(REST)
    assert np.isfinite(scores).all()
    assert notes == ()
    assert select_several(made, request(5), (0, 1))[0] == chosen

    def volume(rows):
        goals = [one.outcome.goal for one in made.objectives]
        names = [one.outcome.name for one in made.objectives]
        merits = np.stack([g.merit(TRUTH[n][rows]) for g, n in zip(goals, names, strict=True)], 1)
        return Hypervolume(torch.tensor(made.reference(REST))).compute(torch.tensor(merits))

    known = np.arange(TRAIN)
    gained = volume(np.append(known, chosen)) - volume(known)
    rng = np.random.default_rng(0)
    chance = [volume(np.append(known, rng.choice(REST, 5, False))) - volume(known)
              for _ in range(40)]  # fmt: skip
    assert gained > np.median(chance)


def test_order_of_the_candidates_does_not_matter_and_pending_ones_count():
    made = several(observed("yield"), observed("cost", "minimize"))
    chosen, *_ = select_several(made, request(3), (0, 1))
    shuffled, *_ = select_several(made, request(3, rows=REST[::-1].copy()), (0, 1))
    assert chosen == shuffled
    pending = np.array(chosen[:1])
    rows = np.setdiff1d(REST, pending)
    others, *_ = select_several(made, request(2, rows=rows, pending=pending), (0, 1))
    assert len(set(others) & set(chosen[1:])) >= 1


def test_few_candidates_are_compared_as_a_batch(monkeypatch):
    made = several(observed("yield"), observed("cost", "minimize"))
    whole, *_ = select_several(made, request(2), (0, 1))
    monkeypatch.setattr(module, "SHORTLIST", 20)
    part, _, notes = select_several(made, request(2), (0, 1))
    assert part == whole
    assert "20 of 46 candidates, those that bring most by themselves" in notes[0]


def test_limits_hold_in_a_front():
    made = several(observed("yield"), observed("cost", "minimize"), limits=[("ee", "at-least=88")])
    assert made.allowed.tolist() == (TRUTH["ee"][:TRAIN] >= 88).tolist()
    chosen, *_ = select_several(made, request(4), (0, 1))
    free, *_ = select_several(several(*made.objectives), request(4), (0, 1))
    assert TRUTH["ee"][chosen].mean() > TRUTH["ee"][free].mean()


def test_weights_pull_a_batch():
    def best(weights):
        ones = [
            observed("yield", bounds=(0, 100), weight=weights[0]),
            observed("cost", "minimize", bounds=(0, 60), weight=weights[1]),
        ]
        made = several(*ones)
        assert made.by == "desirability"
        chosen, *_ = select_several(made, request(4), (0, 1))
        return TRUTH["yield"][chosen].mean(), TRUTH["cost"][chosen].mean()

    dear, cheap = best((20.0, 1.0)), best((1.0, 20.0))
    assert dear[0] > cheap[0]
    assert dear[1] > cheap[1]


def test_chances_to_join_the_front():
    made = several(observed("yield"), observed("cost", "minimize"))
    rows = REST[:3]
    rng = np.random.default_rng(0)
    found = made.chances(rows)
    for i, row in enumerate(rows):
        draws = []
        for model in made.models:
            mean, variance = (x.item() for x in model.marginals(np.array([row])))
            draws.append(rng.normal(mean, variance**0.5, 20000))
        merits = np.stack(draws, 1)  # both utilities are merits, as nothing is bounded
        free = ~(made.front[:, None] >= merits).all(-1).any(0)
        assert found[i] == pytest.approx(free.mean(), abs=0.02)


def test_limits_of_a_batch_and_shared_columns():
    made = several(observed("yield"), observed("cost", "minimize"))
    group = np.arange(N) % 3
    limits = Limits(((group.astype(np.int64), 1),))
    chosen, *_ = select_several(made, request(5, limits=limits), (0, 1))
    assert sorted(group[chosen].tolist()) == [0, 1, 2]
    chosen, *_ = select_several(made, request(4, shared=(group.astype(np.int64),)), (0, 1))
    assert len(set(group[chosen].tolist())) == 1
    penalties = np.zeros(N)
    penalties[chosen] = 1e6
    other, *_ = select_several(made, request(4, penalties=penalties), (0, 1))
    assert not set(other) & set(chosen)


def test_bounded_samples_stay_inside():
    one = observed("yield", bounds=(0.0, 55.0))
    logit = Observed(one.outcome, one.ids, one.values, Scale("logit", (0.0, 80.0)))
    made = several(logit, observed("cost", "minimize", bounds=(0.0, None)))
    merits = made.merits(10 * torch.randn(50, 2).double())
    assert merits[:, 0].min() >= 0
    assert merits[:, 0].max() <= 80
    assert merits[:, 1].max() <= 0


def test_an_outcome_without_results_plays_no_part_yet():
    strategy = ModelBased(POOL, lambda: SURROGATE, "q_log_ei")
    first, blank = observed("yield"), observed("cost", "minimize", ids=[])
    one = observed("ee", "at-least=80", ids=IDS[:9])
    wanted = request(3, outcomes=(first, blank, one))
    chosen = strategy.choose(first.ids, first.utility, wanted, (0, 1))
    assert list(chosen.others) == ["ee"]
    assert [str(n) for n in chosen.notes if n.code == "unknown-outcome"] == [
        "'cost' has no result so far; what is wanted of it plays no part yet."
    ]
    alone = strategy.choose(first.ids, first.utility, request(3, outcomes=(first, one)), (0, 1))
    assert alone.ids == chosen.ids


def test_results_of_different_experiments_are_enough(monkeypatch):
    first = observed("yield", ids=IDS[:8])
    second = observed("cost", "minimize", ids=IDS[8:])
    for more in ((), (observed("ee"), observed("time", "minimize"))):
        made = several(first, second, *more)
        assert len(made.known[0]) == 0
        monkeypatch.setattr(module, "SHORTLIST", 30)
        chosen, *_ = select_several(made, request(2), (0, 1))
        assert len(chosen) == 2


def test_what_is_known_exactly_is_scored_without_a_warning(monkeypatch):
    """The suite turns warnings into errors."""
    made = several(observed("yield"), observed("cost", "minimize"))
    rows = np.arange(TRAIN, TRAIN + 3)
    known = [(mean, 0.0 * variance) for mean, variance in made.moments(rows)]
    monkeypatch.setattr(type(made), "moments", lambda self, rows: known)
    (gain,) = made.alone(rows, [], np.array([-5.0, -5.0]))
    assert gain.isfinite().all()
