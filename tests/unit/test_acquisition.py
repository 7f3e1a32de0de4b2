import warnings

import numpy as np
import pytest
import torch
from botorch.acquisition import (
    ExpectedImprovement,
    LogExpectedImprovement,
    UpperConfidenceBound,
)
from botorch.exceptions.warnings import NumericsWarning
from botorch.models import SingleTaskGP
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from scipy.stats import norm

from gollum.acquisition import criteria
from gollum.acquisition.criteria import CRITERIA, UCB_BETA, MarginalModel, score, select
from gollum.errors import ConfigError, DataError
from gollum.features.base import FixedFeatures
from gollum.surrogates.base import Surrogate, break_ties
from gollum.surrogates.presets import VARIANTS, Settings
from helpers import CPU, make_pool

N, TRAIN = 40, 12


def fit(features=None, values=None, order=None, seed=0):
    """A Gaussian process on random features, given the first candidates c0 … c11."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N, 3)) if features is None else features
    noise = 0.5 * rng.normal(size=N)  # keeps the covariance well conditioned
    values = features[:, 0] + np.sin(2 * features[:, 1]) + noise if values is None else values
    pool = make_pool(N, values=5.0 + 3.0 * values)
    measured = pool.ids[:TRAIN]
    if order is not None:
        pool = type(pool)(pool.name, pool.table.iloc[order], "y", "maximize", pool.values[order])
        features = features[order]
    surrogate = Surrogate(pool, FixedFeatures(features), VARIANTS["one_hot"], Settings(), CPU)
    return surrogate.fit(measured, pool.utility[pool.positions(measured)], (0,))


@pytest.fixture(scope="module")
def fitted():
    return fit()


def rest(fitted):
    measured = set(fitted.pool.ids[fitted.rows])
    return [i for i in fitted.pool.ids if i not in measured]


def choose(fitted, candidates=None, criterion="log_ei", batch_size=1, seed=(0,)):
    ids = rest(fitted) if candidates is None else candidates
    return select(fitted, ids, criterion=criterion, batch_size=batch_size, seed=seed)


def in_units(fitted, criterion, values):
    """Scores of the standardised utility as scores in the units of the utility."""
    return {
        "ei": values * fitted.scale,
        "log_ei": values + fitted.scale.log(),
        "ucb": fitted.location + fitted.scale * values,
    }[criterion]


def scores_of(fitted, criterion):
    return in_units(fitted, criterion, score(fitted, rest(fitted), criterion))


def test_expected_improvement_is_the_closed_form(fitted):
    mean, variance = (part.numpy() for part in fitted.posterior(rest(fitted)))
    deviation = np.sqrt(variance)
    z = (mean - fitted.utility.max().item()) / deviation
    expected = deviation * (z * norm.cdf(z) + norm.pdf(z))
    np.testing.assert_allclose(scores_of(fitted, "ei"), expected, rtol=1e-8)
    log_expected = np.log(expected)
    sure = expected > 1e-6
    assert sure.any()
    np.testing.assert_allclose(
        scores_of(fitted, "log_ei").numpy()[sure], log_expected[sure], rtol=1e-8
    )


def test_a_large_offset_of_the_objective_does_not_blur_the_best_value():
    """Energies such as −123 456 789.01 need the best value in double precision."""
    plain = fit()
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, 3))
    values = (plain.pool.values + 1e8 - 5.0) / 3.0
    moved = fit(features, values)
    mean, variance = (part.numpy() for part in moved.posterior(rest(moved)))
    z = (mean - moved.utility.max().item()) / np.sqrt(variance)
    expected = np.sqrt(variance) * (z * norm.cdf(z) + norm.pdf(z))
    np.testing.assert_allclose(scores_of(moved, "ei"), expected, rtol=1e-4)
    assert choose(moved, criterion="ei").ids == choose(plain, criterion="ei").ids


def test_upper_confidence_bound_is_mean_plus_two_deviations(fitted):
    mean, variance = fitted.posterior(rest(fitted))
    assert UCB_BETA == 4.0
    torch.testing.assert_close(scores_of(fitted, "ucb"), mean + 2 * variance.sqrt())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("criterion", CRITERIA)
def test_scores_equal_botorchs_on_its_own_model(criterion, seed):
    fitted = fit(seed=seed)
    model, best = fitted.model, fitted.utility.max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericsWarning)
        theirs = {
            "ei": lambda: ExpectedImprovement(model, best),
            "log_ei": lambda: LogExpectedImprovement(model, best),
            "ucb": lambda: UpperConfidenceBound(model, beta=UCB_BETA),
        }[criterion]()
    with torch.no_grad():
        expected = theirs(fitted.features_of(rest(fitted)).unsqueeze(-2))
    ours = scores_of(fitted, criterion)
    torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-10)
    assert ours.argmax() == expected.argmax()
    assert choose(fitted, criterion=criterion).ids == (rest(fitted)[int(expected.argmax())],)


def test_ei_is_chosen_without_a_warning(fitted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CRITERIA["ei"](MarginalModel(fitted), torch.zeros((), dtype=torch.float64))


def test_marginal_model_has_the_shapes_of_a_botorch_model(fitted):
    model = MarginalModel(fitted)
    posterior = model.posterior(fitted.features.unsqueeze(1))
    assert (posterior.mean.shape, posterior.variance.shape) == ((N, 1, 1), (N, 1, 1))
    assert (model.num_outputs, model.batch_shape) == (1, torch.Size())


def test_selection_reports_score_mean_and_deviation(fitted):
    chosen = choose(fitted, batch_size=3)
    mean, variance = fitted.posterior(chosen.ids)
    assert chosen.means == pytest.approx(mean.tolist())
    assert chosen.deviations == pytest.approx(variance.sqrt().tolist())
    assert chosen.scores[0] == score(fitted, rest(fitted), "log_ei").max().item()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_batch_starts_with_the_single_choice_and_has_no_repeats(fitted, criterion):
    batch = choose(fitted, criterion=criterion, batch_size=6)
    assert len(set(batch.ids)) == len(batch.ids) == len(batch.scores) == 6
    assert batch.ids[:1] == choose(fitted, criterion=criterion).ids
    assert set(batch.ids) <= set(rest(fitted))


def believed(fitted, features, utility, points):
    """Mean and variance at points by BoTorch, with the fitted numbers and other data."""
    numbers = fitted.report.hyperparameters
    model = SingleTaskGP(
        features,
        ((utility - fitted.location) / fitted.scale).unsqueeze(-1),
        likelihood=GaussianLikelihood(noise_constraint=GreaterThan(1e-4)),
        covar_module=ScaleKernel(MaternKernel(nu=2.5)),
        outcome_transform=None,
    ).to(features)
    model.covar_module.outputscale = numbers["outputscale"]
    model.covar_module.base_kernel.lengthscale = numbers["lengthscale"]
    model.mean_module.constant.data.fill_(numbers["constant"])
    model.likelihood.noise = numbers["noise"]
    with torch.no_grad():
        posterior = model.eval().posterior(points)
    mean, variance = posterior.mean.squeeze(-1), posterior.variance.squeeze(-1)
    return fitted.location + fitted.scale * mean, fitted.scale**2 * variance


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_equals_believing_by_hand(seed):
    fitted = fit(seed=seed)
    features, utility = fitted.features[fitted.rows], fitted.utility
    remaining, expected, scores = rest(fitted), [], []
    for _ in range(4):
        points = fitted.features_of(remaining)
        mean, variance = believed(fitted, features, utility, points)
        deviation = variance.sqrt().numpy()
        z = (mean - utility.max()).numpy() / deviation
        values = deviation * (z * norm.cdf(z) + norm.pdf(z))
        best = int(values.argmax())
        features = torch.cat([features, points[best : best + 1]])
        utility = torch.cat([utility, mean[best : best + 1]])
        expected.append(remaining.pop(best))
        scores.append(values[best])
    batch = choose(fitted, batch_size=4, criterion="ei")
    assert batch.ids == tuple(expected)
    assert [v * fitted.scale.item() for v in batch.scores] == pytest.approx(scores, rel=1e-6)
    assert batch.scores[1] != score(fitted, rest(fitted), "ei").topk(2).values[1].item()


def test_conditioning_equals_botorch_with_more_data(fitted):
    chosen, values = rest(fitted)[:3], torch.tensor([4.0, 9.0, 2.0], dtype=torch.float64)
    more = fitted.condition(chosen, values)
    features = torch.cat([fitted.features[fitted.rows], fitted.features_of(chosen)])
    expected = believed(fitted, features, torch.cat([fitted.utility, values]), fitted.features)
    mean, variance = more.marginals(fitted.features)
    torch.testing.assert_close(mean, expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, expected[1], rtol=1e-6, atol=1e-6)
    assert (more.location, more.scale) == (fitted.location, fitted.scale)
    assert (more.posterior(chosen)[1] < fitted.posterior(chosen)[1]).all()


def test_after_conditioning_the_botorch_model_has_the_same_posterior(fitted):
    more = fitted.condition(rest(fitted)[:3], torch.tensor([4.0, 9.0, 2.0]))
    with torch.no_grad():
        posterior = more.model.posterior(more.features)
    mean, variance = more.marginals(more.features)
    torch.testing.assert_close(mean, posterior.mean.squeeze(-1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, posterior.variance.squeeze(-1), rtol=1e-6, atol=1e-6)


def test_conditioning_leaves_the_original_alone(fitted):
    before = fitted.posterior(rest(fitted))
    fitted.condition(rest(fitted)[:1], torch.tensor([100.0]))
    after = fitted.posterior(rest(fitted))
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


TIED = ("c15", "c20", "c29", "c38")


def tied_features(width=3):
    """Features where four unmeasured candidates coincide at a promising place."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, width))
    features[[int(i[1:]) for i in TIED]] = features[: TRAIN - 1].mean(0) + 2.0
    return features


def tied(order=None, width=3, blur=None):
    features = tied_features(width)
    values = features.sum(1)
    if blur is not None:
        features = features * (1.0 + 4e-16 * blur.integers(-1, 2, size=features.shape))
    return fit(features, values, order)


def test_candidates_with_equal_features_have_equal_scores():
    for width in (1, 3, 64):
        for seed in range(5):
            order = np.random.default_rng(seed).permutation(N)
            scores = score(tied(order, width), TIED, "log_ei")
            assert len(set(scores.tolist())) == 1


def test_ties_follow_the_seed_and_never_the_order_of_rows():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        chosen = set()
        for _ in range(3):
            model = tied(rng.permutation(N))
            candidates = list(rng.permutation(rest(model)))
            chosen.add(choose(model, candidates, criterion="ucb", seed=(seed, 4)).ids)
        assert len(chosen) == 1
        assert chosen.pop()[0] in TIED


def test_ties_up_to_rounding_follow_the_seed_too():
    """A projection's matrix product rounds the rows of one and the same text differently."""
    expected = choose(tied(), criterion="ucb", seed=(3,)).ids
    rng = np.random.default_rng(0)
    for _ in range(12):
        model = tied(rng.permutation(N), blur=rng)
        assert choose(model, criterion="ucb", seed=(3,)).ids == expected


def test_tiny_scores_are_not_ties(monkeypatch, fitted):
    """Plain EI underflows long before it is meaningless: 3e-12 is more than 1e-12."""
    ids = rest(fitted)[:3]
    values = torch.tensor([1e-20, 1e-12, 3e-12], dtype=torch.float64)
    monkeypatch.setattr(criteria, "score", lambda *_: values)
    for seed in range(8):
        assert choose(fitted, ids, criterion="ei", seed=(seed,)).ids == (ids[2],)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("factor", [1e-12, 1e9])
def test_the_unit_of_the_objective_changes_no_choice(criterion, factor):
    rng = np.random.default_rng(5)
    features = rng.normal(size=(N, 3))
    values = features[:, 0] + 0.5 * rng.normal(size=N)
    plain = fit(features, values)
    scaled = fit(features, factor * (values + 5.0 / 3.0) - 5.0 / 3.0)
    expected = choose(plain, criterion=criterion, batch_size=3).ids
    assert choose(scaled, criterion=criterion, batch_size=3).ids == expected


def test_over_many_seeds_every_tied_candidate_is_chosen():
    model = tied()
    chosen = [choose(model, criterion="ucb", seed=(seed,)).ids[0] for seed in range(60)]
    assert set(chosen) == set(TIED)
    assert max(chosen.count(i) for i in TIED) < 30


def test_a_batch_of_ties_has_no_repeats():
    batch = choose(tied(), criterion="ucb", batch_size=10)
    assert len(set(batch.ids)) == 10


def test_break_ties_is_a_permutation_that_depends_on_seed_and_ids_alone():
    ids = [f"c{i}" for i in range(9)]
    first = break_ties(ids, (1, 2))
    assert sorted(first) == sorted(ids)
    assert break_ties(ids[::-1], (1, 2)) == first
    assert break_ties(ids, (1, 3)) != first
    assert [i for i in first if i != "c4"] == break_ties([i for i in ids if i != "c4"], (1, 2))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_only_given_candidates_are_chosen(fitted, criterion):
    few = rest(fitted)[5:9]
    assert set(choose(fitted, few, criterion=criterion, batch_size=4).ids) == set(few)


def test_one_candidate_left(fitted):
    (last,) = rest(fitted)[-1:]
    assert choose(fitted, [last]).ids == (last,)
    assert choose(fitted, [last], batch_size=5).ids == (last,)


def test_candidates_are_left_as_given(fitted):
    ids = rest(fitted)
    before = list(ids)
    choose(fitted, ids, batch_size=3)
    assert ids == before


def test_arrays_of_ids_are_accepted(fitted):
    assert choose(fitted, np.array(rest(fitted), dtype=object)).ids == choose(fitted).ids


def test_scores_that_are_no_numbers_count_as_the_worst(fitted, monkeypatch):
    values = torch.tensor([torch.nan, 2.0, -torch.inf, 1.0])
    monkeypatch.setitem(criteria.CRITERIA, "odd", lambda *_: lambda _: values)
    assert choose(fitted, rest(fitted)[:4], criterion="odd").ids == (rest(fitted)[1],)
    assert score(fitted, rest(fitted)[:4], "odd").tolist() == [-torch.inf, 2.0, -torch.inf, 1.0]


def test_unknown_criterion_is_refused(fitted):
    with pytest.raises(ConfigError, match=r"acquisition 'logei' is unknown.*'log_ei'"):
        choose(fitted, criterion="logei")


def test_no_candidates_is_refused(fitted):
    with pytest.raises(DataError, match="every candidate has been measured"):
        choose(fitted, [])


def test_unknown_ids_are_refused(fitted):
    with pytest.raises(DataError, match="no candidate with id 'nobody'"):
        choose(fitted, ["c20", "nobody"])
