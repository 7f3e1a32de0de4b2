import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig
from transformers.pytorch_utils import Conv1D

from gollum.errors import FitError, ModelError
from gollum.features.base import Bounded, FixedFeatures, Projection
from gollum.features.texts import AdaptedTexts
from gollum.language import embed as embed_module
from gollum.language.embed import embed, tokenize
from gollum.language.engine import adapters
from gollum.language.engine.adapted import AdaptedText
from gollum.language.engine.adapters import (
    checkpoint_layers,
    inject_lora,
    lora_parameters,
    merged,
    renew_masks,
    reset_lora,
    target_modules,
    top_layers,
    transformer_layers,
    without_updates,
)
from gollum.language.engine.fused import ADAPTER, FastDropout, Fused, Masks
from gollum.language.loading import load_backbone
from gollum.runtime import Runtime, seeded
from gollum.settings import OptimizerSettings
from gollum.surrogates import fit as fit_module
from gollum.surrogates.fit import fit_joint
from gollum.surrogates.gaussian_process import DeepKernelGP
from helpers import LAYERS, fill, load, make_texts, padded

RANK, ALPHA = 4, 16.0
SCALE = ALPHA / math.sqrt(RANK)


def inject(model, dropout=0.0, fraction=0.25, **options):
    return inject_lora(model, rank=RANK, alpha=ALPHA, dropout=dropout, fraction=fraction, **options)


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


def test_a_model_without_a_stack_of_layers_is_refused():
    with pytest.raises(ModelError, match=r"Sequential has no list.*static or pllm"):
        transformer_layers(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    with pytest.raises(ModelError, match="no list of transformer layers"):
        transformer_layers(nn.ModuleList([nn.ReLU(), nn.ReLU()]))


def test_the_stack_is_the_longest_list_of_modules_that_hold_linears():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
            self.mixed = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()] * 5)
            self.norms = nn.ModuleList(nn.LayerNorm(2) for _ in range(9))
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(2, 2)) for _ in range(4))

    model = Model()
    assert transformer_layers(model) is model.blocks


def test_layers_of_several_kinds_are_one_stack_and_experts_are_none():
    class Layer(nn.Module):
        def __init__(self, experts):
            super().__init__()
            self.attention = nn.Linear(2, 2)
            self.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(experts))

    model = nn.Module()
    model.layers = nn.ModuleList([nn.Sequential(nn.Linear(2, 2)), Layer(8), Layer(9)])
    assert transformer_layers(model) is model.layers
    assert target_modules(model)[:2] == ["layers.2.attention", "layers.2.experts.0"]


def test_a_model_that_peft_refuses_to_adapt_is_refused_in_one_sentence():
    model = nn.Module()
    model.config = PreTrainedConfig()
    model.config.model_type = "mamba"
    layer = nn.Module()
    layer.out_proj = nn.Linear(2, 2)
    model.layers = nn.ModuleList([layer])
    expected = (
        r"^Module can't get adapters \(.*'out_proj' is incompatible.*\); use .*static or pllm\)\.$"
    )
    with pytest.raises(ModelError, match=expected):
        inject(model)


class Doubled(nn.Linear):
    """Named like a linear layer, and does something else."""

    def forward(self, x):
        return 2.0 * super().forward(x)


def test_a_linear_layer_of_its_own_kind_computes_in_its_own_way():
    model = nn.Module()
    model.layers = nn.ModuleList([nn.Sequential(Doubled(3, 4))])
    (layer,) = inject(model)
    fill([layer])
    x = torch.randn(5, 3)
    a, b = (getattr(layer, f"lora_{side}")[ADAPTER].weight for side in "AB")
    expected = layer.get_base_layer()(x) + SCALE * x @ a.T @ b.T
    torch.testing.assert_close(layer(x), expected)
    with merged([layer]):
        torch.testing.assert_close(layer(x), expected)


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

    ids, mask = padded(ours, make_texts(6))
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
        assert all(isinstance(d, FastDropout) and d.masks.p == 0.5 for d in dropouts)
        return torch.stack([dropout(x) for dropout in dropouts])

    first = masks(1)
    assert torch.equal(masks(1), first)
    assert not torch.equal(masks(2), first)
    assert not torch.equal(first[0], first[1])


def dropout_of(p, **options):
    return FastDropout(Masks(p, **options)).train()


def test_dropout_keeps_the_right_share_and_scales_it():
    torch.manual_seed(0)
    for p in (0.2, 0.5, 0.9):
        # Of the mean over calls: each call drops one of the two neighbouring 256ths.
        dropout, size, calls = dropout_of(p), 4000, 100
        outs = [dropout(torch.full((size,), 3.0)) for _ in range(calls)]
        kept = torch.stack(outs) != 0
        tolerance = 5 * (math.sqrt(p * (1 - p) / (size * calls)) + 0.5 / 256 / math.sqrt(calls))
        assert kept.double().mean().item() == pytest.approx(1 - p, abs=tolerance)
        assert outs[0][kept[0]].unique().tolist() == pytest.approx([3.0 / (1 - p)])


@pytest.mark.parametrize("p", [0.001, 0.1, 0.2, 0.25, 0.5, 0.999])
def test_on_average_every_element_is_dropped_with_probability_p(p, monkeypatch):
    """Over all bytes and evenly spaced dithers, the share is p exactly."""
    masks = Masks(p)
    masks.reseed()
    steps = 1000

    class Even:
        """All 256 bytes in turn, and the dithers (k + ½)/steps."""

        def __init__(self):
            self.bit_generator, self.k = self, 0

        def random_raw(self, words):
            return np.resize(np.arange(256, dtype=np.uint8), 8 * words).view(np.uint64)

        def random(self):
            self.k += 1
            return (self.k - 0.5) / steps

    masks._bits = Even()
    dropped = [(masks.like(torch.empty(256)) == 0).sum().item() for _ in range(steps)]
    assert sum(dropped) / (256 * steps) == pytest.approx(p, abs=1.01 / (256 * steps))
    assert max(dropped) - min(dropped) <= 1


def test_dropout_draws_each_element_by_itself():
    torch.manual_seed(0)
    kept = (dropout_of(0.5)(torch.ones(1000, 200)) != 0).double()
    for other in (kept.roll(1, 0), kept.roll(1, 1), kept.roll(4, 1), kept.roll(8, 1)):
        agreement = (kept == other).double().mean().item()
        assert agreement == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(kept.numel()))


def test_long_inputs_are_covered_to_the_end(monkeypatch):
    torch.manual_seed(0)
    out = dropout_of(0.5)(torch.ones(2**17 + 2**16 + 5))
    assert set(out.unique().tolist()) == {0.0, 2.0}
    parts = (out[: 2**16], out[2**17 : 2**17 + 2**16])
    assert not torch.equal(*parts)
    for part in (*parts, out[-(2**15) :]):
        share = (part == 0).double().mean().item()
        assert share == pytest.approx(0.5, abs=0.01)


def test_dropout_does_nothing_in_eval_or_with_probability_zero():
    x = torch.randn(5, 3)
    assert dropout_of(0.7).eval()(x) is x
    assert dropout_of(0.0)(x) is x


def test_dropout_masks_follow_pytorchs_stream():
    dropout, x = dropout_of(0.5), torch.ones(3, 7)

    def masks(seed):
        torch.manual_seed(seed)
        dropout.masks.reseed()
        return [dropout(x), dropout(x)]

    first, again, other = masks(1), masks(1), masks(2)
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])
    torch.manual_seed(1)
    assert torch.equal(dropout_of(0.5)(x), first[0])


def test_shared_masks_are_one_per_shape_until_renewed():
    torch.manual_seed(0)
    masks = Masks(0.5, shared=True)
    x, y = torch.ones(4, 30), torch.ones(4, 31)
    first = masks.like(x)
    assert torch.equal(masks.like(x), first)
    assert masks.like(y).shape == y.shape
    assert torch.equal(masks.like(x), first)
    masks.renew()
    assert not torch.equal(masks.like(x), first)
    apart = Masks(0.5)
    assert not torch.equal(apart.like(x), apart.like(x))


def test_shared_masks_start_over_when_reseeded():
    masks, x = Masks(0.5, shared=True), torch.ones(4, 30)
    drawn = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        masks.reseed()
        drawn.append(masks.like(x))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("shared", [False, True])
def test_a_repetition_draws_the_same_masks_and_leaves_the_stream_alone(shared):
    masks, x, y = Masks(0.5, shared=shared), torch.ones(4, 30), torch.ones(4, 31)

    def drawn(repeats):
        """Masks of a pass and of what comes after its repetitions."""
        torch.manual_seed(0)
        masks.reseed()
        masks.like(x)
        once, again = masks.twice()
        with once:
            first = [masks.like(x), masks.like(y), masks.like(x)]
        masks.renew()
        after = [masks.like(x)]
        if repeats:
            with again:
                assert all(torch.equal(masks.like(mask), mask) for mask in first)
        return [*first, *after, masks.like(x), masks.like(y)]

    pairs = zip(drawn(repeats=True), drawn(repeats=False), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("shared", [False, True])
def test_masks_have_the_precision_of_what_they_are_for(shared):
    masks = Masks(0.5, shared=shared)
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        mask = masks.like(torch.ones(7, 9, dtype=dtype))
        assert mask.dtype == dtype
        assert set(mask.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("shared", [False, True])
def test_a_model_shares_masks_within_a_batch_if_asked_to(bert, shared):
    layers = inject(bert.model, dropout=0.5, shared_masks=shared)
    x = torch.ones(5, 6, 8)
    dropouts = [layer.lora_dropout[ADAPTER].train() for layer in layers]
    first = torch.stack([dropout(x) for dropout in dropouts])
    assert all(torch.equal(mask, first[0]) for mask in first) == shared
    renew_masks(layers)
    assert not torch.equal(dropouts[0](x), first[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 7)])
def test_dropout_gradient_is_the_scaled_mask(shape, dtype):
    torch.manual_seed(3)
    x = torch.randn(shape).to(dtype).requires_grad_()
    out = dropout_of(0.25)(x)
    assert (out.shape, out.dtype) == (x.shape, dtype)
    out.sum().backward()
    scaled_mask = (out != 0).to(dtype) * (1.0 / 0.75)
    torch.testing.assert_close(x.grad, scaled_mask)
    torch.testing.assert_close(out, x * scaled_mask)


KINDS = {
    "linear": lambda: nn.Linear(9, 13),
    "no_bias": lambda: nn.Linear(9, 13, bias=False),
    "conv1d": lambda: Conv1D(13, 9),
}


def adapted_module(kind, dtype, seed=0):
    """The LoRA module on one linear layer, with values of a trained size."""
    with seeded(seed):
        model = nn.Module()
        model.layers = nn.ModuleList([nn.Sequential(KINDS[kind]())])
        nn.init.normal_(model.layers[0][0].weight, std=0.3)
        if kind != "no_bias":
            nn.init.normal_(model.layers[0][0].bias)
        (layer,) = inject(model.to(dtype))
    fill([layer], seed)
    assert isinstance(layer.forward, Fused)
    return layer


class Masked(nn.Module):
    """Dropout by a given mask, for our forward and for PEFT's."""

    def __init__(self, given):
        super().__init__()
        self.given = given

    def mask(self, x):
        return self.given

    def forward(self, x):
        return x * self.given


def outcome(forward, layer, x, weights):
    """Output of a forward pass, and gradients of its weighted sum for x (or None), A and B."""
    x = x.detach().clone().requires_grad_(x.requires_grad)
    a, b = (getattr(layer, f"lora_{side}")[ADAPTER].weight for side in "AB")
    wanted = [x, a, b] if x.requires_grad else [a, b]
    out = forward(x)
    gradients = torch.autograd.grad((out * weights).sum(), wanted)
    return [out.detach(), *gradients]


def relative_errors(found, expected):
    return [
        ((f.double() - e.double()).abs().max() / e.double().abs().max()).item()
        for f, e in zip(found, expected, strict=True)
    ]


ROUNDING = {torch.float64: 1e-13, torch.float32: 1e-5}


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("needs_gradient", [False, True])
@pytest.mark.parametrize("shape", [(6, 9), (2, 5, 9)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_our_forward_equals_pefts(kind, dtype, shape, needs_gradient, dropped):
    layer = adapted_module(kind, dtype)
    torch.manual_seed(4)
    x = torch.randn(shape).to(dtype).requires_grad_(needs_gradient)
    weights = torch.randn(*shape[:-1], 13).to(dtype)
    if dropped:
        mask = Masks(0.5).like(x)
        assert 0 < (mask == 0).double().mean() < 1
        layer.lora_dropout[ADAPTER] = Masked(mask)
    ours = outcome(layer, layer, x, weights)
    theirs = outcome(partial(type(layer).forward, layer), layer, x, weights)
    assert [(o.shape, o.dtype) for o in ours] == [(t.shape, t.dtype) for t in theirs]
    assert all(t.abs().max() > 0 for t in theirs)
    if dtype != torch.bfloat16:
        assert max(relative_errors(ours, theirs)) < ROUNDING[dtype]
        return
    # In bfloat16, both are compared with the same numbers in float64.
    exact = layer.double()
    truth = outcome(partial(type(layer).forward, exact), exact, x.double(), weights.double())
    errors, their_errors = relative_errors(ours, truth), relative_errors(theirs, truth)
    eps = torch.finfo(torch.bfloat16).eps
    assert max(errors) < 2 * eps
    assert max(errors) < 3 * max(their_errors) + eps


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_dropout_multiplies_the_input_of_a_by_the_mask(model_folder, name):
    layers = inject(load(model_folder(name)).model, dropout=0.5, shared_masks=True)
    fill(layers)
    for layer in layers:
        layer.lora_dropout.train()
        a, b = (getattr(layer, f"lora_{side}")[ADAPTER].weight for side in "AB")
        x = torch.randn(3, 4, a.shape[1], generator=torch.Generator().manual_seed(1))
        mask = layer.lora_dropout[ADAPTER].mask(x)
        expected = layer.get_base_layer()(x) + SCALE * (x * mask) @ a.T @ b.T
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_finite_differences(kind, dropped):
    layer = adapted_module(kind, torch.float64)
    torch.manual_seed(5)
    x = torch.randn(2, 3, 9, dtype=torch.float64, requires_grad=True)
    layer.lora_dropout[ADAPTER] = Masked(Masks(0.5).like(x)) if dropped else FastDropout(Masks(0.0))
    a, b = (getattr(layer, f"lora_{side}")[ADAPTER].weight for side in "AB")

    def forward(x, a, b):
        parameters = {f"lora_A.{ADAPTER}.weight": a, f"lora_B.{ADAPTER}.weight": b}
        return torch.func.functional_call(layer, parameters, (x,))

    assert torch.autograd.gradcheck(forward, (x, a, b))


def test_a_pass_leaves_its_inputs_alone():
    layer = adapted_module("linear", torch.float32)
    layer.lora_dropout[ADAPTER] = dropout_of(0.5)
    x = torch.randn(4, 9, requires_grad=True)
    kept = {"x": x, **dict(layer.named_parameters())}
    before = {name: value.detach().clone() for name, value in kept.items()}
    out = layer(x)
    gradient = torch.ones_like(out)
    out.backward(gradient)
    assert all(torch.equal(value, before[name]) for name, value in kept.items())
    assert (gradient == 1).all()


def test_what_enters_a_checkpointed_layer_goes_by_position(monkeypatch):
    """There, PyTorch looks for the GPU whose random stream it repeats."""
    seen = []

    def recorded(forward, *args, **options):
        seen.append(args)
        return checkpoint(forward, *args, **options)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, hidden_states, factor=1.0):
            return factor * self.linear(hidden_states)

    monkeypatch.setattr(adapters, "checkpoint", recorded)
    model = nn.Module()
    model.layers = nn.ModuleList([Layer()])
    lora = inject(model)
    fill(lora)
    x = torch.randn(2, 3)
    expected = model.layers[0](x, factor=2.0)
    checkpoint_layers(model.layers, lora)
    assert torch.equal(model.layers[0](x, 2.0), expected)
    assert torch.equal(model.layers[0](hidden_states=x, factor=2.0), expected)
    assert [args[0] is x for args in seen] == [True, True]


def test_a_model_may_change_what_a_pass_gives_in_place():
    layer = adapted_module("linear", torch.float64)
    x = torch.randn(2, 4, 9, dtype=torch.float64)
    parameters = lora_parameters([layer])
    expected = torch.autograd.grad((layer(x) * 3.0).square().sum(), parameters)
    changed = layer(x)
    changed *= 3.0
    found = torch.autograd.grad(changed.square().sum(), parameters)
    assert max(relative_errors(found, expected)) < 1e-13


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_merged_weights_give_the_same_output(kind, dtype):
    layer = adapted_module(kind, dtype)
    x = torch.randn(5, 9).to(dtype)
    expected = layer(x)
    with merged([layer]):
        found = layer(x)
        layer.lora_dropout[ADAPTER] = dropout_of(0.5)
        assert torch.equal(layer(x), found)
    assert expected.requires_grad
    assert not found.requires_grad
    assert relative_errors([found], [expected.detach()])[0] < ROUNDING[dtype]


@pytest.mark.parametrize("family", ["bert", "modernbert", "t5", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_merged_model_equals_the_unmerged_eval_pass(model_folder, family, dtype):
    runtime = Runtime(torch.device("cpu"), dtype)
    backbone = load_backbone(str(model_folder(family)), runtime, pooling="mean")
    layers = inject(backbone.model, dropout=0.5, fraction=0.5)
    fill(layers)
    ids, mask = padded(backbone, make_texts(5))
    for layer in layers:
        layer.lora_dropout.eval()
    expected = backbone.hidden(ids, mask)
    with merged(layers):
        found = backbone.hidden(ids, mask)
    with without_updates(layers):
        pretrained = backbone.hidden(ids, mask)
    assert expected.dtype == found.dtype == dtype
    assert relative_errors([pretrained], [expected.detach()])[0] > 1e-2
    assert relative_errors([found], [expected.detach()])[0] < 10 * ROUNDING[dtype]
    assert not found.requires_grad


def leave(context):
    with pytest.raises(ZeroDivisionError), context:
        raise ZeroDivisionError


@pytest.mark.parametrize("context", [merged, without_updates])
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_weights_and_gradients_are_as_before_afterwards(model_folder, name, context):
    backbone = load(model_folder(name))
    layers = inject(backbone.model)
    fill(layers)
    before = {n: v.clone() for n, v in backbone.model.state_dict().items()}
    trainable = [n for n, p in backbone.model.named_parameters() if p.requires_grad]
    ids, mask = padded(backbone, make_texts(5))
    expected = backbone.hidden(ids, mask)

    def check():
        after = backbone.model.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(v, after[n]) for n, v in before.items())
        assert [n for n, p in backbone.model.named_parameters() if p.requires_grad] == trainable
        hidden = backbone.hidden(ids, mask)
        assert torch.equal(hidden, expected)
        hidden.sum().backward()
        assert all(p.grad is not None for p in lora_parameters(layers))

    with context(layers):
        backbone.hidden(ids, mask)
    check()
    leave(context(layers))
    check()


def adapted_text(folder, name, dropout=0.2, **options):
    """AdaptedText with adapters of a trained size; texts 1 and 8 are the same."""
    texts = make_texts(8, seed=3)
    backbone = load(folder(name))
    text = AdaptedText(
        backbone,
        tokenize(backbone, [*texts, texts[1]]),
        rank=RANK,
        alpha=ALPHA,
        dropout=dropout,
        fraction=0.25,
        **options,
    )
    fill(text._lora)
    plain = load(folder(name))
    return text, embed(plain, tokenize(plain, [*texts, texts[1]]))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", ["bert", "t5", "gpt2"])
def test_frozen_text_gives_the_pretrained_vectors(model_folder, family, training):
    text, pretrained = adapted_text(model_folder, family)
    text.train(training)
    rows = np.array([3, 8, 0, 3, 1])
    assert text.freeze(True)
    found = text(rows)
    assert not found.requires_grad
    assert relative_errors([found], [pretrained[rows]])[0] < 1e-5
    assert torch.equal(found[1], found[4])
    assert text.freeze(False)
    thawed = text(rows)
    assert thawed.requires_grad
    assert relative_errors([thawed.detach()], [pretrained[rows]])[0] > 1e-2


def test_pretrained_vectors_are_computed_once(model_folder, monkeypatch):
    text, _ = adapted_text(model_folder, "bert")
    text.freeze(True)
    expected = text(np.arange(9))
    text.freeze(False)
    fill(text._lora, seed=8)
    monkeypatch.setattr(AdaptedText, "_pooled", lambda *_: pytest.fail("computed again"))
    text.freeze(True)
    assert torch.equal(text(np.arange(9)), expected)


def test_freezing_keeps_no_activations_of_the_whole_pool(model_folder):
    """Before its first fit a featurizer is in training mode, as every new module is."""
    text, _ = adapted_text(model_folder, "bert")
    assert text.training
    text.freeze(True)
    assert text._batches == []


@pytest.mark.parametrize("family", ["bert", "t5", "gpt2"])
def test_predictions_are_the_same_with_and_without_gradients(model_folder, family):
    text, _ = adapted_text(model_folder, family)
    text.eval()
    rows = np.array([3, 8, 0, 3, 1])
    with torch.no_grad():
        found = text(rows)
    expected = text(rows)
    assert expected.requires_grad
    assert relative_errors([found], [expected.detach()])[0] < 1e-5


def test_a_fit_that_goes_on_reads_its_states_once(model_folder, monkeypatch):
    text, _ = adapted_text(model_folder, "bert", dropout=0.0)
    text.train()
    rows, other = np.array([3, 8, 0]), np.array([0, 3, 8])
    first = text(rows)
    calls = []
    padded_states = text._states.padded
    monkeypatch.setattr(
        text._states, "padded", lambda *args: calls.append(1) or padded_states(*args)
    )
    assert torch.equal(text(rows), first)
    assert calls == []
    rows[:] = other  # the caller's own array
    torch.testing.assert_close(text(rows), first[[2, 0, 1]])
    assert len(calls) > 0


def test_every_batch_of_every_pass_drops_its_own_elements(model_folder, monkeypatch):
    """Also with shared masks: they are shared by the modules that one batch goes through."""
    monkeypatch.setattr(
        embed_module, "batches", lambda lengths, **_: np.arange(len(lengths))[:, None]
    )
    text, _ = adapted_text(model_folder, "bert", dropout=0.5, shared_masks=True)
    text.train()
    drawn, draw = [], Masks._draw
    monkeypatch.setattr(Masks, "_draw", lambda *args: drawn.append(draw(*args)) or drawn[-1])
    first = text(np.array([3, 5, 0]))
    shapes = {mask.shape for mask in drawn}
    assert len(drawn) == 3 * len(shapes) < 3 * len(text._lora)
    second = text(np.array([3, 5, 0]))
    assert len(drawn) == 6 * len(shapes)
    masks = [mask for mask in drawn if mask.shape == drawn[0].shape]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(masks, 2))
    assert all((first != second).any(1))


def test_adapters_do_not_change_before_the_fine_tuning(model_folder, monkeypatch):
    text, pretrained = adapted_text(model_folder, "bert")
    with seeded(0):
        featurizer = Projection(AdaptedTexts(text), 6, 0.01)
        featurizer.reset()
        model = DeepKernelGP(Bounded(featurizer))
    targets = torch.linspace(-1, 1, 9, dtype=torch.float64)
    adapters, others, seen = list(text.parameters()), list(featurizer.linear.parameters()), []
    descend = fit_module._descend

    def watched(*args):
        before = [p.detach().clone() for p in (*adapters, *others)]
        losses = descend(*args)
        changed = [not torch.equal(p, b) for p, b in zip([*adapters, *others], before, strict=True)]
        seen.append((len(losses), changed[: len(adapters)], changed[len(adapters) :]))
        return losses

    monkeypatch.setattr(fit_module, "_descend", watched)
    settings = OptimizerSettings(max_evaluations=6, fine_tuning=4)
    report = fit_joint(model, np.arange(9), targets, settings)
    (first, first_adapters, first_others), (last, last_adapters, last_others) = seen
    assert (first, last, report.evaluations) == (6, 4, 10)
    assert not any(first_adapters)
    assert all(last_adapters)
    assert all(first_others + last_others)
    assert report.loss == report.losses[-1]
    assert not text.training
    assert text(np.arange(9)).requires_grad

    # The first part is the same fit of a projection of the pretrained vectors.
    with seeded(0):
        fixed = Projection(FixedFeatures(pretrained), 6, 0.01)
        text.reset()  # what is drawn before
        nn.init.xavier_uniform_(fixed.linear.weight)
        nn.init.constant_(fixed.linear.bias, 0.01)
        other = DeepKernelGP(Bounded(fixed))
    expected = fit_joint(other, np.arange(9), targets, OptimizerSettings(max_evaluations=6))
    np.testing.assert_allclose(report.losses[:6], expected.losses, rtol=1e-5)


def test_without_fine_tuning_the_losses_are_those_of_one_plain_loop(model_folder):
    assert OptimizerSettings().fine_tuning is None
    targets = torch.linspace(-1, 1, 9, dtype=torch.float64)

    def fresh():
        text, _ = adapted_text(model_folder, "bert")
        with seeded(0):
            text.reset()
        return text, DeepKernelGP(Bounded(AdaptedTexts(text)))

    text, model = fresh()
    groups = [
        {"params": list(text.parameters()), "lr": 0.002},
        {"params": list(model.gp.parameters()), "lr": 0.2},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
    model.train()
    expected = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model.loss(np.arange(9), targets)
        expected.append(loss.item())
        loss.backward()
        optimizer.step()
        schedule.step()
    _, model = fresh()
    report = fit_joint(model, np.arange(9), targets, OptimizerSettings(max_evaluations=5))
    assert list(report.losses) == expected


def test_a_failed_first_part_leaves_nothing_frozen(model_folder):
    text, _ = adapted_text(model_folder, "bert")
    model = DeepKernelGP(Bounded(AdaptedTexts(text)))
    targets = torch.full((9,), torch.nan, dtype=torch.float64)
    with pytest.raises(FitError, match="loss became nan"):
        fit_joint(model, np.arange(9), targets, OptimizerSettings(fine_tuning=4))
    assert text(np.arange(9)).requires_grad
