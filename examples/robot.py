"""A robot asks for experiments and tells results, which arrive late and out of order.

The "robot" looks a reaction's yield up in a bundled benchmark table, takes a while, works on
several reactions at once, and now and then fails. Run it with `python examples/robot.py`.
"""

import heapq
import random
import tempfile
from pathlib import Path

import pandas as pd

from gollum.api import Campaign
from gollum.data.catalog import get_task

CHANNELS, EXPERIMENTS = 6, 36  # reactors side by side, and how many runs they are given


def main(experiments: int = EXPERIMENTS, folder: Path | None = None) -> pd.DataFrame:
    """Run the robot; returns its results."""
    truth = get_task("bh-ethyl").load()
    file = Path(folder or tempfile.mkdtemp()) / "robot.gollum"
    campaign, _ = Campaign.create(file, table=truth.table, objective=truth.objective)
    dice = random.Random(0)  # noqa: S311 (a simulation)
    busy: list[tuple[float, str, str]] = []  # when it is done, run, id
    clock, started = 0.0, 0
    while started < experiments or busy:
        if started < experiments and len(busy) < CHANNELS:
            # What still runs is pending: the campaign chooses something that goes well with it.
            wanted = min(CHANNELS - len(busy), experiments - started)
            for row in campaign.suggest(wanted).itertuples():
                heapq.heappush(busy, (clock + dice.expovariate(1.0), row.run, row.id))
                started += 1
        clock, run, candidate = heapq.heappop(busy)
        failed = dice.random() < 0.05
        value = None if failed else truth.values[truth.positions([candidate])[0]]
        status = "failed" if failed else "measured"
        result = pd.DataFrame([{"run": run, truth.objective: value, "status": status}])
        campaign.record(result)
    results = campaign.export("results")
    best = results[truth.objective].max()
    print(f"{len(results)} experiments, best {truth.objective} {best:.1f}: {file}")
    return results


if __name__ == "__main__":
    main()
