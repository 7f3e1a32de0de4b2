import math

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from gollum.errors import ModelError
from gollum.language.adapted import AdaptedText
from gollum.language.adapters import (
    ADAPTER,
    FastDropout,
    inject_lora,
    lora_parameters,
    reset_lora,
    target_modules,
    top_layers,
    transformer_layers,
)
from gollum.language.embed import pad, tokenize
from gollum.runtime import seeded
from gollum.surrogates.deep_kernel import DeepKernelGP
from gollum.surrogates.fit import fit_joint
from gollum.surrogates.presets import OptimizerSettings
from helpers import LAYERS, load, make_texts

RANK, ALPHA = 4, 16.0
SCALE = ALPHA / math.sqrt(RANK)
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
    "mistral": ("layers", DECODER_LAYER),
    "gpt2": ("h", ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")),
}


def inject(model, dropout=0.0, fraction=0.25):
    return inject_lora(model, rank=RANK, alpha=ALPHA, dropout=dropout, fraction=fraction)


def fill(layers, seed=0):
    """A and B with values of a trained size, so that the update matters."""
    with seeded(seed):
        reset_lora(layers)
        for layer in layers:
            nn.init.normal_(layer.lora_B[ADAPTER].weight, std=0.1)


@pytest.mark.parametrize(
    ("count", "first"),
    [(1, 0), (2, 1), (3, 2), (4, 3), (6, 4), (10, 8), (12, 9), (22, 16), (24, 18), (30, 22)],
)
def test_a_quarter_of_the_layers_halves_to_even(count, first):
    assert list(top_layers(count)) == list(range(first, count))


def test_other_fractions():
    assert list(top_layers(12, 0.5)) == [6, 7, 8, 9, 10, 11]
    assert list(top_layers(5, 1.0)) == [0, 1, 2, 3, 4]
    assert list(top_layers(12, 0.01)) == [11]


@pytest.mark.parametrize("fraction", [0.25, 0.5, 1.0])
def test_targets_are_exactly_the_linears_of_the_top_layers(family, backbone, fraction):
    stack, linears = EXPECTED[family]
    chosen = range(LAYERS - round(fraction * LAYERS), LAYERS)
    expected = {f"{stack}.{layer}.{linear}" for layer in chosen for linear in linears}
    assert set(target_modules(backbone.model, fraction)) == expected


@pytest.mark.parametrize("fraction", [0.25, 1.0])
def test_lora_sits_on_the_targets_and_nowhere_else(backbone, fraction):
    targets = target_modules(backbone.model, fraction)
    layers = inject(backbone.model, fraction=fraction)
    named = dict(backbone.model.named_modules())
    assert [id(named[name]) for name in targets] == [id(layer) for layer in layers]
    trainable = {name for name, p in backbone.model.named_parameters() if p.requires_grad}
    assert trainable == {
        f"{name}.lora_{side}.{ADAPTER}.weight" for name in targets for side in "AB"
    }
    own = {id(p) for p in backbone.model.parameters() if p.requires_grad}
    assert [id(p) in own for p in lora_parameters(layers)] == [True] * 2 * len(targets)


def test_a_model_without_a_stack_of_layers_is_refused():
    with pytest.raises(ModelError, match=r"Sequential has no list.*static or pllm"):
        transformer_layers(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    with pytest.raises(ModelError, match="no list of transformer layers"):
        transformer_layers(nn.ModuleList([nn.ReLU(), nn.ReLU()]))


def test_the_stack_is_the_longest_list_of_equal_modules():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
            self.mixed = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()] * 5)
            self.norms = nn.ModuleList(nn.LayerNorm(2) for _ in range(9))
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(2, 2)) for _ in range(4))

    model = Model()
    assert transformer_layers(model) is model.blocks


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_an_adapted_module_computes_the_closed_form(model_folder, name):
    model = load(model_folder(name)).model
    originals = {n: m for n, m in model.named_modules() if n in target_modules(model)}
    weights = {n: (m.weight.clone(), m.bias.clone()) for n, m in originals.items()}
    layers = inject(model)
    fill(layers)
    named = dict(model.named_modules())
    for path, (weight, bias) in weights.items():
        matrix = weight.T if name == "gpt2" else weight  # Conv1D holds in x out
        x = torch.randn(3, matrix.shape[1], generator=torch.Generator().manual_seed(1))
        a, b = (getattr(named[path], f"lora_{side}")[ADAPTER].weight for side in "AB")
        update = SCALE * x @ a.T @ b.T
        assert update.abs().max() > 0.1
        torch.testing.assert_close(named[path](x), x @ matrix.T + bias + update)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize(
    ("name", "modules", "pattern"),
    [
        ("bert", ["query", "key", "value", "dense"], "layer"),
        ("t5", ["q", "k", "v", "o", "wi", "wo"], "block"),
    ],
)
def test_outputs_and_gradients_equal_pefts_own_model(model_folder, name, modules, pattern):
    ours, other = load(model_folder(name)), load(model_folder(name))
    layers = inject(ours.model)
    fill(layers)
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        use_rslora=True,
        target_modules=modules,
        layers_to_transform=[LAYERS - 1],
        layers_pattern=pattern,
    )
    theirs = get_peft_model(other.model, config)
    values = dict(ours.model.named_parameters())
    copied = {}
    for path, parameter in theirs.named_parameters():
        if parameter.requires_grad:
            copied[path.removeprefix("base_model.model.")] = parameter
            parameter.data.copy_(values[path.removeprefix("base_model.model.")].data)
    assert set(copied) == {n for n, p in ours.model.named_parameters() if p.requires_grad}

    ids, mask = pad(tokenize(ours, make_texts(6)).sequences, 0, ours.device)
    results = []
    for model in (ours.model, theirs.eval()):
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        (hidden * torch.linspace(-1, 1, hidden.shape[-1])).square().sum().backward()
        results.append(hidden)
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)
    for path, parameter in copied.items():
        size = parameter.grad.abs().max().item()
        assert size > 0
        torch.testing.assert_close(values[path].grad, parameter.grad, rtol=1e-5, atol=1e-5 * size)


def test_reset_draws_a_from_the_stream_and_zeroes_b(bert):
    layers = inject(bert.model)

    def drawn(seed):
        with seeded(seed):
            reset_lora(layers)
        assert all((layer.lora_B[ADAPTER].weight == 0).all() for layer in layers)
        return [layer.lora_A[ADAPTER].weight.clone() for layer in layers]

    first = drawn(1)
    for layer in layers:
        nn.init.ones_(layer.lora_B[ADAPTER].weight)
    other, again = drawn(2), drawn(1)
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for weight in first:  # Kaiming-uniform with a = √5: uniform within ±1/√inputs
        bound = 1.0 / math.sqrt(weight.shape[1])
        assert 0.8 * bound < weight.abs().max() <= bound


def test_reset_restarts_the_dropout_masks(bert):
    layers = inject(bert.model, dropout=0.5)
    x = torch.ones(50, 8)

    def masks(seed):
        with seeded(seed):
            reset_lora(layers)
        dropouts = [layer.lora_dropout[ADAPTER].train() for layer in layers]
        assert all(isinstance(d, FastDropout) and d.p == 0.5 for d in dropouts)
        return torch.stack([dropout(x) for dropout in dropouts])

    first = masks(1)
    assert torch.equal(masks(1), first)
    assert not torch.equal(masks(2), first)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("name", ["bert", "t5", "gpt2"])
def test_a_joint_fit_changes_only_the_adapters(model_folder, name):
    backbone = load(model_folder(name))
    text = AdaptedText(
        backbone,
        tokenize(backbone, make_texts(8)),
        rank=RANK,
        alpha=ALPHA,
        dropout=0.2,
        fraction=0.25,
    )
    with seeded(0):
        text.reset()
        before = {n: v.clone() for n, v in backbone.model.state_dict().items()}
        model = DeepKernelGP(text, 1e-4, True, torch.device("cpu"))
        targets = torch.linspace(-1, 1, 8, dtype=torch.float64)
        fit_joint(model, np.arange(8), targets, OptimizerSettings(max_evaluations=4))
    after = backbone.model.state_dict()
    changed = {n for n, v in before.items() if not torch.equal(v, after[n])}
    assert changed == {n for n in before if ".lora_" in n}
    assert not any(m.training for m in backbone.model.modules() if isinstance(m, nn.Dropout))


def test_dropout_keeps_the_right_share_and_scales_it():
    torch.manual_seed(0)
    for p in (0.2, 0.5, 0.9):
        count = 400_000
        out = FastDropout(p).train()(torch.full((count,), 3.0))
        kept = out != 0
        tolerance = 5 * math.sqrt(p * (1 - p) / count)
        assert kept.double().mean().item() == pytest.approx(1 - p, abs=tolerance)
        assert out[kept].unique().tolist() == pytest.approx([3.0 / (1 - p)])


def test_dropout_draws_each_element_by_itself():
    torch.manual_seed(0)
    kept = (FastDropout(0.5).train()(torch.ones(1000, 200)) != 0).double()
    for other in (kept.roll(1, 0), kept.roll(1, 1), kept.roll(4, 1)):
        agreement = (kept == other).double().mean().item()
        assert agreement == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(kept.numel()))


def test_dropout_does_nothing_in_eval_or_with_probability_zero():
    x = torch.randn(5, 3)
    assert FastDropout(0.7).eval()(x) is x
    assert FastDropout(0.0).train()(x) is x


def test_dropout_masks_follow_pytorchs_stream():
    dropout, x = FastDropout(0.5).train(), torch.ones(3, 7)

    def masks(seed):
        torch.manual_seed(seed)
        dropout.reseed()
        return [dropout(x), dropout(x)]

    first, again, other = masks(1), masks(1), masks(2)
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])
    torch.manual_seed(1)
    assert torch.equal(FastDropout(0.5).train()(x), first[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 7)])
def test_dropout_gradient_is_the_scaled_mask(shape, dtype):
    torch.manual_seed(3)
    x = torch.randn(shape).to(dtype).requires_grad_()
    out = FastDropout(0.25).train()(x)
    assert (out.shape, out.dtype) == (x.shape, dtype)
    out.sum().backward()
    scaled_mask = (out != 0).to(dtype) * (1.0 / 0.75)
    torch.testing.assert_close(x.grad, scaled_mask)
    torch.testing.assert_close(out, x * scaled_mask)
