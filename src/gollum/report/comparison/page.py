"""A comparison as one HTML file: pictures inside, no network and no script needed to read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gollum import __version__
from gollum.analysis.comparison import Comparison
from gollum.analysis.savings import curves, tasks_of_all
from gollum.report import html
from gollum.report.comparison import curves as curve_pictures
from gollum.report.comparison import notation, pictures
from gollum.report.comparison.tables import best_baselines, heading, ranking_sentence

PROVENANCE = ("version", "commit", "preset", "model", "model_revision", "precision", "control",
              "settings", "n_init", "n_iters", "batch_size")  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where records came from.

    Attributes:
        path: as the user wrote it.
        spec: text of the sweep's specification, if it lies beside the records.
    """

    path: str
    spec: str | None

    @classmethod
    def of(cls, path: Path) -> Source:
        """A file of records or a folder of a sweep, with the specification that lies there."""
        spec = (path if path.is_dir() else path.parent) / "spec.yaml"
        found = spec.read_text("utf-8", errors="replace") if spec.is_file() else None
        return cls(str(path), found)


def write_page(found: Comparison, sources: Sequence[Source], file: Path) -> None:
    """Write the report in one step.

    Raises:
        ConfigError: the file can't be written.
    """
    html.write(file, render(found, sources), "--html")


def render(found: Comparison, sources: Sequence[Source]) -> str:
    """The page; whatever comes from the records is escaped."""
    environment = html.environment("gollum.report.comparison")
    environment.filters |= {
        "shown": lambda value, sign=False: notation.shown(found.metric, value, sign),
        "number": notation.number,
        "probability": notation.probability,
    }
    environment.filters["percent"] = notation.percent
    environment.filters["title_of"] = notation.title
    environment.globals |= {
        "interval": lambda low, high, sign=False: notation.interval(found.metric, low, high, sign)
    }
    template = environment.get_template("comparison.html")
    return template.render(
        found=found,
        title=notation.title(found.metric),
        facts=heading(found),
        ranking_sentence=ranking_sentence(found),
        overall=_rows(found.overall),
        gains=_rows(found.gains),
        steps=_rows(found.steps),
        saved=_rows(found.saved),
        best_baselines=best_baselines(found),
        saved_per_task=_rows(found.saved_per_task),
        quality=_rows(found.quality),
        quality_columns=[c for c in found.quality if c not in ("method", "tasks")],
        pictures=_pictures(found),
        provenance=_provenance(found.runs),
        sources=sources,
        version=__version__,
        nan=float("nan"),
    )


def _pictures(found: Comparison) -> dict[str, Any]:
    """SVG of each picture that the records allow."""
    svg: dict[str, Any] = {"means": "", "gains": "", "steps": "", "tasks": [], "ranks": ""}
    if found.averaged:
        svg["means"] = pictures.means(found)
        svg["tasks"] = pictures.tasks(found)
    if len(found.gains) and found.averaged:
        svg["gains"] = pictures.gains(found)
    if len(found.steps) and found.averaged:
        svg["steps"] = pictures.steps(found)
    if found.ranking is not None:
        svg["ranks"] = pictures.critical_difference(found.ranking, found.methods)
    svg["gains_of"] = {
        method: pictures.gains_of(found, method)
        for method in found.gains["method"]
        if found.averaged
    }
    return svg | _curves(found)


def _curves(found: Comparison) -> dict[str, Any]:
    best = curves(found.traces, "best_so_far")
    share = curves(found.traces, "top5_coverage")
    common = tasks_of_all(share, found.tasks, found.methods)

    def panels(all_curves: curve_pictures.Curves, shares: bool) -> dict[str, str]:
        drawn = {}
        for task in found.tasks:
            own = {m: all_curves[task, m] for m in found.methods if (task, m) in all_curves}
            if own:
                drawn[task] = curve_pictures.curve_panel(task, own, found.methods, shares)
        return drawn

    return {
        "legend": curve_pictures.legend(found.methods) if share else "",
        "coverage": curve_pictures.coverage(share, common, found.methods) if common else "",
        "coverage_tasks": len(common),
        "best_panels": panels(best, False),
        "coverage_panels": panels(share, True),
    }


def _provenance(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """For each column that tells where figures come from, its values with the number of runs."""
    rows = []
    for column in PROVENANCE:
        if column in runs:
            counts = runs[column].astype("string").fillna("").value_counts()
            known = [f"{value} ({n} runs)" for value, n in counts.items() if value]
            if known:
                rows.append((column, ", ".join(known)))
    return rows


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")
