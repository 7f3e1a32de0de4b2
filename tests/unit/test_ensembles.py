"""Other ways to learn from source tasks: pooled with the target's results, or ranked."""

import numpy as np
import pandas as pd
import pytest
import torch
from test_sources import CPU, KEYS, grid, pool_of, source, surrogate, worth

from gollum.data.source import SourceTask
from gollum.errors import DataError
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.settings import Settings
from gollum.surrogates.averaged import Averaged
from gollum.surrogates.base import Standardised
from gollum.surrogates.ensembles import DRAWS, _wrong, ranking_weights
from gollum.surrogates.specs import SurrogateSpec

IDS, VALUES = ["r1", "r9", "r24"], np.array([0.0, 30.0, 95.0])


def made(learning, *sources):
    """On indicators alone, which need no words."""
    spec = SurrogateSpec(("one_hot",), averaged=True, learning=learning)
    return spec(Setup(Problem(pool_of(), (), sources=sources), Settings.of(KEYS), CPU))


def test_pooled_is_the_process_of_one_large_task():
    earlier = source(count=9)
    fitted = made("pooled", earlier).fit([*IDS, "r2"], np.array([*VALUES, np.nan]), (0, 1))
    table = pd.concat([grid(), earlier.table], ignore_index=True)
    large = surrogate(pool=pool_of(table))
    ids = [*IDS, *(f"r{i}" for i in range(25, 34))]
    same = large.fit(ids, np.concatenate([VALUES, earlier.utility]), (0, 1))
    rows = np.arange(24)
    for own, whole in zip(fitted.marginals(rows), same.marginals(rows), strict=True):
        torch.testing.assert_close(own, whole, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(
        fitted.covariance(rows, rows), same.covariance(rows, rows), rtol=1e-8, atol=1e-8
    )
    outside = fitted.posterior(fitted.pool.table.iloc[:4])[0]
    torch.testing.assert_close(outside, fitted.posterior([*fitted.pool.ids[:4]])[0])
    assert (len(fitted.pool), fitted.rows.tolist()) == (24, [0, 8, 23])
    assert len(fitted.left_out()[0]) == 3


def test_results_of_another_outcome_are_not_pooled():
    with pytest.raises(DataError, match="another outcome"):
        made("pooled", source(comparable=False))


def test_wrong_pairs_are_counted():
    """Against loops."""
    rng = np.random.default_rng(0)
    drawn, y = torch.tensor(rng.normal(size=(3, 5))), torch.tensor(rng.normal(size=5))
    for others in (drawn, y.expand(3, 5)):
        by_hand = [
            sum(
                (drawn[d, i] < others[d, j]).item() != (y[i] < y[j]).item()
                for i in range(5)
                for j in range(5)
            )
            for d in range(3)
        ]
        assert _wrong(drawn, others, y).tolist() == by_hand


def test_sources_that_rank_the_results_count_and_others_do_not():
    upside_down = source("wrong", count=24, values=lambda table: 95.0 - worth(table))
    ranked = made("ranked", source("right", count=24), upside_down)
    rng = np.random.default_rng(0)
    ids = [f"r{i + 1}" for i in rng.permutation(24)[:8]]
    fitted = ranked.fit(ids, ranked.pool.values[ranked.pool.positions(ids)], (0, 1))
    trust = {name: share for name, (share, _, _) in fitted.trust_in_sources().items()}
    assert trust["right"] > 0.5
    assert trust["wrong"] == 0.0
    assert fitted.shares.sum().item() == pytest.approx(1.0)
    rows, parts = np.arange(24), fitted.models
    means = [w * m.standardised(rows)[0] for w, m in zip(fitted.shares, parts, strict=True)]
    torch.testing.assert_close(fitted.standardised(rows)[0], sum(means))
    torch.testing.assert_close(
        fitted.covariance(rows, rows).diagonal(), fitted.standardised(rows)[1], rtol=1e-6, atol=1e-9
    )
    again = ranked.fit(ids, ranked.pool.values[ranked.pool.positions(ids)], (0, 1))
    assert torch.equal(again.shares, fitted.shares)


def test_before_any_result_all_sources_count_alike():
    fitted = made("ranked", source("a"), source("b", seed=1)).fit([], np.array([]), (0, 1))
    assert fitted.shares.tolist() == [0.5, 0.5]
    mean = fitted.marginals(np.arange(24))[0]
    assert np.corrcoef(mean, fitted.pool.values)[0, 1] > 0.9


def test_many_bad_sources_do_not_add_up():
    """Each of them ranks best in a few draws; together they would outweigh the target's model."""
    rng = np.random.default_rng(1)
    noise = [SourceTask(f"n{k}", grid(), rng.permutation(worth(grid()))) for k in range(6)]
    ranked = made("ranked", *noise)
    ids = [f"r{i + 1}" for i in rng.permutation(24)[:12]]
    target = ranked.alone.fit(ids, ranked.pool.values[ranked.pool.positions(ids)], (0, 1))
    observed = Standardised.of(ranked.pool, ids, ranked.pool.values[ranked.pool.positions(ids)])
    torch.manual_seed(0)
    weights = ranking_weights(ranked.heard.models[1:], target, observed)
    assert weights[-1] > 0.9
    assert DRAWS >= 100


@pytest.mark.parametrize("learning", ["pooled", "ranked"])
def test_without_sources_they_are_the_default(learning):
    assert type(made(learning)) is Averaged
