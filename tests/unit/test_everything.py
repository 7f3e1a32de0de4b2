"""All that a table can have: which representations of which columns, and which are left out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gollum.campaign.insights import WORDED, WORDLESS
from gollum.errors import DataError
from gollum.features import everything as module
from gollum.features.components import Points
from gollum.features.everything import everything, wordless
from gollum.features.layout import block
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.settings import Settings
from gollum.surrogates.specs import surrogate_factory
from helpers import CPU, make_pool

SMILES = {"one": "CCO", "two": "CCN", "three": "c1ccccc1"}


@pytest.fixture
def read(monkeypatch):
    """Words are read as their lengths."""

    def levels(setup):
        table = setup.problem.pool.table
        parts = [
            block("text_levels", [str(c)], "vector", lambda t: t, lengths(table[c]))
            for c in table.columns.difference(setup.problem.pool.numeric_columns(), sort=False)
        ]
        return module.represented(parts)

    def rows(setup):
        return block("text", list(setup.problem.pool.table.columns), "vector", lambda t: t,
                     np.arange(len(setup.problem.pool), dtype=float)[:, None])  # fmt: skip

    def lengths(column):
        return np.array([[float(len(str(cell)))] for cell in column])

    monkeypatch.setattr(module, "embedded_levels", levels)
    monkeypatch.setattr(module, "embedded", rows)
    monkeypatch.setattr(module, "find_spec", lambda name: None)


def setup(table, structures=()):
    pool = replace(make_pool(len(table)), table=table)
    return Setup(Problem(pool, (), structures=structures), Settings(), CPU)


def grid():
    names = [n for n in SMILES for _ in range(4)]
    table = pd.DataFrame({"name": names, "t": [20.0, 40.0, 60.0, 80.0] * 3, "same": "x"})
    table["base"] = ["K2CO3", "KOH"] * 6
    table["smiles"] = [SMILES[n] for n in names]
    table.index = [f"c{i}" for i in range(len(table))]
    return table


def test_each_column_has_what_it_can(read):
    pytest.importorskip("rdkit")
    made = everything(setup(grid(), ("smiles",)))
    names = made.layout.names
    assert names[:3] == ["one_hot:name", "one_hot:t", "one_hot:base"]
    assert names[3:5] == ["morgan:smiles", "descriptors:smiles"]
    assert names[-1] == "text"
    assert {"text_levels:name", "text_levels:base"} < set(names)
    parts = {frozenset(made.layout.names[s] for s in g) for g in Points.of(made.blocks).groups}
    assert frozenset({"one_hot:t"}) in parts
    (component,) = (part for part in parts if "one_hot:name" in part)
    assert {"morgan:smiles", "descriptors:smiles"} <= component
    without = wordless(setup(grid(), ("smiles",)))
    assert without.layout.names == names[:5]


def test_numbers_alone_have_no_words_and_molecules_no_identity(read):
    pytest.importorskip("rdkit")
    numbers = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3.0, 1.0, 1.0]}, index=["c0", "c1", "c2"])
    assert everything(setup(numbers)).layout.names == ["one_hot:a", "one_hot:b"]
    molecules = pd.DataFrame({"smiles": list(SMILES.values())}, index=["c0", "c1", "c2"])
    made = everything(setup(molecules, ("smiles",)))
    assert made.layout.names == ["morgan:smiles", "descriptors:smiles", "text:smiles"]
    assert len(Points.of(made.blocks).groups) == 1
    names = pd.DataFrame({"name": list(SMILES)}, index=["c0", "c1", "c2"])
    assert wordless(setup(names)).layout.names == ["one_hot:name"]  # nothing else tells them apart


def test_molecules_without_different_descriptors_are_told_apart_by_the_rest(read):
    pytest.importorskip("rdkit")
    table = pd.DataFrame({"smiles": ["C[C@H](O)F", "C[C@@H](O)F"], "t": [1.0, 2.0]})
    table.index = ["c0", "c1"]
    made = everything(setup(table, ("smiles",)))
    assert "one_hot:t" in made.layout.names
    assert "descriptors:smiles" not in made.layout.names
    assert any("descriptors are left out" in note for note in made.notes)
    broken = grid().replace({"smiles": {"CCO": "no molecule"}})
    with pytest.raises(DataError, match="candidate 'c0', column 'smiles': 'no molecule' is not"):
        everything(setup(broken, ("smiles",)))


def test_candidates_that_are_all_alike_are_refused(read):
    table = pd.DataFrame({"a": ["x", "x"]}, index=["c0", "c1"])
    with pytest.raises(DataError, match="no input column differs"):
        everything(setup(table))


def test_whether_language_helps_is_asked_of_the_same_without_words():
    worded, without = (surrogate_factory(name) for name in (WORDED, WORDLESS))
    assert worded.has_model
    assert not without.has_model
    assert replace(without, representations=worded.representations) == replace(
        worded, about=without.about, title=without.title
    )
