"""Targets, limits, pending experiments and costs in the choice of a batch."""

import numpy as np
import pytest
import torch
from botorch.acquisition import qLogExpectedImprovement
from botorch.sampling import SobolQMCNormalSampler
from scipy.integrate import quad
from scipy.stats import norm

from gollum.acquisition import batch
from gollum.acquisition.batch import batch_improvement, select
from gollum.acquisition.design import representative
from gollum.acquisition.limits import Limits
from gollum.acquisition.scoring import Aim, score
from gollum.errors import ConfigError, DataError
from gollum.features.base import FixedFeatures
from gollum.settings import Settings
from gollum.surrogates.gaussian_process import GaussianProcess
from helpers import CPU, make_pool

N, TRAIN = 60, 12


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(N, 3))
    values = features[:, 0] + np.sin(2 * features[:, 1]) + 0.3 * rng.normal(size=N)
    pool = make_pool(N, values=5.0 + 3.0 * values)
    surrogate = GaussianProcess(pool, FixedFeatures(features), Settings(), CPU)
    return surrogate.fit(pool.ids[:TRAIN], pool.utility[:TRAIN], (0,))


REST = np.arange(TRAIN, N)


def pick(fitted, size=4, rows=REST, criterion="q_log_ei", target=None, **options):
    aim = Aim.of(fitted, criterion, target)
    return select(fitted, rows, aim=aim, batch_size=size, seed=(0,), **options)


def expected_decrease(mean, sigma, target, distance):
    def gain(f):
        return (distance - abs(f - target)) * norm.pdf(f, mean, sigma)

    return quad(gain, target - distance, target + distance, points=[target], epsabs=0)[0]


@pytest.mark.parametrize("mean", [-3.0, -0.2, 0.0, 0.4, 1.7, 6.0])
@pytest.mark.parametrize("distance", [1e-3, 0.3, 2.0])
def test_improvement_towards_a_target_is_its_integral(mean, distance):
    sigma, target = 0.8, 0.5
    aim = Aim("log_ei", target)
    value = aim.values(
        torch.tensor([mean], dtype=torch.float64),
        torch.tensor([sigma**2], dtype=torch.float64),
        torch.tensor(-distance, dtype=torch.float64),
    )
    integral = expected_decrease(mean, sigma, target, distance)
    np.testing.assert_allclose(value.exp().item(), integral, rtol=1e-6)


def test_chance_towards_a_target_is_the_probability_of_its_neighbourhood():
    aim = Aim("log_ei", 0.5)
    mean, variance = torch.tensor([[0.1, 2.0], [0.25, 1.0]], dtype=torch.float64)
    chance = aim.chance(mean, variance, torch.tensor(-0.3, dtype=torch.float64))
    for found, m, v in zip(chance, mean, variance, strict=True):
        law = norm(m.item(), v.item() ** 0.5)
        np.testing.assert_allclose(found.item(), law.cdf(0.8) - law.cdf(0.2), rtol=1e-12)


def test_hopeless_candidates_are_still_ordered():
    aim = Aim("log_ei", 0.0)
    mean = torch.tensor([60.0, 50.0, 400.0], dtype=torch.float64)
    value = aim.values(mean, torch.ones(3, dtype=torch.float64), torch.tensor(-0.5).double())
    assert value.isfinite().all()
    assert value.argsort(descending=True).tolist() == [1, 0, 2]


def test_a_hit_target_leaves_nothing_to_gain():
    aim = Aim("log_ei", 0.0)
    value = aim.values(torch.zeros(1).double(), torch.ones(1).double(), torch.tensor(0.0).double())
    assert value.item() < -600


def test_a_batch_towards_a_target_straddles_it(fitted):
    target = float(fitted.utility.median())
    chosen = pick(fitted, 5, target=target)
    assert len(set(chosen.ids)) == 5
    far = np.abs(fitted.posterior(fitted.pool.ids[REST])[0].numpy() - target)
    near = np.abs(np.array(chosen.means) - target)
    assert near.mean() < np.median(far)


def test_only_logarithmic_criteria_know_targets(fitted):
    with pytest.raises(ConfigError, match="no target"):
        Aim.of(fitted, "ucb", 5.0)


def test_pending_experiments_are_not_repeated_in_other_words(fitted):
    alone = pick(fitted, 1)
    first = fitted.pool.positions(alone.ids)
    others = np.setdiff1d(REST, first)
    both = pick(fitted, 2)
    given = pick(fitted, 1, rows=others, pending=first)
    believed = pick(fitted, 1, rows=others, criterion="log_ei", pending=first)
    assert given.ids[0] == both.ids[1]
    # A believer's choice is the best under the process given the pending mean.
    mean, _ = fitted.marginals(first)
    assumed = fitted.condition(alone.ids, mean)
    values = score(assumed, others, Aim("log_ei"))
    assert believed.ids[0] == fitted.pool.ids[others[values.argmax()]]


def test_a_batch_extended_is_the_larger_batch(fitted):
    whole = pick(fitted, 6)
    held = fitted.pool.positions(whole.ids[:3])
    rest = pick(fitted, 3, rows=np.setdiff1d(REST, held), pending=held)
    assert whole.ids[3:] == rest.ids


@pytest.mark.parametrize("criterion", ["log_ei", "q_log_ei"])
def test_limits_hold_and_end_a_batch(fitted, criterion):
    group = np.arange(N) % 3
    chosen = pick(fitted, 10, criterion=criterion, limits=Limits(((group, 2),)))
    counts = np.bincount(group[fitted.pool.positions(chosen.ids)], minlength=3)
    assert counts.tolist() == [2, 2, 2]
    taken = Limits(((group, 2),), taken=(0, 3))  # group 0 is full
    chosen = pick(fitted, 10, criterion=criterion, limits=taken)
    assert set(group[fitted.pool.positions(chosen.ids)]) == {1, 2}
    with pytest.raises(DataError):
        pick(fitted, 1, limits=Limits(((np.zeros(N, dtype=np.int64), 1),), taken=(0,)))


def test_costs_divide_the_expected_improvement(fitted):
    values = score(fitted, REST, Aim("q_log_ei")).numpy()
    costs = np.random.default_rng(0).uniform(1, 50, N)
    chosen = pick(fitted, 1, penalties=np.log(costs))
    best = REST[np.argmax(np.exp(values) / costs[REST])]
    assert chosen.ids[0] == fitted.pool.ids[best]


def test_the_improvement_of_a_batch_is_botorchs(fitted):
    rows = np.array([20, 30, 41])
    ours = batch_improvement(fitted, rows, Aim("q_log_ei"), (0,))
    sampler = SobolQMCNormalSampler(torch.Size([4096]), seed=1)
    acquisition = qLogExpectedImprovement(fitted.model, fitted.utility.max(), sampler=sampler)
    exact = acquisition(fitted.features_at(rows)).exp().item() / fitted.scale.item()
    np.testing.assert_allclose(ours, exact, rtol=0.1)


def test_first_experiments_represent_the_pool():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])
    features = np.concatenate([c + rng.normal(size=(25, 2)) for c in centres] + [[[40, 40]]])
    rows = np.arange(len(features))
    chosen = representative(features, rows, 4, seed=1)
    assert sorted(row // 25 for row in chosen) == [0, 1, 2, 3]  # and not the outlier
    more = representative(features, rows, 2, seed=1, taken=np.array(chosen[:2]))
    assert {row // 25 for row in more} == {row // 25 for row in chosen[2:]}
    group = np.zeros(len(features), dtype=np.int64)
    assert len(representative(features, rows, 4, 1, limits=Limits(((group, 3),)))) == 3
    option = np.arange(len(features)) % 5
    even = representative(features, rows, 10, 1, options=[option])
    assert np.bincount(option[even]).tolist() == [2] * 5
    assert representative(features, rows[:2], 4, 1) in ([0, 1], [1, 0])


class Rough:
    """What is seen of a surrogate's cheaper form: a deviation of each value, and how often."""

    def __init__(self, fitted, off=0.05):
        self.fitted, self.off, self.asked = fitted, off, 0

    def __getattr__(self, name):
        return getattr(self.fitted, name)

    def standardised(self, rows):
        self.asked += len(rows)
        mean, variance = self.fitted.standardised(rows)
        return mean + self.off * torch.sin(1.0 * torch.as_tensor(rows)), variance


@pytest.fixture
def crowd(fitted, monkeypatch):
    """The surrogate with a cheaper form, where more than 20 candidates are very many."""
    monkeypatch.setattr(batch, "MANY", 20)
    monkeypatch.setattr(batch, "SHORTLIST", 12)
    monkeypatch.setattr(batch, "FOR_ONE", 6)
    monkeypatch.setattr(batch, "PER_EXPERIMENT", 2)
    rough = Rough(fitted)
    monkeypatch.setattr(type(fitted), "rough", property(lambda _: rough))
    return rough


@pytest.mark.parametrize("criterion", ["log_ei", "q_log_ei"])
def test_of_very_many_a_cheaper_form_finds_those_that_are_looked_at(crowd, fitted, criterion):
    chosen = pick(fitted, criterion=criterion)
    assert crowd.asked == len(REST)
    assert chosen == pick(fitted, criterion=criterion, screened=False)
    assert crowd.asked == len(REST)


def test_a_large_batch_is_chosen_among_more(crowd, fitted):
    assert len(pick(fitted, size=20).ids) == 20


def test_few_candidates_and_those_with_limits_are_all_asked_for(crowd, fitted):
    pick(fitted, rows=REST[:20])
    pick(fitted, limits=Limits(((np.arange(N) % 3, 2),)))
    assert crowd.asked == 0
