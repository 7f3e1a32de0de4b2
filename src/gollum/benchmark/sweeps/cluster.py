"""The cells of a sweep on a Ray cluster."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import Any

from gollum.benchmark.sweeps.cells import Cell, Outcome, execute, keep_failure
from gollum.benchmark.sweeps.engines import Event, Events
from gollum.benchmark.sweeps.worker import bounds
from gollum.errors import MissingExtraError

RETRIES = 5  # how often a cell is started again whose machine has gone


def on_ray(cells: Sequence[Cell], threads: int, gpus: float) -> Events:
    """Run each cell as a task of the Ray cluster at hand, or of one made of this machine.

    It is handed no more cells than run at a time.
    All machines see the folders of the cells under the same path. A cell whose machine goes is
    run on another, and goes on where it was.

    Args:
        cells: in the order in which they are wanted.
        threads: processors that a cell takes.
        gpus: GPUs that a cell takes.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    ray = _ray()
    variables = {k: v for k, v in os.environ.items() if k.startswith(("GOLLUM_", "HF_"))}
    task = ray.remote(_on_cluster).options(
        num_cpus=threads,
        num_gpus=gpus,
        max_retries=RETRIES,
        runtime_env={"env_vars": {**variables, **bounds(threads)}},
    )
    waiting = deque(cells)
    running: dict[Any, Cell] = {}
    try:
        while waiting or running:
            while waiting and len(running) < cluster_size(threads, gpus):
                cell = waiting.popleft()
                running[task.remote(cell)] = cell
                yield Event(cell)
            (done, *_), _ = ray.wait(list(running))
            cell = running.pop(done)
            yield Event(cell, _answer(ray, done, cell))
    finally:
        for started in running:
            ray.cancel(started, force=True)


def cluster_size(threads: int, gpus: float) -> int:
    """Cells that run on the cluster at a time, 1 at least.

    Args:
        threads: processors that a cell takes.
        gpus: GPUs that a cell takes.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    there = _ray().cluster_resources()
    sizes = [there.get("CPU", 1) // threads]
    sizes += [there.get("GPU", 0) / gpus] if gpus else []
    return max(1, int(min(sizes)))


def _ray() -> Any:
    """The package, connected to the cluster at hand, or to one made of this machine."""
    try:
        import ray
    except ImportError:
        raise MissingExtraError("The engine 'ray'", "ray") from None
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    return ray


def _answer(ray: Any, done: Any, cell: Cell) -> Outcome:
    try:
        outcome: Outcome = ray.get(done)
    except ray.exceptions.RayError as error:
        message = f"the cluster gave it up: {type(error).__name__}."
        keep_failure(cell, message, str(error))
        return Outcome("failed", message=message)
    return outcome


def _on_cluster(cell: Cell) -> Outcome:
    from gollum.benchmark.sweeps.shelf import shelf

    return execute(cell, shelf().build)
