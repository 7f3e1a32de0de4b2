import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout as drop
from transformers import AutoModel, Gemma2Config
from transformers.models.bert import modeling_bert
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.llama import modeling_llama
from transformers.models.t5 import modeling_t5

from gollum.language.engine.attention import NAME, _Attention, attention
from gollum.runtime import seeded
from helpers import POSITIONS, VOCABULARY, WIDTH, load, make_texts, padded

B, HEADS, T, D = 2, 4, 5, 3
LEAST = torch.finfo(torch.float64).min


def inputs(key_heads=HEADS, dtype=torch.float64, seed=0, gradient=True):
    """Query, key and value."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(B, HEADS, T, D), (B, key_heads, T, D), (B, key_heads, T, D)]
    made = [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]
    return [x.requires_grad_(gradient) for x in made]


def random_like(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


# What is added to the scores: the second text has two tokens of padding.
PADDING = torch.zeros(B, 1, 1, T, dtype=torch.float64)
PADDING[1, ..., -2:] = LEAST
CAUSAL = torch.full((T, T), LEAST, dtype=torch.float64).triu(1).expand(B, 1, T, T)
MASKS = {
    "none": None,
    "padding": PADDING,
    "causal": CAUSAL,
    "window": CAUSAL + torch.full((T, T), LEAST / 4, dtype=torch.float64).tril(-2),
    "per_head": random_like(B, HEADS, T, T),
}
BIAS = random_like(1, HEADS, T, T)


def plain(query, key, value, mask=None, scaling=None, bias=None):
    """softmax(scaling · Q Kᵀ + bias + mask) V, b x t x heads x d, one head at a time."""
    scaling = 1 / math.sqrt(D) if scaling is None else scaling
    added = torch.zeros(B, HEADS, T, T, dtype=query.dtype)
    for more in (mask, bias):
        added = added if more is None else added + more
    heads = []
    for head in range(HEADS):
        group = head * key.shape[1] // HEADS
        scores = scaling * query[:, head] @ key[:, group].transpose(1, 2) + added[:, head]
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        heads.append(weights / weights.sum(-1, keepdim=True) @ value[:, group])
    return torch.stack(heads, 2)


def gradients(output, parts):
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).view(output.shape)
    return torch.autograd.grad((output * weights).sum(), parts)


def agree(ours, theirs, parts, rtol=1e-12):
    """In value and in gradient."""
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol)
    found, expected = gradients(ours, parts), gradients(theirs, parts)
    assert all(e.abs().max() > 0 for e in expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("bias", [None, BIAS])
@pytest.mark.parametrize("scaling", [None, 1.0, 0.2])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("key_heads", [HEADS, 2, 1])
def test_values_and_gradients_are_those_of_a_plain_softmax(key_heads, mask, scaling, bias):
    parts, added = inputs(key_heads), MASKS[mask]
    ours, weights = attention(None, *parts, added, scaling=scaling, position_bias=bias)
    assert weights is None
    assert ours.shape == (B, T, HEADS, D)
    assert ours.is_contiguous()
    agree(ours, plain(*parts, added, scaling, bias), parts)


@pytest.mark.parametrize("bias", [None, BIAS])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("key_heads", [HEADS, 2])
def test_without_gradients_the_values_are_the_same(key_heads, mask, bias):
    parts, added = inputs(key_heads), MASKS[mask]
    expected = plain(*parts, added, 0.3, bias).detach()
    with torch.no_grad():
        found, weights = attention(None, *parts, added, scaling=0.3, position_bias=bias)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert weights is None
    fixed = inputs(key_heads, gradient=False)
    found, _ = attention(None, *fixed, added, scaling=0.3, position_bias=bias)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert not found.requires_grad


@pytest.mark.parametrize("which", range(3))
def test_one_part_alone_may_want_its_gradient(which):
    parts = inputs(gradient=False)
    parts[which].requires_grad_()
    ours, _ = attention(None, *parts, PADDING)
    agree(ours, plain(*parts, PADDING), [parts[which]])


@pytest.mark.parametrize("mask", MASKS)
def test_gradients_are_the_finite_differences(mask):
    def apply(*parts):
        return _Attention.apply(*parts, MASKS[mask], 0.7)

    assert torch.autograd.gradcheck(apply, inputs(), fast_mode=True)


def test_inputs_and_masks_are_left_alone():
    parts, mask, bias = inputs(), PADDING.clone(), BIAS.clone()
    before = [part.detach().clone() for part in parts]
    output, _ = attention(None, *parts, mask, position_bias=bias)
    weights = torch.ones_like(output)
    output.backward(weights)
    assert all(torch.equal(part, b) for part, b in zip(parts, before, strict=True))
    assert torch.equal(mask, PADDING)
    assert torch.equal(bias, BIAS)
    assert (weights == 1).all()


def test_hidden_tokens_have_no_say():
    parts = inputs()
    output, _ = attention(None, *parts, PADDING)
    hidden = [g[1, :, -2:] for g in gradients(output, parts[1:])]
    assert all((part == 0).all() for part in hidden)
    with torch.no_grad():
        for part in parts[1:]:
            part[1, :, -2:] = 100.0
        again, _ = attention(None, *parts, PADDING)
    torch.testing.assert_close(again, output)


def test_tokens_without_any_other_are_averages_and_no_nan():
    """Behind its end, a right-padded text of a windowed model may see nothing at all."""
    mask = torch.full((B, 1, T, T), LEAST, dtype=torch.float64)
    parts = inputs()
    output, _ = attention(None, *parts, mask)
    expected = parts[2].mean(2, keepdim=True).expand(B, HEADS, T, D).transpose(1, 2)
    torch.testing.assert_close(output, expected)
    assert all(g.isfinite().all() for g in gradients(output, parts))


GROUPS = {"num_key_value_groups": HEADS // 2}


@pytest.mark.parametrize("mask", ["none", "padding", "causal"])
@pytest.mark.parametrize(
    ("source", "key_heads", "options"),
    [
        (modeling_bert, HEADS, {}),
        (modeling_llama, 2, {}),
        (modeling_t5, HEADS, {"position_bias": BIAS}),
        (modeling_gemma2, 2, {}),
    ],
    ids=["bert", "llama", "t5", "gemma2"],
)
def test_it_is_what_transformers_computes(source, key_heads, options, mask):
    parts, module = inputs(key_heads), SimpleNamespace(training=False, **GROUPS)
    theirs, _ = source.eager_attention_forward(module, *parts, MASKS[mask], scaling=0.4, **options)
    ours, _ = attention(module, *parts, MASKS[mask], scaling=0.4, **options)
    # Llama and Gemma take the softmax in float32.
    agree(ours, theirs, parts, rtol=1e-5 if key_heads == 2 else 1e-12)


def gemma():
    """An attention module with a soft cap of 2, small enough to matter."""
    config = Gemma2Config(
        hidden_size=HEADS * D, num_attention_heads=HEADS, num_key_value_heads=2, head_dim=D
    )
    return modeling_gemma2.Gemma2Attention(config, 0).eval()


def test_a_soft_cap_goes_to_the_models_own_attention():
    parts, module = inputs(2), gemma()
    options = {"scaling": 0.4, "softcap": 2.0}
    theirs, _ = modeling_gemma2.eager_attention_forward(module, *parts, CAUSAL, **options)
    ours, _ = attention(module, *parts, CAUSAL, **options, sliding_window=3)
    agree(ours, theirs, parts)
    uncapped, _ = attention(module, *parts, CAUSAL, scaling=0.4, softcap=None)
    assert (uncapped - ours).abs().max() > 1e-2
    torch.testing.assert_close(uncapped, plain(*parts, CAUSAL, 0.4))


def test_dropout_and_sinks_go_to_the_models_own_attention(monkeypatch):
    seen = []

    def own(module, query, key, value, mask, **options):
        seen.append(options)
        return query, key

    module = modeling_bert.BertAttention.__new__(modeling_bert.BertAttention)
    monkeypatch.setattr(modeling_bert, "eager_attention_forward", own)
    parts = inputs()
    assert attention(module, *parts, None, dropout=0.1) == (parts[0], parts[1])
    sinks = torch.ones(HEADS)
    attention(module, *parts, None, scaling=0.5, s_aux=sinks, position_bias=BIAS)
    assert seen[0] == {"scaling": None, "dropout": 0.1}
    assert seen[1].keys() == {"scaling", "dropout", "s_aux", "position_bias"}
    assert seen[1]["scaling"] == 0.5
    attention(module, *parts, None, s_aux=None, softcap=None)
    assert len(seen) == 2


def test_dropout_of_a_training_model_is_the_models_own():
    layer = modeling_bert.BertAttention.__new__(modeling_bert.BertAttention)
    nn.Module.__init__(layer)
    layer.train()
    parts = inputs()
    torch.manual_seed(3)
    ours, weights = attention(layer, *parts, PADDING, scaling=0.4, dropout=0.5)
    torch.manual_seed(3)
    scores = (0.4 * parts[0] @ parts[1].transpose(2, 3) + PADDING).softmax(-1)
    dropped = drop(scores, 0.5)
    torch.testing.assert_close(weights, dropped)
    torch.testing.assert_close(ours, (dropped @ parts[2]).transpose(1, 2))


@pytest.mark.parametrize("mask", ["none", "padding", "causal"])
def test_bfloat16_is_the_rounded_truth(mask):
    exact, rounded = inputs(dtype=torch.bfloat16), inputs(dtype=torch.bfloat16)
    exact = [x.detach().double().requires_grad_() for x in exact]
    added = MASKS[mask]
    half = None if added is None else added.clamp_min(torch.finfo(torch.bfloat16).min).bfloat16()
    truth = plain(*exact, added, 0.4)
    eps = torch.finfo(torch.bfloat16).eps
    ours, _ = attention(None, *rounded, half, scaling=0.4)
    assert ours.dtype == torch.bfloat16
    assert (ours.double() - truth).abs().max() < 4 * eps * truth.abs().max()
    found, expected = gradients(ours, rounded), gradients(truth, exact)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.double() - b).abs().max() < 4 * eps * b.abs().max()
    with torch.no_grad():
        ours, _ = attention(None, *rounded, half, scaling=0.4)
    assert ours.dtype == torch.bfloat16
    assert (ours.double() - truth).abs().max() < 4 * eps * truth.abs().max()


TEXTS = make_texts(6, seed=5)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_models_in_single_precision_keep_their_own(model_folder, calls, family):
    backbone = load(model_folder(family))
    assert backbone.model.config._attn_implementation == "sdpa"
    backbone.hidden(*padded(backbone, TEXTS))
    assert calls == []


def test_a_model_with_a_soft_cap_works_in_bfloat16():
    config = Gemma2Config(
        vocab_size=len(VOCABULARY),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=WIDTH // 2,
        max_position_embeddings=POSITIONS,
        sliding_window=4,
        attn_logit_softcapping=1.0,
    )
    ids = torch.randint(5, len(VOCABULARY), (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    outputs = []
    for options in ({"attn_implementation": "eager"}, {"attn_implementation": NAME}):
        with seeded(2):
            model = AutoModel.from_config(config, dtype=torch.bfloat16, **options).eval()
        assert model.config._attn_implementation == options["attn_implementation"]
        with torch.no_grad():
            outputs.append(model(input_ids=ids, attention_mask=mask).last_hidden_state)
    assert torch.equal(outputs[0], outputs[1])
