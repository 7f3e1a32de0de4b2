"""Levels of columns through an adapted model: sums of what each says, read where needed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from gollum.errors import ConfigError, DataError
from gollum.features.base import Projection
from gollum.features.leveled import WordColumn
from gollum.features.plan import plan
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.features.texts import _adapted_levels, projected_adapted_levels
from gollum.language.embed import embed, tokenize
from gollum.runtime import seeded
from gollum.settings import LoraSettings, ModelSettings, RemoteSettings, Settings
from gollum.surrogates.specs import surrogate_factory
from helpers import CPU, load, make_pool

N = 18


@pytest.fixture
def setup(model_folder):
    pool = make_pool(N)
    table = pool.table.assign(
        ligand=[f"w{3 + i % 3}" for i in range(N)], base=[f"w{7 + i % 2} w1" for i in range(N)]
    )[["ligand", "hours", "base"]]
    pool = replace(pool, table=table)
    model = ModelSettings(name=str(model_folder("bert")), pooling="mean")
    settings = Settings(model=model, lora=LoraSettings(dropout=0.0))
    return Setup(Problem(pool, tuple("w1" for _ in range(N))), settings, CPU)


def test_a_row_is_the_sum_of_its_levels_and_numbers_beside(setup, model_folder):
    made = _adapted_levels(setup)
    made.reset()
    made.train(False)
    backbone, table = load(model_folder("bert")), setup.problem.pool.table
    expected, spreads = torch.zeros(N, backbone.hidden_size, dtype=torch.float64), []
    for column in ("ligand", "base"):
        levels = sorted(set(table[column]))
        words = [f"{column}: {level}." for level in levels]
        vectors = embed(backbone, tokenize(backbone, words))
        off = (vectors - vectors.mean(0))[[levels.index(level) for level in table[column]]]
        spreads.append(off.square().sum(1).mean())
        expected += off / 2**0.5
    with torch.no_grad():
        found = made(np.arange(N))
    torch.testing.assert_close(found[:, :-1], expected, rtol=1e-4, atol=1e-5)
    hours = found[:, -1]
    assert hours.mean().abs() < 1e-9
    torch.testing.assert_close(  # as much variance as a column has on average
        hours.var(correction=0), torch.stack(spreads).mean() / 2, rtol=1e-4, atol=0
    )
    assert made.layout.names == ["adapters", "one_hot:hours"]


def test_only_levels_of_the_rows_are_read(setup, monkeypatch):
    made = _adapted_levels(setup)
    read = []
    whole = made.text.forward
    monkeypatch.setattr(made.text, "forward", lambda rows: (read.append(len(rows)), whole(rows))[1])
    made(np.arange(0, N, 6))  # one ligand, one base
    made(np.arange(N))
    assert read == [2, 5]


def test_adapters_are_trained_through_the_levels(setup):
    made = projected_adapted_levels(setup)
    with seeded(0):
        made.reset()
    made.train(True)
    made(np.arange(6)).square().sum().backward()
    moved = [p for p in made.parameters() if p.grad is not None and bool(p.grad.abs().max() > 0)]
    assert any(p.dtype == torch.float32 for p in moved)  # adapters, not the projection alone
    assert isinstance(made.inner, Projection)


def test_a_level_that_no_candidate_has_is_read(setup):
    optimizer = setup.settings.optimizer.model_copy(update={"max_evaluations": 5})
    settings = setup.settings.model_copy(update={"optimizer": optimizer})
    made = surrogate_factory("pllm_phi_levels")(replace(setup, settings=settings))
    pool = setup.problem.pool
    fitted = made.fit(list(map(str, pool.ids[:8])), np.arange(8.0), (0,))
    other = pd.DataFrame({"base": ["w7 w1", "w20"], "hours": [3.0, 3.0], "ligand": ["w3", "w21"]})
    mean, variance = fitted.encoded(other)
    assert bool((variance > 0).all())
    assert mean[0] != mean[1]
    again, _ = fitted.encoded(pool.table.iloc[[3]])
    torch.testing.assert_close(again, fitted.standardised(np.array([3]))[0], rtol=1e-4, atol=1e-4)


def test_numbers_alone_have_no_levels(setup):
    pool = setup.problem.pool
    alone = replace(pool, table=pool.table[["hours"]])
    with pytest.raises(DataError, match="no column of words differs"):
        _adapted_levels(replace(setup, problem=Problem(alone, ("w1",) * N)))
    served = RemoteSettings(url="http://127.0.0.1:9", model="m")
    settings = setup.settings.model_copy(update={"remote": served})
    with pytest.raises(ConfigError, match="behind a server"):
        _adapted_levels(replace(setup, settings=settings))


def test_memory_is_told_for_levels_and_not_for_rows(setup, model_folder):
    backbone, pool = load(model_folder("bert")), setup.problem.pool
    words = [text for column in WordColumn.all_of(pool) for text in column.words]
    staged = setup.settings.optimizer.model_copy(update={"fine_tuning": 2})
    settings = setup.settings.model_copy(update={"optimizer": staged})
    needs = plan(pool, backbone, tokenize(backbone, words), settings, adapted=True, projected=True)
    assert needs.memory["embeddings"] == 5 * backbone.hidden_size * 8


def test_columns_that_rename_others_are_read_once(setup):
    pool = setup.problem.pool
    renamed = pool.table.assign(other=pool.table.ligand.str.replace("w", "x"))
    assert [c.column for c in WordColumn.all_of(replace(pool, table=renamed))] == ["ligand", "base"]
