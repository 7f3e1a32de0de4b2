"""What stands in the documents: blocks of code, commands, links and what they lead to."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
# A fence, with what stands above it (why it is not run, or which file it is), or what only tests
# run.
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>no-run|file): *(?P<told>.*?) *-->\n)?"
    r"^```(?P<language>\w*)\n(?P<code>.*?)^```$"
    r"|^<!-- run\n(?P<hidden>.*?)^-->$",
    re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<words>.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A piece of a page; its language is 'hidden' where only tests run it."""

    language: str
    code: str
    mark: str
    told: str
    line: int


def blocks(page: Path) -> list[Block]:
    """All of a page, in order."""
    text = page.read_text("utf-8")
    found = []
    for match in BLOCK.finditer(text):
        language, code = match["language"], match["code"]
        if match["hidden"] is not None:
            language, code = "hidden", match["hidden"]
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(language, code, match["mark"] or "", match["told"] or "", line))
    return found


def commands(code: str) -> list[list[str]]:
    """The words of each command of a shell block, comments left out."""
    lines = code.replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def anchors(page: Path) -> set[str]:
    """What can follow a # after the page's name, as GitHub and as the site make it."""
    text = BLOCK.sub("", page.read_text("utf-8"))
    found = set()
    for heading in HEADING.finditer(text):
        words = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading["words"]).lower()
        slug = re.sub(r"[^\w\s-]", "", words).strip()
        found |= {slug.replace(" ", "-"), re.sub(r"[\s-]+", "-", slug)}
    return found
