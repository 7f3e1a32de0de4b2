"""Learning from source tasks: features in common, what they say, and the process on top."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from gollum.acquisition.model_based import make_strategy
from gollum.acquisition.policy import Policy
from gollum.acquisition.strategy import BatchRequest
from gollum.data.pool import Pool
from gollum.data.source import SourceTask
from gollum.errors import ConfigError, DataError
from gollum.features.layout import Blocks, Layout, Levels, Slot
from gollum.features.problem import Problem
from gollum.features.related import centred, together
from gollum.features.representations import Setup
from gollum.runtime import Runtime
from gollum.settings import Settings
from gollum.surrogates.averaged import SlotProcess
from gollum.surrogates.sources import agreeing
from gollum.surrogates.specs import surrogate_factory

CPU = Runtime.resolve("cpu", "float32")
KEYS = {"averaging.particles": 16, "averaging.moves": 2}
LIGANDS, BASES = list("ABCDEF"), list("uvwx")
WORTH = {**dict(zip(LIGANDS, (0.0, 10.0, 25.0, 40.0, 60.0, 80.0), strict=True)), "u": 0.0, "v": 5.0,
         "w": 10.0, "x": 15.0}  # fmt: skip


def grid(**columns):
    rows = pd.MultiIndex.from_product([LIGANDS, BASES], names=["ligand", "base"]).to_frame(False)
    return rows.assign(**columns)


def worth(table, shift=0.0):
    return np.array(
        [WORTH[a] + WORTH[b] + shift for a, b in zip(table.ligand, table.base, strict=True)]
    )


def pool_of(table=None):
    table = grid() if table is None else table
    table.index = pd.Index([f"r{i + 1}" for i in range(len(table))], name="id")
    return Pool("pool", table, "yield", "maximize", worth(table))


def source(name="earlier", count=16, seed=0, values=worth, **keys):
    table = grid().sample(count, random_state=seed)
    return SourceTask(name, table, values(table), **keys)


def surrogate(*sources, pool=None, name="averaged", **keys):
    problem = Problem(pool or pool_of(), (), sources=sources)
    return surrogate_factory(name)(Setup(problem, Settings.of({**KEYS, **keys}), CPU))


# --- features in common --------------------------------------------------------------------------


def test_rows_of_sources_stand_below_the_candidates_in_common_columns():
    problem = Problem(pool_of(grid(plate="p1")), ())
    other = source(count=5)
    joined, task = together(
        problem, [other, SourceTask("b", grid(plate="p2", age=3.0), worth(grid()))]
    )
    assert list(joined.pool.table.columns) == ["ligand", "base"]  # a plate only names the task
    assert np.bincount(task).tolist() == [24, 5, 24]
    assert joined.pool.table.ligand.tolist()[24:29] == other.table.ligand.tolist()


def halides(codes, vectors):
    """Blocks of one column: identity and a vector for each level."""
    layout = Layout((Slot("one_hot", ("h",), len(vectors), "indicators"), Slot("d", ("h",), 2)))
    parts = [Levels(np.eye(len(vectors)), codes), Levels(np.array(vectors), codes)]
    return Blocks.of(parts, layout, lambda table: np.zeros((len(table), len(vectors) + 2)))


def test_levels_of_foreign_tasks_count_by_how_they_differ_within_their_task():
    vectors = [[0.0, 0.0], [1.0, 0.0], [0.0, 7.0], [1.0, 7.0]]  # the second number is the task
    task = np.repeat([0, 1], 6)
    found = centred(halides(np.array([0, 1] * 3 + [2, 3] * 3), vectors), task)
    assert found.layout.names == ["d:h"]  # the identity of foreign levels says nothing
    matrix = found.matrix
    assert matrix[:6] == pytest.approx(np.array([[0, 0], [1, 0]] * 3))  # the target stays
    assert matrix[6:] == pytest.approx(matrix[:6])


def test_levels_in_common_stay_where_they_are():
    blocks = halides(np.array([0, 1, 2] * 4), [[0.0, 0.0], [1.0, 0.0], [0.0, 7.0]])
    assert centred(blocks, np.repeat([0, 1], 6)) is blocks


def test_columns_of_single_molecules_stay_where_they_are():
    blocks = halides(np.arange(12), [[float(i), 0.0] for i in range(12)])
    assert centred(blocks, np.repeat([0, 1], 6)) is blocks


# --- what sources say ----------------------------------------------------------------------------


def test_before_any_result_the_prior_is_what_the_source_says():
    fitted = surrogate(source()).fit([], np.array([]), (0, 1))
    mean, _ = fitted.posterior([*fitted.pool.ids])
    assert np.corrcoef(mean, fitted.pool.values)[0, 1] > 0.95
    alone = fitted.inherited(np.arange(24))
    assert alone == pytest.approx(mean, abs=1e-9)


def test_location_and_scale_go_from_the_sources_to_the_results():
    made = surrogate(source(), source("b", seed=1))
    heard = made.heard
    ids, values = ["r1", "r2", "r24"], np.array([10.0, 20.0, np.nan])
    observed = heard.standardise(made.pool, ids, values)
    middle, width = heard.units
    assert observed.rows.tolist() == [0, 1]
    assert observed.location.item() == pytest.approx((10 * middle + 30) / 12)
    assert middle == pytest.approx(
        np.mean([s.utility.mean() for s in (source(), source("b", seed=1))])
    )
    factor, shift = heard.into(observed)
    for value in (-1.3, 0.4):  # standardised for the sources → the same for the target
        in_units = middle + width * value
        same = (in_units - observed.location.item()) / observed.scale.item()
        assert factor * value + shift == pytest.approx(same)


def test_values_that_are_not_comparable_have_no_unit_in_common():
    made = surrogate(source(values=lambda table: worth(table) / 1000, comparable=False))
    assert made.heard.units is None
    fitted = made.fit(["r1", "r9", "r24"], np.array([0.0, 30.0, 95.0]), (0, 1))
    assert fitted.location.item() == pytest.approx(125 / 3)


def test_the_density_is_that_of_the_sources_mean_and_covariance():
    """Against a normal distribution written out."""
    made = surrogate(source(), source("b", seed=1))
    ids, values = ["r1", "r9", "r24", "r5"], np.array([0.0, 30.0, 95.0, 12.0])
    fitted = made.fit(ids, values, (0, 1))
    process, points, theta = fitted.process, fitted.measured, fitted.theta
    distances = process.distances(points, points)
    targets = (fitted.utility - fitted.location) / fitted.scale
    found = process.log_likelihood(theta, distances, targets, points)
    bare = SlotProcess(process.layout, process.groups, process.noise_floor)
    count = len(process.layout) + 1 + len(process.groups)
    for i, row in enumerate(theta):
        beta = row[count:-2].clamp_min(0)
        own = torch.cat([row[:count], row[-2:]])[None]
        own[:, len(process.layout) : count] -= made.heard.explained * beta[0].clamp_max(1)
        prior = bare.covariance(own, points.distances(points))[0]
        model = made.heard.models[0]
        left = model.covariance(fitted.rows, fitted.rows) * model.scale**2
        factor = made.heard.into(made.heard.standardise(made.pool, ids, values))[0]
        sigma = prior + beta[0] ** 2 * factor**2 * left
        sigma = sigma + (process.noise(own) + 1e-8) * torch.eye(4).double()
        mean = row[-1] + points.expected.mean @ beta
        expected = torch.distributions.MultivariateNormal(mean, sigma).log_prob(targets)
        assert found[i].item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)


def test_rows_outside_the_pool_hear_the_same():
    made = surrogate(source(), source("b", seed=1))
    fitted = made.fit(["r1", "r9", "r24"], np.array([0.0, 30.0, 95.0]), (0, 1))
    inside = fitted.posterior([*fitted.pool.ids[:7]])
    outside = fitted.posterior(fitted.pool.table.iloc[:7])
    for a, b in zip(inside, outside, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)


def test_a_source_that_misleads_loses_its_say():
    rng = np.random.default_rng(0)
    ids = [f"r{i + 1}" for i in rng.permutation(24)[:12]]
    true, pool = source(count=24), pool_of()
    wrong = source("wrong", count=24, values=lambda table: 95.0 - worth(table))
    results, many = pool.values[pool.positions(ids)], {"averaging.particles": 64}
    trust = {
        s.name: surrogate(s, **many).fit(ids, results, (0, 1)).trust_in_sources()[s.name][0]
        for s in (true, wrong)
    }
    assert trust["earlier"] > 0.5
    assert trust["wrong"] < 0.2


def test_without_sources_nothing_changes():
    process = SlotProcess(Layout((Slot("a", ("x",), 1, "number"),)), ((0,),), 1e-4)
    means, _ = process.prior
    assert len(means) == 5
    assert process.trust(means[None]).shape == (1, 0)
    assert process.mean(means[None]).item() == means[-1].item()


def test_hyperparameters_of_many_results_are_drawn_given_some():
    pool = pool_of()
    fitted = replace(surrogate(pool=pool), drawn=10).fit([*pool.ids], pool.values, (0, 1))
    assert len(fitted.theta) == max(6, round(16 * (10 / 24) ** 2))
    mean, _ = fitted.posterior([*pool.ids])
    assert np.abs(mean.numpy() - pool.values).max() < 15  # all are conditioned on
    report = fitted.report
    assert math.isfinite(report.loss)


# --- who may learn -------------------------------------------------------------------------------


def test_first_experiments_are_chosen_by_what_was_learned():
    problem = Problem(pool_of(), (), sources=(source(count=24),))
    policy = Policy.of({**KEYS, "surrogate": "averaged", "acquisition": "q_log_ei"})
    strategy = make_strategy(Setup(problem, policy, CPU), policy)
    request = BatchRequest(3, np.arange(24))
    chosen = strategy.choose([], np.array([]), request, (0, 1))
    assert problem.pool.values[problem.pool.positions(chosen.ids)].min() > 60


def test_other_surrogates_refuse_sources():
    with pytest.raises(ConfigError, match="take --surrogate combined"):
        surrogate(source(), name="one_hot")


@pytest.mark.parametrize(
    ("values", "reason"), [([], "no result"), ([1.0, math.nan], "finite"), ([1.0], "expected 2")]
)
def test_sources_without_results_are_refused(values, reason):
    with pytest.raises(DataError, match=reason):
        SourceTask("s", grid().iloc[: 0 if not values else 2], np.array(values))


def test_covariances_that_are_kept_are_those_of_the_source():
    heard = surrogate(source()).heard
    assert heard.between is not None
    a, b = heard.expected.at(np.array([3, 7])), heard.expected.at(np.arange(5))
    fresh = heard.models[0].joint(a.points, b.points) * heard.models[0].scale ** 2
    torch.testing.assert_close(heard.covariance(a, b), fresh, rtol=1e-9, atol=1e-12)


def test_words_join_tasks_without_a_common_column(monkeypatch):
    """With a stand-in for the language model that knows which ligand a text names."""

    def read(setup):
        texts = setup.problem.texts
        known = np.array([[float(f"[{ligand}]" in text) for ligand in LIGANDS] for text in texts])
        return Blocks(known, Layout((Slot("text", (), len(LIGANDS)),)), lambda table: known[:1])

    monkeypatch.setattr("gollum.features.everything.embedded", read)
    monkeypatch.setattr("gollum.features.everything.embedded_levels", read)
    pool = pool_of()
    words = [f"[{ligand}] with {base}" for ligand, base in pool.table.to_numpy()]
    told = SourceTask("paper", pd.DataFrame({"system": [f"[{x}] alone" for x in LIGANDS]}),
                      np.array([WORTH[x] for x in LIGANDS]))  # fmt: skip
    problem = Problem(pool, tuple(words), sources=(told,))
    setup = Setup(problem, Settings.of(KEYS), CPU)
    monkeypatch.setattr("gollum.features.related._texts", lambda _, s: tuple(s.table["system"]))
    fitted = surrogate_factory("combined")(setup).fit([], np.array([]), (0, 1))
    mean, _ = fitted.posterior([*pool.ids])
    assert np.corrcoef(mean, pool.values)[0, 1] > 0.9


def test_a_source_with_nothing_in_common_is_told_and_the_others_are_learned_from():
    foreign = grid(ligand=[f"L{i % 3}" for i in range(24)])[["ligand"]]
    other = SourceTask("foreign", foreign, worth(grid()))
    with pytest.raises(DataError, match=r"foreign: nothing is learned .* --forget"):
        surrogate(other).fit([], np.array([]), (0, 1))
    made = surrogate(source(), other)
    assert made.heard.names == ("earlier",)
    assert any("foreign: nothing is learned from it" in note for note in made.notes)


def test_sources_that_agree_are_found_by_what_they_expect():
    rng = np.random.default_rng(0)
    truth = torch.tensor(rng.normal(size=200))
    noisy = [truth + 0.8 * torch.tensor(rng.normal(size=200)) for _ in range(3)]
    unrelated = torch.tensor(rng.normal(size=200))
    assert agreeing([noisy[0], -truth, *noisy[1:], unrelated]) == [0, 2, 3]
    assert agreeing([truth]) == [0]
    assert len(agreeing([truth, -truth])) == 1
    assert agreeing([torch.ones(200).double(), *noisy]) == [1, 2, 3]  # it tells nothing apart


def test_a_source_that_disagrees_stands_alone_and_is_told():
    wrong = source("wrong", count=20, seed=3, values=lambda table: 95.0 - worth(table))
    made = surrogate(source("a", 20), wrong, source("b", 20, seed=1))
    assert made.heard.names == ("a + b", "a", "b", "wrong")
    assert made.heard.base == (0, 0, 0, 3)
    assert any("wrong: it disagrees with other sources" in note for note in made.notes)
