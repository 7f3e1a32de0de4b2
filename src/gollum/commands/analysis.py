"""`gollum analyze`: what a model has learned, as a folder with a page."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gollum.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

Kind = Literal["run", "campaign", "records"]
TABLES = (".csv", ".gz", ".parquet")  # endings of records


def kind_of(word: str) -> Kind:
    """What a path is.

    Raises:
        ConfigError: there is nothing, or a folder in which no run is.
    """
    path = Path(word).expanduser()
    if not path.exists():
        raise ConfigError(
            f"there is no '{word}'; name the folder of a run, a campaign, or records of a sweep."
        )
    if path.is_file():
        return "records" if path.suffix in TABLES else "campaign"
    if (path / "config.yaml").is_file():
        return "run"
    if next(path.rglob("config.yaml"), None) is None:
        raise ConfigError(f"folder '{word}' holds no run; name one that `gollum run` wrote.")
    return "records"


def analyze_one(known: argparse.Namespace, kind: Kind) -> int:
    """Look into a run or a campaign."""
    from rich.console import Console

    from gollum.api import analyze
    from gollum.report.analysis.exhibits import exhibits
    from gollum.report.analysis.interactive import maps_page, require_plotly
    from gollum.report.analysis.page import lead_of, shown_of, write_analysis
    from gollum.report.campaign.display import Display

    path = Path(known.what[0]).expanduser()
    beside = path / "analysis" if kind == "run" else path.with_name(f"{path.stem}-analysis")
    folder = Path(known.output).expanduser() if known.output else beside
    _refuse_taken(folder)
    if known.interactive:
        require_plotly()
    console = Console(markup=False, emoji=False)  # brackets of a name are just that
    with Display(console, known.quiet) as display:
        found = analyze(
            path, known.models, rounds=known.rounds, explain=known.explain,
            umap=not known.no_umap, listener=display,
        )  # fmt: skip
        display.stage("Drawing")
        shown = exhibits(found)
        page = write_analysis(
            folder, f"What {found.model} has learned", lead_of(found), shown, notes=found.notes,
            tables=found.tables(), shown=shown_of(found),
            maps=maps_page(found) if known.interactive else "",
        )  # fmt: skip
        display.noted(found.notes)
    _say(console, [e.sentence for e in shown], page)
    return 0


def analyze_records(known: argparse.Namespace, joined: Mapping[str, Sequence[str]]) -> int:
    """Correlate figures of fits with success."""
    import pandas as pd
    from rich.console import Console

    from gollum.analysis.learned.success import complete_runs, predictors
    from gollum.benchmark.sweeps.records import read_records
    from gollum.report.analysis.exhibits import of_records
    from gollum.report.analysis.page import Shown, write_analysis

    paths = [Path(word).expanduser() for word in known.what]
    name = f"{paths[0].name.split('.')[0]}-analysis"
    beside = paths[0] / "analysis" if paths[0].is_dir() else Path(name)
    folder = Path(known.output).expanduser() if known.output else beside
    _refuse_taken(folder)
    table = pd.concat([read_records(path).table for path in paths], ignore_index=True)
    runs = complete_runs(table, joined)
    found = predictors(runs)
    shown = of_records(runs, found)
    lead = f"{len(runs)} runs with ℓ/d̄ and R²: {', '.join(map(str, paths))}."
    columns = ["over", "figure", "points", "tasks", "r", "low", "high"]
    page = write_analysis(
        folder, "What goes with success", lead, shown, tables={"predictors": found},
        shown={"correlations": [Shown.of(found, columns)]},
    )  # fmt: skip
    _say(Console(markup=False, emoji=False), [e.sentence for e in shown], page)
    return 0


def _refuse_taken(folder: Path) -> None:
    """Refuse a file, and a folder with something else.

    Raises:
        ConfigError: there is one.
    """
    ours = all((folder / name).exists() for name in ("report.html", "data", "figures"))
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not ours):
        raise ConfigError(f"'{folder}' holds something else; choose another folder with -o.")


def _say(console: Console, sentences: Sequence[str], page: Path) -> None:
    from gollum.report.campaign.status import visible

    for sentence in (*sentences, f"{page} is written; open it in a browser."):
        console.print(visible(console, sentence), highlight=False, soft_wrap=True)
