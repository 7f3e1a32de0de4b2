import numpy as np
import pytest
import torch

from gollum import runtime
from gollum.errors import ConfigError
from gollum.runtime import (
    PROVENANCE_PACKAGES,
    Runtime,
    has_native_bfloat16,
    prepare_process,
    seeded,
)


def draw(seed, *stream):
    with seeded(seed, *stream):
        return torch.rand(3).tolist()


def test_cpu_in_float32():
    assert Runtime.resolve("cpu", "float32") == Runtime(torch.device("cpu"), torch.float32)
    assert Runtime.resolve("cpu", "bfloat16").dtype == torch.bfloat16


@pytest.mark.parametrize("native", [True, False])
def test_auto_precision_follows_the_hardware(monkeypatch, native):
    asked = []
    monkeypatch.setattr(runtime, "has_native_bfloat16", lambda d: asked.append(d) or native)
    assert Runtime.resolve("cpu").dtype == (torch.bfloat16 if native else torch.float32)
    assert asked == [torch.device("cpu")]
    assert Runtime.resolve("cpu", "float32").dtype == torch.float32


def test_auto_device_follows_the_machine(monkeypatch):
    monkeypatch.setattr(runtime, "has_native_bfloat16", lambda _: False)
    for available, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=available: found)
        assert Runtime.resolve("auto").device.type == expected


def test_unknown_and_absent_devices_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="device 'gpu7x' is unknown; use auto, cpu or cuda"):
        Runtime.resolve("gpu7x")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device 'cuda:1' was asked for.*sees no GPU"):
        Runtime.resolve("cuda:1")


@pytest.mark.parametrize("name", ["mps", "meta", "cuda:9"])
def test_a_device_that_is_not_on_this_machine_is_refused(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(runtime, "has_native_bfloat16", lambda _: False)
    with pytest.raises(ConfigError, match=f"device '{name}'"):
        Runtime.resolve(name)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512f avx512_bf16", True),
        ("fpu amx_bf16", True),
        ("fpu avx512f avx2", False),
        ("avx512_bf16x", False),
    ],
)
def test_processor_flags(monkeypatch, tmp_path, flags, expected):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags\t\t: {flags}\nbogomips : 1\n")
    monkeypatch.setattr(runtime, "open", lambda _: info.open(), raising=False)
    assert has_native_bfloat16(torch.device("cpu")) is expected


def test_processor_without_flags_has_none(monkeypatch, tmp_path):
    def absent(_):
        raise FileNotFoundError

    monkeypatch.setattr(runtime, "open", absent, raising=False)
    assert has_native_bfloat16(torch.device("cpu")) is False


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)]
)
def test_gpu_capability(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert has_native_bfloat16(torch.device("cuda")) is expected


def test_seeded_restores_the_global_state():
    torch.manual_seed(11)
    expected = torch.rand(4)
    torch.manual_seed(11)
    with seeded(5, 2):
        torch.rand(100)
    assert torch.equal(torch.rand(4), expected)


def test_seeded_restores_the_global_state_after_an_error():
    torch.manual_seed(11)
    before = torch.get_rng_state()

    def breaks():
        with seeded(5):
            torch.rand(100)
            raise KeyError

    with pytest.raises(KeyError):
        breaks()
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_is_a_function_of_seed_and_stream():
    torch.manual_seed(0)
    first = draw(3, 1)
    torch.manual_seed(99)
    assert draw(3, 1) == first
    streams = [(3, 1), (1, 3), (3, 2), (4, 1), (3,), (3, 1, 1), (13,), (31,)]
    assert len({tuple(draw(*s)) for s in streams}) == len(streams)


def test_seeded_leaves_numpys_global_state():
    before = np.random.get_state()[1].copy()
    draw(3)
    assert (np.random.get_state()[1] == before).all()


def test_describe_names_device_precision_and_versions():
    facts = Runtime(torch.device("cpu"), torch.bfloat16).describe()
    assert (facts["device"], facts["precision"]) == ("cpu", "bfloat16")
    assert facts["threads"] == torch.get_num_threads()
    assert facts["torch"] == torch.__version__
    assert set(PROVENANCE_PACKAGES) < set(facts)


def test_prepare_process(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    prepare_process(None)
    prepare_process(3)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(runtime.Path, "read_text", lambda _: "max 100000")
    monkeypatch.setattr(runtime.os, "sched_getaffinity", lambda _: {0, 4, 5}, raising=False)
    prepare_process(None)
    monkeypatch.delattr(runtime.os, "sched_getaffinity")
    monkeypatch.setattr(runtime.os, "cpu_count", lambda: 7)
    prepare_process(None)
    monkeypatch.setattr(runtime.Path, "read_text", lambda _: "200000 100000")
    prepare_process(None)
    assert chosen == [3, 3, 7, 2]
