"""The speed benchmark: its plain path computes what the engine computes, and it runs."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gollum.features.problem import Problem
from gollum.runtime import seeded
from gollum.settings import LoraSettings, ModelSettings, Settings
from gollum.surrogates.fit import fit_joint
from gollum.surrogates.gaussian_process import DeepKernelGP
from helpers import CPU, build_surrogate, make_pool, make_texts

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
STEPS, COUNT, MEASURED = 8, 30, 9


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.parametrize("family", ["bert", "t5", "llama"])
def test_the_plain_path_is_the_engine_written_plainly(family, benchmark_module, model_folder):
    """Without dropout, from the same weights: losses, features and expected improvement."""
    texts, folder = make_texts(COUNT), str(model_folder(family))
    settings = Settings(
        model=ModelSettings(name=folder),
        lora=LoraSettings(dropout=0.0),
        optimizer={"max_evaluations": STEPS},
    )
    problem = Problem(make_pool(COUNT), tuple(texts))
    engine = build_surrogate(problem, "pllm_phi", settings, CPU).representation
    model = DeepKernelGP(engine, settings.noise_floor, CPU.device)
    plain = benchmark_module("plain").PlainPath(folder, texts, dropout=0.0)
    with seeded(0):
        engine.reset()
    copy_weights(engine.inner, plain)
    rows = np.random.default_rng(0).permutation(COUNT)[:MEASURED]
    targets = torch.as_tensor(problem.pool.values[rows])
    targets = (targets - targets.mean()) / targets.std()

    expected = fit_joint(model, rows, targets, settings.optimizer)
    _, losses = plain.train(rows, targets, STEPS)

    assert expected.evaluations == STEPS
    np.testing.assert_allclose(losses, expected.losses, rtol=1e-5)
    assert max(losses) - min(losses) > 0.01
    every = np.arange(COUNT)
    with torch.no_grad():
        features = model.features(every)
        torch.testing.assert_close(plain.scaler(plain.features(every)), features, atol=1e-4, rtol=0)
    mean, variance = model.gp.condition(features[rows], targets).marginals(features)
    _, improvement = plain.score(rows, targets, targets.max().item())
    closed_form = benchmark_module("plain").improvement(mean, variance, targets.max())
    torch.testing.assert_close(improvement, closed_form, atol=1e-6, rtol=1e-3)


def copy_weights(projection, plain):
    """LoRA and projection of the engine into the plain path."""
    source = dict(projection.inner.text.backbone.model.named_parameters())
    copied = 0
    with torch.no_grad():
        for name, parameter in plain.model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(source[name])
                copied += 1
        plain.linear.load_state_dict(projection.linear.state_dict())
    assert copied == 2 * len(plain.lora)


@pytest.mark.slow
def test_the_smoke_benchmark_gives_every_figure(benchmark_module, tmp_path):
    file = tmp_path / "speed.json"
    benchmark_module("speed").main(["--smoke", "--json", str(file)])
    results = json.loads(file.read_text())
    assert results["complete"]
    figures = {"fit_ratio", "score_ratio", "run_ratio", "run_seconds", "peak_fraction",
               "peak_memory_gb", "seconds"}  # fmt: skip
    assert figures | {"commit", "date", "versions", "machine", "texts", "steps", "tokens",
                      "method"} <= results.keys()  # fmt: skip
    for key in figures:
        numbers = list(leaves(results[key]))
        assert numbers, key
        assert all(math.isfinite(x) and x > 0 for x in numbers), key
    assert results["fit_ratio"]["tiny"].keys() == {"paper", "fast", "levels"}
    assert results["score_ratio"]["tiny"]["paper"].keys() == {"4", "6"}
    assert results["peak_fraction"]["tiny"]["fast"].keys() == {"fit", "score"}
    assert str(tmp_path) not in file.read_text()


def test_the_authors_texts_are_asked_for_in_one_sentence(benchmark_module, monkeypatch, tmp_path):
    monkeypatch.setenv("GOLLUM_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sentence = r"^The authors' texts .*`gollum tasks --download bh-ethyl"
    with pytest.raises(SystemExit, match=sentence):
        benchmark_module("speed").main(["--smoke", "--texts", "authors"])


@pytest.mark.slow
def test_the_ablation_runs_with_everything_off_in_turn(benchmark_module, tmp_path, monkeypatch):
    ablation = benchmark_module("ablation")
    attention = ablation.loading.ATTENTION
    file = tmp_path / "ablation.json"
    ablation.main(["--json", str(file), "--steps", "1", "--rows", "4", "--repeats", "1",
                   "--candidates", "12"])  # fmt: skip
    parts = json.loads(file.read_text())["parts"]
    assert parts.keys() > {*ablation.BUILT, *ablation.AROUND}
    assert all(math.isfinite(x) and x > 0 for x in leaves(parts))
    assert attention == ablation.loading.ATTENTION


def leaves(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    else:
        yield value
