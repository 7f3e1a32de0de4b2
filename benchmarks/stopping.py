"""What the advice to stop would have cost and saved, on replayed tasks.

    python benchmarks/stopping.py --json benchmarks/results/stopping.json

Campaigns as a chemist runs them, batches of eight by the default until a budget is used up,
whatever the advice. Afterwards: at which result `little is left to gain` and `stop` were first
said, how many experiments of the budget were left, and by how much, as a share of the range of all
results of the task, the best result of the whole budget was better than the best at that time. An
advice counts as too early where that is more than 2 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from gollum import Campaign
from gollum.data.catalog import get_task
from gollum.files import write_text
from gollum.runtime import prepare_process

TASKS = (
    "bh-cf3", "bh-ethyl", "bh-3-pyridyl", "deoxyfluorination", "reductive-amination", "photoswitch",
    "crossed-barrel", "n-alkylation", "suzuki-edboplus-conversion", "reizman-suzuki-1",
)  # fmt: skip
BATCH, BATCHES, EARLY = 8, 10, 0.02
SAID = {"Little is left to gain": "little", "Stop": "stop"}


def run(task: str, seed: int) -> dict:
    """One campaign: after each batch how many results, the best, and the advice that came next."""
    began = time.perf_counter()
    pool = get_task(task).load().labelled()
    utility = dict(zip(map(str, pool.ids), pool.utility.tolist(), strict=True))
    values = dict(zip(map(str, pool.ids), pool.values.tolist(), strict=True))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        campaign, _ = Campaign.create(
            Path(folder, "c.gollum"), table=pool.table.reset_index(), objective="result",
            goal=pool.direction, id_column=pool.table.index.name, seed=seed,
            inputs=[*pool.table.columns], structures=[*get_task(task).structures],
        )  # fmt: skip
        best = -np.inf
        for batch in range(BATCHES):
            asked = campaign.suggest(min(BATCH, len(pool) - BATCH * batch))
            said = campaign.state().batches[-1].advice
            told = next((word for start, word in SAID.items() if said.startswith(start)), "")
            rows.append({"results": BATCH * batch, "best": best, "advice": told})
            ids = [*map(str, asked["id"])]
            best = max([best, *(utility[i] for i in ids)])
            campaign.record(asked.assign(result=[values[i] for i in ids]))
    rows.append({"results": BATCH * BATCHES, "best": best, "advice": ""})
    return {
        "task": task, "seed": seed, "range": float(np.ptp(pool.utility)),
        "top": float(pool.utility.max()), "rounds": rows[1:],
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def judged(found: list[dict]) -> list[str]:
    """A line for each advice."""
    lines = []
    for words in (("little", "stop"), ("stop",)):
        stops, lost, saved = 0, [], []
        for one in found:
            end = one["rounds"][-1]
            first = next((r for r in one["rounds"] if r["advice"] in words), None)
            if first is not None:
                stops += 1
                lost.append((end["best"] - first["best"]) / one["range"])
                saved.append(end["results"] - first["results"])
        name = "little is left to gain" if len(words) == 2 else "stop"
        if not stops:
            lines.append(f"{name}: said in none of {len(found)} campaigns")
            continue
        early = np.array(lost) > EARLY
        lines.append(
            f"{name}: said in {stops} of {len(found)} campaigns, with {np.mean(saved):.0f} of "
            f"{BATCH * BATCHES} experiments left; too early in {int(early.sum())}; lost on average "
            f"{100 * np.mean(lost):.2f} %, at most {100 * np.max(lost):.1f} % of the range"
        )
    return lines


def main() -> None:
    """Run what is not in the file yet, and judge all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/stopping.json"))
    known = parser.parse_args()
    prepare_process(1)
    found = json.loads(known.json.read_text("utf-8")) if known.json.exists() else []
    done = {(one["task"], one["seed"]) for one in found}
    for seed in range(known.seeds):
        for task in known.tasks:
            if (task, seed) not in done:
                found.append(run(task, seed))
                told = [one["advice"] for one in found[-1]["rounds"]]
                print(task, seed, found[-1]["seconds"], told, flush=True)
                write_text(known.json, json.dumps(found, indent=1) + "\n")
    print(*judged(found), sep="\n")


if __name__ == "__main__":
    main()
