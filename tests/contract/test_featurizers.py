"""What every Representation promises."""

import numpy as np
import pytest
import torch

from gollum.features.base import FixedFeatures, Projection, SideBySide
from gollum.features.layout import Layout
from gollum.features.representations import Representation
from gollum.features.texts import AdaptedTexts
from gollum.language.embed import tokenize
from gollum.language.engine.adapted import AdaptedText
from gollum.protocols import require
from gollum.runtime import seeded
from helpers import load, make_texts

TEXTS = make_texts(12, seed=2)
ROWS = np.array([7, 0, 11, 3])


def fixed(_):
    matrix = np.random.default_rng(0).normal(size=(len(TEXTS), 6))
    return FixedFeatures(matrix, notes=("a note.",), revision="abc")


def adapted(folder):
    backbone = load(folder("bert"))
    tokens = tokenize(backbone, TEXTS)
    text = AdaptedText(backbone, tokens, rank=4, alpha=16.0, dropout=0.2, fraction=0.25)
    return AdaptedTexts(text)


MAKERS = {
    "fixed": fixed,
    "adapted": adapted,
    "projected_fixed": lambda folder: Projection(fixed(folder), 5, 0.01),
    "projected_adapted": lambda folder: Projection(adapted(folder), 5, 0.01),
    "fixed_beside_adapted": lambda folder: SideBySide([fixed(folder), adapted(folder)]),
}


@pytest.fixture(params=MAKERS)
def kind(request):
    return request.param


@pytest.fixture
def representation(kind, model_folder):
    """Freshly reset, in eval mode."""
    made = MAKERS[kind](model_folder)
    restart(made, 0)
    made.train(False)
    return made


def restart(representation, *seed):
    with seeded(*seed):
        representation.reset()


def values(representation):
    return [p.detach().clone() for p in representation.parameters()]


def nudge(representation):
    with torch.no_grad():
        for parameter in representation.parameters():
            parameter += 0.1


def test_features_are_n_by_d_in_float64(representation):
    features = representation(ROWS)
    assert features.shape == (len(ROWS), representation.layout.size)
    assert features.dtype == torch.float64
    assert features.isfinite().all()


def test_it_says_what_it_is(representation):
    require(representation, Representation, torch.nn.Module)
    assert isinstance(representation.layout, Layout)
    assert isinstance(representation.notes, tuple)
    assert isinstance(representation.revision, str)
    assert representation.revision


def test_rows_come_in_the_order_asked(representation):
    nudge(representation)
    everything = representation(np.arange(len(TEXTS)))
    torch.testing.assert_close(representation(ROWS), everything[ROWS], rtol=1e-5, atol=1e-5)
    assert torch.pdist(everything).min() > 1e-3


@pytest.mark.parametrize("training", [False, True])
def test_a_row_asked_twice_is_the_same_twice(representation, training):
    representation.train(training)
    features = representation(np.array([4, 9, 4, 4]))
    for repeat in (2, 3):  # equal up to the rounding of a matrix product
        torch.testing.assert_close(features[0], features[repeat], rtol=1e-12, atol=1e-12)
    assert (features[0] - features[1]).abs().max() > 1e-3


def test_one_row(representation):
    assert representation(np.array([5])).shape == (1, representation.layout.size)


def test_only_fixed_features_have_nothing_to_train(representation, kind):
    parameters = list(representation.parameters())
    assert (parameters == []) == (kind == "fixed")
    assert all(p.requires_grad and p.is_leaf for p in parameters)


def test_gradients_reach_every_parameter(representation):
    nudge(representation)
    features = representation(ROWS)
    assert features.requires_grad == bool(values(representation))
    if features.requires_grad:
        features.square().sum().backward()
        assert all(
            p.grad is not None and p.grad.abs().max() > 0 for p in representation.parameters()
        )


def test_reset_is_a_function_of_the_stream(representation, kind):
    restart(representation, 3)
    first, features = values(representation), representation(ROWS)
    nudge(representation)
    restart(representation, 3)
    assert all(torch.equal(a, b) for a, b in zip(values(representation), first, strict=True))
    assert torch.equal(representation(ROWS), features)
    restart(representation, 4)
    differs = [not torch.equal(a, b) for a, b in zip(values(representation), first, strict=True)]
    assert any(differs) == (kind != "fixed")


def test_training_passes_repeat_after_a_reset(representation):
    def passes():
        restart(representation, 8)
        nudge(representation)
        representation.train(True)
        return torch.stack([representation(ROWS), representation(ROWS)])

    assert torch.equal(passes(), passes())


def test_dropout_acts_while_training_only(representation, kind):
    nudge(representation)
    assert torch.equal(representation(ROWS), representation(ROWS))
    representation.train(True)
    same = torch.equal(representation(ROWS), representation(ROWS))
    assert same == ("adapted" not in kind)
    representation.train(False)
    assert torch.equal(representation(ROWS), representation(ROWS))


def test_projection_is_the_closed_form(model_folder):
    made = MAKERS["projected_fixed"](model_folder)
    restart(made, 0)
    assert (made.linear.bias == 0.01).all()
    bound = (6.0 / (6 + 5)) ** 0.5  # Xavier uniform
    assert 0.7 * bound < made.linear.weight.abs().max() <= bound
    nudge(made)
    linear = made.inner(ROWS) @ made.linear.weight.T + made.linear.bias
    expected = torch.where(linear > 0, linear, linear.expm1())
    torch.testing.assert_close(made(ROWS), expected)
    assert (made.notes, made.revision) == (("a note.",), "abc")


def test_frozen_features_do_not_depend_on_the_adapters(representation, kind):
    def trained():
        restart(representation, 5)
        nudge(representation)
        return representation(ROWS)

    before, adapts = trained(), "adapted" in kind
    assert representation.freeze(True) == adapts
    frozen = representation(ROWS)
    assert (frozen.shape, frozen.dtype) == (before.shape, before.dtype)
    assert torch.equal(frozen, before) == (not adapts)
    assert frozen.requires_grad == ("projected" in kind)
    (representation.inner if "projected" in kind else representation).reset()
    representation.train(True)
    assert torch.equal(representation(ROWS), frozen)
    representation.train(False)
    assert representation.freeze(False) == adapts
    assert torch.equal(trained(), before)
