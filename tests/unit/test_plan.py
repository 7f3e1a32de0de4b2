import errno
import os

import numpy as np
import pytest
import torch

from gollum.errors import DataError, ModelError
from gollum.features import plan as plan_module
from gollum.features.plan import PROCESS, plan
from gollum.features.problem import Problem
from gollum.language.embed import tokenize
from gollum.language.engine.adapted import AdaptedText
from gollum.language.engine.prefix import FrozenPrefix
from gollum.language.engine.store import FileStates, MemoryStates
from gollum.listener import SILENT, Listener
from gollum.settings import ModelSettings, Settings
from helpers import CPU, WIDTH, build_surrogate, load, make_pool, make_texts

N = 24
TEXTS = make_texts(N, seed=3)
ROWS = np.arange(N)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "activations"


def adapt(backbone, budget=0, **options):
    torch.manual_seed(0)
    return AdaptedText(
        backbone,
        tokenize(backbone, TEXTS),
        rank=2,
        alpha=4.0,
        dropout=0.0,
        fraction=0.25,
        states_budget=budget,
        **options,
    ).eval()


PARTS = {
    "static": {},
    "pllm": {"projected": True},
    "llm_phi": {"adapted": True},
    "pllm_phi": {"adapted": True, "projected": True},
}


def needs(backbone, name, **settings):
    tokens = tokenize(backbone, TEXTS)
    return plan(make_pool(N), backbone, tokens, Settings(**settings), **PARTS[name])


# ---- what is counted ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("static", {"embeddings": N * WIDTH * 8}),
        ("pllm", {"embeddings": N * WIDTH * 8, "projected features": N * 64 * 8}),
        ("llm_phi", {"features": N * WIDTH * 8}),
        ("pllm_phi", {"projected features": N * 64 * 8}),
    ],
)
def test_each_surrogate_counts_the_arrays_it_keeps(bert, name, expected):
    memory = needs(bert, name).memory
    kinds = {"embeddings", "projected features", "features"}
    assert {what: size for what, size in memory.items() if what in kinds} == expected
    assert memory["the model"] == 4 * sum(p.numel() for p in bert.model.parameters())


def test_activations_are_those_of_every_token_and_only_for_adapters(bert):
    tokens = int(tokenize(bert, TEXTS).lengths.sum())
    assert needs(bert, "pllm_phi").activations == tokens * WIDTH * 4
    assert needs(bert, "pllm").activations == 0


def test_the_memory_allowed_is_split_between_arrays_and_activations(bert):
    counted = needs(bert, "pllm_phi", memory_gb=3.0)
    assert counted.allowed == 3_000_000_000
    assert counted.total > PROCESS
    assert counted.total + counted.activations_budget == counted.allowed


# ---- refusal and estimate ----


def problem():
    return Problem(make_pool(N), tuple(TEXTS))


class Notes(Listener):
    def __init__(self):
        self.said = []

    def noted(self, notes):
        self.said.extend(notes)


def build(folder, name="pllm_phi", listener=SILENT, **settings):
    model = ModelSettings(name=str(folder))
    return build_surrogate(problem(), name, Settings(model=model, **settings), CPU, listener)


@pytest.mark.parametrize("name", PARTS)
def test_a_pool_that_does_not_fit_is_refused_with_the_ways_out(model_folder, cache, name):
    with pytest.raises(DataError) as refused:
        build(model_folder("bert"), name, memory_gb=0.5)
    message = str(refused.value)
    assert f"{N} candidates need about 1.0 GiB of memory (the process 1.0 GiB" in message
    assert "476.8 MiB are allowed" in message
    assert "--memory_gb" in message
    assert not cache.exists()


def test_small_pools_are_not_announced(model_folder):
    notes = Notes()
    build(model_folder("bert"), listener=notes)
    assert notes.said == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [("pllm", ["once, "]), ("pllm_phi", ["once and ", "in every iteration, "])],
)
def test_large_pools_are_announced_with_time_and_memory(model_folder, monkeypatch, name, parts):
    monkeypatch.setattr(plan_module, "WORTH_TELLING", 1)
    notes = Notes()
    build(model_folder("bert"), name, notes)
    (said,) = notes.said
    assert said.startswith(f"{N} different texts, ")
    assert all(part in said for part in parts)
    assert said.endswith("GiB of memory.")


def test_disk_is_announced_where_activations_go_to_a_file(bert, monkeypatch):
    monkeypatch.setattr(plan_module, "WORTH_TELLING", 1)
    tokens = tokenize(bert, TEXTS)
    small = plan_module.Plan({"the process": PROCESS}, 3 * 2**20, PROCESS + 2**20)
    assert small.note(bert, tokens, True, 0.25).endswith("and 3.0 MiB of disk.")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.01, "1 s"), (89, "89 s"), (100, "2 min"), (3000, "50 min"), (9000, "2.5 h")],
)
def test_durations_are_for_people(seconds, text):
    assert plan_module._duration(seconds) == text


# ---- activations in a file ----


@pytest.mark.parametrize("name", ["bert", "modernbert", "deberta", "t5", "gemma3", "gpt2"])
def test_a_file_gives_the_features_that_memory_gives(model_folder, name, cache):
    backbone = load(model_folder(name))
    in_memory = adapt(backbone, 2**40)
    assert isinstance(in_memory._states, MemoryStates)
    expected = in_memory(ROWS)
    assert not cache.exists()
    in_file = adapt(load(backbone.name))
    assert isinstance(in_file._states, FileStates)
    assert len(list(cache.iterdir())) == 1
    with torch.no_grad():
        assert torch.equal(in_file(ROWS), expected)


def counting(monkeypatch):
    """How many texts pass through the frozen layers."""
    recorded = []
    record = FrozenPrefix.record

    def noted(self, ids, mask):
        recorded.append(len(ids))
        return record(self, ids, mask)

    monkeypatch.setattr(FrozenPrefix, "record", noted)
    return recorded


def test_a_second_run_reads_what_the_first_one_wrote(model_folder, cache, monkeypatch):
    first = adapt(load(model_folder("bert")))
    with torch.no_grad():
        expected = first(ROWS)
    recorded = counting(monkeypatch)
    second = adapt(load(model_folder("bert")))
    assert sum(recorded) <= 3  # the check that the split is exact, and the shape of one text
    assert second.notes == ()
    with torch.no_grad():
        assert torch.equal(second(ROWS), expected)


@pytest.mark.parametrize("change", ["texts", "fraction", "model"])
def test_other_content_is_another_file(model_folder, cache, change):
    bert = load(model_folder("bert"))
    adapt(bert)
    tokens = tokenize(bert, TEXTS[:-1] if change == "texts" else TEXTS)
    other = load(model_folder("roberta") if change == "model" else model_folder("bert"))
    AdaptedText(
        other,
        tokenize(other, TEXTS) if change == "model" else tokens,
        rank=2,
        alpha=4.0,
        dropout=0.0,
        fraction=0.5 if change == "fraction" else 0.25,
        states_budget=0,
    )
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_file_is_recorded_anew_and_said(model_folder, cache):
    first = adapt(load(model_folder("bert")))
    with torch.no_grad():
        expected = first(ROWS)
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    second = adapt(load(model_folder("bert")))
    assert len(second.notes) == 1
    assert "damaged" in second.notes[0]
    with torch.no_grad():
        assert torch.equal(second(ROWS), expected)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(model_folder, cache, monkeypatch):
    bert = load(model_folder("bert"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ModelError, match=r"No space left on device.*GOLLUM_CACHE"):
        adapt(bert)
    assert list(cache.iterdir()) == []


def test_an_interrupt_while_recording_leaves_nothing(model_folder, cache):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt(load(model_folder("bert")), progress=interrupt)
    assert list(cache.iterdir()) == []
    assert adapt(load(model_folder("bert"))).notes == ()


def test_training_from_a_file_equals_training_from_memory(model_folder, cache):
    gradients = []
    for budget in (0, 2**40):
        text = adapt(load(model_folder("bert")), budget).train()
        (text(ROWS) * torch.linspace(-1, 1, WIDTH)).square().sum().backward()
        gradients.append([p.grad for p in text.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)
