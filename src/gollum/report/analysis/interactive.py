"""The maps as a page with a script inside: to turn, to play over rounds, to read names from."""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from gollum.analysis.learned.cases import Understanding
from gollum.errors import MissingExtraError
from gollum.report.drawing import COLOURS, GRID, INK

SIZE = (820, 560)  # pixels
SECONDS = 0.7  # of a frame


def require_plotly() -> None:
    """Refuse where the package is not there.

    Raises:
        MissingExtraError: it is not.
    """
    if find_spec("plotly") is None:
        raise MissingExtraError("An interactive map", "analyze")


def maps_page(found: Understanding) -> str:
    """A page that needs no network: a map by outcome, by round of selection and by component.

    Raises:
        MissingExtraError: plotly is not there.
    """
    require_plotly()
    from plotly.offline import get_plotlyjs

    parts = []
    for method in found.maps["method"].unique():
        table = found.maps[found.maps["method"] == method].merge(found.candidates, on="id")
        table = table.astype({"x": "float32", "y": "float32"})  # half the size of the page
        for column in ("outcome", "selected", *found.candidates.columns[3:]):
            if table[column].notna().any():
                figure = _figure(found, table, str(method), str(column))
                parts.append(figure.to_html(include_plotlyjs=False, full_html=False))
    title = escape(f"{found.case.title}: the candidates as {found.model} sees them")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:\">"
        f"<title>{title}</title><script>{get_plotlyjs()}</script></head>"
        f'<body style="font-family: sans-serif; color: {INK}"><h1>{title}</h1>'
        f"{''.join(parts)}</body></html>\n"
    )


def _figure(found: Understanding, table: pd.DataFrame, method: str, column: str) -> Any:
    """One colouring, a frame per stage and round."""
    import plotly.graph_objects as go

    steps = [
        (f"{stage}, {rows['measured'].iloc[0]} results" if number else str(stage), rows)
        for (stage, number), rows in table.groupby(["stage", "round"], sort=False)
    ]
    drawn = [_traces(rows, column, _name(found, column)) for _, rows in steps]
    frames = [  # places alone: all else stays
        go.Frame(
            data=[go.Scatter(x=trace.x, y=trace.y) for trace in traces],
            traces=list(range(len(traces))), name=name,
        )
        for (name, _), traces in zip(steps, drawn, strict=True)
    ]  # fmt: skip
    figure = go.Figure(data=drawn[-1], frames=frames)
    buttons = [
        {"label": "play", "method": "animate",
         "args": [None, {"frame": {"duration": 1000 * SECONDS, "redraw": True}}]},
        {"label": "stop", "method": "animate",
         "args": [[None], {"mode": "immediate", "frame": {"duration": 0}}]},
    ]  # fmt: skip
    moves = [
        {"label": name, "method": "animate",
         "args": [[name], {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}]}
        for name, _ in steps
    ]  # fmt: skip
    ends = {axis: [float(table[axis].min()), float(table[axis].max())] for axis in ("x", "y")}
    margin = {axis: 0.05 * (high - low) or 1.0 for axis, (low, high) in ends.items()}
    figure.update_layout(
        title=escape(f"{method}, by {_name(found, column)}"), width=SIZE[0], height=SIZE[1],
        plot_bgcolor="white", font_color=INK,
        xaxis={"title": f"{method} 1", "gridcolor": GRID, "zeroline": False,
               "range": [ends["x"][0] - margin["x"], ends["x"][1] + margin["x"]]},
        yaxis={"title": f"{method} 2", "gridcolor": GRID, "zeroline": False,
               "range": [ends["y"][0] - margin["y"], ends["y"][1] + margin["y"]]},
        updatemenus=[{"type": "buttons", "direction": "left", "y": -0.12, "x": 0.0,
                      "yanchor": "top", "buttons": buttons}],
        sliders=[{"steps": moves, "active": len(moves) - 1, "x": 0.2, "len": 0.8, "y": -0.08}],
    )  # fmt: skip
    return figure


def _traces(table: pd.DataFrame, column: str, name: str) -> list[Any]:
    import plotly.graph_objects as go

    if column in ("outcome", "selected"):
        known = table[table[column].notna()]
        rest = table[table[column].isna()]
        return [
            go.Scatter(x=rest["x"], y=rest["y"], mode="markers", name="unknown", text=_hover(rest),
                       hoverinfo="text", showlegend=False, marker={"size": 5, "color": "#c9ccd2"}),
            go.Scatter(x=known["x"], y=known["y"], mode="markers", name=escape(name),
                       text=_hover(known), hoverinfo="text", showlegend=False,
                       marker={"size": 6, "color": known[column], "colorscale": "Viridis",
                               "colorbar": {"title": {"text": escape(name)}}}),
        ]  # fmt: skip
    levels = pd.factorize(table[column].astype(str), sort=True)
    symbols = ("circle", "square", "diamond", "cross")
    return [
        go.Scatter(
            x=rows["x"], y=rows["y"], mode="markers", name=escape(str(level)[:40]),
            text=_hover(rows), hoverinfo="text",
            marker={"size": 6, "color": COLOURS[i % len(COLOURS)],
                    "symbol": symbols[i // len(COLOURS) % len(symbols)]},
        )
        for i, level in enumerate(levels[1])
        for rows in [table[levels[0] == i]]
    ]  # fmt: skip


def _hover(table: pd.DataFrame) -> list[str]:
    """What is read at a point; its cells are escaped."""
    names = [
        c for c in table.columns if c not in ("method", "stage", "round", "measured", "x", "y")
    ]
    cells = table[names].to_dict("records")
    return [
        "<br>".join(
            f"{escape(str(k))}: {escape(f'{v:.4g}' if isinstance(v, float) else str(v))}"
            for k, v in row.items()
            if not (isinstance(v, float) and np.isnan(v))
        )
        for row in cells
    ]


def _name(found: Understanding, column: str) -> str:
    return {"outcome": found.case.pool.objective, "selected": "round of selection"}.get(
        column, column
    )
