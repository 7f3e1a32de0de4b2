"""A YAML file as its author wrote it: every entry with its line, and nothing reinterpreted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from gollum.data.spreadsheets.encodings import check_kind, decode, read_bytes
from gollum.data.spreadsheets.numbers import composed, is_integer, is_number_like, is_plain
from gollum.errors import ConfigError, nearest
from gollum.notes import Note

# In brackets a comma ends an option, also the comma of 1,4-dioxane or N,N-dimethylformamide.
_LOCANT = r"(?:\d+|[A-Z])'*"
_BEFORE, _BEHIND = re.compile(rf"(?:.*[-(])?{_LOCANT}"), re.compile(rf"{_LOCANT}[-)].+")


Entries = dict[str, tuple[Node, Node]]  # name → the nodes of name and value


class YamlFile:
    """The nodes of a YAML file.

    Attributes:
        path: the file, for messages.
        text: its content.
        notes: for the user.
        root: the outermost node.

    Raises:
        ConfigError: the text is no YAML.
    """

    def __init__(self, path: Path, text: str, notes: Iterable[Note] = ()) -> None:
        self.path, self.text, self.notes = path, text, list(notes)
        self.root = self._parse()

    @classmethod
    def read(cls, path: Path, encoding: str | None = None) -> YamlFile:
        """What a file holds.

        Raises:
            ConfigError: it is not there, or is no YAML.
            DataError: it can't be read, or is no text.
        """
        if not path.is_file():
            folder = path.parent if path.parent.is_dir() else Path()
            options = [p.name for p in folder.iterdir() if p.suffix in (".yaml", ".yml")]
            raise ConfigError(f"There is no file '{path}'.{nearest(path.name, options)}")
        content = read_bytes(path)
        check_kind(path, content, "text")
        text, notes = decode(path, content, encoding)
        return cls(path, composed(text), notes)

    def _parse(self) -> Node:
        try:
            root = yaml.compose(self.text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._malformed(0 if mark is None else mark.line, str(error.problem)) from None
        except ReaderError as error:
            line = self.text.count("\n", 0, int(error.position))
            raise self._malformed(line, "it holds a character that no text has") from None
        except RecursionError:
            raise ConfigError(f"{self.path}: its lists are nested too deeply.") from None
        if root is None:
            raise ConfigError(f"{self.path} is empty; list the options of each column in it.")
        return root

    def _malformed(self, line: int, problem: str) -> ConfigError:
        written = [*self.text.splitlines(), ""][line]
        if "\t" in written[: len(written) - len(written.lstrip())]:
            advice = "it begins with a tab; use spaces"
        else:
            advice = (
                f"{problem}; check brackets and indentation, and put names with any of "
                ": # [ ] { } , into quotation marks"
            )
        return ConfigError(f"{self.path}: line {line + 1}: {advice}.")

    def note(self, code: str, what: str) -> None:
        """Add a note for the user."""
        self.notes.append(Note(code, self.path.name, f"{what}."))

    def line(self, node: Node) -> int:
        """Where a node begins, counted from 1."""
        return int(node.start_mark.line) + 1

    def refusal(self, node: Node, problem: str, close: str = "") -> ConfigError:
        """A refusal that names the line."""
        return ConfigError(f"{self.path}: line {self.line(node)}: {problem}.{close}")

    def entries(self, node: Node, wanted: str) -> Entries:
        """Name → the nodes of name and value, each name once; `wanted` is said where none is."""
        if not isinstance(node, MappingNode) or not node.value:
            raise self.refusal(node, wanted)
        found: Entries = {}
        for key, value in node.value:
            name = self.word(key)
            if name in found:
                first = self.line(found[name][0])
                raise self.refusal(key, f"'{name}' was there already, in line {first}; keep one")
            found[name] = (key, value)
        return found

    def refuse_unknown(self, found: Entries, known: Sequence[str]) -> None:
        """Refuse a name that is not known."""
        for name, (key, _) in found.items():
            if name not in known:
                problem = f"'{name}' is unknown here; there can be {', '.join(known)}"
                raise self.refusal(key, problem, nearest(name, known))

    def items(self, node: Node, wanted: str) -> list[Node]:
        """The nodes of a list; `wanted` is said where there is none or nothing in it."""
        if not isinstance(node, SequenceNode) or not node.value:
            raise self.refusal(node, wanted)
        for one, other in zip(node.value, node.value[1:], strict=False):
            self._refuse_cut_name(one, other)
        items: list[Node] = node.value
        return items

    def _refuse_cut_name(self, one: Node, other: Node) -> None:
        if _is_quoted(one) or _is_quoted(other):
            return
        comma = self.text[one.end_mark.index : other.start_mark.index] == ","
        if comma and _BEFORE.fullmatch(one.value) and _BEHIND.fullmatch(other.value):
            whole = f"{one.value},{other.value}"
            raise self.refusal(
                one,
                f"the comma cuts '{whole}' into two options; if it is one, put it into quotation "
                "marks, otherwise write a space behind the comma",
            )

    def word(self, node: Node) -> str:
        """What is written in one place, as text."""
        if not isinstance(node, ScalarNode):
            written = self.text[node.start_mark.index : node.end_mark.index].splitlines()[0]
            raise self.refusal(
                node,
                f"expected one name or number, got '{written[:40]}'; put a name with brackets or a "
                "colon into quotation marks",
            )
        word: str = node.value.strip()
        if not word:
            raise self.refusal(node, "an entry is blank; write none if you mean that there is none")
        return word

    def number(self, node: Node) -> int | float | None:
        """The number that is written in one place; None for names, in quotation marks or not."""
        word = self.word(node)
        if _is_quoted(node) or not is_number_like(word):
            return None
        if not is_plain(word):
            raise self.refusal(node, f"write the number '{word}' with a point and no separators")
        return int(word) if is_integer(word) else float(word)


def _is_quoted(node: Node) -> bool:
    """Whether a node is something else than a plain word."""
    return not isinstance(node, ScalarNode) or node.style is not None
