"""Speed of the engine against the plain path of `plain.py`, and against the machine's own peak.

python benchmarks/speed.py --json      measure, and keep the figures in results/speed.json
python benchmarks/speed.py --smoke     every step of it within seconds, on a tiny model
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import reduce
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import Mock

import numpy as np
import rich
import torch
from plain import SHAPES, PlainPath, improvement, provenance, random_model, reset_malloc
from rich.table import Table

from gollum.benchmark.config import load_config
from gollum.benchmark.problem import load_problem
from gollum.benchmark.run import run
from gollum.benchmark.spec import RunConfig
from gollum.errors import DataError
from gollum.features.representations import Setup
from gollum.files import write_text
from gollum.runtime import Runtime, prepare_process
from gollum.settings import OptimizerSettings
from gollum.surrogates.gaussian_process import GaussianProcess
from gollum.surrogates.specs import surrogate_factory

PATHS = {  # preset and surrogate; runs are compared with the first
    "paper": ("paper", "pllm_phi"),
    "fast": ("fast", "pllm_phi"),
    "levels": ("fast", "pllm_phi_levels"),
}
RESULTS = Path(__file__).resolve().parent / "results" / "speed.json"
STEPS = {"minilm": 12, "encoder-base": 4, "t5-base": 4, "tiny": 3}  # evaluations in a fit
WHOLE_RUNS = ("minilm", "tiny")
METHOD = {
    "plain": "float32, sdpa, PEFT with torch's dropout, GPyTorch, BoTorch; batches of 4 padded to "
    "the pool's longest text, every pass through all layers; malloc as glibc has it by itself",
    "seconds": "medians, engine and plain path in turn in one process with the same texts, rows, "
    "seeds and steps; first repetition not counted; ratios: plain path / engine",
    "levels": "preset fast, each level of a column read by itself (pllm_phi_levels); the plain "
    "path reads whole rows; no share of the peak, whose operations are those of rows",
    "fit": "`steps` evaluations of the loss from fresh weights, a step less, without any warm-up",
    "score": "embedding the whole pool with the fitted model, posterior, expected improvement",
    "run": "engine: a whole run in its own process, imports aside; plain path: sum over iterations "
    "of evaluations x seconds per evaluation (linear in n) + scoring, with the evaluations of the "
    "paper run or, equal_steps, the preset's own without warm-up; memory: highest resident set",
    "peak_fraction": "operations / seconds / best square matrix product in that precision, for "
    "embedding alone (score) and for the whole fit at the largest n",
    "operations": "forward, per token of a text of t tokens and adapted layer (those below are not "
    "run): 2 x (weights of linear modules) + 4 t h for attention's two products; backward: as "
    "many, for the gradient to the inputs (weights are frozen); distinct texts, no padding",
}


class Benchmark:
    """All measurements, and the results so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.counts = (4, 6) if options.smoke else (10, 35, 60)
        self.data = {"data.task": "bh-ethyl", "data.texts": options.texts}
        self.problem = load_problem(self.config("paper", "minilm").data)
        order = np.random.default_rng(0).permutation(len(self.problem.pool))
        self.rows = {n: order[:n] for n in self.counts}
        self.seconds: dict[tuple, list[float]] = defaultdict(list)  # what, size, path, n
        self.operations: dict[tuple[str, str], float] = {}  # what, size
        self.peaks: dict[str, float] = defaultdict(float)  # GFLOP/s by precision
        self.runs: dict[str, dict[str, Any]] = {}
        self.about = provenance() | {"texts": options.texts, "tokens": {}}

    def config(self, path: str, model: str, **keys: Any) -> RunConfig:
        """Configuration of a run of the engine."""
        preset, surrogate = PATHS[path]
        keys |= {"preset": preset, "surrogate": surrogate, "model.name": model, **self.data}
        return load_config(None, keys.items())

    def measure(self) -> None:
        """Everything, in order."""
        with tempfile.TemporaryDirectory() as folder:
            for size in dict.fromkeys(self.options.sizes):
                model = random_model(size, Path(folder, size)) if size in SHAPES else size
                self.measure_peaks()
                self.measure_size(size, str(model))
                self.measure_peaks()
                if size in WHOLE_RUNS and not self.options.skip_run:
                    self.measure_runs(size, str(model), Path(folder))
        self.save(complete=True)

    def measure_peaks(self) -> None:
        """Best rate of a square matrix product, in float32 and in the engine's precision."""
        sizes = (256,) if self.options.smoke else (1024, 2048, 3072, 4096)
        for dtype, n, _ in product({torch.float32, Runtime.resolve("cpu").dtype}, sizes, range(5)):
            a = torch.rand(n, n).to(dtype)
            start = time.perf_counter()
            torch.mm(a, a)
            rate = 2e-9 * n**3 / (time.perf_counter() - start)
            self.peaks[str(dtype)[6:]] = max(self.peaks[str(dtype)[6:]], rate)

    def measure_size(self, size: str, model: str) -> None:
        """Fits and scoring with one language model."""
        engines = {path: self.engine(path, model, STEPS[size]) for path in self.options.paths}
        plain = PlainPath(model, self.problem.texts)
        lengths = plain.mask.sum(1).tolist()
        self.about["tokens"] = {"mean": sum(lengths) / len(lengths), "longest": max(lengths)}
        self.about["precision"] = {p: str(e.runtime.dtype)[6:] for p, e in engines.items()}
        forward = plain.operations(self.rows[max(self.counts)])
        self.operations["fit", size] = (2 * STEPS[size] - 1) * forward
        self.operations["embed", size] = plain.operations(np.arange(len(lengths)))
        # What takes minutes needs fewer repetitions.
        repeats = self.options.repeats if size in WHOLE_RUNS else -(-self.options.repeats // 3)
        for n, repeat in product(self.counts, range(1 + repeats)):
            for path in (*engines, "plain"):
                if path == "plain":
                    reset_malloc()
                    taken = self.time_plain(plain, size, n, repeat)
                else:
                    prepare_process(None)
                    taken = self.time_engine(engines[path], n, repeat)
                for what, value in taken.items() if repeat > 0 else ():
                    self.seconds[what, size, path, n].append(value)
                shown = ", ".join(f"{what} {value:.3g} s" for what, value in taken.items())
                print(f"{size}, n = {n}, {path}: {shown}", flush=True)
            self.save()

    def engine(self, path: str, model: str, steps: int) -> GaussianProcess:
        """The surrogate of a run, except that fits have `steps` evaluations and no warm-up."""
        config = self.config(path, model)
        optimizer = OptimizerSettings(max_evaluations=steps, rel_tol=-1e300)
        settings = config.model_copy(update={"optimizer": optimizer})
        runtime = Runtime.resolve("cpu", config.model.precision)
        return surrogate_factory(config.surrogate)(Setup(self.problem, settings, runtime))

    def time_engine(self, engine: GaussianProcess, n: int, seed: int) -> dict[str, float]:
        """Seconds of a fit, of scoring the pool, and of embedding it alone."""
        ids, utility = [str(i) for i in engine.pool.ids], engine.pool.utility[self.rows[n]]
        measured = [ids[row] for row in self.rows[n]]
        # Takes back the memory that the other path freed; backwards, so that it keeps no batches.
        engine.fit(measured[::-1], utility[::-1].copy(), (seed,))
        start = time.perf_counter()
        fitted = engine.fit(measured, utility, (seed,))
        improvement(*fitted.posterior(ids), utility.max())
        whole = time.perf_counter() - start
        report = fitted.report
        if report.evaluations != engine.settings.optimizer.max_evaluations:
            sys.exit(f"The engine stopped after {report.evaluations} evaluations.")
        engine.representation.train(False)
        start = time.perf_counter()
        with torch.no_grad():
            engine.representation(np.arange(len(ids)))
        embed = time.perf_counter() - start
        return {"fit": report.seconds, "score": whole - report.seconds, "embed": embed}

    def time_plain(self, plain: PlainPath, size: str, n: int, seed: int) -> dict[str, float]:
        """Seconds of a fit and of scoring the pool; for larger models at the middle n alone."""
        y = torch.as_tensor(self.problem.pool.utility[self.rows[n]])
        targets = (y - y.mean()) / y.std()
        plain.fit(self.rows[n], targets, 1, seed)  # as in time_engine
        seconds = {"fit": plain.fit(self.rows[n], targets, STEPS[size], seed)[0]}
        if size in WHOLE_RUNS or n == self.counts[1]:
            seconds["score"] = plain.score(self.rows[n], targets, targets.max())[0]
        return seconds

    def measure_runs(self, size: str, model: str, folder: Path) -> None:
        """A whole run of each preset, in a process and with a cache of its own."""
        keys = {"n_init": self.counts[0], "n_iters": self.options.iterations, "device": "cpu"}
        for preset in self.options.paths:
            config = self.config(preset, model, output=str(folder / preset), **keys)
            command = [sys.executable, __file__, "--engine-run", config.model_dump_json()]
            cache = str(folder / f"{preset}-cache")
            environment = {**os.environ, "GOLLUM_CACHE": cache, "XDG_CACHE_HOME": cache}
            answer = subprocess.check_output(command, env=environment)
            self.runs[preset] = taken = json.loads(answer.splitlines()[-1])
            # What is trained on the pretrained embeddings does not pass through the language model.
            most = config.optimizer.fine_tuning or config.optimizer.max_evaluations
            own = np.minimum(taken["evaluations"], most)
            taken["plain_equal_steps"] = self.plain_run(size, own)
            if "paper" in self.runs:
                taken["plain"] = self.plain_run(size, np.array(self.runs["paper"]["evaluations"]))
            print(f"{size}, run, {preset}: {taken['seconds']:.4g} s", flush=True)
            self.save()

    def plain_run(self, size: str, evaluations: np.ndarray) -> float:
        """Seconds of a whole run of the plain path with so many evaluations in each iteration."""
        total, n = 0.0, self.counts[0] + np.arange(len(evaluations))
        for what, times in (("fit", evaluations / STEPS[size]), ("score", 1)):
            known = [median(self.seconds[what, size, "plain", c]) for c in self.counts]
            total += float((times * np.interp(n, self.counts, known)).sum())
        return total

    def results(self) -> dict[str, Any]:
        """What is known so far."""
        seconds = {key: median(values) for key, values in self.seconds.items()}
        ratios: dict[tuple, float] = {}
        fractions: dict[tuple, float] = {}
        for (what, size, path, n), value in seconds.items():
            if path != "plain" and (what, size, "plain", n) in seconds:
                ratios[what, size, path, n] = seconds[what, size, "plain", n] / value
            if path in ("paper", "fast") and what != "score" and n == max(self.counts):
                peak = 1e9 * self.peaks[self.about["precision"][path]]
                name = "score" if what == "embed" else what
                fractions[size, path, name] = self.operations[what, size] / value / peak
        runs = self.runs.items()
        known = [(preset, taken) for preset, taken in runs if "plain" in taken]
        return {
            **self.about,
            **{f"{what}_ratio": ratio for what, ratio in nested(ratios).items()},
            "run_ratio": {preset: taken["plain"] / taken["seconds"] for preset, taken in known},
            "run_ratio_equal_steps": {p: r["plain_equal_steps"] / r["seconds"] for p, r in runs},
            "run_seconds": {p: r["seconds"] for p, r in runs},
            "run_seconds_plain": {preset: taken["plain"] for preset, taken in known},
            "run_evaluations": {preset: taken["evaluations"] for preset, taken in runs},
            "peak_fraction": nested(fractions),
            "peak_gflops": self.peaks,
            "peak_memory_gb": {preset: taken["memory_gb"] for preset, taken in runs},
            "seconds": nested(seconds),
            "steps": {size: STEPS[size] for size in self.options.sizes},
            "method": METHOD,
        }

    def save(self, complete: bool = False) -> None:
        """Write the file, where one is wanted; after every measurement, so that little is lost."""
        if self.options.json is not None:
            exact = json.dumps({"complete": complete, **self.results()})
            values = json.loads(exact, parse_float=lambda digits: float(f"{float(digits):.4g}"))
            self.options.json.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.options.json, json.dumps(values, indent=2) + "\n")


def table(known: dict[str, Any]) -> Table:
    """How many times as long the plain path takes as the engine.

    In whole runs with the evaluations of `paper`, or with as few as the engine where that did not
    run.
    """
    table = Table("what", "model", "preset", "n", "engine, s", "plain / engine")
    for what, size, preset in product(("fit", "score"), known["steps"], PATHS):
        for n, ratio in known[f"{what}_ratio"][size].get(preset, {}).items():
            taken = known["seconds"][what][size][preset][n]
            table.add_row(what, size, preset, str(n), f"{taken:.3g}", f"{ratio:.3g}")
    for preset, ratio in known["run_ratio_equal_steps"].items():
        ratio = known["run_ratio"].get(preset, ratio)
        table.add_row("run", "", preset, "", f"{known['run_seconds'][preset]:.4g}", f"{ratio:.3g}")
    return table


def engine_run(config: RunConfig) -> dict[str, Any]:
    """A whole run in this process: seconds, evaluations of each iteration, highest memory."""
    start = time.perf_counter()
    trace = run(config, Mock()).trace
    seconds = time.perf_counter() - start
    evaluations = trace["evaluations"].dropna().astype(int).tolist()
    # Not getrusage's ru_maxrss, which a new process inherits from the one that starts it.
    kilobytes = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[0]
    return {"seconds": seconds, "evaluations": evaluations, "memory_gb": int(kilobytes) * 1024e-9}


def nested(flat: dict[tuple, Any]) -> dict[str, Any]:
    """{(a, b): value} as {a: {b: value}}."""
    tree: dict[str, Any] = {}
    for (*path, leaf), value in flat.items():
        reduce(lambda level, key: level.setdefault(key, {}), path, tree)[leaf] = value
    return tree


def main(words: list[str] | None = None) -> None:
    """Measure, write the file and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, nargs="?", const=RESULTS, metavar="FILE")
    parser.add_argument("--smoke", action="store_true", help="a tiny model, within seconds")
    parser.add_argument("--sizes", nargs="+", choices=list(STEPS), default=list(STEPS)[:3])
    parser.add_argument("--texts", choices=["ours", "authors"], default="ours")
    parser.add_argument("--iterations", type=int, default=50, help="of the whole runs")
    parser.add_argument(
        "--repeats",
        type=int,
        default=3,
        help="that count, after the first; a third for models of base size",
    )
    parser.add_argument("--paths", nargs="+", choices=list(PATHS), default=list(PATHS))
    parser.add_argument("--skip-run", action="store_true", help="no whole runs")
    parser.add_argument("--engine-run", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.engine_run:
        return print(json.dumps(engine_run(RunConfig.model_validate_json(options.engine_run))))
    if options.smoke:
        if options.json == RESULTS:
            parser.error("with --smoke, give --json a FILE of its own: its figures mean nothing.")
        options.sizes, options.iterations, options.repeats = ["tiny"], 2, 1
    prepare_process(None)
    try:
        benchmark = Benchmark(options)
    except DataError as error:
        sys.exit(str(error))
    benchmark.measure()
    rich.print(table(benchmark.results()))


if __name__ == "__main__":
    main()
