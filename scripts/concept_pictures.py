"""Draw what a deep kernel sees, what evidence decides and what intervals mean, for docs/concepts.

From the 790 measured reactions of the ethyl product:

    python scripts/concept_pictures.py

Prints the figures that the pages quote. Takes a minute.
"""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gollum import fit
from gollum.analysis.learned.calibration import calibration, reliability
from gollum.data.catalog import get_task
from gollum.files import write_text
from gollum.report.drawing import as_svg, new_panels
from gollum.surrogates.base import Fitted

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "concepts"
RESULTS = 60  # measured, drawn at random; the others are what nobody told the model
SHOWN = 150  # of the others, in pictures of pairs
GOOD, BAD, INK = "#0f766e", "#c2410c", "#334155"
PRESETS = {"combined": "default"}
NAMES = {
    "one_hot": "one-hot encoding",
    "static": "frozen language model",
    "pllm": "deep kernel (pllm)",
    "combined": "the default (combined)",
}


def main() -> None:
    """Fit each surrogate to the same results, and draw."""
    pool = get_task("bh-ethyl").load()
    order = np.random.default_rng(0).permutation(len(pool))
    known, rest = order[:RESULTS], order[RESULTS:]
    table = pool.table.reset_index(drop=True)
    table["yield"] = np.nan
    table.loc[known, "yield"] = pool.values[known]
    fitted = {
        name: fit(table, "yield", surrogate=name, preset=PRESETS.get(name, "fast"))
        for name in NAMES
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    pairs({n: f for n, f in fitted.items() if n != "combined"}, rest, pool.values)
    evidence(fitted["one_hot"], rest, pool.values)
    intervals(fitted, rest, pool.values)


def pairs(fitted: dict[str, Fitted], rest: Any, yields: Any) -> None:
    """How alike each kernel takes unmeasured reactions for, in order of the yield."""
    some = rest[np.linspace(0, len(rest) - 1, SHOWN).astype(int)]
    some = some[np.argsort(-yields[some], kind="stable")]
    quarter = SHOWN // 4
    figure, axes = new_panels(len(fitted), 9.6, 3.5)
    for axis, (name, model) in zip(axes, fitted.items(), strict=True):
        alike = model.similarity(some, some).detach().numpy()
        off = ~np.eye(quarter, dtype=bool)
        best, mixed = alike[:quarter, :quarter][off].mean(), alike[:quarter, -quarter:].mean()
        print(f"pairs, {name}: best with best {best:.2f}, best with worst {mixed:.2f}")
        axis.imshow(alike, cmap="GnBu", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(NAMES[name], fontsize=10)
        axis.set_xlabel(f"best–best {best:.2f}, best–worst {mixed:.2f}", fontsize=9)
        axis.set_xticks([0, SHOWN - 1], ["best", "worst"], fontsize=8)
        axis.set_yticks([0, SHOWN - 1], ["best", "worst"], fontsize=8)
        axis.spines[:].set_visible(False)
    figure.savefig(FOLDER / "deep-kernel.png", dpi=110, metadata={"Software": None})


def evidence(fitted: Any, rest: Any, yields: Any) -> None:
    """Both parts of the log marginal likelihood over the lengthscale, and what it predicts."""
    process = deepcopy(fitted.process.gp)
    features = fitted.features.detach()
    y = (fitted.utility - fitted.location) / fitted.scale
    true = (torch.as_tensor(yields[rest]) - fitted.location) / fitted.scale
    (kernel,) = (m for m in process.kernel.modules() if getattr(m, "has_lengthscale", False))
    best = kernel.lengthscale.item()
    lengths = np.geomspace(best / 12, best * 4, 121)
    parts = []
    with torch.no_grad():
        for length in lengths:
            kernel.lengthscale = torch.tensor(length)
            at, noise = features[fitted.rows], process.noise
            root = torch.linalg.cholesky(process.covariance(at, at) + noise * torch.eye(len(at)))
            less, solved = (
                torch.linalg.solve_triangular(root, right, upper=False)
                for right in (
                    (y - process.constant)[:, None],
                    process.covariance(at, features[rest]),
                )
            )
            mean = process.constant + solved.T @ less[:, 0]
            one = features[rest][:1]
            variance = process.covariance(one, one)[0, 0] - solved.square().sum(0) + noise
            density = -0.5 * ((true - mean).square() / variance + (2 * math.pi * variance).log())
            fits = -0.5 * less.square().sum() - len(y) / 2 * math.log(2 * math.pi)
            parts.append((float(fits), -float(root.diagonal().log().sum()), float(density.mean())))
    fits, simple, others = np.array(parts).T
    total = fits + simple
    top, found = lengths[total.argmax()], lengths[others.argmax()]
    print(f"evidence: best lengthscale {top:.2f} ({best:.2f} fitted), unmeasured {found:.2f};")
    density = others[total.argmax()]
    print(f"  log density of an unmeasured one {density:.2f}, {others.max():.2f} at most")
    figure, (left, right) = new_panels(2, 9.6, 3.4)
    left.plot(lengths, fits, color=BAD, lw=1.4, label="how well it fits the results")
    left.plot(lengths, simple, color=INK, lw=1.4, ls="--", label="how little it could have fitted")
    left.plot(lengths, total, color=GOOD, lw=2.4, label="their sum, the evidence")
    left.set_title("60 results that the model knows", fontsize=10)
    left.legend(fontsize=8, frameon=False)
    left.set_ylim(total.max() - 75, simple.max() + 5)
    right.plot(lengths, others, color=INK, lw=1.8)
    right.set_ylim(others.max() - 1.5, others.max() + 0.1)
    right.set_title(f"{len(rest)} results that it does not know", fontsize=10)
    for axis, label in ((left, "log density"), (right, "log density of a result, mean")):
        axis.set_xscale("log")
        axis.set_xticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
        axis.minorticks_off()
        axis.axvline(top, color=GOOD, lw=1, ls=":")
        axis.set_xlabel("lengthscale", fontsize=9)
        axis.set_ylabel(label, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    write_text(FOLDER / "evidence.svg", as_svg(figure))


def intervals(fitted: dict[str, Fitted], rest: Any, yields: Any) -> None:
    """Intervals for unmeasured reactions by the default, and how often those of each hold."""
    told = {}
    for name, model in fitted.items():
        mean, variance = (v.detach().numpy() for v in model.marginals(rest))
        told[name] = mean, variance + float(model.noise) * float(model.scale) ** 2
    figure, (left, right) = new_panels(2, 9.6, 3.8)
    mean, variance = told["combined"]
    some = np.argsort(mean[:60])  # of those drawn next
    y, half = yields[rest][some], 1.96 * np.sqrt(variance[some])
    inside = np.abs(y - mean[some]) <= half
    x = np.arange(len(some))
    left.vlines(x, np.clip(mean[some] - half, 0, 100), np.clip(mean[some] + half, 0, 100),
                color="#94a3b8", lw=3, alpha=0.6)  # fmt: skip
    left.plot(x[inside], y[inside], "o", ms=4, color=GOOD, label=f"inside ({inside.sum()})")
    left.plot(x[~inside], y[~inside], "D", ms=4, color=BAD, label=f"outside ({(~inside).sum()})")
    left.set_title("60 unmeasured reactions, the default's 95 % intervals", fontsize=10)
    left.set_xlabel("reactions, by predicted yield", fontsize=9)
    left.set_ylabel("yield, %", fontsize=9)
    left.legend(fontsize=8, frameon=False, loc="upper left")
    dashes = {"one_hot": ":", "static": "--", "pllm": "-.", "combined": "-"}
    for name, (mean, variance) in told.items():
        curve = reliability(yields[rest], mean, variance)
        right.plot(curve.iloc[:, 0], curve.iloc[:, 1], dashes[name], lw=1.8, label=NAMES[name])
        print(name, calibration(yields[rest], mean, variance))
    right.plot([0, 1], [0, 1], color="#94a3b8", lw=0.8)
    right.set_title("how often intervals hold, all unmeasured ones", fontsize=10)
    right.set_xlabel("should hold", fontsize=9)
    right.set_ylabel("hold", fontsize=9)
    right.legend(fontsize=8, frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    write_text(FOLDER / "intervals.svg", as_svg(figure))


if __name__ == "__main__":
    main()
