"""How quick the lab's page is: medians of its pages on a large campaign, and 20 people at once.

    python benchmarks/serve.py [--rows 100000] [--people 20] [--seconds 20]

Prints, for each page, median and slowest of 20 answers in milliseconds, and then requests per
second with the slowest percentile while so many people look at all pages without a pause.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx2
import numpy as np
import pandas as pd

from gollum.api import Campaign

PAGES = ("", "/results", "/progress", "/what-if", "/plate", "/history", "/live")
REPEATS = 20


def campaign(folder: Path, rows: int) -> None:
    """A campaign with so many candidates, 200 results and 24 pending experiments."""
    side = math.ceil((rows / 200) ** 0.5)
    options = itertools.product(
        [f"ligand {i}" for i in range(side)], [f"base {i}" for i in range(side)],
        range(20, 120, 10), range(1, 21),
    )  # fmt: skip
    names = ["ligand", "base", "temperature_C", "time_h"]
    table = pd.DataFrame(itertools.islice(options, rows), columns=names)
    made, _ = Campaign.create(folder / "large.gollum", table=table, objective="yield",
                              surrogate="one_hot")  # fmt: skip
    dice = np.random.default_rng(0)
    ids = dice.choice(made.state().table.index, 200, replace=False)
    made.record(pd.DataFrame({"id": ids, "yield": dice.uniform(0, 100, 200).round(1)}))
    made.suggest(24)
    print(f"{len(table):,} candidates, 200 results, 24 pending")


def serve(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """The server, and its address."""
    words = [sys.executable, "-m", "gollum.cli", "serve", str(folder)]
    words += ["--token-file", str(folder / "token")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    line = "" if server.stdout is None else server.stdout.readline()
    return server, line.split()[1]


def pages(browser: httpx2.Client) -> None:
    """Time each page alone."""
    for page in PAGES:
        times = []
        for _ in range(REPEATS + 1):
            start = time.perf_counter()
            browser.get(f"/c/large{page}").raise_for_status()
            times.append(1000 * (time.perf_counter() - start))
        first, rest = times[0], times[1:]
        median, slowest = statistics.median(rest), max(rest)
        print(
            f"{page or '/':<12} first {first:6.0f} ms, median {median:6.0f}, slowest {slowest:6.0f}"
        )


def crowd(home: str, cookies: httpx2.Cookies, people: int, seconds: float) -> None:
    """Many people at once, each looking at one page after the other."""
    times, failed = list[float](), list[int]()
    end = time.monotonic() + seconds

    def look(number: int) -> None:
        with httpx2.Client(base_url=home, cookies=cookies, timeout=60) as browser:
            for page in itertools.cycle(PAGES[number % len(PAGES) :] + PAGES):
                if time.monotonic() > end:
                    return
                start = time.perf_counter()
                answer = browser.get(f"/c/large{page}")
                times.append(1000 * (time.perf_counter() - start))
                if answer.status_code != 200:
                    failed.append(answer.status_code)

    everybody = [threading.Thread(target=look, args=(number,)) for number in range(people)]
    for one in everybody:
        one.start()
    for one in everybody:
        one.join()
    median, late = np.percentile(times, [50, 99])
    print(
        f"{people} people: {len(times) / seconds:.0f} requests per second, median {median:.0f} ms, "
        f"slowest percentile {late:.0f} ms, {len(failed)} failed"
    )


def main() -> None:
    """Serve a large campaign and look at it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    known = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        campaign(Path(name), known.rows)
        server, address = serve(Path(name))
        home = address.split("/enter")[0]
        try:
            with httpx2.Client(base_url=home, follow_redirects=True, timeout=120) as browser:
                browser.get(address).raise_for_status()
                token = (Path(name) / "token").read_text()
                browser.post(
                    "/api/v1/campaigns/large/predictions?wait=60",
                    headers={"authorization": f"Bearer {token}"},
                ).raise_for_status()
                pages(browser)
                crowd(home, browser.cookies, known.people, known.seconds)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
