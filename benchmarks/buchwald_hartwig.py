"""Coverage on the five Buchwald–Hartwig products: surrogates × products × seeds, resumable.

python benchmarks/buchwald_hartwig.py --surrogates one_hot drfp static pllm --seeds 5

Every run keeps its own folder below --runs; what is finished is not run again. The summary goes
to --results, one row per run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pandas as pd

PRODUCTS = ("bh-cf3", "bh-methoxy", "bh-ethyl", "bh-2-pyridyl", "bh-3-pyridyl")


def run_cell(arguments: tuple[str, str, str, int], options: argparse.Namespace) -> Path:
    """Run one cell in a process of its own and return its folder."""
    task, surrogate, preset, seed = arguments
    folder = options.runs / preset / f"{task}-{surrogate}-seed{seed}"
    if is_finished(folder):
        return folder
    keys = {
        "data.task": task, "surrogate": surrogate, "preset": preset, "seed": str(seed),
        "n_iters": str(options.iterations), "threads": "1", "output": str(folder),
    }  # fmt: skip
    words = [word for key, value in keys.items() for word in (f"--{key}", value)]
    command = [sys.executable, "-m", "gollum.cli", "run", "--quiet", *words, *options.extra]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        print(f"{folder}: {done.stderr.strip()}", file=sys.stderr, flush=True)
    return folder


def is_finished(folder: Path) -> bool:
    """Whether the run in a folder has ended."""
    summary = folder / "summary.json"
    return summary.exists() and json.loads(summary.read_text())["status"] == "finished"


def collect(folders: list[Path]) -> pd.DataFrame:
    """One row per finished run."""
    rows = []
    for folder in filter(is_finished, folders):
        summary = json.loads((folder / "summary.json").read_text())
        provenance = summary["provenance"]
        summary["model_revision"] = provenance["model_revision"][:12]
        summary["precision"] = provenance["precision"] if provenance["model_revision"] else ""
        summary["version"] = provenance["gollum"]
        rows.append({k: v for k, v in summary.items() if not isinstance(v, dict)})
    return pd.DataFrame(rows).sort_values(["task", "surrogate", "preset", "seed"])


def main() -> None:
    """Run the sweep and print mean coverage per surrogate and product."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surrogates", nargs="+", default=["one_hot", "drfp", "static", "pllm"])
    parser.add_argument("--presets", nargs="+", default=["paper"])
    parser.add_argument("--products", nargs="+", default=list(PRODUCTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--runs", type=Path, default=Path("runs/buchwald-hartwig"))
    parser.add_argument("--results", type=Path)
    options, options.extra = parser.parse_known_args()
    cells = list(
        product(options.products, options.surrogates, options.presets, range(options.seeds))
    )
    cells.sort(key=lambda cell: cell[3])
    with ThreadPoolExecutor(options.jobs) as pool:
        folders = list(pool.map(lambda cell: run_cell(cell, options), cells))
    table = collect(folders)
    if options.results is not None:
        options.results.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.results, index=False, lineterminator="\n")
    shape = {"index": ["preset", "surrogate"], "columns": "task", "values": "top5_coverage"}
    print(table.pivot_table(**shape, margins=True).round(3).to_string())
    print(
        table.groupby(["preset", "surrogate"])[["top5_coverage", "seconds"]].describe().T.round(3)
    )


if __name__ == "__main__":
    main()
