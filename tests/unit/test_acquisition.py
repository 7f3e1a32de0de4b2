import math
import warnings

import numpy as np
import pytest
import torch
from botorch.acquisition import (
    ExpectedImprovement,
    LogExpectedImprovement,
    UpperConfidenceBound,
    qExpectedImprovement,
)
from botorch.exceptions.warnings import NumericsWarning
from botorch.models import SingleTaskGP
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.sampling import draw_sobol_normal_samples
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from scipy.integrate import quad
from scipy.stats import norm

from gollum.acquisition import batch as building
from gollum.acquisition.batch import RESCORED, ROUNDING, SAMPLES, select
from gollum.acquisition.criteria import CRITERIA, UCB_BETA
from gollum.acquisition.scoring import Aim, score, widened
from gollum.errors import ConfigError, DataError
from gollum.features.base import FixedFeatures
from gollum.features.layout import Layout, Slot
from gollum.settings import Settings
from gollum.surrogates.base import FitReport, break_ties, standard_deviation
from gollum.surrogates.gaussian_process import FittedProcess, GaussianProcess
from gollum.surrogates.gp import ExactGP
from gollum.surrogates.kernels import isotropic
from gollum.surrogates.positions import MarginalModel
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
    surrogate = GaussianProcess(pool, FixedFeatures(features), Settings(), CPU)
    return surrogate.fit(measured, pool.utility[pool.positions(measured)], (0,))


@pytest.fixture(scope="module")
def fitted():
    return fit()


def rest(fitted):
    measured = set(fitted.pool.ids[fitted.rows])
    return [i for i in fitted.pool.ids if i not in measured]


def rows_of(fitted, ids=None):
    return fitted.pool.positions(rest(fitted) if ids is None else ids)


def choose(fitted, candidates=None, criterion="log_ei", batch_size=1, seed=(0,)):
    rows = rows_of(fitted, candidates)
    return select(fitted, rows, aim=Aim.of(fitted, criterion), batch_size=batch_size, seed=seed)


def in_units(fitted, criterion, values):
    """Scores of the standardised utility as scores in the units of the utility."""
    return {
        "ei": values * fitted.scale,
        "log_ei": values + fitted.scale.log(),
        "q_log_ei": values + fitted.scale.log(),
        "ucb": fitted.location + fitted.scale * values,
    }[criterion]


def scores_of(fitted, criterion):
    return in_units(fitted, criterion, score(fitted, rows_of(fitted), Aim(criterion)))


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
            "q_log_ei": lambda: LogExpectedImprovement(model, best),
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
        CRITERIA["ei"](marginal_model(fitted), torch.zeros((), dtype=torch.float64))


def marginal_model(fitted):
    return MarginalModel(*fitted.standardised(np.arange(N)))


def test_marginal_model_has_the_shapes_of_a_botorch_model(fitted):
    model = marginal_model(fitted)
    posterior = model.posterior(torch.arange(N, dtype=torch.float64).view(N, 1, 1))
    assert (posterior.mean.shape, posterior.variance.shape) == ((N, 1, 1), (N, 1, 1))
    assert (model.num_outputs, model.batch_shape) == (1, torch.Size())


def test_marginal_model_gives_the_points_that_were_asked_for(fitted):
    points = torch.tensor([7, 0, 39, 7])
    posterior = marginal_model(fitted).posterior(points.double().view(-1, 1, 1))
    mean, variance = fitted.standardised(points.numpy())
    torch.testing.assert_close(posterior.mean[:, 0, 0], mean)
    torch.testing.assert_close(posterior.variance[:, 0, 0], variance)


def test_selection_reports_score_mean_and_deviation(fitted):
    chosen = choose(fitted, batch_size=3)
    mean, variance = fitted.posterior(chosen.ids)
    assert chosen.means == pytest.approx(mean.tolist())
    assert chosen.deviations == pytest.approx(variance.sqrt().tolist())
    assert chosen.scores[0] == score(fitted, rows_of(fitted), Aim("log_ei")).max().item()


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
    assert batch.scores[1] != score(fitted, rows_of(fitted), Aim("ei")).topk(2).values[1].item()


def test_conditioning_equals_botorch_with_more_data(fitted):
    chosen, values = rest(fitted)[:3], torch.tensor([4.0, 9.0, 2.0], dtype=torch.float64)
    more = fitted.condition(chosen, values)
    features = torch.cat([fitted.features[fitted.rows], fitted.features_of(chosen)])
    expected = believed(fitted, features, torch.cat([fitted.utility, values]), fitted.features)
    mean, variance = more.marginals(np.arange(N))
    torch.testing.assert_close(mean, expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, expected[1], rtol=1e-6, atol=1e-6)
    assert (more.location, more.scale) == (fitted.location, fitted.scale)
    assert (more.posterior(chosen)[1] < fitted.posterior(chosen)[1]).all()


def test_after_conditioning_the_botorch_model_has_the_same_posterior(fitted):
    more = fitted.condition(rest(fitted)[:3], torch.tensor([4.0, 9.0, 2.0]))
    with torch.no_grad():
        posterior = more.model.posterior(more.features)
    mean, variance = more.marginals(np.arange(N))
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
            model = tied(order, width)
            scores = score(model, rows_of(model, TIED), Aim("log_ei"))
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
    monkeypatch.setattr(building, "score", lambda *_: values)
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


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_batch_of_ties_has_no_repeats(criterion):
    batch = choose(tied(), criterion=criterion, batch_size=10)
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


@pytest.mark.parametrize("criterion", CRITERIA)
def test_candidates_are_left_as_given(fitted, criterion):
    rows = np.flip(rows_of(fitted)).copy()
    before = rows.copy()
    select(fitted, rows, aim=Aim.of(fitted, criterion), batch_size=3, seed=(0,))
    assert np.array_equal(rows, before)


def test_scores_that_are_no_numbers_count_as_the_worst(fitted, monkeypatch):
    values = torch.tensor([torch.nan, 2.0, -torch.inf, 1.0])
    monkeypatch.setitem(CRITERIA._known, "odd", lambda *_: lambda _: values)
    assert choose(fitted, rest(fitted)[:4], criterion="odd").ids == (rest(fitted)[1],)
    assert score(fitted, rows_of(fitted)[:4], Aim("odd")).tolist() == [
        -torch.inf,
        2.0,
        -torch.inf,
        1.0,
    ]


def test_unknown_criterion_is_refused(fitted):
    with pytest.raises(ConfigError, match=r"acquisition 'logei' is unknown.*'log_ei'"):
        choose(fitted, criterion="logei")


def test_no_candidates_is_refused(fitted):
    with pytest.raises(DataError, match="every candidate has been measured"):
        choose(fitted, [])


def given(features, values, measured, *, lengthscale=1.0, noise=1e-3):
    """A process with these numbers, without a fit."""
    gp = ExactGP(isotropic(Layout((Slot("features", (), 2),))))
    raw = dict(gp.named_parameters())
    raw["kernel.base_kernel.raw_lengthscale"].data.fill_(math.log(math.expm1(lengthscale)))
    raw["kernel.raw_outputscale"].data.fill_(math.log(math.expm1(1.0)))
    raw["likelihood.noise_covar.raw_noise"].data.fill_(math.log(math.expm1(noise)))
    features, utility = torch.as_tensor(features), torch.as_tensor(values[measured])
    location, scale = utility.mean(), standard_deviation(utility)
    process = gp.condition(features[measured], (utility - location) / scale)
    report = FitReport("lbfgs", (0.0,), 0.0, gp.hyperparameters(), 0.0)
    pool = make_pool(len(values), values=values)
    return FittedProcess(pool, measured, utility, location, scale, report, features, process)


LARGE, BATCH = 400, 40


def large(kind, seed):
    """A pool of 400: all different, every place four times, or few that may be better."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(LARGE, 3))
    if kind == "ties":
        features = np.repeat(features[: LARGE // 4], 4, axis=0)[rng.permutation(LARGE)]
    values = features[:, 0] + np.sin(2 * features[:, 1]) + 0.1 * rng.normal(size=LARGE)
    measured = rng.permutation(LARGE)[:30]
    if kind == "hopeless":
        features = features / 4
        values[measured[0]] += 10.0
    return given(features, values, measured)


def believing(fitted, criterion, seed, size=BATCH):
    """Ids and scores of a batch for which every candidate is scored at every step."""
    believed, remaining = fitted, rest(fitted)
    ids, scores = [], []
    while len(ids) < size:
        values = score(believed, rows_of(fitted, remaining), Aim(criterion))
        best = values.max().item()
        near = best - ROUNDING * abs(best) if math.isfinite(best) else best
        equal = [i for i, value in zip(remaining, values.tolist(), strict=True) if value >= near]
        ids.append(break_ties(equal, seed)[0])
        scores.append(best)
        remaining.remove(ids[-1])
        believed = believed.condition(ids[-1:], believed.posterior(ids[-1:])[0])
    return ids, scores


def underflowing(model, best_f):
    """Log of the plain EI: minus infinity where that underflows."""
    plain = CRITERIA["ei"](model, best_f)
    return lambda points: plain(points).log()


@pytest.mark.parametrize("step", [RESCORED, 4])
@pytest.mark.parametrize("kind", ["different", "ties", "hopeless"])
@pytest.mark.parametrize("criterion", ["ei", "log_ei", "ucb", "underflowing"])
def test_a_batch_equals_scoring_every_candidate_at_every_step(criterion, kind, step, monkeypatch):
    monkeypatch.setitem(CRITERIA._known, "underflowing", underflowing)
    monkeypatch.setattr(building, "RESCORED", step)
    seed = (step, 5)
    fitted = large(kind, step)
    expected, scores = believing(fitted, criterion, seed)
    batch = choose(fitted, criterion=criterion, batch_size=BATCH, seed=seed)
    assert batch.ids == tuple(expected)
    assert batch.scores == pytest.approx(scores, rel=1e-8, abs=1e-12)
    assert (-math.inf in scores) == (criterion == "underflowing" and kind == "hopeless")


@pytest.mark.parametrize("size", [1, 5, 300, 2000])
@pytest.mark.parametrize("seed", range(5))
def test_after_refreshing_the_largest_values_are_right(size, seed):
    rng = np.random.default_rng((size, seed))
    fresh = torch.tensor(rng.normal(size=size).round(1 if seed % 2 else 8))  # with ties, or not
    fresh[torch.tensor(rng.random(size) < 0.1 * seed)] = -torch.inf
    stale = fresh + torch.tensor(rng.exponential(size=size) * rng.integers(0, 2, size))
    stale[torch.tensor(rng.random(size) < 0.05)] = 100.0
    values, asked = stale.clone(), []

    def rescore(rows):
        asked.extend(rows - 7)
        return fresh[rows - 7]

    building._refresh(values, np.arange(7, 7 + size), rescore)
    assert values.max() == fresh.max()
    assert torch.equal(values == values.max(), fresh == fresh.max())
    again = torch.zeros(size, dtype=torch.bool)
    again[asked] = True
    assert torch.equal(values, torch.where(again, fresh, stale))


def test_refreshing_nothing_but_the_worst_ends():
    values = torch.full((600,), -torch.inf)
    rows = np.arange(600)
    building._refresh(values, rows, lambda part: pytest.fail("there was nothing to score"))
    assert (values == -torch.inf).all()
    values = torch.zeros(600)
    building._refresh(values, rows, lambda part: torch.full((len(part),), -torch.inf))
    assert (values == -torch.inf).all()


def test_only_what_may_be_the_best_is_scored_again(monkeypatch):
    """Two hundred far-apart groups: believing in one of them says nothing about the others."""
    rng = np.random.default_rng(0)
    groups = np.repeat(50.0 * np.arange(200), 15)
    features = np.stack([groups, 0.1 * rng.normal(size=3000)], axis=1)
    fitted = given(features, rng.normal(size=3000), np.arange(0, 3000, 15))
    counts, plain = [], score

    def counted(believed, rows, criterion):
        counts.append(len(rows))
        return plain(believed, rows, criterion)

    monkeypatch.setattr(building, "score", counted)
    batch = choose(fitted, criterion="ei", batch_size=10)
    assert counts[0] == 2800
    assert len(counts) >= 10
    assert sum(counts[1:]) <= 9 * (RESCORED + 2 * RESCORED)
    assert batch.ids == tuple(believing(fitted, "ei", (0,), 10)[0])


def joint(seed=0, noise=1e-2):
    """A process whose candidates are uncertain and correlated."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(60, 2))
    values = 20.0 + 4.0 * np.sin(2 * features[:, 0]) + rng.normal(size=60)
    return given(features, values, np.arange(8), lengthscale=1.5, noise=noise)


def drawn(fitted, rows, count=2**15):
    """Joint posterior samples of the standardised utility by BoTorch's model; count x m."""
    with torch.no_grad():
        posterior = fitted.model.posterior(fitted.features_at(rows)).distribution
    factor = torch.linalg.cholesky(posterior.covariance_matrix)
    normal = draw_sobol_normal_samples(len(rows), count, dtype=torch.float64, seed=7)
    return (posterior.mean + normal @ factor.T - fitted.location) / fitted.scale


def improvement(fitted, samples):
    return (samples.amax(1) - Aim("ei").best(fitted)).clamp_min(0).mean().item()


def batch_ei(fitted, ids, count=4096):
    """EI of a batch by BoTorch, of the standardised utility."""
    sampler = SobolQMCNormalSampler(torch.Size([count]), seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericsWarning)
        acquisition = qExpectedImprovement(fitted.model, fitted.utility.max(), sampler=sampler)
    with torch.no_grad():
        return (acquisition(fitted.features_of(ids)) / fitted.scale).item()


CHOSEN = np.array([33, 12, 50, 21, 44])


@pytest.mark.parametrize(("samples", "tolerance"), [(SAMPLES, 0.06), (2**13, 0.01)])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_gain_is_what_a_candidate_adds_to_the_batch(count, samples, tolerance, monkeypatch):
    monkeypatch.setattr(building, "SAMPLES", samples)
    fitted, chosen = joint(), CHOSEN[:count]
    others = np.setdiff1d(np.arange(8, 60), CHOSEN)
    rows = others[score(fitted, others, Aim("ei")).topk(12).indices]
    gains = building._joint(fitted, chosen, 6, Aim("q_log_ei"), (1,))(rows).exp().numpy()
    expected, whole = [], []
    for row in rows:
        together = drawn(fitted, np.append(chosen, row))
        whole.append(improvement(fitted, together))
        expected.append(whole[-1] - improvement(fitted, together[:, :-1]))
    assert max(expected) > 1.5 * min(expected) > 0
    np.testing.assert_allclose(gains, expected, rtol=tolerance, atol=tolerance * max(expected))
    ids = fitted.pool.ids[np.append(chosen, rows[0])]
    assert whole[0] == pytest.approx(batch_ei(fitted, ids, 2**14), rel=1e-2)


@pytest.mark.parametrize(("samples", "tolerance"), [(SAMPLES, 0.02), (2**13, 1e-3)])
def test_with_one_pending_point_the_gain_is_an_integral(samples, tolerance, monkeypatch):
    monkeypatch.setattr(building, "SAMPLES", samples)
    fitted, pending = joint(), 33
    best = Aim("ei").best(fitted).item()
    for row in (12, 20, 50):
        with torch.no_grad():
            both = fitted.model.posterior(fitted.features_at(np.array([pending, row]))).distribution
        mean = ((both.mean - fitted.location) / fitted.scale).tolist()
        covariance = (both.covariance_matrix / fitted.scale**2).tolist()
        deviation = math.sqrt(covariance[0][0])
        slope = covariance[0][1] / deviation
        left = math.sqrt(covariance[1][1] - slope**2)

        def integrand(z, mean=mean, deviation=deviation, slope=slope, left=left):
            u = (mean[1] + slope * z - max(best, mean[0] + deviation * z)) / left
            return norm.pdf(z) * left * (u * norm.cdf(u) + norm.pdf(u))

        edge = (best - mean[0]) / deviation
        expected = quad(integrand, -9, edge)[0] + quad(integrand, edge, 9)[0]
        gain = (
            building._joint(fitted, np.array([pending]), 4, Aim("q_log_ei"), (2,))(np.array([row]))
            .exp()
            .item()
        )
        assert gain == pytest.approx(expected, rel=tolerance)


def test_a_joint_batch_adds_up_to_its_expected_improvement():
    fitted = joint()
    batch = choose(fitted, criterion="q_log_ei", batch_size=6)
    assert np.exp(batch.scores).sum() == pytest.approx(batch_ei(fitted, batch.ids), rel=0.03)
    assert list(batch.scores) == sorted(batch.scores, reverse=True)


def test_a_joint_batch_takes_the_largest_gain_each_time():
    fitted, seed = joint(), (6, 1)
    batch = choose(fitted, criterion="q_log_ei", batch_size=6, seed=seed)
    chosen = rows_of(fitted, batch.ids)
    for count in range(1, 6):
        others = np.setdiff1d(np.arange(8, 60), chosen[:count])
        gains = building._joint(fitted, chosen[:count], 6, Aim("q_log_ei"), seed)(others)
        assert others[int(gains.argmax())] == chosen[count]
        assert batch.scores[count] == pytest.approx(gains.max().item(), rel=1e-9)


@pytest.mark.parametrize("kind", ["different", "ties"])
def test_a_joint_batch_equals_scoring_every_candidate_at_every_step(kind, monkeypatch):
    """Gains are estimates, which may rise a little; here they do not matter."""
    monkeypatch.setattr(building, "RESCORED", 16)
    fitted, seed = large(kind, 1), (3,)
    rows = rows_of(fitted)
    values, chosen = score(fitted, rows, Aim("q_log_ei")), []
    while len(chosen) < 8:
        near = values >= values.max() - ROUNDING * values.max().abs()
        ids = break_ties(list(fitted.pool.ids[rows[near.numpy()]]), seed)
        chosen.append(rows_of(fitted, ids[:1])[0])
        rows = rows[rows != chosen[-1]]
        values = building._joint(fitted, np.array(chosen), 8, Aim("q_log_ei"), seed)(rows)
    batch = choose(fitted, criterion="q_log_ei", batch_size=8, seed=seed)
    assert batch.ids == tuple(fitted.pool.ids[chosen])


def test_a_joint_batch_repeats_with_its_seed():
    fitted = joint()
    batches = [choose(fitted, criterion="q_log_ei", batch_size=8, seed=(4, 2)) for _ in range(2)]
    assert batches[0] == batches[1]
    other = choose(fitted, criterion="q_log_ei", batch_size=8, seed=(4, 3))
    assert other.scores[0] == batches[0].scores[0]
    assert other.scores[1] != batches[0].scores[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_joint_batch_is_worth_at_least_a_believed_one(seed):
    """Candidates in groups, so that the singly best ones all tell the same story."""
    rng = np.random.default_rng(seed)
    centres = 1.5 * rng.normal(size=(20, 2))
    features = np.repeat(centres, 10, axis=0) + 0.05 * rng.normal(size=(200, 2))
    values = np.sin(2 * features).sum(1) + 0.1 * rng.normal(size=200)
    fitted = given(features, values, np.arange(0, 150, 10))
    alone = score(fitted, rows_of(fitted), Aim("ei")).topk(6).indices
    singly = [rest(fitted)[i] for i in alone]
    believed = choose(fitted, criterion="log_ei", batch_size=6).ids
    together = choose(fitted, criterion="q_log_ei", batch_size=6).ids
    value = batch_ei(fitted, together)
    assert value >= 0.99 * batch_ei(fitted, believed)
    assert value > 1.15 * batch_ei(fitted, singly)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_batch_does_not_depend_on_the_order_of_rows(criterion):
    fitted = large("ties", 3)
    rows = rows_of(fitted)
    batches = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(rows)
        batches.append(select(fitted, order, aim=Aim(criterion), batch_size=8, seed=(2, 7)).ids)
    assert batches[0] == batches[1] == batches[2]


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("extra", [0, 1, 50])
def test_a_batch_of_all_candidates(fitted, criterion, extra):
    count = len(rest(fitted))
    batch = choose(fitted, criterion=criterion, batch_size=count + extra)
    assert sorted(batch.ids) == sorted(rest(fitted))
    assert np.isfinite(batch.scores).all()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_plate_of_96_after_one_measurement(criterion):
    rng = np.random.default_rng(0)
    fitted = given(rng.normal(size=(97, 3)), rng.normal(size=97), np.array([40]))
    batch = choose(fitted, criterion=criterion, batch_size=96)
    assert sorted(batch.ids) == sorted(set(fitted.pool.ids) - {"c40"})


def test_deviations_are_widened_up_to_guessing_the_mean():
    variance = torch.tensor([0.01, 0.5, 1.0, 2.0])
    assert widened(variance, 3.0).tolist() == pytest.approx([0.09, 1.0, 1.0, 2.0])
    assert torch.equal(widened(variance, 1.0), variance)
