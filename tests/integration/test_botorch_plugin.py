"""A fitted surrogate under BoTorch's own acquisition functions, on a bundled task."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from botorch.acquisition import qLogNoisyExpectedImprovement, qUpperConfidenceBound
from botorch.generation import MaxPosteriorSampling
from botorch.models import SingleTaskGP
from botorch.optim import optimize_acqf_discrete
from botorch.sampling import SobolQMCNormalSampler

from gollum.benchmark.problem import load_problem
from gollum.benchmark.spec import DataConfig
from gollum.runtime import seeded
from gollum.settings import ModelSettings, OptimizerSettings, ProjectionSettings, Settings
from helpers import CPU, build_surrogate, make_texts

TRAIN = 15


@pytest.fixture(scope="module", params=["one_hot", "static", "pllm"])
def fitted(request, model_folder):
    problem = load_problem(DataConfig(task="bh-ethyl"))
    # Words that the tiny model's tokenizer knows.
    problem = replace(problem, texts=tuple(make_texts(len(problem.pool))))
    settings = Settings(
        model=ModelSettings(name=str(model_folder("bert")), pooling="mean"),
        projection=ProjectionSettings(size=8),
        optimizer=OptimizerSettings(max_evaluations=40),
    )
    surrogate = build_surrogate(problem, request.param, settings, CPU)
    pool = problem.pool
    rows = np.random.default_rng(0).permutation(len(pool))[:TRAIN]
    return surrogate.fit(pool.ids[rows], pool.utility[rows], (0, 0))


@pytest.fixture
def unmeasured(fitted):
    return np.setdiff1d(np.arange(len(fitted.pool)), fitted.rows)


@pytest.fixture(autouse=True)
def stream():
    with seeded(0):
        yield


def sampler():
    return SobolQMCNormalSampler(torch.Size([64]), seed=0)


def test_it_is_an_ordinary_model_on_features(fitted):
    assert type(fitted.model) is SingleTaskGP
    assert torch.equal(fitted.model.train_inputs[0], fitted.features[fitted.rows])


def test_noisy_expected_improvement(fitted, unmeasured):
    acquisition = qLogNoisyExpectedImprovement(
        fitted.model, X_baseline=fitted.features[fitted.rows], sampler=sampler()
    )
    with torch.no_grad():
        values = acquisition(fitted.features[unmeasured].unsqueeze(1))
        pairs = acquisition(fitted.features[unmeasured[:20]].view(10, 2, -1))
    assert values.shape == (len(unmeasured),)
    assert values.isfinite().all()
    assert pairs.isfinite().all()
    assert values.max() > values.min()


def test_upper_confidence_bound_is_in_units_of_the_objective(fitted, unmeasured):
    acquisition = qUpperConfidenceBound(
        fitted.model, beta=4.0, sampler=SobolQMCNormalSampler(torch.Size([1024]), seed=0)
    )
    mean, variance = fitted.marginals(unmeasured)
    with torch.no_grad():
        values = acquisition(fitted.features[unmeasured].unsqueeze(1))
    assert values.isfinite().all()
    assert values.shape == (len(unmeasured),)
    torch.testing.assert_close(values, mean + 2.0 * variance.sqrt(), rtol=1e-2, atol=1e-2)


# A joint sample of hundreds of similar candidates: their covariance is singular up to rounding.
@pytest.mark.filterwarnings(
    "ignore:A not p.d., added jitter:linear_operator.utils.warnings.NumericalWarning"
)
def test_thompson_sampling_returns_candidates(fitted, unmeasured):
    features = fitted.features[unmeasured]
    with torch.no_grad():
        chosen = MaxPosteriorSampling(fitted.model, replacement=False)(features, num_samples=5)
    assert chosen.shape == (5, features.shape[1])
    for row in chosen:
        assert (features == row).all(1).any()


def test_discrete_optimization_of_a_batch(fitted, unmeasured):
    acquisition = qLogNoisyExpectedImprovement(
        fitted.model, X_baseline=fitted.features[fitted.rows], sampler=sampler()
    )
    features = fitted.features[unmeasured[:60]]
    points, values = optimize_acqf_discrete(acquisition, q=3, choices=features, unique=True)
    assert values.isfinite().all()
    rows = [int((features == point).all(1).nonzero()[0]) for point in points]
    assert len(set(rows)) == 3


def test_fantasies_learn_from_what_they_imagine(fitted, unmeasured):
    points = fitted.features[unmeasured[:2]]
    fantasies = fitted.model.fantasize(points, sampler())
    with torch.no_grad():
        after = fantasies.posterior(points).variance
        before = fitted.model.posterior(points).variance
    assert after.isfinite().all()
    assert (after < before).all()


def test_conditioning_and_botorchs_own_conditioning_agree(fitted, unmeasured):
    ids = list(fitted.pool.ids[unmeasured[:2]])
    values = fitted.utility.mean() + torch.tensor([3.0, -20.0], dtype=torch.float64)
    ours = fitted.condition(ids, values)
    with torch.no_grad():
        fitted.model.posterior(fitted.features[:1])
        theirs = fitted.model.condition_on_observations(
            fitted.features_of(ids), values.unsqueeze(-1)
        ).posterior(fitted.features[unmeasured[:50]])
    mean, variance = ours.marginals(unmeasured[:50])
    torch.testing.assert_close(theirs.mean.squeeze(-1), mean, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(theirs.variance.squeeze(-1), variance, rtol=1e-3, atol=1e-3)
