"""Moves between candidates: how good what they find is, where all of it can be looked at."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from gollum.acquisition.batch import batch_improvement
from gollum.acquisition.model_based import ModelBased, Modelled
from gollum.acquisition.scoring import Aim, score
from gollum.acquisition.strategy import BatchRequest, Observed, ask
from gollum.data.outcomes import Goal, Outcome
from gollum.data.pool import Pool
from gollum.errors import DataError
from gollum.features.base import FixedFeatures
from gollum.features.fixed.columns import one_hot
from gollum.settings import Settings
from gollum.surrogates.gaussian_process import FittedProcess, GaussianProcess
from helpers import CPU

SIDE, KNOWN, COUNT = 61, 14, 60  # steps of each number, measured, candidates
EVERY = pd.DataFrame([(i, j) for i in range(SIDE) for j in range(SIDE)], columns=["a", "b"])
SEED = (0, 1)


@dataclass
class Square:
    """All pairs of whole numbers that are no candidates."""

    table: pd.DataFrame
    wanted: BatchRequest

    def near(self, row, reach, count, seed):
        width = max(1, round(reach * (SIDE - 1)))
        inside = ((EVERY - row.to_numpy()).abs() <= width).all(axis=1)
        found = EVERY[inside & ~EVERY.index.isin(SIDE * self.table["a"] + self.table["b"])]
        return found.sample(min(count, len(found)), random_state=np.random.default_rng(seed))

    def request(self, rows):
        every = np.arange(len(self.table) + len(rows))
        return BatchRequest(self.wanted.count, np.setdiff1d(every, np.arange(KNOWN)), ties=SEED)

    def names(self, count):
        return [f"n{i}" for i in range(1, count + 1)]


@pytest.fixture(scope="module")
def strategy():
    table = EVERY.sample(COUNT, random_state=2).set_axis([f"r{i}" for i in range(COUNT)], axis=0)
    table = table.rename_axis("id")
    values = np.exp(-((table["a"] - 37) ** 2 + (table["b"] - 21) ** 2) / 500).to_numpy()
    pool = Pool("square", table, "y", "maximize", values)
    surrogate = GaussianProcess(pool, FixedFeatures(one_hot(pool)), Settings(), CPU)
    return ModelBased(pool, lambda: surrogate, "q_log_ei")


def chosen(strategy, count, space=True):
    pool = strategy.pool
    wanted = BatchRequest(count, np.arange(KNOWN, COUNT), done=np.arange(KNOWN), ties=SEED)
    if space:
        wanted = replace(wanted, space=Square(pool.table, wanted))
    return ask(strategy, pool, pool.ids[:KNOWN], pool.utility[:KNOWN], wanted, SEED)


def test_the_first_is_as_good_as_the_best_of_all(strategy):
    listed, found = chosen(strategy, 1, space=False), chosen(strategy, 1)
    fitted = listed.fitted.over(np.arange(COUNT), EVERY.set_axis(EVERY.index.map(str), axis=0))
    best = score(fitted, np.arange(len(fitted.pool)), Aim("q_log_ei")).max().item()
    assert found.ids == ("n1",)
    assert listed.scores[0] < found.scores[0] <= best + 1e-9
    assert best - found.scores[0] < 0.01  # of the logarithm of the expected improvement
    assert found.joined.index.tolist() == ["n1"]
    assert found.fitted.pool.ids[-1] == "n1"
    assert len(found.fitted.pool) == COUNT + 1


def test_a_batch_gains_as_a_whole_and_the_same_again(strategy):
    listed, found, again = (chosen(strategy, 2, space) for space in (False, True, True))
    gain = [
        batch_improvement(s.fitted, s.fitted.pool.positions(s.ids), Aim("q_log_ei"), SEED)
        for s in (listed, found)
    ]
    assert gain[1] > 1.02 * gain[0]
    assert len(found.joined.drop_duplicates()) == 2
    assert found.ids == again.ids
    assert found.joined.equals(again.joined)
    assert not pd.concat([strategy.pool.table, found.joined]).duplicated().any()


def test_models_that_know_their_pool_only_stay_among_the_candidates(strategy, monkeypatch):
    def refuse(self, rows, table, like=None):
        raise DataError("It can't.")

    monkeypatch.setattr(FittedProcess, "over", refuse)
    found = chosen(strategy, 2)
    assert found.joined is None
    assert found.ids == chosen(strategy, 2, space=False).ids
    assert found.notes[-1] == "It can't. Only listed candidates are suggested."


def several(strategy, goals, space):
    """The same with a second outcome, best elsewhere: as a trade, or as a limit."""
    pool = strategy.pool
    table = pool.table.iloc[:KNOWN]
    other = np.exp(-((table["a"] - 15) ** 2 + (table["b"] - 21) ** 2) / 900).to_numpy()
    ids = pool.ids[:KNOWN].tolist()
    values = (pool.utility[:KNOWN], other)
    outcomes = [Outcome(name=n, goal=Goal.of(g)) for n, g in zip("yz", goals, strict=True)]
    outcomes = tuple(
        Observed(one, ids, v, one.scale(v)) for one, v in zip(outcomes, values, strict=True)
    )
    wanted = BatchRequest(
        3, np.arange(KNOWN, COUNT), done=np.arange(KNOWN), ties=SEED, outcomes=outcomes
    )
    if space:
        square = Square(pool.table, wanted)
        square.request = lambda rows: replace(Square.request(square, rows), outcomes=outcomes,
                                              count=3)  # fmt: skip
        wanted = replace(wanted, space=square)
    found = ask(strategy, pool, ids, values[0], wanted, SEED)
    return found, Modelled(outcomes, found.fitted, found.others)


@pytest.mark.slow
def test_several_objectives_move_and_bring_more_together(strategy):
    gains = []
    for space in (False, True):
        found, modelled = several(strategy, ("maximize", "maximize"), space)
        rows = found.fitted.pool.positions(found.ids)
        gains.append(modelled.several.gains(rows, np.zeros(2)))
    assert gains[1].max() > 1.2 * gains[0].max()  # by itself, as a share of the hypervolume
    assert gains[1].sum() > 1.1 * gains[0].sum()
    assert [i for i in found.ids if i.startswith("n")] == found.joined.index.tolist()
    assert len(found.joined) > 0
    model = found.others["z"]
    assert model.pool.ids.tolist() == found.fitted.pool.ids.tolist()
    again, _ = several(strategy, ("maximize", "maximize"), True)
    assert again.ids == found.ids
    assert again.joined.equals(found.joined)


def test_limits_hold_where_an_objective_moves(strategy):
    listed, bound = (several(strategy, ("maximize", "at-least=0.6"), s) for s in (False, True))
    gains = []
    for found, modelled in (listed, bound):
        rows = found.fitted.pool.positions(found.ids)
        aim = Aim.of(found.fitted, "q_log_ei", constraints=modelled.constraints)
        gains.append(batch_improvement(found.fitted, rows, aim, SEED))
    assert len(bound[0].joined) > 0
    assert gains[1] > 1.02 * gains[0]
    chances = np.exp(bound[1].log_limits(rows, {}))
    free = chosen(strategy, 3)
    other = bound[0].others["z"].posterior(free.joined)
    unbound = np.exp(bound[1].limits[0][1].log_chance(
        *((other[0] - bound[0].others["z"].location) / bound[0].others["z"].scale,
          other[1] / bound[0].others["z"].scale.square())).numpy())  # fmt: skip
    assert chances.mean() > unbound.mean()


def test_where_an_outcome_is_known_of_candidates_only_these_are_suggested(strategy):
    pool, cost = strategy.pool, np.arange(COUNT, dtype=float)
    ids, values = pool.ids[:KNOWN].tolist(), pool.utility[:KNOWN]
    first, price = Outcome(name="y"), Outcome(name="cost", goal=Goal.of("minimize"))
    outcomes = (
        Observed(first, ids, values, first.scale(values)),
        Observed(price, ids, cost[:KNOWN], price.scale(cost), known=cost),
    )
    wanted = BatchRequest(2, np.arange(KNOWN, COUNT), done=np.arange(KNOWN), ties=SEED,
                          outcomes=outcomes)  # fmt: skip
    wanted = replace(wanted, space=Square(pool.table, wanted))
    found = ask(strategy, pool, ids, values, wanted, SEED)
    assert found.joined is None
    assert found.notes[-1] == (
        "An outcome that is known of every candidate is not known of others. Only listed "
        "candidates are suggested."
    )
