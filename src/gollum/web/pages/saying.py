"""What forms say of outcomes, of how experiments are chosen, and of what to learn from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, get_args

from starlette.datastructures import FormData

from gollum.acquisition.criteria import CRITERIA
from gollum.data.outcomes import Goal, Outcome, Transform
from gollum.data.pool import cell_text
from gollum.errors import UserError
from gollum.language.catalog import CATALOG, is_here
from gollum.settings import PRESETS
from gollum.web.pages.common import text

GOALS = {
    "maximize": "as much as possible", "minimize": "as little as possible",
    "target": "close to", "at-least": "at least", "at-most": "at most", "range": "between",
    "watch": "only predicted",
}  # fmt: skip
VALUED = ("target", "at-least", "at-most", "range")  # goals with a number, or two
SCALES = {"identity": "as it is", "log": "logarithm", "logit": "logit", "auto": "whatever fits"}
SURROGATES = {
    "combined": "all that the table has, each weighed", "wordless": "the same without words",
    "averaged": "names and numbers, each weighed", "one_hot": "names and numbers",
    "text_levels": "words of each name", "pllm": "a language model and a trained projection",
    "pllm_phi": "a fine-tuned language model", "static": "a language model as it is",
    "morgan": "structures (Morgan fingerprints)", "fragments": "functional groups",
    "descriptors": "descriptors of structures", "drfp": "reaction fingerprints",
    "random": "chance",
}  # fmt: skip
FIELDS = ("name", "goal", "value", "low", "high", "failed", "scale", "reference", "weight")
BLANK = dict.fromkeys(FIELDS, "") | {
    "goal": "maximize",
    "scale": "identity",
}  # a row that says nothing
MORE = 3  # further outcomes that a form has room for
_BETWEEN = re.compile(r"\s*(?::|;|–|\bto\b|\bbis\b)\s*")
_POLICY = {"surrogate": "surrogate", "preset": "preset", "acquisition": "acquisition",
           "model": "model.name"}  # field of a form → key of the policy  # fmt: skip

assert set(SCALES) == set(get_args(Transform))  # noqa: S101 (when another one comes)


@lru_cache(1)
def choices() -> dict[str, dict[str, str]]:
    """What can be chosen of each part of the policy: value → words."""
    models = {name: name for name in CATALOG if is_here(name)}
    return {
        "surrogate": {n: f"{n}: {words}" for n, words in SURROGATES.items()},
        "preset": {name: name for name in PRESETS},
        "acquisition": {name: name for name in CRITERIA},
        "model": models,
    }


def typed_rows(form: FormData, count: int) -> list[dict[str, str]]:
    """The first rows of outcomes in a form, as they were typed; fields are called o0-name etc."""
    usual = {"goal": "maximize", "scale": "identity"}
    return [
        {f: text(form, f"o{k}-{f}", 200) or usual.get(f, "") for f in FIELDS} for k in range(count)
    ]


def row_of(outcome: Outcome) -> dict[str, str]:
    """An outcome as its row of a form shows it."""
    goal = outcome.goal
    ends = [cell_text(end) for end in (goal.target, goal.low, goal.high) if end is not None]
    low, high = map(cell_text, outcome.bounds)
    return {
        "name": outcome.name, "goal": goal.kind, "value": " to ".join(ends),
        "low": low, "high": high, "failed": cell_text(outcome.failed_as),
        "scale": outcome.transform, "reference": cell_text(outcome.reference),
        "weight": cell_text(outcome.weight),
    }  # fmt: skip


def wanted(rows: Iterable[Mapping[str, str]]) -> list[Outcome]:
    """What rows say is wanted; those without a name are left out.

    Raises:
        UserError: a number is missing, or is none.
    """
    return [
        Outcome(name=row["name"], goal=_goal(row["name"], row["goal"], row["value"]))
        for row in rows
        if row["name"]
    ]


def _goal(name: str, kind: str, value: str) -> Goal:
    if kind not in GOALS:
        raise UserError(f"Choose what is wanted of '{name}'.")
    if kind not in VALUED:
        return Goal.of(kind)
    ends = [_plain(part) for part in _BETWEEN.split(value) if part]
    if len(ends) != 1 + (kind == "range"):
        how = "two numbers, such as 6 to 8" if kind == "range" else "a number"
        raise UserError(f"'{name}' is to be {GOALS[kind]} something: give {how}.")
    return Goal.of(f"{kind}={':'.join(ends)}")


def _plain(number: str) -> str:
    """A number with a point for its decimal comma."""
    return number.strip().replace(",", ".")


def details(
    rows: Iterable[Mapping[str, str]],
    before: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> dict[str, dict[str, Any]]:
    """What rows say besides, as `Campaign.create` and `Campaign.want` take it.

    Args:
        rows: of a form.
        before: name → row as it is so far; what is the same is not said again.
    """
    found = dict[str, dict[str, Any]]()
    for row in rows:
        if not row["name"]:
            continue
        known = before.get(row["name"], BLANK)
        if (row["low"], row["high"]) != (known["low"], known["high"]):
            ends = f"{_plain(row['low'])}:{_plain(row['high'])}"
            found.setdefault("bounds", {})[row["name"]] = "none" if ends == ":" else ends
        for field, detail in (("failed", "failed_as"), ("scale", "transform"),
                              ("reference", "reference"), ("weight", "weight")):  # fmt: skip
            if row[field] != known[field]:
                said = _plain(row[field]) if field != "scale" else row[field]
                found.setdefault(detail, {})[row["name"]] = said or None
    return found


def policy(form: FormData, before: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a form says of how experiments are chosen: key of the policy → value; '' as usual.

    Args:
        form: with these fields, or some of them.
        before: field → what holds so far and is left out.

    Raises:
        UserError: something that can't be chosen.
    """
    found = {}
    for field, key in _POLICY.items():
        if field not in form:
            continue
        value = text(form, field, 80)
        if before is not None and value == before[field]:
            continue
        if value and value not in choices()[field]:
            raise UserError(f"'{value}' can't be chosen as {field} here.")
        found[key] = value
    return found


def chosen(keys: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a form for a policy that is so far what these keys say."""
    return {field: str(keys.get(key) or "") for field, key in _POLICY.items()}


def pairs(said: str, usage: str) -> dict[str, str]:
    """'ours=theirs, …' by its left sides.

    Raises:
        UserError: it is something else.
    """
    found = dict[str, str]()
    for part in filter(None, (part.strip() for part in said.split(","))):
        left, sign, right = (piece.strip() for piece in part.partition("="))
        if not (left and sign and right):
            raise UserError(f"Write {usage}, not '{part[:80]}'.")
        found[left] = right
    return found


def words(said: str) -> Sequence[str]:
    """What stands between commas."""
    return [word for part in said.split(",") if (word := part.strip())]
