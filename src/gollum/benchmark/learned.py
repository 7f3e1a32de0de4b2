"""What there is to look into of a run: its candidates, and what was known in each iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gollum.acquisition.model_based import make_strategy
from gollum.acquisition.policy import Policy
from gollum.analysis.learned.cases import Case, Round
from gollum.benchmark.config import load_config
from gollum.benchmark.record import RunFolder
from gollum.benchmark.run import problem_of
from gollum.benchmark.spec import RunConfig
from gollum.data.outcomes import Scale
from gollum.errors import ConfigError, DataError
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.listener import SILENT, Listener
from gollum.runtime import Runtime, prepare_process
from gollum.settings import flatten
from gollum.surrogates.base import Surrogate

COMPARED = ("one_hot", "static", "pllm")  # beside the run's own


def case_of_run(path: Path, models: Sequence[str] = (), listener: Listener = SILENT) -> Case:
    """The run in a folder, as far as it has come.

    Args:
        path: the folder.
        models: surrogates to look into, the most important one first; by default the run's own,
            and `COMPARED`.
        listener: told what takes long.

    Raises:
        ConfigError: there is no run, or its strategy has no model and none is named.
        DataError: nothing was measured, or the table has changed since.
    """
    folder = RunFolder(path)
    if not folder.config_file.is_file():
        raise ConfigError(f"folder '{path}' holds no run; name one that `gollum run` wrote.")
    if not folder.trace_file.is_file():
        raise DataError(f"the run in '{path}' has measured nothing yet; let `gollum run` go on.")
    config = load_config(folder.config_file)
    prepare_process(config.threads)
    problem, trace = problem_of(config), folder.trace()
    if folder.summary_file.is_file():
        known = folder.summary()["provenance"]["data_sha256"]
        if known != problem.fingerprint:
            raise DataError(
                f"the run in '{path}' was on an earlier version of this table or of its texts, so "
                "it can't be looked into; run it anew."
            )
    return Case(
        title=problem.title,
        unit=problem.unit,
        problem=problem,
        scale=Scale(sign=problem.pool.sign()),
        rounds=_rounds(config, problem, trace),
        models={name: _maker(config, name, listener) for name in _names(config, models, path)},
        selected=dict(zip(trace["id"], trace["iteration"].astype(int), strict=True)),
    )


def _names(config: RunConfig, models: Sequence[str], path: Path) -> list[str]:
    if models:
        return list(dict.fromkeys(models))
    if config.factory is None:
        raise ConfigError(
            f"the run in '{path}' was chosen by '{config.surrogate}', which has no model; name one "
            "to fit to its measurements, such as --models pllm."
        )
    compared = COMPARED if config.remote.url is None else COMPARED[:1]
    return list(dict.fromkeys((config.surrogate, *compared)))


def _maker(config: RunConfig, name: str, listener: Listener) -> Callable[[Problem], Surrogate]:
    """What makes a surrogate with the numbers of the run; its own as it was.

    Raises:
        ConfigError: there is none of that name.
    """
    policy: Policy = config if name == config.surrogate else _with_surrogate(config, name)
    runtime = Runtime.resolve(config.device, config.model.precision)

    def make(problem: Problem) -> Surrogate:
        setup = Setup(problem, policy, runtime, listener, keep=True)
        made = make_strategy(setup, policy).surrogate
        if made is None:
            raise ConfigError(f"'{name}' has no model that could be looked into.")
        return made

    return make


def _with_surrogate(config: RunConfig, name: str) -> Policy:
    """The numbers of a run for another surrogate, in its own kernel."""
    keys = dict(flatten(config.model_dump(include=set(Policy.model_fields), exclude_none=True)))
    return Policy.of({**keys, "surrogate": name, "kernel": None, "representations": None})


def _rounds(config: RunConfig, problem: Problem, trace: pd.DataFrame) -> tuple[Round, ...]:
    """What was known when each iteration chose, and at the end."""
    last = int(trace["iteration"].max())
    failed = trace["failed"].eq(1) if "failed" in trace else np.zeros(len(trace), dtype=bool)
    arrives = trace["arrives"] if "arrives" in trace else trace["iteration"]
    rounds = []
    for number in range(1, last + 2):
        there = trace["iteration"] < number if number > last else arrives < number
        ids = tuple(trace["id"][there & ~failed])
        utility = problem.pool.utility[problem.pool.positions(ids)]
        rounds.append(Round(number, ids, utility, (config.seed, number)))
    return tuple(rounds)
