"""What every family of language models promises, with every surrogate."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from transformers.pytorch_utils import Conv1D

from gollum.acquisition.batch import select
from gollum.acquisition.scoring import Aim
from gollum.features.base import Bounded
from gollum.features.problem import Problem
from gollum.features.texts import AdaptedTexts
from gollum.language import embed as embed_module
from gollum.language.embed import batches, embed, tokenize
from gollum.language.engine.adapters import (
    inject_lora,
    lora_parameters,
    merged,
    target_modules,
    transformer_layers,
    without_updates,
)
from gollum.language.engine.fused import ADAPTER
from gollum.language.engine.prefix import FrozenPrefix
from gollum.language.loading import weights_size
from gollum.language.pooling import POOLINGS
from gollum.runtime import seeded
from gollum.settings import (
    LbfgsSettings,
    ModelSettings,
    OptimizerSettings,
    ProjectionSettings,
    Settings,
)
from gollum.surrogates.fit import fit_joint
from gollum.surrogates.gaussian_process import DeepKernelGP
from helpers import (
    CONFIGS,
    CPU,
    DECODERS,
    ENCODER_DECODERS,
    FAMILIES,
    LAYERS,
    POSITIONS,
    WIDTH,
    adapt,
    build_surrogate,
    fill,
    full_pass,
    load,
    make_pool,
    make_texts,
    padded,
    relative,
)

TEXTS = make_texts(9, seed=4)
ROWS = np.arange(len(TEXTS))
SHARING = ("albert",)  # all layers use the weights of one
# Their attention does not go through transformers' interface.
OWN_ATTENTION = ("mpnet", "deberta", "falcon")

BERT_LAYER = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
DECODER_LAYER = (
    *(f"self_attn.{part}_proj" for part in "qkvo"),
    *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
)
# Where each family keeps its layers, and the linear modules of one layer.
EXPECTED = {
    "bert": ("encoder.layer", BERT_LAYER),
    "roberta": ("encoder.layer", BERT_LAYER),
    "mpnet": (
        "encoder.layer",
        (*(f"attention.attn.{part}" for part in "qkvo"), "intermediate.dense", "output.dense"),
    ),
    "modernbert": ("layers", ("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo")),
    "distilbert": (
        "transformer.layer",
        (*(f"attention.{part}_lin" for part in ("q", "k", "v", "out")), "ffn.lin1", "ffn.lin2"),
    ),
    "albert": (
        "encoder.albert_layer_groups",
        tuple(
            f"albert_layers.0.{linear}"
            for linear in (
                *(f"attention.{part}" for part in ("query", "key", "value", "dense")),
                "ffn",
                "ffn_output",
            )
        ),
    ),
    "deberta": (
        "encoder.layer",
        (*(f"attention.self.{part}_proj" for part in ("query", "key", "value")), *BERT_LAYER[3:]),
    ),
    "t5": (
        "block",
        (
            *(f"layer.0.SelfAttention.{part}" for part in "qkvo"),
            "layer.1.DenseReluDense.wi",
            "layer.1.DenseReluDense.wo",
        ),
    ),
    "bart": ("layers", (*(f"self_attn.{p}_proj" for p in ("q", "k", "v", "out")), "fc1", "fc2")),
    "llama": ("layers", DECODER_LAYER),
    "qwen2": ("layers", DECODER_LAYER),
    "qwen3": ("layers", DECODER_LAYER),
    "mistral": ("layers", DECODER_LAYER),
    "gemma2": ("layers", DECODER_LAYER),
    "gemma3": ("layers", DECODER_LAYER),
    "phi3": (
        "layers",
        ("self_attn.o_proj", "self_attn.qkv_proj", "mlp.gate_up_proj", "mlp.down_proj"),
    ),
    "falcon": (
        "h",
        (
            *(f"self_attention.{part}" for part in ("query_key_value", "dense")),
            *(f"mlp.{part}" for part in ("dense_h_to_4h", "dense_4h_to_h")),
        ),
    ),
    "gpt2": ("h", ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")),
}


@pytest.fixture
def exact(family, model_folder):
    """A freshly loaded model in double precision, averaged over tokens."""
    return load(model_folder(family), dtype=torch.float64)


@pytest.fixture
def small_batches(monkeypatch):
    """Few texts at a time, so that any pool makes several batches."""
    monkeypatch.setattr(embed_module, "batches", partial(batches, budget=40))


def depth(family):
    """Number of distinct layers."""
    return 1 if family in SHARING else LAYERS


# --- loading and embedding ------------------------------------------------------------------------


def test_a_folder_gives_a_frozen_model_and_what_it_is_like(family, model_folder):
    loaded = load(model_folder(family), pooling=None)
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert (loaded.hidden_size, len(transformer_layers(loaded.model))) == (WIDTH, depth(family))
    expected = "mean" if family in ENCODER_DECODERS else "cls"
    assert loaded.pooling == ("last_token" if family in DECODERS else expected)
    assert (loaded.name, loaded.device) == (str(model_folder(family)), torch.device("cpu"))


def test_the_size_of_the_weights_is_known_before_they_are_read(family, model_folder):
    folder = model_folder(family)
    parameters = load(folder, dtype=torch.bfloat16).model.parameters()
    expected = sum(p.numel() * p.element_size() for p in parameters)
    assert weights_size(str(folder), torch.bfloat16) == expected
    assert weights_size(str(folder), torch.float32) == 2 * expected


def test_a_text_has_the_same_vector_alone_and_among_others(backbone):
    texts = [*TEXTS, " ".join(["w3"] * 30)]
    for pooling in POOLINGS:
        model = replace(backbone, pooling=pooling)
        together = embed(model, tokenize(model, texts))
        alone = torch.cat([embed(model, tokenize(model, [text])) for text in TEXTS])
        assert (together.shape, together.dtype) == ((len(texts), WIDTH), torch.float64)
        assert relative(together[: len(TEXTS)], alone) < 1e-5
    assert torch.pdist(alone).min() > 1e-2


def test_the_side_that_a_tokenizer_pads_does_not_matter(family, model_folder):
    backbone, found = load(model_folder(family), pooling=None), []
    for side in ("left", "right"):
        backbone.tokenizer.padding_side = side
        found.append(embed(backbone, tokenize(backbone, TEXTS)))
    assert torch.equal(*found)


def test_mean_of_the_models_own_output(backbone):
    vectors = embed(backbone, tokenize(backbone, TEXTS))
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = torch.tensor([tokenize(backbone, [text]).sequence(0)])
        with torch.no_grad():
            expected = backbone.model(input_ids=ids).last_hidden_state[0].double().mean(0)
        torch.testing.assert_close(vector, expected, rtol=1e-4, atol=1e-5)


def test_texts_longer_than_the_models_positions_are_cut_and_embedded(family, backbone):
    tokens = tokenize(backbone, [" ".join(["w1"] * (2 * POSITIONS)), "w2"])
    if family == "t5":  # relative positions: no limit of its own
        assert tokens.truncated == 0
    else:
        assert tokens.truncated == 1
        assert tokens.lengths.max() <= POSITIONS
    assert embed(backbone, tokens).isfinite().all()


def test_a_blank_text_still_has_a_vector(backbone):
    for pooling in POOLINGS:
        model = replace(backbone, pooling=pooling)
        assert embed(model, tokenize(model, ["", "w1 w2"])).isfinite().all()


# --- bfloat16 on a processor ----------------------------------------------------------------------


def test_bfloat16_uses_our_attention_where_it_can_and_stays_close(family, model_folder, calls):
    whole = load(model_folder(family))
    half = load(model_folder(family), dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16
    for pooling in POOLINGS:
        calls.clear()
        expected = embed(replace(whole, pooling=pooling), tokenize(whole, TEXTS))
        assert calls == []
        found = embed(replace(half, pooling=pooling), tokenize(half, TEXTS))
        assert (len(calls) > 0) == (family not in OWN_ATTENTION)
        assert (found - expected).norm() < 4e-2 * expected.norm()


def lora_gradients(backbone):
    layers = inject_lora(backbone.model, rank=4, alpha=16.0, dropout=0.0, fraction=0.5)
    fill(layers, size=0.05)
    ids, mask = padded(backbone, TEXTS)
    return gradients(lora_parameters(layers), backbone.pool(backbone.hidden(ids, mask), mask))


def gradients(parameters, vectors):
    """Of a sum in which every number of the vectors has its own weight, as one vector."""
    weights = torch.linspace(-1, 1, vectors.numel(), dtype=torch.float64).view(vectors.shape)
    parts = torch.autograd.grad((vectors * weights).sum(), parameters)
    return torch.cat([part.flatten().double() for part in parts])


def test_gradients_in_bfloat16_stay_close(family, model_folder, calls):
    expected = lora_gradients(load(model_folder(family)))
    found = lora_gradients(load(model_folder(family), dtype=torch.bfloat16))
    assert (True in calls) == (family not in OWN_ATTENTION)
    assert (found - expected).norm() < 0.1 * expected.norm()


# --- adapters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.25, 0.5, 1.0])
def test_lora_sits_on_every_linear_of_the_top_layers_and_nowhere_else(family, backbone, fraction):
    stack, linears = EXPECTED[family]
    count = depth(family)
    chosen = range(count - max(1, round(fraction * count)), count)
    targets = target_modules(backbone.model, fraction)
    assert set(targets) == {f"{stack}.{layer}.{linear}" for layer in chosen for linear in linears}
    layers = inject_lora(backbone.model, rank=4, alpha=16.0, dropout=0.0, fraction=fraction)
    named = dict(backbone.model.named_modules())
    assert [id(named[name]) for name in targets] == [id(layer) for layer in layers]
    trainable = {name for name, p in backbone.model.named_parameters() if p.requires_grad}
    assert trainable == {
        f"{name}.lora_{side}.{ADAPTER}.weight" for name in targets for side in "AB"
    }
    own = {id(p) for p in backbone.model.parameters() if p.requires_grad}
    assert [id(p) in own for p in lora_parameters(layers)] == [True] * 2 * len(targets)


def test_our_forward_pass_is_used_wherever_the_layer_is_a_plain_one(backbone):
    layers = inject_lora(backbone.model, rank=4, alpha=16.0, dropout=0.0)
    for layer in layers:
        plain = type(layer.get_base_layer()) in (nn.Linear, Conv1D)
        assert ("forward" in vars(layer)) == plain


def test_a_layer_that_is_used_often_is_said_to_be(family, backbone):
    notes = adapt(backbone, TEXTS).notes
    assert len(notes) == (family in SHARING)
    assert all(
        f"its {LAYERS} layers use the weights of 1, so adapters act at every depth where theirs "
        "are used and every pass runs the whole model." in note
        for note in notes
    )


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_outputs_and_gradients_are_those_of_pefts_forward_pass(family, exact, dropout):
    ids, mask = padded(exact, TEXTS)
    layers = inject_lora(exact.model, rank=4, alpha=16.0, dropout=dropout, fraction=0.5)
    fill(layers)

    def outcome():
        with seeded(2):  # the same dropout masks
            layers[0].lora_dropout[ADAPTER].masks.reseed()
            vectors = exact.pool(exact.hidden(ids, mask), mask)
        return vectors, gradients(lora_parameters(layers), vectors)

    for layer in layers:
        layer.lora_dropout.train()
    ours = outcome()
    for layer in layers:
        vars(layer).pop("forward", None)
    theirs = outcome()
    assert all(relative(a, b) < 1e-10 for a, b in zip(ours, theirs, strict=True))


def test_merged_weights_give_the_same_vectors(exact):
    ids, mask = padded(exact, TEXTS)
    layers = inject_lora(exact.model, rank=4, alpha=16.0, dropout=0.5, fraction=0.5)
    fill(layers)
    for layer in layers:
        layer.lora_dropout.eval()
    expected = exact.hidden(ids, mask)
    with merged(layers), torch.no_grad():
        found = exact.hidden(ids, mask)
    assert relative(found, expected) < 1e-6  # some norms are computed in single precision


def test_without_updates_the_model_is_the_pretrained_one(family, backbone, model_folder):
    plain = load(model_folder(family))
    layers = inject_lora(backbone.model, rank=4, alpha=16.0, dropout=0.5)
    fill(layers)
    ids, mask = padded(backbone, TEXTS)
    for layer in layers:
        layer.lora_dropout.train()
    with without_updates(layers):
        found = backbone.hidden(ids, mask)
    assert torch.equal(found, plain.hidden(ids, mask))
    assert not found.requires_grad


def test_a_joint_fit_changes_only_the_adapters(backbone):
    text = adapt(backbone, TEXTS, trained=False, dropout=0.2)
    before = {n: v.clone() for n, v in backbone.model.state_dict().items()}
    model = DeepKernelGP(Bounded(AdaptedTexts(text)))
    targets = torch.linspace(-1, 1, len(TEXTS), dtype=torch.float64)
    with seeded(0):
        fit_joint(model, ROWS, targets, OptimizerSettings(max_evaluations=3))
    after = backbone.model.state_dict()
    changed = {n for n, v in before.items() if not torch.equal(v, after[n])}
    assert changed == {n for n in before if ".lora_" in n}
    assert not any(m.training for m in backbone.model.modules() if isinstance(m, nn.Dropout))


# --- frozen layers once ---------------------------------------------------------------------------


def test_fresh_adapters_leave_the_frozen_model(family, backbone, model_folder):
    text = adapt(backbone, TEXTS, trained=False)
    frozen = load(model_folder(family))
    with torch.no_grad():
        assert relative(text(ROWS), embed(frozen, tokenize(frozen, TEXTS))) < 1e-5


@pytest.mark.parametrize("fraction", [0.25, 0.5, 1.0])
def test_what_lies_below_the_adapters_is_computed_once_and_exactly(family, exact, fraction):
    text = adapt(exact, TEXTS, fraction=fraction)
    assert (text._prefix is None) == (fraction == 1.0 or family in SHARING)
    assert text._prefix is None or text._prefix.first == LAYERS - round(fraction * LAYERS)
    split, full = text(ROWS), full_pass(text)
    assert relative(split, full) < 1e-10
    parameters = list(text.parameters())
    assert relative(gradients(parameters, split), gradients(parameters, full)) < 1e-10
    with without_updates(text._lora):
        assert relative(full_pass(text), full) > 1e-2


def test_small_batches_and_any_order_of_rows(backbone, small_batches):
    text = adapt(backbone, [*TEXTS, TEXTS[3]])
    rows = np.array([3, 0, 9, 7, 3, 8])
    with torch.no_grad():
        out, expected = text(rows), full_pass(text)
    assert relative(out, expected[torch.as_tensor(rows)]) < 1e-5
    assert torch.equal(out[0], out[2])
    assert torch.equal(out[0], out[4])
    assert (out.shape, out.dtype) == ((6, text.size), torch.float64)


def test_the_model_is_left_as_it_was(family, backbone):
    layers = transformer_layers(backbone.model)
    ids, mask = padded(backbone, TEXTS)
    before = backbone.hidden(ids, mask)
    prefix = FrozenPrefix(backbone, depth(family) // 2)
    entering = prefix.record(ids, mask)
    if prefix.first:
        prefix.resume(entering, ids, mask)
    assert torch.equal(backbone.hidden(ids, mask), before)
    assert not any("forward" in vars(layer) for layer in layers)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)


def test_checkpointing_keeps_less_and_changes_nothing(family, model_folder, small_batches):
    shared = FAMILIES.index(family) % 2 == 0

    def outcome(checkpointing):
        text = adapt(
            load(model_folder(family), dtype=torch.float64),
            TEXTS,
            fraction=0.5,
            dropout=0.5,
            shared_masks=shared,
            checkpointing=checkpointing,
        ).train()
        kept = []
        with seeded(7), saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
            text._lora[0].lora_dropout[ADAPTER].masks.reseed()
            vectors = text(ROWS)
            found = gradients(list(text.parameters()), vectors)
        return vectors, found, len(kept)

    vectors, found, kept = outcome(checkpointing=True)
    expected_vectors, expected, all_kept = outcome(checkpointing=False)
    assert torch.equal(vectors, expected_vectors)
    assert torch.equal(found, expected)
    assert kept < 0.5 * all_kept


# --- whole campaigns ------------------------------------------------------------------------------


def campaign(folder, name):
    """Three times fit, score and choose; losses, predictions and choices."""
    pool = make_pool(14)
    settings = Settings(
        model=ModelSettings(name=str(folder)),
        projection=ProjectionSettings(size=4),
        optimizer=OptimizerSettings(max_evaluations=3),
        lbfgs=LbfgsSettings(max_iterations=20),
    )
    problem = Problem(pool, tuple(make_texts(len(pool), seed=1)))
    surrogate = build_surrogate(problem, name, settings, CPU)
    rows, story = [0, 4, 9, 13], []
    for iteration in (1, 2, 3):
        stream = (0, iteration)
        fitted = surrogate.fit(pool.ids[rows], pool.utility[rows], stream)
        left = np.setdiff1d(np.arange(len(pool)), rows)
        chosen = select(fitted, left, aim=Aim("log_ei"), batch_size=1, seed=stream)
        story += [fitted.report.losses, chosen.ids, *(p.tolist() for p in fitted.marginals(left))]
        rows += pool.positions(chosen.ids).tolist()
    return rows, story


@pytest.mark.parametrize("name", ["static", "pllm", "llm_phi", "pllm_phi"])
def test_a_campaign_runs_and_repeats(family, model_folder, name):
    rows, story = campaign(model_folder(family), name)
    assert len(set(rows)) == 7
    numbers = np.concatenate([np.ravel(part) for part in story if not isinstance(part[0], str)])
    assert np.isfinite(numbers).all()
    assert campaign(model_folder(family), name) == (rows, story)


def test_every_family_is_covered():
    assert set(EXPECTED) == set(CONFIGS)
    assert {*SHARING, *OWN_ATTENTION, *DECODERS, *ENCODER_DECODERS} < set(CONFIGS)
