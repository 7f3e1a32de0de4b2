"""Write the tables of docs/benchmarks.md and its pictures from the committed records.

    python scripts/benchmark_page.py

What stands between the markers of a sweep is replaced; the words around it are written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from gollum.analysis.comparison import Comparison, compare
from gollum.analysis.savings import curves
from gollum.benchmark.sweeps.records import read_records
from gollum.files import write_text
from gollum.report.comparison import curves as curve_pictures
from gollum.report.comparison.tables import ranking_sentence

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
RECORDS = ROOT / "benchmarks" / "results" / "records"
SWEEP = re.compile(r"<!-- sweep: (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)


def main() -> None:
    """Replace every sweep's part of the page."""
    text = PAGE.read_text("utf-8")
    write_text(PAGE, SWEEP.sub(lambda found: _part(found["name"]), text))


def _part(name: str) -> str:
    file = RECORDS / f"{name}.csv"
    if not file.is_file():
        return f"<!-- sweep: {name} -->\nNot run yet.\n<!-- end -->"
    records = read_records(file)
    found = compare(records.table, records.traces)
    parts = [f"<!-- sweep: {name} -->", *_tables(found, records.table), _picture(name, found)]
    return "\n\n".join(part for part in parts if part) + "\n<!-- end -->"


def _tables(found: Comparison, table: pd.DataFrame) -> Iterator[str]:
    commits = ", ".join(sorted({str(c)[:7] for c in table["commit"] if c}))
    yield (
        f"{len(found.runs)} runs, commit {commits}; {ranking_sentence(found) or 'no ranks.'}"
        + "".join(f" {note}" for note in found.notes)
    )
    overall = found.overall.set_index("method")
    gains = found.gains.set_index("method") if len(found.gains) else pd.DataFrame()
    seconds = found.runs.groupby("method")["seconds"].median()
    ranks = {} if found.ranking is None else dict(found.ranking.ranks)
    auc = found.runs.groupby("method")["auc"].mean()
    rows = []
    for method in found.methods:
        row = overall.loc[method]
        gain = ""
        if method in gains.index:
            g = gains.loc[method]
            gain = f"{g['mean']:+.3f} {_interval(g['low'], g['high'], '+')}"
        rank = f"{ranks[method]:.1f}" if method in ranks else ""
        mean = f"**{row['mean']:.3f}** {_interval(row['low'], row['high'])}"
        rows.append((
            f"`{method}`", mean, rank, gain,
            f"{auc[method]:.3f}", f"{row['runs']:.0f}", f"{seconds[method]:.1f}",
        ))  # fmt: skip
    yield _markdown(
        ("method", "top 5 % found [95 %]", "average rank", f"gain over `{found.reference}` [95 %]",
         "area under best-so-far", "runs", "seconds per run"), rows,
    )  # fmt: skip
    wide = found.per_task.assign(
        cell=[
            f"{m:.2f}" + (f" ± {sd:.2f}" if np.isfinite(sd) else "")
            for m, sd in zip(found.per_task["mean"], _deviations(found), strict=True)
        ]
    ).pivot_table(index="task", columns="method", values="cell", aggfunc="first")
    wide = wide.reindex(columns=[m for m in found.methods if m in wide]).fillna("")
    yield "Mean ± standard deviation over seeds:"
    yield _markdown(
        ("task", *(f"`{m}`" for m in wide.columns)),
        [(task, *cells) for task, cells in zip(wide.index, wide.to_numpy(), strict=True)],
    )
    if len(found.quality):
        columns = [c for c in found.quality if c not in ("method", "tasks")]
        yield "The last fit of each run, judged on all candidates that were not measured (means):"
        yield _markdown(
            ("method", *columns),
            [
                (f"`{row['method']}`", *(_number(row[c]) for c in columns))
                for row in found.quality.to_dict("records")
            ],
        )
    if len(found.saved):
        saved = found.saved.to_dict("records")
        yield f"Iterations saved to reach what `{found.reference}` has in the end:"
        names = [c for c in found.saved if c != "method"]
        yield _markdown(
            ("method", *names),
            [(f"`{row['method']}`", *(_number(row[c]) for c in names)) for row in saved],
        )


def _deviations(found: Comparison) -> list[float]:
    spread = found.runs.groupby(["task", "method"])["value"].std()
    return [float(spread[t, m]) for t, m in zip(found.per_task["task"], found.per_task["method"],
                                               strict=True)]  # fmt: skip


def _picture(name: str, found: Comparison) -> str:
    shares = curves(found.traces, "top5_coverage")
    common = [t for t in found.tasks if all((t, m) in shares for m in found.methods)]
    if not common:
        return ""
    pictures = {
        f"benchmarks-{name}.svg": curve_pictures.coverage(shares, common, found.methods),
        f"benchmarks-{name}-legend.svg": curve_pictures.legend(found.methods),
    }
    for file, svg in pictures.items():
        write_text(PAGE.parent / "pictures" / file, svg)
    lines = [f"![{'legend' if 'legend' in f else 'curves'}](pictures/{f})" for f in pictures]
    return "\n\n".join([f"Share of the top 5 % found, mean over {len(common)} tasks:", *lines])


def _interval(low: float, high: float, sign: str = "") -> str:
    return f"[{low:{sign}.3f}, {high:{sign}.3f}]" if np.isfinite(low) else ""


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if np.isfinite(value) else ""
    return str(value)


def _markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    main()
