"""How long the commands of a campaign take, each in a process of its own, as a chemist waits.

    python benchmarks/campaign.py --json benchmarks/results/campaign.json

Made-up couplings of real reagent names: 1,000 candidates with 50 results, and 100,000 with 50.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import pandas as pd

from gollum.data.writers import write_sheet
from gollum.runtime import commit

LIGANDS = [
    "XPhos",
    "SPhos",
    "RuPhos",
    "BrettPhos",
    "tBuXPhos",
    "dppf",
    "Xantphos",
    "PPh3",
    "PCy3",
    "P(t-Bu)3",
]
BASES = ["K3PO4", "Cs2CO3", "K2CO3", "Et3N", "DBU", "KOtBu", "NaOH", "CsF", "LiHMDS", "KOAc"]
SOLVENTS = ["toluene", "1,4-dioxane", "DMF", "acetonitrile", "THF", "water", "ethanol", "DMSO",
            "2-MeTHF", "tert-amyl alcohol"]  # fmt: skip
SIZES = {1_000: ((), ()), 100_000: ((40, 60, 80, 100, 120), tuple(range(20)))}
RESULTS = 50


def table(size: int) -> pd.DataFrame:
    """Candidates with an empty results column."""
    temperatures, loadings = SIZES[size]
    rows = list(
        product(
            LIGANDS, BASES, SOLVENTS, temperatures or (80,), [1 + n / 4 for n in loadings] or (5,)
        )
    )
    columns = ["ligand", "base", "solvent", "temperature_C", "catalyst_mol_pct"]
    return pd.DataFrame(rows, columns=columns).assign(**{"yield": ""})


def main() -> None:
    """Time every command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), choices=list(SIZES))
    given = parser.parse_args()
    found = {
        "commit": commit(),
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
        "results": RESULTS,
        "seconds": {str(size): timed(size) for size in given.sizes},
    }
    text = json.dumps(found, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", "utf-8")


def timed(size: int) -> dict[str, float]:
    """Seconds of each command, in the order of a campaign."""
    seconds = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        frame = table(size)
        ending = "xlsx" if size <= 1_000 else "csv"
        write_sheet(frame, folder / f"conditions.{ending}")
        dice = random.Random(0)  # noqa: S311
        some = frame.sample(RESULTS, random_state=0)
        results = some.assign(**{"yield": [round(dice.uniform(0, 90), 1) for _ in some.index]})
        write_sheet(results, folder / "results.xlsx")
        write_sheet(frame.head(1).assign(**{"yield": 12.3}), folder / "one.xlsx")

        def run(name: str, *words: str) -> None:
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "gollum.cli", *words], cwd=folder, check=True,
                stdout=subprocess.DEVNULL, env=os.environ | {"GOLLUM_CACHE": str(folder / "cache")},
            )  # fmt: skip
            seconds[name] = round(time.perf_counter() - began, 2)
            print(f"{size:,} candidates, {name}: {seconds[name]} s", file=sys.stderr)

        run("init", "init", "my.gollum", "--table", f"conditions.{ending}", "--objective", "yield")
        run("first design", "suggest", "my.gollum", "-o", "first.xlsx")
        run("record", "record", "my.gollum", "results.xlsx")
        run("suggest", "suggest", "my.gollum", "-o", "next.xlsx")
        run("suggest again", "suggest", "my.gollum", "-o", "again.xlsx")
        run("suggest more", "suggest", "my.gollum", "-n", "12", "-o", "more.xlsx")
        run("record one", "record", "my.gollum", "one.xlsx")
        run("suggest after one result", "suggest", "my.gollum", "-o", "after.xlsx")
        run("suggest a plate of 96", "suggest", "my.gollum", "-n", "96", "--fresh", "-o", "96.xlsx")
        run("status", "status", "my.gollum")
        run("export", "export", "my.gollum", "-o", "out.xlsx")
    return seconds


if __name__ == "__main__":
    main()
