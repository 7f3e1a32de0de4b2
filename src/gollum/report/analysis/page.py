"""The folder of an analysis: a page, its pictures for print, and all tables as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gollum import __version__
from gollum.analysis.learned.cases import Understanding
from gollum.analysis.learned.chemistry import components
from gollum.data.pool import cell_text
from gollum.errors import ConfigError
from gollum.files import write_file, write_text
from gollum.report import html
from gollum.report.analysis.exhibits import Exhibit
from gollum.report.drawing import as_pdf, as_svg

TERMS = (
    ("latent space", "where a model puts the experiments; what it takes for alike lies close."),
    ("ℓ/d̄", "lengthscale over mean distance: how far a result speaks, in typical distances."),
    ("contrast", "distance of good from bad over that of good from good and bad from bad."),
    ("silhouette", "whether good and bad form groups of their own, from −1 to 1."),
    ("alignment, uniformity", "how tight good experiments lie, and how evenly all are spread."),
    ("effective rank", "how many directions of the space are in use."),
    ("NLPD, MSLL", "log loss of the predictions; MSLL below 0 beats ignoring the inputs."),
    ("quantile error", "how far intervals are from holding the share that they promise."),
    ("sharpness", "predicted deviation over that of the outcomes; smaller says more."),
    ("held out", "judged on experiments that were not measured."),
    ("left one out", "each result predicted from all others with the same hyperparameters."),
)  # fmt: skip
CALIBRATION = ["model", "scheme", "points", "r2", "rmse", "nlpd", "msll", "quantile_error",
               "inside_95", "sharpness"]  # fmt: skip
TRENDS = ["claim", "sets", "observed", "holds", "predicted", "data", "model"]
NEIGHBOURS = ["id", "neighbour", "conditions", "outcome", "similarity", "weight", "contribution"]
BEHIND = (
    "The results that made these predictions: what each adds to the mean of all results is its "
    "weight times how far it lies from that mean."
)


@dataclass(frozen=True)
class Shown:
    """A table on the page.

    Attributes:
        columns: in order.
        figures: those that hold numbers.
        rows: column → cell.
        caption: what it shows, a sentence; or ''.
    """

    columns: Sequence[str]
    figures: frozenset[str]
    rows: Sequence[Mapping[str, Any]]
    caption: str = ""

    @classmethod
    def of(cls, table: pd.DataFrame, columns: Sequence[str], caption: str = "") -> Shown:
        """Some columns of a table, with underscores as spaces."""
        part = table[list(columns)].rename(columns=lambda c: str(c).replace("_", " "))
        numeric = frozenset(map(str, part.select_dtypes("number").columns))
        rows = [{str(k): v for k, v in row.items()} for row in part.to_dict("records")]
        return cls([str(c) for c in part], numeric, rows, caption)


def write_analysis(
    folder: Path,
    title: str,
    lead: str,
    exhibits: Sequence[Exhibit],
    *,
    notes: Sequence[str] = (),
    tables: Mapping[str, pd.DataFrame] | None = None,
    shown: Mapping[str, Sequence[Shown]] | None = None,
    maps: str = "",
) -> Path:
    """Write page, pictures and tables.

    Args:
        folder: made if it is not there; what an earlier analysis left is replaced.
        title: of the page.
        lead: its first sentence.
        exhibits: in order.
        notes: what a reader should know.
        tables: further tables that become CSV files, by name.
        shown: tables below an exhibit, by its name.
        maps: an interactive page, or ''.

    Returns:
        The page.

    Raises:
        ConfigError: the folder can't be written.
    """
    data = {**(tables or {}), **{exhibit.name: exhibit.data for exhibit in exhibits}}
    svg = {}
    try:
        for part in ("figures", "data"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for exhibit in exhibits:
            figure = exhibit.draw()
            svg[exhibit.name] = as_svg(figure)
            write_text(folder / "figures" / f"{exhibit.name}.svg", svg[exhibit.name])
            write_file(folder / "figures" / f"{exhibit.name}.pdf", as_pdf(figure))
        for name, table in data.items():
            if table.columns.empty:
                continue
            text = table.to_csv(index=False, lineterminator="\n")
            write_text(folder / "data" / f"{name}.csv", text)
        if maps:
            write_text(folder / "maps.html", maps)
    except OSError as error:
        raise ConfigError(
            f"folder '{folder}' can't be written ({error.strerror}); choose another with -o."
        ) from None
    page = html.environment("gollum.report.analysis").get_template("analysis.html").render(
        title=title, lead=lead, exhibits=exhibits, notes=notes, svg=svg, tables=shown or {},
        terms=TERMS, interactive=bool(maps), version=__version__,
    )  # fmt: skip
    html.write(folder / "report.html", page, "-o")
    return folder / "report.html"


def shown_of(found: Understanding) -> dict[str, list[Shown]]:
    """Tables that stand on the page of a run or campaign."""
    told, caption = NEIGHBOURS, BEHIND
    if found.neighbours["weight"].isna().all():
        told, caption = NEIGHBOURS[:-2], "The results that are most like these experiments."
    return {
        "reliability": [Shown.of(found.calibration, CALIBRATION)],
        "trends": [Shown.of(found.trends, TRENDS)],
        "replacements": [Shown.of(_readable(found), told, caption)],
    }


def _readable(found: Understanding) -> pd.DataFrame:
    """Neighbours with their conditions."""
    table = found.case.pool.table
    columns = [names[0] for names in components(table)]
    rows = table.loc[found.neighbours["neighbour"], columns].itertuples(index=False)
    return found.neighbours.assign(conditions=[", ".join(map(cell_text, row)) for row in rows])


def lead_of(found: Understanding) -> str:
    """What was looked into, a sentence."""
    case, last = found.case, found.case.rounds[-1]
    others = [name for name in found.calibration["model"].unique() if name != found.model]
    beside = f", with {', '.join(others)} beside it" if others else ""
    return (
        f"{case.title}: {len(case.pool)} candidates, {len(set(last.ids))} with a result for "
        f"{case.pool.objective}. What {found.model} makes of them{beside}, fitted anew to what was "
        "known in each round."
    )
