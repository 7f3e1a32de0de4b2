"""Device, precision, threads and seeds: the only place that knows them."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from gollum.errors import ConfigError

Precision = Literal["auto", "float32", "bfloat16"]
# glibc's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD (malloc.h), in bytes.
_MALLOC = {-3: 2**25, -1: 2**31 - 1, -2: 2**26}
PROVENANCE_PACKAGES = ("torch", "transformers", "peft", "gpytorch", "botorch", "numpy", "pandas")


@dataclass(frozen=True)
class Runtime:
    """Where and how precisely the language model runs; Gaussian processes are always float64.

    Attributes:
        device: where language model and Gaussian process live.
        dtype: precision of the language model's frozen weights and activations.
    """

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def resolve(cls, device: str = "auto", precision: Precision = "auto") -> Runtime:
        """Choose by capability, never by a timing.

        Args:
            device: 'auto' (CUDA when present), 'cpu', 'cuda' or 'cuda:N'.
            precision: 'auto' (bfloat16 where the hardware multiplies it natively), 'float32' or
                'bfloat16'.

        Raises:
            ConfigError: the device is unknown or not on this machine.
        """
        chosen = _device(device)
        if precision == "auto":
            precision = "bfloat16" if has_native_bfloat16(chosen) else "float32"
        return cls(chosen, {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision])

    def describe(self) -> dict[str, str | int]:
        """What to record with every result."""
        return {
            "device": str(self.device),
            "precision": str(self.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PROVENANCE_PACKAGES},
        }


@cache
def commit() -> str:
    """Git commit that this package runs from, with '+changes' where files differ from it.

    Blank for an installed package, and without git.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    describe = ("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes")
    try:
        done = subprocess.run(  # noqa: S603 (nothing of it is anybody's input)
            ["git", "--no-optional-locks", *describe],  # noqa: S607
            cwd=root, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device '{name}' is unknown; use auto, cpu or cuda.") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device '{name}' is not supported; use auto, cpu or cuda.")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= gpus:
        seen = f"only {gpus}" if gpus else "no GPU"
        raise ConfigError(f"device '{name}' was asked for, but PyTorch sees {seen}; use auto.")
    return device


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the hardware itself multiplies bfloat16 matrices.

    On processors: AVX512-BF16 (or AMX), read from the processor's flags where the system shows
    them. On GPUs: compute capability 8.0 or newer.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(processor_features())


def processor_features() -> list[str]:
    """Those of this processor's vector extensions that speed depends on; none if it is not known.

    The newest of the AVX family, and what multiplies bfloat16 or int8 matrices. Where oneDNN is
    told to use AVX2 at most (ONEDNN_MAX_CPU_ISA), that is all that counts: it would emulate the
    rest, many times slower.
    """
    try:
        with open("/proc/cpuinfo") as info:
            flags = set(next((line for line in info if line.startswith("flags")), "").split())
    except OSError:
        return []
    most = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    if most.startswith(("SSE", "AVX")) and not most.startswith(("AVX512", "AVX10")):
        flags = {flag for flag in flags if not flag.startswith(("avx512", "amx"))}
    newest = [name for name in ("avx512f", "avx2", "avx") if name in flags][:1]
    more = ("avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
    return [*newest, *(name for name in more if name in flags)]


@contextmanager
def seeded(seed: int, *stream: int) -> Iterator[None]:
    """Run a block on its own random stream and leave PyTorch's global state as it was.

    The stream is a function of the seed and the numbers after it (an iteration, say), so that a
    run resumed in the middle draws exactly what the unbroken one would have drawn.
    """
    state = int(
        np.random.SeedSequence([seed, len(stream), *stream]).generate_state(1, np.uint64)[0]
    )
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(state % 2**63)
        yield


def prepare_process(threads: int | None) -> None:
    """Set processor threads and memory use for the whole process.

    Args:
        threads: processor threads of PyTorch; by default what OMP_NUM_THREADS says, else what the
            process may really use: its affinity and its container's quota.
    """
    # oneDNN keeps what it compiled for each shape of matrix; a run with its growing batches fills
    # gigabytes with it. Read when the first matrices are multiplied.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    _reuse_memory()
    if threads is None and os.environ.get("OMP_NUM_THREADS"):
        return
    torch.set_num_threads(threads or usable_processors())


def _reuse_memory() -> None:
    """Let glibc keep freed memory: pages given back and touched again cost a seventh of a fit.

    Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in _MALLOC.items():
        mallopt(parameter, value)


def usable_processors() -> int:
    """Processors that this process may really use: its affinity and its container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or no quota ("max")
        return count
