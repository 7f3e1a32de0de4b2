"""What the site does beside MkDocs: formulas become MathML, which browsers draw by themselves."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\s*\\[(\[](?P<latex>.+?)\\[)\]]\s*</(?P=tag)>',
    re.DOTALL,
)


def on_page_content(content: str, **_: Any) -> str:
    """Replace what arithmatex has marked as a formula."""
    return FORMULA.sub(_drawn, content)


def _drawn(formula: re.Match[str]) -> str:
    display = "block" if formula["tag"] == "div" else "inline"
    return convert(html.unescape(formula["latex"]).strip(), display=display)
