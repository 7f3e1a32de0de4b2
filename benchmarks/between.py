"""What suggestions between the candidates of a sample bring, against the sample alone.

    python benchmarks/between.py --json benchmarks/results/between.json

Smooth made-up yields of 3 to 5 quantities from 0 to 100 in steps of 0.5, with one peak on a slope,
elsewhere for each seed; 2,000 candidates are drawn, 8 experiments begin, and 4 follow at a time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gollum.api import Campaign
from gollum.campaign.factors import read_factors
from gollum.runtime import commit

WIDTH, SLOPE = 25.0, 60.0  # of the peak and of what leads there
FIRST, BATCH = 8, 4


def peaked(rows: pd.DataFrame, peak: np.ndarray) -> np.ndarray:
    """Yields in %, 100 at the peak."""
    squared = ((rows.to_numpy(dtype=float) - peak) ** 2).sum(axis=1)
    return 70 * np.exp(-squared / (2 * WIDTH**2)) + 30 * np.exp(-squared / (2 * SLOPE**2))


def best_found(size: int, seed: int, rounds: int, drawn: int, between: bool) -> list[float]:
    """The best yield after each batch."""
    names = [f"x{i}" for i in range(size)]
    peak = np.random.default_rng([size, seed]).uniform(15, 85, size)
    with tempfile.TemporaryDirectory() as folder:
        lists = Path(folder, "lists.yaml")
        lines = "".join(f"  {name}: {{from: 0, to: 100, step: 0.5}}\n" for name in names)
        lists.write_text(f"factors:\n{lines}sample: {drawn}\n", encoding="utf-8")
        given = {"factors": lists} if between else {"table": read_factors(lists, seed=seed)}
        if not between:
            given["table"].attrs.clear()
        campaign, _ = Campaign.create(
            Path(folder, "my.gollum"), objective="yield", seed=seed, **given
        )
        best = [0.0]
        for number in range(rounds + 1):
            sheet = campaign.suggest(BATCH if number else FIRST)
            sheet["yield"] = peaked(sheet[names], peak)
            campaign.record(sheet)
            best.append(max(best[-1], sheet["yield"].max()))
    return best[1:]


def compared(size: int, seeds: int, rounds: int, drawn: int) -> dict[str, Any]:
    """Both ways on the same seeds."""
    found = []
    for seed in range(seeds):
        began = time.perf_counter()
        pair = [best_found(size, seed, rounds, drawn, between) for between in (True, False)]
        found.append(pair)
        ends = ", ".join(f"{way[-1]:.1f}" for way in pair)
        print(f"{size} quantities, seed {seed}: {ends} ({time.perf_counter() - began:.0f} s)")
    curves = np.array(found)
    gain = curves[:, 0, -1] - curves[:, 1, -1]
    return {
        "quantities": size,
        "between": curves[:, 0].round(3).tolist(),
        "sample": curves[:, 1].round(3).tolist(),
        "mean": curves[:, :, -1].mean(axis=0).round(2).tolist(),
        "gain": round(float(gain.mean()), 2),
        "error": round(float(gain.std(ddof=1) / len(gain) ** 0.5), 2),
        "better": int((gain > 0).sum()),
    }


def main() -> None:
    """Compare and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--sample", type=int, default=2000)
    parser.add_argument("--quantities", type=int, nargs="+", default=[3, 4, 5])
    known = parser.parse_args()
    parts = [compared(n, known.seeds, known.rounds, known.sample) for n in known.quantities]
    for part in parts:
        print({key: value for key, value in part.items() if key not in ("between", "sample")})
    if known.json:
        content = {"commit": commit(), "results": parts}
        known.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
