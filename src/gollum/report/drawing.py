"""What the pictures of pages have in common: styles of methods, axes, SVG."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from functools import partial
from io import BytesIO, StringIO
from typing import Any, NamedTuple

# Okabe and Ito's palette, less its yellow, which is too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7A7A7A")
MARKERS = "osD^vPX*"
_DASHES = ((0, ()), (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))
INK, GRID = "#2b2f36", "#e4e6ea"
_FRAME = "#8a8f98"
WIDTH = 5.8  # inches
PANEL = (3.3, 2.4)  # inches, several side by side where the page is wide enough
_SVG = {"svg.hashsalt": "gollum", "svg.fonttype": "path"}


class Style(NamedTuple):
    """How a method is drawn wherever it occurs."""

    colour: str
    marker: str
    dashes: Any


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """Eight colours; further methods repeat them with other markers and dashes."""
    found = {}
    for i, method in enumerate(sorted(methods)):
        other = i + i // len(COLOURS)
        marker, dashes = MARKERS[other % len(MARKERS)], _DASHES[other % len(_DASHES)]
        found[method] = Style(COLOURS[i % len(COLOURS)], marker, dashes)
    return found


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure of so many inches and its axes, without frame."""
    figure, (axes,) = new_panels(1, width, height)
    return figure, axes


def new_panels(count: int, width: float, height: float, across: int = 0) -> tuple[Any, list[Any]]:
    """A figure of so many inches with panels, as `new_figure`.

    Args:
        count: of panels.
        width: of the whole.
        height: of the whole.
        across: panels side by side; all by default.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    columns = across or count
    grid = figure.subplots(-(-count // columns), columns, squeeze=False).flatten()
    for axes in grid[count:]:
        axes.remove()
    for axes in grid[:count]:
        axes.set_axisbelow(True)
        axes.tick_params(colors=INK, length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(_FRAME)
    return figure, list(grid[:count])


def percent_axis(axis: Any) -> None:
    """Shares as percent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def shortened(text: str, longest: int = 34) -> str:
    """A name at most so long, cut in its middle."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[half - longest + 1 :]}"


def plain(text: str, longest: int = 34) -> str:
    """The same with dollar signs that start no formula."""
    return shortened(text, longest).replace("$", r"\$")


def key_columns(names: Sequence[str], most: int, size: float = 10) -> int:
    """In how many columns a key fits into the width of a page.

    Args:
        names: what stands in it, as `plain` shortens them.
        most: columns where names are short.
        size: of the letters, in points; one is about 0.56 of that wide.
    """
    widest = 0.56 * size * max(len(plain(name)) for name in names) + 4 * size  # mark and space
    return max(1, min(most, int(72 * WIDTH / widest)))


def as_svg(figure: Any) -> str:
    """The same text for the same picture; paths to a hundredth of a point, to save space."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    content = StringIO()
    with matplotlib.rc_context(_SVG):
        FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None, "Creator": None})
    short = partial(re.compile(r"(\.\d\d)\d+").sub, r"\1")
    return re.sub(r' d="[^"]*"', lambda path: short(path[0]), content.getvalue())


def as_pdf(figure: Any) -> bytes:
    """The same for printing; the same bytes for the same picture."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    content = BytesIO()
    FigureCanvasPdf(figure).print_pdf(content, metadata={"CreationDate": None})
    return content.getvalue()


def data_address(svg: str) -> str:
    """An address that holds a picture, so that names inside it can't meet those of another."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
