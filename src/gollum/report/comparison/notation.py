"""How figures of a comparison are written for people."""

from __future__ import annotations

import math

_TITLES = {
    "top5_coverage": "share of the top 5 % found",
    "top5_found": "number of top 5 % experiments found",
    "best": "best value found",
    "auc": "area under best-so-far, 0 to 1",
    "seconds": "seconds to fit and choose",
    "r2": "R² on unmeasured candidates",
    "nlpd": "negative log predictive density",
    "msll": "mean standardized log loss",
    "calibration_error": "calibration error",
    "latent_distance_ratio": "lengthscale over mean distance",
}
BLANK = "–"


def title(metric: str) -> str:
    """What a metric is, in words; its own name if it is not known."""
    return _TITLES.get(metric, metric)


def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and reads best as percent."""
    return metric.endswith("coverage")


def shown(metric: str, value: float, sign: bool = False) -> str:
    """A value as text: percent for shares, three figures otherwise, a dash for NaN.

    With `sign` it is a difference; that of two shares is in percentage points (pp).
    """
    return _joined(metric, [value], sign)


def interval(metric: str, low: float, high: float, sign: bool = False) -> str:
    """Both ends as `shown` writes them, or a dash where there is no interval."""
    return _joined(metric, [low, high], sign)


def number(value: float, decimals: int = 0) -> str:
    """A plain number, a dash for NaN."""
    return BLANK if math.isnan(value) else f"{value:.{decimals}f}".replace("-", "−")


def percent(value: float) -> str:
    """A share as whole percent, a dash for NaN."""
    return BLANK if math.isnan(value) else f"{number(100 * value)} %"


def probability(p: float) -> str:
    """A p-value or probability with two figures that matter."""
    if math.isnan(p):
        return BLANK
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _joined(metric: str, values: list[float], sign: bool) -> str:
    """Values joined by 'to', with their unit at the end."""
    if any(map(math.isnan, values)):
        return BLANK
    plus, share = "+" if sign else "", is_share(metric)
    texts = [f"{100 * v:{plus}.1f}" if share else f"{v:{plus}.3g}" for v in values]
    unit = (" pp" if sign else " %") if share else ""
    return (" to ".join(texts) + unit).replace("-", "−")
