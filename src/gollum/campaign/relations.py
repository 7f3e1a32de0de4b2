"""Relations between numbers as they are written, such as `2*a + b <= 10`.

Numbers and factors' names, `+ - * /` and parentheses, compared by `== <= >= < >`, also twice as in
`10 <= a + b <= 20`. A name with other characters than letters, digits and _ stands between
backquotes. Numbers are those that one reads: 0.1 + 0.2 == 0.3, and nothing is rounded.
"""

from __future__ import annotations

import ast
import operator
import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

Sign = Literal["==", "<=", ">=", "<", ">"]

_NAME = re.compile(r"`([^`]*)`|(?<![\w.])([^\W\d]\w*)")
_SIGNS: dict[type[ast.cmpop], Sign] = {
    ast.Eq: "==", ast.LtE: "<=", ast.GtE: ">=", ast.Lt: "<", ast.Gt: ">"
}  # fmt: skip
_WANTED = "write a relation such as 'a + b + c == 100', 'x < y' or '2*a + b <= 10'"


class RelationError(Exception):
    """What is wrong with a relation."""


@dataclass(frozen=True)
class Relation:
    """A weighted sum of factors, compared with a number.

    Attributes:
        weights: factor → its weight.
        sign: of the comparison.
        limit: the number.
    """

    weights: dict[str, Fraction]
    sign: Sign
    limit: Fraction


def relations(text: str) -> list[Relation]:
    """What a line says: one relation, or two that share their middle.

    Raises:
        RelationError: it is no relation, or none that is linear.
    """
    names = list[str]()

    def placed(match: re.Match[str]) -> str:
        names.append((match[1] or match[2] or "").strip())
        return f"_{len(names) - 1}"

    replaced = _NAME.sub(placed, text)
    try:
        tree = ast.parse(replaced.strip(), mode="eval").body
        if not isinstance(tree, ast.Compare):
            raise RelationError(_WANTED)
        sides = [_sum(side, names) for side in (tree.left, *tree.comparators)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise RelationError(_WANTED) from None
    found = []
    for sign, (left, right) in zip(tree.ops, pairwise(sides), strict=True):
        if type(sign) not in _SIGNS:
            raise RelationError(f"compare by {' '.join(_SIGNS.values())} only")
        weights = _plus(left, right, -1)
        limit = -weights.pop("", Fraction())
        weights = {name: weight for name, weight in weights.items() if weight}
        if not weights:
            raise RelationError(f"a side depends on no factor; {_WANTED}")
        found.append(Relation(weights, _SIGNS[type(sign)], limit))
    return found


_Sum = dict[str, Fraction]  # factor → weight, and '' → what is added


def _plus(one: _Sum, other: _Sum, times: int) -> _Sum:
    return {
        name: one.get(name, Fraction()) + times * other.get(name, Fraction())
        for name in dict.fromkeys([*one, *other])
    }


def _sum(node: ast.expr, names: list[str]) -> _Sum:
    """A linear expression as a weighted sum."""
    match node:
        case ast.Name(id=place):
            return {names[int(place[1:])]: Fraction(1)}
        case ast.Constant(value=int() | float() as value):
            return {"": Fraction(repr(value))}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            return _plus({}, _sum(inner, names), -1 if isinstance(sign, ast.USub) else 1)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=right):
            times = 1 if isinstance(sign, ast.Add) else -1
            return _plus(_sum(left, names), _sum(right, names), times)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as sign, right=right):
            one, other = _sum(left, names), _sum(right, names)
            if isinstance(sign, ast.Mult) and not one.keys() - {""}:
                one, other = other, one
            if other.keys() - {""}:
                raise RelationError(
                    "a relation is linear: multiply and divide factors by numbers only"
                )
            if isinstance(sign, ast.Div) and not other[""]:
                raise RelationError("a number can't be divided by 0")
            scale = operator.mul if isinstance(sign, ast.Mult) else operator.truediv
            return {name: scale(weight, other[""]) for name, weight in one.items()}
    raise RelationError(_WANTED)
