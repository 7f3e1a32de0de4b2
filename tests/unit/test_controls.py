from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gollum.benchmark.controls import CONTROLS, controlled
from gollum.benchmark.problem import load_problem
from gollum.benchmark.spec import DataConfig
from gollum.errors import ConfigError
from gollum.features.base import OnTop
from gollum.language.embed import random_vectors, tokenize
from gollum.settings import ModelSettings, Settings
from helpers import CPU, WIDTH, build_surrogate, load

TEMPLATE = "{n:.1f} h with {ligand}[ and {additive}]"


@pytest.fixture
def problem(tmp_path):
    """24 rows; every text names the number and the categories of its row."""
    i = np.arange(24)
    table = pd.DataFrame(
        {
            "n": i / 2,
            "ligand": np.array(["w1", "w2", "w3"])[i % 3],
            "additive": [f"w{5 + k % 5}" if k % 4 else None for k in i],
            "y": np.random.default_rng(0).normal(size=24).round(3),
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    return load_problem(DataConfig(path=str(tmp_path / "t.csv"), objective="y", template=TEMPLATE))


def parts(text):
    number, rest = text.split(" h with ")
    ligand, _, additive = rest.partition(" and ")
    return float(number), ligand, additive


def test_cells_with_a_unit_are_numbers_as_in_a_campaign(tmp_path):
    (tmp_path / "u.csv").write_text("ligand,T,y\nA,60 °C,1\nB,80 °C,2\n")
    found = load_problem(DataConfig(path=str(tmp_path / "u.csv"), objective="y"))
    assert found.pool.table["T"].tolist() == [60, 80]
    assert found.texts == ("ligand: A; T: 60 °C.", "ligand: B; T: 80 °C.")


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_follow_the_seed_and_change_the_fingerprint(problem, control):
    first = controlled(problem, control, 0)
    assert first.fingerprint == controlled(problem, control, 0).fingerprint
    prints = {p.fingerprint for p in (problem, first, controlled(problem, control, 1))}
    assert len(prints) == 3


def test_without_a_control_the_problem_stays(problem):
    assert controlled(problem, "none", 3) is problem


def test_permuted_labels_are_the_same_labels_of_other_candidates(problem):
    changed = controlled(problem, "permuted_labels", 0)
    before, after = problem.pool.values, changed.pool.values
    assert sorted(after) == sorted(before)
    assert (after != before).sum() > 15
    assert changed.texts == problem.texts
    assert changed.pool.table.equals(problem.pool.table)


def test_permuted_labels_are_drawn_evenly(problem):
    """Over many seeds each candidate gets each value as often: its mean is that of the pool."""
    draws = [controlled(problem, "permuted_labels", seed).pool.values for seed in range(400)]
    values = problem.pool.values
    assert np.mean(draws, axis=0) == pytest.approx(
        np.full(24, values.mean()), abs=4 * values.std() / 20
    )


def test_shuffled_texts_hold_the_words_of_each_column_in_another_order(problem):
    changed = controlled(problem, "shuffled_columns", 0)
    before, after = ([parts(t) for t in p.texts] for p in (problem, changed))
    for a, b in zip(zip(*before, strict=True), zip(*after, strict=True), strict=True):
        assert sorted(a) == sorted(b)
        assert a != b
    # Each column by itself: what stood together no longer does.
    assert len(set(before) & set(after)) < 12
    assert changed.pool is problem.pool
    assert changed.structures == problem.structures
    assert changed.reactions == problem.reactions


def test_swapped_names_stand_for_one_another_everywhere(problem):
    changed = controlled(problem, "swapped_names", 0)
    before, after = (list(zip(*map(parts, p.texts), strict=True)) for p in (problem, changed))
    for words, others in zip(before, after, strict=True):
        swaps = set(zip(words, others, strict=True))
        assert len(swaps) == len(set(words)) == len({other for _, other in swaps})
        assert set(words) == set(others)
        assert all(word != other for word, other in swaps)
    assert len(set(changed.texts)) == len(set(problem.texts))
    assert changed.pool is problem.pool


def test_columns_that_rename_each_other_are_swapped_alike(tmp_path):
    codes = np.random.default_rng(0).integers(5, size=30)
    table = pd.DataFrame(
        {
            "ligand": np.array(["a", "b", "c", "d", "e"])[codes],
            "smiles": np.array(["C", "CC", "", "CCCC", "CCCCC"])[codes],
            "solvent": "water",
            "y": np.arange(30.0),
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    template = "{ligand}[ {smiles}] in {solvent}"
    data = DataConfig(path=str(tmp_path / "t.csv"), objective="y", template=template)
    plain = load_problem(data)
    changed = controlled(plain, "swapped_names", 0)
    assert set(changed.texts) == set(plain.texts)
    assert not any(a == b for a, b in zip(plain.texts, changed.texts, strict=True))


@pytest.mark.parametrize("control", ["shuffled_columns", "swapped_names"])
def test_texts_without_a_template_are_not_changed(problem, control):
    with pytest.raises(ConfigError, match=f"'{control}' needs texts that a template writes"):
        controlled(replace(problem, template=None), control, 0)


def test_a_text_column_is_shuffled_as_a_whole(tmp_path, problem):
    data = DataConfig(path=str(tmp_path / "t.csv"), objective="y", text_column="ligand")
    plain = load_problem(data)
    changed = controlled(plain, "shuffled_columns", 0)
    assert sorted(changed.texts) == sorted(plain.texts)
    assert changed.texts != plain.texts


def represented(problem, folder, name):
    settings = Settings(model=ModelSettings(name=str(folder), pooling="mean"))
    return build_surrogate(problem, name, settings, CPU).representation


def embeddings(representation):
    while isinstance(representation, OnTop):
        representation = representation.inner
    return representation.matrix


def test_random_vectors_are_standard_normal_and_equal_for_equal_texts(model_folder):
    backbone = load(model_folder("bert"))
    texts = [f"w{i % 40} w{i // 40}" for i in range(1600)]
    tokens = tokenize(backbone, [*texts, *texts[:3]])
    vectors = random_vectors(backbone, tokens, 0)
    assert vectors.shape == (1603, WIDTH)
    assert (vectors[1600:] == vectors[:3]).all()
    distinct = vectors[:1600].numpy()
    assert len(np.unique(distinct, axis=0)) == 1600
    deviation = 1 / np.sqrt(distinct.size)
    assert distinct.mean() == pytest.approx(0, abs=4 * deviation)
    assert distinct.var() == pytest.approx(1, abs=4 * np.sqrt(2) * deviation)
    assert np.abs(np.corrcoef(distinct.T) - np.eye(WIDTH)).max() < 0.15
    assert (random_vectors(backbone, tokens, 1) != vectors).any()


@pytest.mark.parametrize("name", ["static", "pllm"])
def test_random_embeddings_take_the_place_of_real_ones(problem, model_folder, name):
    folder = model_folder("bert")
    texts = (*problem.texts[:22], problem.texts[0], problem.texts[1])
    problem = replace(problem, texts=texts)
    real = represented(problem, folder, name)
    drawn = represented(controlled(problem, "random_embeddings", 0), folder, name)
    again = represented(controlled(problem, "random_embeddings", 0), folder, name)
    source, other, same = map(embeddings, (real, drawn, again))
    assert source.shape == other.shape == (24, WIDTH)
    assert (other == same).all()
    assert not (other == source).any()
    assert (other[22:] == other[:2]).all()
    assert len(other.unique(dim=0)) == 22
    assert drawn.revision == real.revision
