from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from gollum.language import adapted
from gollum.language.adapted import AdaptedText
from gollum.language.adapters import ADAPTER, transformer_layers
from gollum.language.backbone import load_backbone
from gollum.language.embed import batches, embed, tokenize
from gollum.language.prefix import FrozenPrefix
from gollum.runtime import Runtime, seeded
from helpers import LAYERS, load, make_texts, padded

TEXTS = make_texts(11)
ROWS = np.arange(len(TEXTS))


def adapt(backbone, *, fraction=0.25, dropout=0.0, trained=True, texts=TEXTS, **options):
    """AdaptedText with fresh adapters, or with ones that change the output."""
    text = AdaptedText(
        backbone,
        tokenize(backbone, texts),
        rank=4,
        alpha=16.0,
        dropout=dropout,
        fraction=fraction,
        **options,
    )
    with seeded(1):
        text.reset()
        for layer in text._lora if trained else []:
            nn.init.normal_(layer.lora_B[ADAPTER].weight, std=0.1)
    return text.eval()


def full_pass(text):
    """All texts in one padded batch through the whole adapted model."""
    backbone, tokens = text.backbone, text.tokens
    ids, mask = tokens.padded(np.arange(len(tokens)), backbone.pad_id, backbone.device)
    return backbone.pool(backbone.hidden(ids, mask), mask)[text.tokens.index]


def close(a, b, relative=1e-5):
    assert (a - b).abs().max() <= relative * b.abs().max()


def test_fresh_adapters_leave_the_frozen_model(family, model_folder):
    text = adapt(load(model_folder(family)), trained=False)
    frozen = load(model_folder(family))
    expected = embed(frozen, tokenize(frozen, TEXTS))
    with torch.no_grad():
        close(text(ROWS), expected)


def test_every_family_splits_exactly(backbone):
    text = adapt(backbone)
    assert text._prefix is not None
    assert text._prefix.first == LAYERS - 1
    assert text.notes == ()


@pytest.mark.parametrize("fraction", [0.25, 0.5, 1.0])
def test_trained_adapters_equal_the_full_pass(backbone, fraction):
    fresh = adapt(backbone, fraction=fraction, trained=False)
    with torch.no_grad():
        before = fresh(ROWS)
    with seeded(5):
        for layer in fresh._lora:
            nn.init.normal_(layer.lora_B[ADAPTER].weight, std=0.1)
    with torch.no_grad():
        after = fresh(ROWS)
        close(after, full_pass(fresh))
    assert (after - before).abs().max() > 1e-2 * before.abs().max()


@pytest.mark.parametrize("fraction", [0.25, 0.5])
def test_gradients_through_the_split_equal_those_of_the_full_pass(backbone, fraction):
    text = adapt(backbone, fraction=fraction)
    parameters = list(text.parameters())
    weights = torch.linspace(-1, 1, text.size).double()
    split = torch.autograd.grad((text(ROWS) * weights).square().sum(), parameters)
    full = torch.autograd.grad((full_pass(text) * weights).square().sum(), parameters)
    largest = max(g.abs().max() for g in full)
    assert largest > 0
    for ours, expected in zip(split, full, strict=True):
        assert (ours - expected).abs().max() <= 1e-5 * largest


def test_small_batches_and_any_order_of_rows(backbone, monkeypatch):
    monkeypatch.setattr(adapted, "batches", partial(batches, budget=30))
    text = adapt(backbone, texts=[*TEXTS, TEXTS[3]])
    rows = np.array([3, 0, 11, 7, 3, 10])
    with torch.no_grad():
        out, expected = text(rows), full_pass(text)
    close(out, expected[torch.as_tensor(rows)])
    assert torch.equal(out[0], out[2])
    assert torch.equal(out[0], out[4])
    assert (out.shape, out.dtype) == ((6, text.size), torch.float64)


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_an_inexact_split_runs_the_whole_model_and_says_so(model_folder, monkeypatch, name):
    monkeypatch.setattr(FrozenPrefix, "is_exact", lambda *_: False)
    text = adapt(load(model_folder(name)), notes=("first.",))
    assert text._prefix is None
    assert text._states is None
    assert len(text.notes) == 2
    assert text.notes[0] == "first."
    assert text.backbone.name in text.notes[1]
    assert "every pass runs the whole model" in text.notes[1]
    with torch.no_grad():
        close(text(ROWS), full_pass(text))


def test_a_split_that_breaks_the_model_runs_it_whole(model_folder, monkeypatch):
    def breaks(*_):
        raise TypeError("unexpected keyword")

    monkeypatch.setattr(FrozenPrefix, "resume", breaks)
    text = adapt(load(model_folder("bert")))
    assert text._prefix is None
    assert len(text.notes) == 1
    with torch.no_grad():
        close(text(ROWS), full_pass(text))


def test_a_split_at_the_wrong_place_is_noticed(bert):
    prefix = FrozenPrefix(bert, 2)
    ids, mask = padded(bert, TEXTS)
    assert prefix.is_exact(ids, mask)
    record = prefix.record
    prefix.record = lambda *batch: 1.01 * record(*batch)
    assert not prefix.is_exact(ids, mask)


def test_adapting_every_layer_needs_no_prefix_and_no_note(bert):
    text = adapt(bert, fraction=1.0)
    assert text._prefix is None
    assert text.notes == ()


def test_the_model_is_left_as_it_was(backbone):
    layers = transformer_layers(backbone.model)
    prefix = FrozenPrefix(backbone, 2)
    ids, mask = padded(backbone, TEXTS)
    before = backbone.hidden(ids, mask)
    prefix.resume(prefix.record(ids, mask), ids, mask)
    assert torch.equal(backbone.hidden(ids, mask), before)
    assert not any("forward" in vars(layer) for layer in layers)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)


def test_the_frozen_layers_run_only_at_construction(bert):
    calls = []
    for layer in list(transformer_layers(bert.model))[: LAYERS - 1]:
        layer.attention.self.query.register_forward_hook(lambda *_: calls.append(1))
    text = adapt(bert)
    calls.clear()
    text(ROWS)
    assert calls == []


def test_recorded_states_are_cut_to_each_text(bert):
    text = adapt(bert)
    longest = np.argmax(text.tokens.lengths)
    states = text._states.padded(np.arange(len(text.tokens)), text.backbone.device)
    for state, length in zip(states, text.tokens.lengths, strict=True):
        assert (state[:length] != 0).any(1).all()
        assert (state[length:] == 0).all()
    assert states.shape == (len(text.tokens), text.tokens.lengths[longest], text.size)


def test_lora_dropout_is_on_only_while_training(bert):
    text = adapt(bert, dropout=0.5)
    with torch.no_grad():
        assert torch.equal(text(ROWS), text(ROWS))
        text.train()
        assert not torch.equal(text(ROWS), text(ROWS))
        text.eval()
        close(text(ROWS), full_pass(text))


def test_the_backbones_own_dropout_stays_off_while_training(bert):
    assert bert.model.config.hidden_dropout_prob > 0
    text = adapt(bert, dropout=0.0).train()
    with torch.no_grad():
        assert torch.equal(text(ROWS), text(ROWS))


def test_progress_counts_the_distinct_texts(bert, monkeypatch):
    monkeypatch.setattr(adapted, "batches", partial(batches, budget=40))
    seen = []
    adapt(bert, texts=[*TEXTS, *TEXTS], progress=lambda *step: seen.append(step))
    done, totals = zip(*seen, strict=True)
    assert set(totals) == {len(TEXTS)}
    assert done[-1] == len(TEXTS)
    assert list(done) == sorted(set(done))
    assert len(done) > 1


def test_bfloat16_stays_close_to_float32(model_folder):
    folder = str(model_folder("bert"))
    half = load_backbone(folder, Runtime(torch.device("cpu"), torch.bfloat16), pooling="mean")
    text, exact = adapt(half), adapt(load(folder))
    with torch.no_grad():
        close(text(ROWS), exact(ROWS), relative=5e-2)
    assert text.notes == ()
    entering = text._states.padded(ROWS[:3], torch.device("cpu"))
    assert entering.dtype == torch.bfloat16
    expected = exact._states.padded(ROWS[:3], torch.device("cpu"))
    close(entering.float(), expected, relative=5e-2)
