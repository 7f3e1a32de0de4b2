"""What follows for any fitted surrogate from mean, covariance and noise; the process as oracle."""

import numpy as np
import pytest
import torch
from botorch.acquisition import LogExpectedImprovement, qLogExpectedImprovement
from botorch.sampling import SobolQMCNormalSampler

from gollum.acquisition.batch import select
from gollum.acquisition.scoring import Aim
from gollum.errors import ConfigError, DataError
from gollum.features.base import FixedFeatures
from gollum.features.fixed.columns import one_hot
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.protocols import require
from gollum.settings import Settings
from gollum.surrogates.base import Fitted, Surrogate, Updated
from gollum.surrogates.gaussian_process import GaussianProcess
from gollum.surrogates.positions import PositionModel
from helpers import CPU, make_pool

N = 40
ROWS = np.array([30, 5, 17, 38, 2])


class Bare(Fitted):
    """A process that shows nothing but what a model has to have."""

    def __init__(self, process):
        names = ("pool", "rows", "utility", "location", "scale", "report")
        super().__init__(**{name: getattr(process, name) for name in names})
        object.__setattr__(self, "process", process)

    @property
    def noise(self):
        return self.process.noise

    def standardised(self, rows):
        return self.process.standardised(rows)

    def covariance(self, a, b):
        return self.process.covariance(a, b)


@pytest.fixture(scope="module")
def process():
    i = np.arange(N)
    pool = make_pool(N, values=50 + 9 * (i % 3) + np.sin(i / 4.0))
    surrogate = GaussianProcess(pool, FixedFeatures(one_hot(pool)), Settings(), CPU)
    return surrogate.fit(pool.ids[:12], pool.utility[:12], (0, 1))


@pytest.fixture(scope="module")
def bare(process):
    return Bare(process)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_further_observations_are_those_of_the_process(process, bare):
    ids, values = ["c20", "c31", "c20"], torch.tensor([61.0, 47.0, 60.0]).double()
    more, expected = bare.condition(ids, values), process.condition(ids, values)
    assert isinstance(more, Updated)
    close(more.marginals(ROWS), expected.marginals(ROWS))
    close(more.covariance(ROWS, ROWS[:2]), expected.covariance(ROWS, ROWS[:2]))
    assert more.rows.tolist() == expected.rows.tolist()
    assert torch.equal(more.utility, expected.utility)
    twice = more.condition(["c9"], torch.tensor([50.0]).double())
    close(twice.marginals(ROWS), expected.condition(["c9"], torch.tensor([50.0])).marginals(ROWS))
    close(Aim("ei").best(more), Aim("ei").best(expected))


def test_batches_are_those_of_the_process(process, bare):
    rest = np.arange(12, N)
    for criterion in ("log_ei", "q_log_ei", "ucb"):
        aim = Aim(criterion)
        found, expected = (
            select(f, rest, aim=aim, batch_size=5, seed=(0,), pending=np.array([14, 33]))
            for f in (bare, process)
        )
        assert found.ids == expected.ids
        assert found.scores == pytest.approx(expected.scores, rel=1e-5)


def test_as_a_botorch_model_over_positions(process, bare):
    model = bare.to_botorch()
    assert isinstance(model, PositionModel)
    assert bare.model is bare.model
    points = torch.tensor(ROWS).double().view(1, -1, 1)
    features = process.features_at(ROWS).unsqueeze(0)
    with torch.no_grad():
        found, expected = model.posterior(points), process.model.posterior(features)
        close(found.mean, expected.mean)
        torch.testing.assert_close(
            found.distribution.covariance_matrix,
            expected.distribution.covariance_matrix,
            rtol=1e-5,
            atol=1e-6,
        )
        noisy = model.posterior(points, observation_noise=True).variance
        close(noisy, process.model.posterior(features, observation_noise=True).variance)
        best = process.utility.max()
        sets = points.view(-1, 1, 1)
        close(
            LogExpectedImprovement(model, best)(sets),
            LogExpectedImprovement(process.model, best)(features.view(5, 1, -1)),
        )
        sampler = SobolQMCNormalSampler(torch.Size([64]), seed=0)
        assert qLogExpectedImprovement(model, best, sampler=sampler)(points).isfinite().all()


def test_what_is_not_known_is_said(bare):
    assert bare.weights() == {}
    assert np.isnan(bare.latent_distance_ratio())
    similarity = bare.similarity(ROWS, ROWS)
    assert similarity.min() >= 0
    assert similarity.diagonal().min() > 0.99
    with pytest.raises(DataError, match="Bare predicts the candidates of its pool only"):
        bare.posterior(bare.pool.table.iloc[:2])


def test_what_lacks_a_part_is_refused_by_the_name_of_its_protocol():
    class Half:
        pool, notes = None, ()

    with pytest.raises(ConfigError, match="Half is not a Surrogate: it lacks fit, revision; see"):
        require(Half(), Surrogate)
    with pytest.raises(TypeError, match="abstract"):
        Fitted(None, None, None, None, None, None)


def test_a_fit_that_returns_something_else_is_refused(process):
    from gollum.acquisition.model_based import ModelBased
    from gollum.acquisition.strategy import BatchRequest

    class Odd:
        pool, notes, revision = process.pool, (), ""

        def fit(self, ids, utility, seed):
            return 3

    strategy = ModelBased(process.pool, Odd, "ei", starts=False)
    setup = Setup(Problem(process.pool, ()), Settings(), CPU)
    assert setup.listener.consents("?") is False
    with pytest.raises(ConfigError, match="int is not a Fitted: it lacks"):
        strategy.choose(["c1"], np.array([1.0]), BatchRequest(1, np.arange(3)), (0, 1))
