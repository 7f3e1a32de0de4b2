"""Everything that can be said of what a model learned in a run or campaign, as tidy tables.

A `Case` says what was known in each round; the models are fitted anew to it, as they were then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gollum.acquisition.strategy import is_ready
from gollum.analysis.learned import calibration, chemistry, contrast, maps, phrases
from gollum.analysis.learned.cases import (
    INITIAL,
    PRETRAINED,
    TRAINED,
    Case,
    Round,
    Understanding,
)
from gollum.analysis.learned.geometry import from_similarity, geometry
from gollum.analysis.learned.trends import check_trends
from gollum.data.pool import Pool
from gollum.errors import ConfigError, DataError, FitError, UserError, nearest
from gollum.listener import SILENT, Listener
from gollum.notes import Note
from gollum.surrogates.base import Fitted, Rows, Surrogate, fit_to

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

FEWEST = 5  # results that a model is looked into from
SAMPLE = 1500  # candidates that maps, distances and effects are made of, measured ones included
STAGES = (1, 3, 10, 30)  # evaluations of the loss after which training is looked at
EXPLAINED = 3  # experiments whose prediction is taken apart


def chosen_rounds(count: int, wanted: int) -> list[int]:
    """Positions of `wanted` of `count` rounds, evenly from the first to the last; one is that."""
    return sorted({round(x) for x in np.linspace(count - 1, 0, min(wanted, count))})


def understand(
    case: Case, *, rounds: int = 5, explain: Sequence[str] = (), umap: bool = True,
    listener: Listener = SILENT,
) -> Understanding:  # fmt: skip
    """Fit the models anew and look into them.

    Args:
        case: what was known, and which models.
        rounds: how many of the rounds are looked at.
        explain: experiments whose predictions are taken apart; by default the best measured one and
            those that are predicted to be the best of the others.
        umap: whether to draw neighbourhoods by UMAP where that is installed.
        listener: told what it is at.

    Raises:
        ConfigError: an experiment to explain is none.
        DataError: there are too few results.
        FitError: the first model could not be fitted.
    """
    last = case.rounds[-1] if case.rounds else None
    if last is None or len(set(last.ids)) < FEWEST or not is_ready(last.ids, last.utility):
        count = 0 if last is None else len(set(last.ids))
        raise DataError(
            f"{case.title}: {count} different experiments have a result, and a model can be looked "
            f"into from {FEWEST} on that are not all the same; come back when there are more."
        )
    _refuse_unknown(case, explain)
    ready = [r for r in case.rounds if is_ready(r.ids, r.utility)]
    picked = [ready[i] for i in chosen_rounds(len(ready), max(1, rounds))]
    rows = _sampled(case.pool, last)
    looks, notes = list[_Look](), [Note.of(note) for note in case.notes]
    own = next(iter(case.models))
    for name, build in case.models.items():
        listener.stage(f"Looking into {name}")
        try:
            looks.append(_Look.of(case, name, build(case.problem), picked, rows, listener))
        except (FitError, UserError) as error:
            if name == own:
                raise
            notes.append(Note("no-comparison", "", f"No comparison with {name}: {error}"))
    first = looks[0]
    listener.stage("Drawing maps")
    mapped, variance = _maps(first, umap and maps.has_umap())
    if umap and not maps.has_umap():
        told = "Maps are by principal components alone; pip install umap-learn plotly (the "
        notes.append(Note("no-umap", "", f"{told}'analyze' extra) adds UMAP."))
    listener.stage("Asking for the chemistry")
    asked = _explained(case, first, explain)
    predicted = chemistry.Predicted(first.fitted, case.scale.sign, rows)
    return Understanding(
        case=case,
        model=own,
        geometry=pd.concat([look.geometry for look in looks], ignore_index=True),
        gradients=_together(looks, "gradients"),
        kinds=_together(looks, "kinds"),
        pairs=first.pairs,
        calibration=_together(looks, "calibration"),
        reliability=_together(looks, "reliability"),
        maps=mapped,
        explained_variance=variance,
        candidates=_candidates(case, rows),
        effects=chemistry.effects(predicted, case.pool),
        replacements=chemistry.replacements(first.fitted, case.pool, asked, case.scale.sign),
        neighbours=chemistry.neighbours(first.fitted, asked, case.scale.sign),
        phrases=_phrases(case, first, asked, notes),
        trends=check_trends(predicted, case.pool),
        notes=tuple(notes),
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """One model, looked into.

    Attributes:
        name: of the model.
        fitted: to everything.
        spaces: (stage, round, measured) → coordinates n x d of the sampled candidates.
        rows: the n sampled candidates.
    """

    name: str
    fitted: Fitted
    spaces: dict[tuple[str, int, int], Matrix]
    rows: Rows
    geometry: pd.DataFrame
    gradients: pd.DataFrame
    kinds: pd.DataFrame
    pairs: pd.DataFrame
    calibration: pd.DataFrame
    reliability: pd.DataFrame

    @classmethod
    def of(
        cls, case: Case, name: str, surrogate: Surrogate, rounds: Sequence[Round], rows: Rows,
        listener: Listener,
    ) -> _Look:  # fmt: skip
        """Fit it to each round, and to the last one part of the way, and describe that.

        Raises:
            FitError: a whole fit failed.
        """
        utility = case.scale.utility(case.pool.values)
        spaces: dict[tuple[str, int, int], Matrix] = {}
        figures, slopes, kinds, pairs = ([] for _ in range(4))
        untrained = getattr(surrogate, "untrained", None)
        if untrained is not None:
            spaces[PRETRAINED, 0, 0] = untrained(rounds[-1].stream[0])[rows]
            known = case.pool.positions(rounds[-1].ids)
            figures += _geometries((PRETRAINED, 0, 0), 0, spaces[PRETRAINED, 0, 0], rows, known,
                                   utility)  # fmt: skip
        steps = [(one, stage) for one in rounds for stage in _stages(surrogate, one is rounds[-1])]
        for done, (one, stage) in enumerate(steps):
            listener.advanced(done, len(steps))
            if (found := _fit(surrogate, one, stage)) is None:
                continue
            fitted = found
            label = TRAINED if stage is None else INITIAL if stage == 1 else "training"
            key = (label, one.number, len(one.ids))
            space, seen = _space(fitted, rows), fitted.report.evaluations
            if stage is None:
                spaces[key] = space
            scale = (fitted.report.hyperparameters or {}).get("lengthscale", float("nan"))
            known = case.pool.positions(one.ids)
            figures += _geometries(key, seen, space, rows, known, utility, scale)
            if one is rounds[-1] and fitted.latent(rows[:1]) is not None:
                table = _pairs(fitted)
                slopes.append(
                    _labelled(contrast.by_difference(table), stage=label, evaluations=seen)
                )
                kinds.append(_labelled(contrast.by_kind(table), stage=label, evaluations=seen))
                if label != "training":
                    pairs.append(_labelled(table, stage=label, evaluations=seen))
        listener.advanced(len(steps), len(steps))
        judged, curves = _judged(fitted, utility, case.pool)
        made = (figures, slopes, kinds, pairs, judged, curves)
        geometry_, *tables = (
            pd.concat(p, ignore_index=True) if p else pd.DataFrame() for p in made
        )
        return cls(name, fitted, spaces, rows, _labelled(geometry_, model=name), *tables)


def _stages(surrogate: Surrogate, whole: bool) -> list[int | None]:
    """After which evaluations to stop, None for the end; more of them in the last round."""
    if getattr(surrogate, "stopped_after", None) is None:
        return [None]
    return [*(STAGES if whole else STAGES[:1]), None]


def _fit(surrogate: Surrogate, one: Round, stage: int | None) -> Fitted | None:
    """A fit that ends there; None where it had ended before, or part of the way is no fit."""
    if stage is None:
        return fit_to(surrogate, one.ids, one.utility, one.stream, one.extents)
    stopped: Any = surrogate
    try:
        fitted: Fitted = stopped.stopped_after(stage).fit(one.ids, one.utility, one.stream)
    except FitError:
        return None
    return fitted if fitted.report.evaluations >= stage else None


def _space(fitted: Fitted, rows: Rows) -> Matrix:
    """Coordinates n x d of n candidates: features, or points of the kernel's own space."""
    with torch.no_grad():
        features = fitted.latent(rows)
        if features is not None:
            return np.asarray(features.cpu().numpy(), dtype=np.float64)
        return from_similarity(fitted.similarity(rows, rows).cpu().numpy())


def _geometries(
    key: tuple[str, int, int], evaluations: int, space: Matrix, rows: Rows, known: Rows,
    utility: Vector, lengthscale: float = float("nan"),
) -> list[pd.DataFrame]:  # fmt: skip
    """Figures of the measured, the other and all candidates whose outcomes are known."""
    stage, number, measured = key
    of, told = np.isin(rows, known), np.isfinite(utility[rows])
    scopes = {"measured": of & told, "unmeasured": ~of & told, "all": told}
    found = []
    for scope, flags in scopes.items():
        if flags.sum() < FEWEST:
            continue
        figures = geometry(space[flags], utility[rows[flags]], lengthscale)
        found.append(
            pd.DataFrame([{"round": number, "measured": measured, "stage": stage,
                           "evaluations": evaluations, "scope": scope, **figures._asdict()}])
        )  # fmt: skip
    return found


def _pairs(fitted: Fitted) -> pd.DataFrame:
    """All pairs of measurements with what the likelihood does to them."""
    with torch.no_grad():
        alike = fitted.similarity(fitted.rows, fitted.rows).cpu().numpy()
    names = [str(i) for i in fitted.pool.ids[fitted.rows]]
    return contrast.pairs(contrast.gradient_of(fitted), fitted.utility.cpu().numpy(), names, alike)


def _judged(
    fitted: Fitted, utility: Vector, pool: Pool
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Calibration on what was not measured, where that is known, and leaving one out."""
    location, scale = fitted.location.item(), fitted.scale.item()
    rest = np.setdiff1d(np.flatnonzero(np.isfinite(utility)), fitted.rows)
    own = (fitted.utility.cpu().numpy() - location) / scale
    with torch.no_grad():
        out = [v.cpu().numpy() for v in fitted.left_out()]
        sets = {"left one out": (own, *out)}
        if len(rest) >= FEWEST:
            mean, variance = (v.cpu().numpy() for v in fitted.standardised(rest))
            y = (utility[rest] - location) / scale
            sets = {"held out": (y, mean, variance + fitted.noise)} | sets
    figures = [
        pd.DataFrame([{"scheme": scheme, **calibration.calibration(*told)._asdict()}])
        for scheme, told in sets.items()
    ]
    curves = [
        _labelled(calibration.reliability(*told), scheme=scheme) for scheme, told in sets.items()
    ]
    return figures, curves


def _maps(look: _Look, umap: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two dimensions of each space, each turned to the one after it, so that the last leads."""
    ids = look.fitted.pool.ids[look.rows]
    drawn, shares = list[pd.DataFrame](), list[tuple[str, int, float]]()
    for method in ("PCA", *(["UMAP"] if umap else [])):
        after: Matrix | None = None
        for (stage, number, measured), space in reversed(look.spaces.items()):
            if len(space) <= maps.FEWEST or (method == "UMAP" and not _ends(look, stage, number)):
                continue
            if method == "PCA":
                points, share = maps.principal(space)
                shares.append((stage, number, share))
            else:
                points = maps.umap(space)
            points = points if after is None else maps.turned_to(after, points)
            after = points
            place = {"method": method, "stage": stage, "round": number, "measured": measured}
            table = pd.DataFrame({"id": ids, "x": points[:, 0], "y": points[:, 1]})
            drawn.append(_labelled(table, **place))
    drawn.reverse()
    variance = pd.DataFrame(shares[::-1], columns=["stage", "round", "share"])
    columns = ["method", "stage", "round", "measured", "id", "x", "y"]
    return pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame(columns=columns), variance


def _ends(look: _Look, stage: str, number: int) -> bool:
    """Whether a space is the first or the last: UMAP takes a while."""
    keys = [key[:2] for key in look.spaces]
    return (stage, number) in (keys[0], keys[-1])


def _sampled(pool: Pool, last: Round) -> Rows:
    """All candidates, or the measured ones and a fixed sample of the others; in order."""
    if len(pool) <= SAMPLE:
        return np.arange(len(pool))
    measured = np.unique(pool.positions(last.ids))
    others = np.setdiff1d(np.arange(len(pool)), measured)
    drawn = np.random.default_rng(0).choice(others, max(0, SAMPLE - len(measured)), replace=False)
    return np.sort(np.concatenate([measured, drawn])).astype(np.int64)


def _refuse_unknown(case: Case, wanted: Sequence[str]) -> None:
    """Refuse to explain what is no candidate.

    Raises:
        ConfigError: naming the first.
    """
    known = set(case.pool.ids.tolist())
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"there is no candidate '{name}' to explain in {case.title}." + nearest(name, known)
            )


def _explained(case: Case, look: _Look, wanted: Sequence[str]) -> list[str]:
    """Experiments to take apart: those that are named, or the best and the most promising."""
    if wanted:
        return list(dict.fromkeys(wanted))
    fitted = look.fitted
    best = int(fitted.rows[int(fitted.utility.argmax())])
    rest = np.setdiff1d(np.arange(len(case.pool)), fitted.rows)
    mean = fitted.marginals(rest)[0].cpu().numpy() if len(rest) else np.empty(0)
    top = rest[np.argsort(-mean, kind="stable")[: EXPLAINED - 1]]
    return [str(i) for i in case.pool.ids[[best, *top.tolist()]]]


def _phrases(case: Case, look: _Look, asked: Sequence[str], notes: list[Note]) -> pd.DataFrame:
    """Attributions, where the whole text and nothing else is what the model sees."""
    last = case.rounds[-1]
    layout = getattr(look.fitted, "layout", None)
    worded = layout is not None and all(
        slot.representation in ("text", "projection", "adapters") for slot in layout
    )
    if not worded or case.problem.template is None or case.problem.noise is not None:
        return pd.DataFrame()
    try:
        return phrases.attributions(
            case.models[look.name], case.problem, last.ids, last.utility, last.stream, asked,
            case.scale.sign,
        )  # fmt: skip
    except (DataError, FitError) as error:
        notes.append(Note("no-phrases", "", f"Phrases could not be left out: {error}"))
        return pd.DataFrame()


def _candidates(case: Case, rows: Rows) -> pd.DataFrame:
    """What is known of the mapped candidates, with a column for each component."""
    pool = case.pool
    table = pool.table.iloc[rows]
    ids = pool.ids[rows]
    told = {names[0]: table[names[0]].to_numpy() for names in chemistry.components(table)}
    chosen = [case.selected.get(str(i), np.nan) for i in ids]
    return pd.DataFrame({"id": ids, "outcome": pool.values[rows], "selected": chosen, **told})


def _labelled(table: pd.DataFrame, **labels: Any) -> pd.DataFrame:
    """The table with columns before its own that hold one value each."""
    made = table.copy()
    for name, value in reversed(labels.items()):
        if name in made:
            made = made.drop(columns=name)
        made.insert(0, name, value)
    return made


def _together(looks: Sequence[_Look], name: str) -> pd.DataFrame:
    """One table of all models."""
    parts = [_labelled(getattr(look, name), model=look.name) for look in looks
             if len(getattr(look, name))]  # fmt: skip
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
