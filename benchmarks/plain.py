"""The plain path that `speed.py` measures against, and on what models and machine it does so.

The plain path is the same deep kernel from library parts, as a straightforward program has it:
transformers in float32, PEFT's LoRA, GPyTorch's exact Gaussian process, BoTorch's posterior. Every
pass runs the whole model on batches of four texts, padded to the longest text of the pool. It is
the mathematics of the engine's `paper` preset (the backbone's own dropout is off).
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gpytorch
import numpy as np
import torch
from botorch.acquisition import ExpectedImprovement
from botorch.exceptions.warnings import NumericsWarning
from botorch.models.gpytorch import GPyTorchModel
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.utils.grid import ScaleToBounds
from numpy.typing import NDArray
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, T5Config

from gollum import __version__
from gollum.language.engine import target_modules
from gollum.language.loading import detect_pooling
from gollum.language.sources import find_model
from gollum.runtime import Runtime, commit, processor_features

BATCH = 4
MAX_TOKENS = 512
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
SHAPES = {
    "encoder-base": BertConfig,
    "t5-base": lambda: T5Config(
        d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, num_decoder_layers=1,
        decoder_start_token_id=0),
    "tiny": lambda: BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64),
}  # fmt: skip


class PlainGP(gpytorch.models.ExactGP, GPyTorchModel):
    """Matérn-5/2 with one lengthscale, output scale, constant mean; raw parameters start at 0."""

    _num_outputs = 1

    def __init__(self, features: Tensor, targets: Tensor, noise_floor: float = 1e-4) -> None:
        super().__init__(features, targets, GaussianLikelihood(None, GreaterThan(noise_floor)))
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = ScaleKernel(MaternKernel(nu=2.5))
        self.double()

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        """Prior at features … x n x d."""
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


class PlainPath:
    """Language model with LoRA, projection and Gaussian process on the texts of one pool.

    Attributes:
        model: the transformer with PEFT's LoRA in it.
        linear: the projection.
        ids: N x t token ids, padded to the longest text.
        mask: N x t, 1 for real tokens.
        adapted_layers: number of layers with LoRA.
        adapted_weights: number of weights in their linear modules.
    """

    def __init__(
        self,
        name: str,
        texts: Sequence[str],
        *,
        rank: int = 4,
        alpha: float = 16.0,
        dropout: float = 0.2,
        fraction: float = 0.25,
        size: int = 64,
    ) -> None:
        source = find_model(name)
        config = AutoConfig.from_pretrained(source.location)
        self.pooling = source.card.pooling or detect_pooling(source.folder(), config)
        model = AutoModel.from_pretrained(source.location, dtype=torch.float32)
        if config.is_encoder_decoder:
            model = model.get_encoder()
        names = target_modules(model, fraction)
        self.adapted_weights = sum(model.get_submodule(name).weight.numel() for name in names)
        self.adapted_layers = max(1, round(fraction * config.num_hidden_layers))
        lora = LoraConfig(
            r=rank, lora_alpha=alpha, lora_dropout=dropout, use_rslora=True, target_modules=names
        )
        self.model = inject_adapter_in_model(lora, model).eval()
        self.lora = [m for m in self.model.modules() if isinstance(m, LoraLayer)]
        self.linear = nn.Linear(config.hidden_size, size, dtype=torch.float64)
        self.ids, self.mask = self._tokenize(source.location, texts, config)
        self.reset(0)

    def _tokenize(
        self, location: Path | str, texts: Sequence[str], config: Any
    ) -> tuple[Tensor, Tensor]:
        tokenizer = AutoTokenizer.from_pretrained(location)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "right"
        positions = getattr(config, "max_position_embeddings", None) or MAX_TOKENS
        longest = min(MAX_TOKENS, positions, tokenizer.model_max_length)
        options = {"padding": True, "truncation": True, "max_length": longest}
        tokens = tokenizer(list(texts), return_tensors="pt", **options)
        return tokens["input_ids"], tokens["attention_mask"]

    def reset(self, seed: int) -> None:
        """Start over: fresh LoRA and projection weights, hyperparameters at their start."""
        torch.manual_seed(seed)
        for layer in self.lora:
            layer.reset_lora_parameters("default", True)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.constant_(self.linear.bias, 0.01)
        self.scaler = ScaleToBounds(-1.0, 1.0).double()  # which scales to [−0.95, 0.95]
        self.gp: PlainGP | None = None

    def features(self, rows: NDArray[np.int64]) -> Tensor:
        """Projected features n x 64, float64, of n rows of the pool."""
        pooled = []
        for i in range(0, len(rows), BATCH):
            ids, mask = self.ids[rows[i : i + BATCH]], self.mask[rows[i : i + BATCH]]
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.double()
            pooled.append(self._pool(hidden, mask))
        return nn.functional.elu(self.linear(torch.cat(pooled)))

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "last_token":
            return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
        return (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)

    def fit(
        self, rows: NDArray[np.int64], targets: Tensor, steps: int, seed: int
    ) -> tuple[float, list[float]]:
        """Fit from fresh weights.

        Args:
            rows: n rows of the pool.
            targets: n standardised values.
            steps: evaluations of the loss; there is one optimizer step less.
            seed: of the fresh weights and the dropout.

        Returns:
            Seconds and the loss −L/n at every evaluation.
        """
        self.reset(seed)
        return self.train(rows, targets, steps)

    def train(
        self, rows: NDArray[np.int64], targets: Tensor, steps: int
    ) -> tuple[float, list[float]]:
        """Fit from the weights as they are; as `fit`."""
        start = time.perf_counter()
        self.gp = gp = PlainGP(torch.empty(0), targets)
        likelihood = ExactMarginalLogLikelihood(gp.likelihood, gp)
        optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in self.model.parameters() if p.requires_grad], "lr": 0.002},
                {"params": self.linear.parameters(), "lr": 0.002},
                {"params": gp.parameters(), "lr": 0.2},
            ],
            weight_decay=1e-3,
        )
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
        self._training(True)
        losses: list[float] = []
        while True:
            optimizer.zero_grad()
            features = self.scaler(self.features(rows))
            gp.set_train_data(features, targets, strict=False)
            loss = -likelihood(gp(features), targets)
            losses.append(loss.item())
            if len(losses) == steps:
                break
            loss.backward()
            optimizer.step()
            schedule.step()
        self._training(False)
        return time.perf_counter() - start, losses

    def _training(self, mode: bool) -> None:
        """Switch LoRA dropout, scaling and the process; the backbone's own dropout stays off."""
        for layer in self.lora:
            layer.lora_dropout.train(mode)
        self.scaler.train(mode)
        self.gp.train(mode)
        self.gp.likelihood.train(mode)

    @torch.no_grad()
    def score(
        self, rows: NDArray[np.int64], targets: Tensor, best_f: float
    ) -> tuple[float, Tensor]:
        """Embed the whole pool and compute expected improvement everywhere, after a fit.

        Args:
            rows: n measured rows.
            targets: n standardised values.
            best_f: the largest of them.

        Returns:
            Seconds, and N values of expected improvement.
        """
        start = time.perf_counter()
        features = self.scaler(self.features(np.arange(len(self.ids))))
        self.gp.set_train_data(features[rows], targets, strict=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NumericsWarning)  # BoTorch advises log-EI
            values = ExpectedImprovement(self.gp, best_f)(features.unsqueeze(1))
        return time.perf_counter() - start, values

    def operations(self, rows: NDArray[np.int64]) -> float:
        """Floating-point operations of the adapted layers, forward, for the distinct texts of rows.

        For a text of t tokens, padding aside: t (2 W + 4 t h L), with W weights in the linear
        modules of the L adapted layers and attention's products Q K^T and P V over h features.
        """
        texts = self.ids[rows].masked_fill(self.mask[rows] == 0, -1).unique(dim=0)
        t = (texts >= 0).sum(1).double()
        per_token = 2 * self.adapted_weights + 4 * t * self.linear.in_features * self.adapted_layers
        return float((t * per_token).sum())


def improvement(mean: Tensor, variance: Tensor, best_f: float) -> Tensor:
    """Expected improvement σ (φ(u) + u Φ(u)) with u = (μ − best_f) / σ."""
    u, normal = (mean - best_f) / variance.sqrt(), torch.distributions.Normal(0.0, 1.0)
    return variance.sqrt() * (normal.log_prob(u).exp() + u * normal.cdf(u))


def reset_malloc() -> None:
    """Undo the engine's settings of glibc's malloc, which hold for the whole process.

    In a process that sets nothing, glibc raises its thresholds by itself up to these values as
    large blocks are freed, but not once one has been set. The documented 128 KiB would map every
    activation anew, and the plain path would be a quarter slower than it is alone.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter, value in {-3: 2**25, -1: 2**26, -2: 2**17}.items():
            libc.mallopt(parameter, value)  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
        libc.malloc_trim(0)


def random_model(shape: str, folder: Path) -> Path:
    """Save a model of one of the `SHAPES` with random weights and MiniLM's tokenizer."""
    torch.manual_seed(0)
    AutoModel.from_config(SHAPES[shape]()).save_pretrained(folder)
    for file in find_model("minilm").folder().iterdir():
        if file.name.startswith(("tokenizer", "vocab", "special_tokens")):
            shutil.copy(file, folder)
    return folder


def provenance() -> dict[str, Any]:
    """Where and with what this is measured."""
    versions = {"gollum": __version__, **Runtime.resolve("cpu").describe()}
    processor = Path("/proc/cpuinfo").read_text()
    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": (re.findall(r"model name\s*: (.*)", processor) or [""])[0],
            "flags": [flag for flag in FLAGS if flag in processor],
            "used": processor_features(),
            "waiting": os.environ.get("OMP_WAIT_POLICY", ""),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 1e-9,
            **{key: versions.pop(key) for key in ("threads", "precision", "device")},
        },
        "versions": versions,
    }
