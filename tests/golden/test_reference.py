"""Parity with values computed by the published reference implementation (shared/golden)."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from botorch.acquisition import ExpectedImprovement
from botorch.exceptions.warnings import NumericsWarning
from scipy.stats import spearmanr
from transformers import AutoModel

from gollum.data.pool import Pool
from gollum.features.base import Bounded, Projection
from gollum.features.texts import AdaptedTexts
from gollum.language.backbone import Backbone
from gollum.language.embed import Tokens
from gollum.language.engine import AdaptedText
from gollum.runtime import Runtime
from gollum.settings import LoraSettings, ProjectionSettings, Settings
from gollum.surrogates.gaussian_process import DeepKernelGP, GaussianProcess

DATA = os.environ.get("GOLLUM_DATA")
GOLDEN = Path(DATA).parent / "golden" if DATA else None
pytestmark = pytest.mark.skipif(
    GOLDEN is None or not (GOLDEN / "pllm_phi.npz").exists(),
    reason="the reference's golden values are not beside $GOLLUM_DATA",
)
PROJECTED = {"pllm_phi": True, "llm_phi": False}


@pytest.fixture(params=["pllm_phi", "llm_phi"])
def golden(request):
    return request.param, np.load(GOLDEN / f"{request.param}.npz")


def reference_start(values, key):
    return torch.as_tensor(values[f"init/{key}"])


def build(variant, values):
    """The surrogate on the golden inputs, with `reset` putting the reference's starting weights."""
    runtime = Runtime.resolve("cpu", "float32")
    model = AutoModel.from_pretrained(GOLDEN / "tiny-bert").eval().requires_grad_(False)
    tokenizer = SimpleNamespace(pad_token_id=0)
    backbone = Backbone("tiny-bert", model, tokenizer, "mean", "golden", runtime)
    ids, mask = values["input_ids"], values["attention_mask"]
    real = mask.astype(bool)
    tokens = Tokens(ids[real].astype(np.int32), mask.sum(1), np.arange(len(ids)), ids.shape[1])
    settings = Settings(lora=LoraSettings(dropout=0.0), projection=ProjectionSettings(size=8))
    text = AdaptedText(backbone, tokens, rank=4, alpha=16.0, dropout=0.0, fraction=0.25)
    inner = AdaptedTexts(text)
    if PROJECTED[variant]:
        inner = Projection(inner, 8, 0.01)

    def start():
        names = dict(backbone.model.named_parameters())
        with torch.no_grad():
            for key in values.files:
                if "lora_" in key and key.startswith("init/"):
                    own = key.split("base_model.model.")[1]
                    names[own].copy_(torch.as_tensor(values[key]))
            if PROJECTED[variant]:
                prefix = "finetuning_model.projector.fc1"
                inner.linear.weight.copy_(reference_start(values, f"{prefix}.weight"))
                inner.linear.bias.copy_(reference_start(values, f"{prefix}.bias"))

    inner.reset = start
    pool = Pool(
        "golden",
        pd.DataFrame({"row": range(len(ids))}, index=[f"r{i}" for i in range(len(ids))]),
        "y",
        "maximize",
        values["y"].copy(),
    )
    return GaussianProcess(pool, Bounded(inner), settings, runtime)


@pytest.fixture
def fitted(golden):
    variant, values = golden
    surrogate = build(variant, values)
    n = int(values["n_train"])
    return values, n, surrogate.fit(surrogate.pool.ids[:n], values["y"][:n], [0])


def test_losses_and_stopping(fitted):
    values, _, model = fitted
    losses, reference = np.array(model.report.losses), values["losses"]
    np.testing.assert_allclose(losses[:10], reference[:10], rtol=1e-5)
    assert abs(len(losses) - len(reference)) <= 0.02 * len(reference)
    assert abs(losses[-1] - reference[-1]) < 1e-2


def test_hyperparameters_start_where_the_reference_really_starts(golden):
    variant, values = golden
    surrogate = build(variant, values)
    model = DeepKernelGP(surrogate.representation)
    names = ("lengthscale", "outputscale", "noise", "constant")
    start = [model.gp.hyperparameters()[name] for name in names]
    np.testing.assert_allclose(start, values["hyperparameters"][0], rtol=1e-9)


def test_posterior_and_acquisition(fitted):
    values, n, model = fitted
    heldout = model.pool.ids[n:]
    mean, variance = model.posterior(heldout)
    scale = values["y"][:n].std(ddof=1)
    assert np.abs(mean.numpy() - values["mean"]).max() < 0.05 * scale
    assert np.abs(np.sqrt(variance.numpy()) - np.sqrt(values["variance"])).max() < 0.05 * scale
    with pytest.warns(NumericsWarning):
        criterion = ExpectedImprovement(model.model, best_f=values["y"][:n].max())
    ei = criterion(model.features_of(heldout).unsqueeze(1)).detach().numpy()
    assert spearmanr(ei, values["ei"]).statistic > 0.99
    assert ei.argmax() == values["ei"].argmax()
