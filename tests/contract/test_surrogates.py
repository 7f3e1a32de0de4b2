"""What a surrogate of every variant promises."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from gollum.data.pool import Pool
from gollum.errors import DataError, FitError
from gollum.features.base import FixedFeatures, Projection
from gollum.features.problem import Problem
from gollum.settings import (
    LbfgsSettings,
    LoraSettings,
    ModelSettings,
    OptimizerSettings,
    ProjectionSettings,
    Settings,
)
from gollum.surrogates import gaussian_process
from gollum.surrogates.gaussian_process import GaussianProcess
from helpers import CPU, NAMES, TRAINED, WIDTH, build_surrogate, make_pool, make_texts

N, TRAIN = 18, 8
SEED = (0, 3)


def problem_of(pool, texts=None):
    reactions = [
        f"{a}>>{b}" for a, b in zip(pool.table["start"], pool.table["product"], strict=True)
    ]
    texts = make_texts(len(pool), seed=1) if texts is None else texts
    return Problem(pool, tuple(texts), structures=("start", "product"), reactions=tuple(reactions))


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture(params=["none", "dimension_scaled"])
def prior(request):
    return request.param


@pytest.fixture(scope="session")
def build(model_folder):
    """A surrogate of a variant on a small pool; those on the default pool are shared."""

    def make(name, problem, dropout=0.2, prior="none"):
        settings = Settings(
            model=ModelSettings(name=str(model_folder("bert")), pooling="mean"),
            lora=LoraSettings(dropout=dropout),
            projection=ProjectionSettings(size=6),
            optimizer=OptimizerSettings(max_evaluations=15),
            lbfgs=LbfgsSettings(prior=prior),
        )
        return build_surrogate(problem, name, settings, CPU)

    @cache
    def shared(name, dropout=0.2, prior="none"):
        return make(name, problem_of(make_pool(N)), dropout, prior)

    make.shared = shared
    return make


@pytest.fixture
def surrogate(build, name):
    return build.shared(name)


def fit(surrogate, ids=None, values=None, seed=SEED):
    ids = surrogate.pool.ids[:TRAIN] if ids is None else ids
    values = surrogate.pool.utility[surrogate.pool.positions(ids)] if values is None else values
    return surrogate.fit(ids, np.asarray(values, dtype=np.float64), seed)


def everything(fitted):
    return fitted.posterior(fitted.pool.ids)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(everything(a), everything(b), strict=True))


def sound(fitted):
    mean, variance = everything(fitted)
    assert mean.shape == variance.shape == (len(fitted.pool),)
    assert mean.isfinite().all()
    assert variance.isfinite().all()
    assert (variance > 0).all()
    assert len(fitted.report.losses) > 0
    assert np.isfinite(fitted.report.losses).all()
    assert np.isfinite(list(fitted.report.hyperparameters.values())).all()


def test_posterior_of_every_candidate(surrogate):
    fitted = fit(surrogate)
    sound(fitted)
    mean, variance = everything(fitted)
    assert (mean.dtype, variance.dtype) == (torch.float64, torch.float64)
    some = fitted.posterior(["c9", "c2", "c9"])
    torch.testing.assert_close(some[0], mean[[9, 2, 9]])
    torch.testing.assert_close(some[1], variance[[9, 2, 9]])
    by_row = fitted.marginals(np.array([9, 2, 9]))
    assert torch.equal(by_row[0], some[0])
    assert torch.equal(by_row[1], some[1])


def test_the_report_matches_the_variant(surrogate, name):
    report = fit(surrogate).report
    assert report.strategy == ("joint" if (name in TRAINED) else "lbfgs")
    assert set(report.hyperparameters) == {"lengthscale", "outputscale", "noise", "constant"}
    assert report.hyperparameters["noise"] >= 1e-4
    assert report.seconds > 0
    assert report.evaluations == len(report.losses) > 1
    assert report.losses[-1] < report.losses[0]


def test_features_of_the_whole_pool(surrogate, name):
    fitted = fit(surrogate)
    width = {"static": WIDTH, "llm_phi": WIDTH, "pllm": 6, "pllm_phi": 6}
    assert fitted.features.shape == (N, width.get(name, fitted.features.shape[1]))
    assert fitted.features.dtype == torch.float64  # numbers stand beside the bits
    every = fitted.features_at(np.arange(N))
    assert every.dtype == torch.float64
    assert torch.equal(every, fitted.features.double())
    assert torch.equal(fitted.process.features, every[fitted.rows])
    if name not in TRAINED:
        assert fitted.features.data_ptr() == surrogate.representation.matrix.data_ptr()
    if name in TRAINED:
        assert fitted.features.abs().max() <= 0.95 + 1e-12
    if name in ("static",):
        assert fitted.features.mean().item() == pytest.approx(0.0, abs=1e-9)
        assert fitted.features.std().item() == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["morgan", "pllm", "llm_phi"])
def test_pieces_of_the_pool_make_the_whole(build, name, monkeypatch):
    surrogate = build.shared(name, dropout=0.0)
    whole = fit(surrogate)
    monkeypatch.setattr(gaussian_process, "CHUNK", 5)
    monkeypatch.setattr(gaussian_process, "SCORED", 4)
    pieces = fit(surrogate)
    torch.testing.assert_close(pieces.features, whole.features, rtol=1e-4, atol=1e-4)
    for a, b in zip(everything(pieces), everything(whole), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_unknown_ids_are_refused(surrogate):
    fitted = fit(surrogate)
    with pytest.raises(DataError, match="no candidate with id 'nobody'"):
        fitted.posterior(["c1", "nobody"])
    with pytest.raises(DataError, match="no candidate with id 'nobody'"):
        surrogate.fit(["c1", "nobody"], np.array([0.0, 1.0]), SEED)


@pytest.mark.parametrize(
    ("name", "value"), [("one_hot", np.nan), ("one_hot", -np.inf), ("pllm", np.nan)]
)
def test_features_that_are_no_numbers_are_refused(name, value):
    """Also of a candidate that nothing was measured of."""
    features = np.random.default_rng(0).normal(size=(N, 4))
    features[N - 1, 2] = value
    representation = FixedFeatures(features)
    found = f"candidate 'c{N - 1}'.*'features' is not finite"
    if name == "pllm":
        representation, found = Projection(representation, 3, 0.01), "features are not finite"
    surrogate = GaussianProcess(make_pool(N), representation, Settings(), CPU)
    with pytest.raises(DataError if name == "one_hot" else FitError, match=found):
        fit(surrogate)


def test_nothing_measured_is_refused(surrogate):
    for values in ([], [np.nan, np.nan]):
        with pytest.raises(DataError, match="no measured value"):
            fit(surrogate, surrogate.pool.ids[: len(values)], values)


def test_the_same_seed_gives_the_same_posterior(surrogate, build, name):
    first = fit(surrogate)
    fit(surrogate, seed=(9, 9), values=np.arange(TRAIN))
    assert same(fit(surrogate), first)
    rebuilt = build(name, problem_of(make_pool(N)))
    assert same(fit(rebuilt), first)


def test_only_what_is_drawn_depends_on_the_seed(surrogate, name):
    assert same(fit(surrogate), fit(surrogate, seed=(1, 3))) == (name not in TRAINED)
    assert same(fit(surrogate), fit(surrogate, seed=(0, 4))) == (name not in TRAINED)


def test_fitting_leaves_the_global_stream_alone(surrogate):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(surrogate)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_posterior_follows_the_units(build, name, prior):
    surrogate = build.shared(name, dropout=0.0, prior=prior)
    values = surrogate.pool.utility[:TRAIN]
    plain, moved = fit(surrogate), fit(surrogate, values=40.0 - 5.0 + 8.0 * values)
    (mean, variance), (mean_moved, variance_moved) = everything(plain), everything(moved)
    torch.testing.assert_close(mean_moved, 35.0 + 8.0 * mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(variance_moved, 64.0 * variance, rtol=1e-3, atol=1e-6)


def test_the_order_of_measurements_does_not_matter(build, name):
    surrogate = build.shared(name, dropout=0.0)
    ids = surrogate.pool.ids[:TRAIN]
    (mean, variance), other = everything(fit(surrogate)), everything(fit(surrogate, ids[::-1]))
    torch.testing.assert_close(other[0], mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(other[1], variance, rtol=1e-3, atol=1e-3)


def test_unmeasured_rows_are_left_out(surrogate):
    values = surrogate.pool.utility[:TRAIN].copy()
    with_gaps = np.concatenate([values[:3], [np.nan], values[3:], [np.nan, np.nan]])
    ids = surrogate.pool.ids
    longer = [*ids[:3], ids[15], *ids[3:TRAIN], ids[16], ids[0]]
    fitted = fit(surrogate, longer, with_gaps)
    assert same(fitted, fit(surrogate))
    assert fitted.rows.tolist() == list(range(TRAIN))


def test_replicates(surrogate):
    ids = ["c0", "c1", "c0", "c2", "c3", "c0", "c1"]
    fitted = fit(surrogate, ids, [0.0, 1.0, 0.4, 2.0, -1.0, -0.4, 1.0])
    sound(fitted)
    assert fitted.rows.tolist() == [0, 1, 0, 2, 3, 0, 1]


def test_every_measurement_of_one_candidate(surrogate):
    sound(fit(surrogate, ["c4"] * 4, [0.0, 1.0, 2.0, 1.0]))


@pytest.mark.parametrize("value", [0.0, -3.5, 1e6])
def test_one_measurement(build, name, prior, value):
    fitted = fit(build.shared(name, prior=prior), ["c4"], [value])
    sound(fitted)
    assert fitted.scale == 1.0
    assert fitted.location == value


@pytest.mark.parametrize("value", [0.0, 17.0])
def test_a_constant_objective(build, name, prior, value):
    fitted = fit(build.shared(name, prior=prior), values=[value] * TRAIN)
    sound(fitted)
    mean, _ = everything(fitted)
    torch.testing.assert_close(mean, torch.full_like(mean, value), rtol=0, atol=0.5)


def test_two_measurements(surrogate):
    sound(fit(surrogate, ["c3", "c8"], [1.0, 2.0]))


def test_one_candidate_left(surrogate):
    fitted = fit(surrogate, surrogate.pool.ids[:-1])
    sound(fitted)
    sound(fit(surrogate, surrogate.pool.ids))


def test_candidates_that_are_all_alike_in_pairs(build, name):
    """Rows 2i and 2i + 1 describe the same experiment."""
    half = make_pool(N // 2).table
    table = half.loc[np.repeat(half.index, 2)]
    table.index = pd.Index([f"c{i}" for i in range(N)], name="id")
    y = np.random.default_rng(0).normal(size=N)
    pool = Pool("pairs", table, "y", "maximize", y)
    texts = np.repeat(make_texts(N // 2, seed=1), 2).tolist()
    fitted = fit(build(name, problem_of(pool, texts)))
    sound(fitted)
    mean, variance = everything(fitted)
    torch.testing.assert_close(mean[::2], mean[1::2])
    torch.testing.assert_close(variance[::2], variance[1::2])


def test_values_far_from_zero(surrogate):
    values = 1e9 + surrogate.pool.utility[:TRAIN]
    fitted = fit(surrogate, values=values)
    sound(fitted)
    mean, _ = everything(fitted)
    assert (mean - 1e9).abs().max() < 10


def test_an_outlier(surrogate):
    values = surrogate.pool.utility[:TRAIN].copy()
    values[2] = 1e6
    sound(fit(surrogate, values=values))


def test_minimizing_fits_the_negative(build, name):
    pool = make_pool(N)
    turned = Pool(pool.name, pool.table, "y", "minimize", -pool.values)
    assert same(fit(build(name, problem_of(turned))), fit(build.shared(name)))


def test_conditioning_adds_measurements(surrogate):
    fitted = fit(surrogate)
    more = fitted.condition(["c12", "c12"], torch.tensor([2.0, 2.0]))
    sound(more)
    assert len(more.rows) == TRAIN + 2
    assert more.posterior(["c12"])[1] < fitted.posterior(["c12"])[1]
    assert more.report is fitted.report


def test_the_botorch_model_has_the_same_posterior(surrogate):
    fitted = fit(surrogate)
    with torch.no_grad():
        theirs = fitted.model.posterior(fitted.features_at(np.arange(N)))
    mean, variance = everything(fitted)
    torch.testing.assert_close(theirs.mean.squeeze(-1), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs.variance.squeeze(-1), variance, rtol=1e-5, atol=1e-6)
