"""BayBE behind the protocol; most of it needs the 'peers' extra."""

import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from gollum.acquisition.baselines import baybe, baybe_chem
from gollum.acquisition.strategy import BatchRequest, unmeasured
from gollum.benchmark.loop import _details
from gollum.data.pool import Pool
from gollum.data.source import SourceTask
from gollum.errors import DataError, FitError, MissingExtraError
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.settings import Settings
from helpers import CPU, make_pool

needs_baybe = pytest.mark.skipif(
    find_spec("baybe") is None,
    reason="BayBE is not installed (the 'peers' extra)",
)
N, START = 40, 8


def problem_of(table, values=None, **options):
    table = pd.DataFrame(table)
    table.index = pd.Index([f"c{i}" for i in range(len(table))], name="id")
    y = np.arange(len(table), dtype=float) if values is None else values
    return Problem(Pool("demo", table, "y", "maximize", y), (), **options)


@pytest.fixture(scope="module")
def problem():
    pool = make_pool(N)
    return Problem(pool, (), structures=("start", "product"))


@pytest.fixture
def start(problem):
    return [str(i) for i in problem.pool.ids[:START]]


def plain(problem):
    return baybe(Setup(problem, Settings(), CPU))


def chemical(problem):
    return baybe_chem(Setup(problem, Settings(), CPU))


def ask(strategy, ids, stream=(0, 1), count=1):
    pool = strategy.pool
    done = pool.positions(ids)
    request = BatchRequest(count, unmeasured(len(pool), done), done=done)
    return strategy.choose(ids, pool.utility[done], request, stream)


def kinds(strategy):
    return {p.name: type(p).__name__ for p in strategy.space.parameters}


def test_without_the_package_the_extra_is_named(problem, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "baybe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "baybe", None)
    with pytest.raises(MissingExtraError, match=r"BayBE needs .*pip install 'baybe\[chem\]'"):
        plain(problem)


@needs_baybe
def test_columns_become_parameters_of_their_kind(problem):
    one_hot = plain(problem)
    assert kinds(one_hot) == {
        "ligand": "CategoricalParameter",
        "hours": "NumericalDiscreteParameter",
        "start": "CategoricalParameter",  # of which `product` is a renaming
    }
    assert len(one_hot.space.discrete.exp_rep) == N
    assert one_hot.space.discrete.comp_rep.shape[1] == 3 + 1 + problem.pool.table["start"].nunique()
    molecules = chemical(problem)
    assert kinds(molecules)["start"] == "SubstanceParameter"
    assert molecules.notes == one_hot.notes == ()
    assert molecules.revision.startswith("baybe 0.")


@needs_baybe
def test_what_has_no_chemical_encoding_stays_one_hot_and_says_so():
    table = {
        "a": ["CCO", "OCC", "CCN", "CCC"],
        "b": ["C", "", "CC", "C"],
        "c": ["N", "O", "O", "CO"],
    }
    strategy = chemical(problem_of(table, structures=tuple(table)))
    expected = {"a": "CategoricalParameter", "b": "CategoricalParameter", "c": "SubstanceParameter"}
    assert kinds(strategy) == expected
    assert len(strategy.notes) == 2


@needs_baybe
def test_missing_numbers_get_the_median_and_a_mark():
    table = {"t": [20.0, None, 40.0, 60.0], "same": [1.0, 1.0, 1.0, 1.0]}
    strategy = plain(problem_of(table))
    assert strategy.table["t"].tolist() == [0.0, 0.5, 0.5, 1.0]
    assert strategy.table["t is missing"].tolist() == [0.0, 1.0, 0.0, 0.0]


@needs_baybe
def test_a_pool_of_equal_rows_is_refused():
    with pytest.raises(DataError, match="no input column differs"):
        plain(problem_of({"a": ["x", "x"]}))


def learning(**keys):
    """A grid, of which an earlier task with a further ligand says that 'c' is best."""
    table = pd.DataFrame([(a, b) for a in "abc" for b in "xyz"], columns=["ligand", "base"])
    earlier = pd.DataFrame([(a, b) for a in "abd" for b in "xyz"] + [("c", "z")],
                           columns=["ligand", "base"])  # fmt: skip
    worth = {"a": 0.0, "b": 1.0, "c": 9.0, "d": 2.0, "x": 0.0, "y": 4.0, "z": 1.0}
    values = np.array([worth[a] + worth[b] for a, b in earlier.to_numpy()])
    task = SourceTask("earlier", earlier, values, **keys)
    return problem_of(table, np.array([worth[a] + worth[b] for a, b in table.to_numpy()]),
                      sources=(task,))  # fmt: skip


@needs_baybe
def test_source_tasks_are_told_apart_by_a_task_parameter():
    strategy = plain(learning())
    assert kinds(strategy)["which task"] == "TaskParameter"
    assert len(strategy.table) == len(strategy.space.discrete.exp_rep) == 9
    assert strategy.known.shape == (10, 4)
    (first,) = ask(strategy, ["c0", "c4"]).ids  # of a and b
    assert strategy.table.loc[strategy.pool.positions([first]), "ligand"].tolist() == ["=c"]


@needs_baybe
def test_sources_that_baybe_cannot_learn_from_are_refused():
    with pytest.raises(DataError, match="another outcome"):
        plain(learning(comparable=False))
    problem = learning()
    lacking = SourceTask("old", problem.sources[0].table[["ligand"]], problem.sources[0].utility)
    with pytest.raises(DataError, match="old has no column 'base'"):
        plain(replace(problem, sources=(lacking,)))


@needs_baybe
@pytest.mark.parametrize("make", [plain, chemical])
def test_choices_are_new_and_repeat(problem, start, make):
    strategy = make(problem)
    first = ask(strategy, start, count=2)
    assert len(set(first.ids)) == 2
    assert not set(first.ids) & set(start)
    details = _details(problem.pool, first)
    assert [set(d) for d in details] == [{"fit_seconds", "acquire_seconds"}] * 2
    np.random.seed(5)
    assert ask(make(problem), start, count=2).ids == first.ids
    assert ask(strategy, [*start, *first.ids], count=2).ids != first.ids


@needs_baybe
def test_the_global_random_state_is_left_alone(problem, start):
    import torch

    torch.manual_seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    ask(plain(problem), start)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


@needs_baybe
def test_it_learns_which_way_is_up():
    """A corner that its neighbours point to is found long before chance would."""
    i = np.arange(100)
    table = {"n": (i // 10).astype(float), "m": (i % 10).astype(float)}
    values = -((i // 10 - 7.0) ** 2) - (i % 10 - 2.0) ** 2
    problem = problem_of(table, values)
    strategy, ids = plain(problem), ["c0", "c9", "c90", "c99", "c44"]
    for iteration in range(1, 11):
        ids += ask(strategy, ids, (0, iteration)).ids
    assert "c72" in ids


@needs_baybe
def test_the_last_batch_takes_what_is_left(problem):
    ids = [str(i) for i in problem.pool.ids[:-2]]
    choice = ask(plain(problem), ids, count=4)
    assert set(choice.ids) == set(problem.pool.ids[-2:])


@needs_baybe
def test_what_the_package_raises_becomes_a_sentence(problem, start, monkeypatch):
    import baybe as package

    def fails(*_, **__):
        raise ValueError("something inside")

    monkeypatch.setattr(package.Campaign, "recommend", fails)
    with pytest.raises(FitError, match="BayBE gave no recommendation: something inside"):
        ask(plain(problem), start)
