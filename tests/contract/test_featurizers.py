"""What every Featurizer promises."""

import numpy as np
import pytest
import torch

from gollum.features.base import FixedFeatures, Projection
from gollum.language.embed import tokenize
from gollum.language.engine import AdaptedText
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
    return AdaptedText(backbone, tokens, rank=4, alpha=16.0, dropout=0.2, fraction=0.25)


MAKERS = {
    "fixed": fixed,
    "adapted": adapted,
    "projected_fixed": lambda folder: Projection(fixed(folder), 5, 0.01),
    "projected_adapted": lambda folder: Projection(adapted(folder), 5, 0.01),
}


@pytest.fixture(params=MAKERS)
def kind(request):
    return request.param


@pytest.fixture
def featurizer(kind, model_folder):
    """Freshly reset, in eval mode."""
    made = MAKERS[kind](model_folder)
    restart(made, 0)
    made.train(False)
    return made


def restart(featurizer, *seed):
    with seeded(*seed):
        featurizer.reset()


def values(featurizer):
    return [p.detach().clone() for p in featurizer.parameters()]


def nudge(featurizer):
    with torch.no_grad():
        for parameter in featurizer.parameters():
            parameter += 0.1


def test_features_are_n_by_d_in_float64(featurizer):
    features = featurizer(ROWS)
    assert features.shape == (len(ROWS), featurizer.size)
    assert features.dtype == torch.float64
    assert features.isfinite().all()


def test_it_says_what_it_is(featurizer):
    assert isinstance(featurizer.size, int)
    assert isinstance(featurizer.notes, tuple)
    assert isinstance(featurizer.revision, str)
    assert featurizer.revision


def test_rows_come_in_the_order_asked(featurizer):
    nudge(featurizer)
    everything = featurizer(np.arange(len(TEXTS)))
    torch.testing.assert_close(featurizer(ROWS), everything[ROWS], rtol=1e-5, atol=1e-5)
    assert torch.pdist(everything).min() > 1e-3


@pytest.mark.parametrize("training", [False, True])
def test_a_row_asked_twice_is_the_same_twice(featurizer, training):
    featurizer.train(training)
    features = featurizer(np.array([4, 9, 4, 4]))
    for repeat in (2, 3):  # equal up to the rounding of a matrix product
        torch.testing.assert_close(features[0], features[repeat], rtol=1e-12, atol=1e-12)
    assert (features[0] - features[1]).abs().max() > 1e-3


def test_one_row(featurizer):
    assert featurizer(np.array([5])).shape == (1, featurizer.size)


def test_only_fixed_features_have_nothing_to_train(featurizer, kind):
    parameters = list(featurizer.parameters())
    assert (parameters == []) == (kind == "fixed")
    assert all(p.requires_grad and p.is_leaf for p in parameters)


def test_gradients_reach_every_parameter(featurizer):
    nudge(featurizer)
    features = featurizer(ROWS)
    assert features.requires_grad == bool(values(featurizer))
    if features.requires_grad:
        features.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in featurizer.parameters())


def test_reset_is_a_function_of_the_stream(featurizer, kind):
    restart(featurizer, 3)
    first, features = values(featurizer), featurizer(ROWS)
    nudge(featurizer)
    restart(featurizer, 3)
    assert all(torch.equal(a, b) for a, b in zip(values(featurizer), first, strict=True))
    assert torch.equal(featurizer(ROWS), features)
    restart(featurizer, 4)
    differs = [not torch.equal(a, b) for a, b in zip(values(featurizer), first, strict=True)]
    assert any(differs) == (kind != "fixed")


def test_training_passes_repeat_after_a_reset(featurizer):
    def passes():
        restart(featurizer, 8)
        nudge(featurizer)
        featurizer.train(True)
        return torch.stack([featurizer(ROWS), featurizer(ROWS)])

    assert torch.equal(passes(), passes())


def test_dropout_acts_while_training_only(featurizer, kind):
    nudge(featurizer)
    assert torch.equal(featurizer(ROWS), featurizer(ROWS))
    featurizer.train(True)
    same = torch.equal(featurizer(ROWS), featurizer(ROWS))
    assert same == ("adapted" not in kind)
    featurizer.train(False)
    assert torch.equal(featurizer(ROWS), featurizer(ROWS))


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


def test_frozen_features_do_not_depend_on_the_adapters(featurizer, kind):
    def trained():
        restart(featurizer, 5)
        nudge(featurizer)
        return featurizer(ROWS)

    before, adapts = trained(), "adapted" in kind
    assert featurizer.freeze(True) == adapts
    frozen = featurizer(ROWS)
    assert (frozen.shape, frozen.dtype) == (before.shape, before.dtype)
    assert torch.equal(frozen, before) == (not adapts)
    assert frozen.requires_grad == ("projected" in kind)
    (featurizer.inner if "projected" in kind else featurizer).reset()
    featurizer.train(True)
    assert torch.equal(featurizer(ROWS), frozen)
    featurizer.train(False)
    assert featurizer.freeze(False) == adapts
    assert torch.equal(trained(), before)
