from functools import partial

import numpy as np
import pytest
import torch

from gollum.language import embed as embed_module
from gollum.language.embed import batches
from gollum.language.engine.adapters import transformer_layers
from gollum.language.engine.prefix import FrozenPrefix
from gollum.language.loading import load_backbone
from gollum.runtime import Runtime
from helpers import CONFIGS, LAYERS, full_pass, load, make_texts, padded, save_model
from helpers import adapt as adapt_to

TEXTS = make_texts(11)
ROWS = np.arange(len(TEXTS))
adapt = partial(adapt_to, texts=TEXTS)


def close(a, b, relative=1e-5):
    assert (a - b).abs().max() <= relative * b.abs().max()


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


@pytest.mark.parametrize("kind", [TypeError, RuntimeError, ValueError])
def test_a_split_that_breaks_the_model_runs_it_whole(model_folder, monkeypatch, kind):
    def breaks(*_):
        raise kind("unexpected keyword")

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


def test_states_in_another_order_are_not_reused(bert):
    """XLNet's have the tokens first."""
    prefix = FrozenPrefix(bert, 2)
    record, resume = prefix.record, prefix.resume
    prefix.record = lambda *batch: record(*batch).transpose(0, 1)
    prefix.resume = lambda hidden, *batch: resume(hidden.transpose(0, 1), *batch)
    assert not prefix.is_exact(*padded(bert, TEXTS[:3]))


def test_layers_that_share_weights_in_two_groups_split_between_them(tmp_path):
    config = CONFIGS["albert"]()
    config.num_hidden_groups = 2
    backbone = load(save_model(tmp_path, "albert", config=config), dtype=torch.float64)
    text = adapt(backbone, notes=("first.",))
    assert text._prefix.first == 1
    first, note = text.notes
    assert first == "first."
    assert note.endswith(
        f"its {LAYERS} layers use the weights of 2, so adapters act at every depth where theirs "
        "are used."
    )
    close(text(ROWS), full_pass(text), relative=1e-10)


def test_adapting_every_layer_needs_no_prefix_and_no_note(bert):
    text = adapt(bert, fraction=1.0)
    assert text._prefix is None
    assert text.notes == ()


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
    monkeypatch.setattr(embed_module, "batches", partial(batches, budget=40))
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
