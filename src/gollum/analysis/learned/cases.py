"""What is looked into, and what is found: a run or campaign round by round, and tidy tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.extents import Extents
from gollum.data.outcomes import Scale
from gollum.data.pool import Pool
from gollum.features.problem import Problem
from gollum.notes import Note
from gollum.surrogates.base import Surrogate

Vector = NDArray[np.float64]
Build = Callable[[Problem], Surrogate]

PRETRAINED, INITIAL, TRAINED = "pretrained", "initial", "trained"  # stages of training


@dataclass(frozen=True, eq=False)
class Round:
    """What was known at one moment.

    Attributes:
        number: of the round; results of the start are known in round 1.
        ids: n measured candidates; an id may repeat.
        utility: their n values, as the model learned them.
        stream: names the random stream of that fit.
        extents: what is known of values that are no plain number, in units of utility.
    """

    number: int
    ids: tuple[str, ...]
    utility: Vector
    stream: tuple[int, ...]
    extents: Extents | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """What is looked into.

    Attributes:
        title: what is optimized, for people.
        unit: of the objective, or ''.
        problem: the candidates; their pool knows the outcomes that are known by now.
        scale: on which the objective is learned.
        rounds: in order; the last one knows everything.
        models: name → what makes the surrogate; the first one is looked into most.
        selected: round in which each experiment was chosen, by id; 0 for the start.
        notes: what a reader should know.
    """

    title: str
    unit: str
    problem: Problem
    scale: Scale
    rounds: tuple[Round, ...]
    models: Mapping[str, Build]
    selected: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def pool(self) -> Pool:
        """The candidates."""
        return self.problem.pool


@dataclass(frozen=True, eq=False)
class Understanding:
    """What was found; each table is tidy, and may be empty where there is nothing to say.

    Attributes:
        case: what was looked into.
        model: name of the model that was looked into most.
        geometry: model, round, measured, stage ('pretrained', 'initial', 'training', 'trained'),
            evaluations, scope ('measured', 'unmeasured', 'all'), then the fields of `Geometry`.
        gradients: model, stage, evaluations, then `contrast.by_difference` of the last round.
        kinds: likewise `contrast.by_kind`.
        pairs: every pair of the last round for the first model, before and after training.
        calibration: model, scheme ('held out', 'left one out'), the fields of `Calibration`.
        reliability: model, scheme, level, inside.
        maps: method, stage, round, measured, id, x, y.
        explained_variance: stage, round, share of the first two principal components.
        candidates: id, outcome, selected (round, blank if never) and columns, of the mapped ones.
        effects: see `chemistry.effects`.
        replacements: see `chemistry.replacements`.
        neighbours: see `chemistry.neighbours`.
        phrases: see `phrases.attributions`.
        trends: see `trends.check_trends`.
        notes: what a reader should know.
    """

    case: Case
    model: str
    geometry: pd.DataFrame
    gradients: pd.DataFrame
    kinds: pd.DataFrame
    pairs: pd.DataFrame
    calibration: pd.DataFrame
    reliability: pd.DataFrame
    maps: pd.DataFrame
    explained_variance: pd.DataFrame
    candidates: pd.DataFrame
    effects: pd.DataFrame
    replacements: pd.DataFrame
    neighbours: pd.DataFrame
    phrases: pd.DataFrame
    trends: pd.DataFrame
    notes: tuple[Note, ...]

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: table for name, table in found.items() if isinstance(table, pd.DataFrame)}
