"""What a user should know about his table, and about how a language model reads it.

Nothing here loads a model: its tokenizer is read from one file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from gollum.data.pool import Pool
from gollum.data.spreadsheets.units import unit_of
from gollum.language.catalog import CATALOG, Package, installed_folder, kept_folder
from gollum.notes import Note
from gollum.text import template as words
from gollum.text.template import Template, Text

SAMPLE = 2000  # texts that the tokenizer gets
LONGEST = 20  # of them, by which it is seen whether any is too long
FEWEST_PIECES = 4  # of a name that is called cut up
PIECES_PER_CHARACTER = 0.6  # XPhos has 0.4, names after IUPAC 0.5, K3PO4 0.8
WORST = 3  # cut names that are shown
MAX_TOKENS = 512  # of a text, in every preset


def lint(
    template: Template,
    table: pd.DataFrame,
    *,
    name: str,
    structures: Collection[str] = (),
) -> list[Note]:
    """Notes on the texts and on the spelling of the cells.

    Args:
        template: how experiments are put into words.
        table: N x k inputs; the index holds the ids.
        name: of the table, for messages.
        structures: columns with SMILES, in which case matters.
    """
    pool = _pool(name, table)
    notes = words.lint(template, pool, template.texts(pool))
    for column in table.columns:
        if column not in structures and not pd.api.types.is_numeric_dtype(table[column]):
            told = _spelling(table[column])
            notes += [Note(code, name, f"{what}.", str(column)) for code, what in told]
    return notes


def _pool(name: str, table: pd.DataFrame) -> Pool:
    return Pool(name, table, "", "maximize", np.full(len(table), np.nan))


def _spelling(cells: pd.Series) -> Iterable[tuple[str, str]]:
    """Names that differ by their letters' case only, and words among numbers with units."""
    first = cells[cells != ""].drop_duplicates()
    folded = first.str.split().str.join(" ").str.casefold()
    for later in folded.index[folded.duplicated()][:1]:
        one = first[folded == folded[later]]
        yield (
            "like-names",
            f"'{one.iloc[0]}' ({one.index[0]}) and '{one.iloc[1]}' ({one.index[1]}) count as two "
            "options; spell them alike if they are one",
        )
    units = first.map(unit_of)
    odd = first[units.isna()]
    if units.map(bool, na_action="ignore").eq(True).any() and 0 < 2 * len(odd) <= len(first):
        yield (
            "word-among-numbers",
            f"'{odd.iloc[0]}' ({odd.index[0]}) among quantities such as "
            f"'{first[units.notna()].iloc[0]}' makes them all names; give a number there",
        )


def tokenizer_of(model: str) -> tuple[Path, int] | None:
    """The tokenizer's file of a model that is here, and how many tokens it reads; or None."""
    origin = CATALOG[model].origin if model in CATALOG else None
    if isinstance(origin, Package):
        folder = installed_folder(origin)
    else:
        folder = kept_folder(model) or Path(model).expanduser()
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    limits = [MAX_TOKENS]
    for file, key in (
        ("config", "max_position_embeddings"),
        ("tokenizer_config", "model_max_length"),
    ):
        settings = folder / f"{file}.json"
        value = json.loads(settings.read_text("utf-8")).get(key) if settings.is_file() else None
        limits += [int(value)] if isinstance(value, int | float) and value > 0 else []
    return folder / "tokenizer.json", min(limits)


def lint_tokens(
    template: Template,
    table: pd.DataFrame,
    tokenizer_file: Path,
    max_tokens: int,
    *,
    name: str,
    structures: Collection[str] = (),
) -> list[Note]:
    """Notes on what a model can't read of the texts.

    Texts beyond its limit are cut, different texts may become the same tokens, and a name may be
    cut into so many pieces that little of its meaning is left.

    Args:
        template: how experiments are put into words.
        table: N x k inputs; of more than `SAMPLE`, the texts of evenly chosen ones are read.
        tokenizer_file: a tokenizer.json.
        max_tokens: that the model reads.
        name: of the table, for messages.
        structures: columns with SMILES, whose cells are always cut into many pieces.
    """
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    chosen = np.unique(np.linspace(0, len(table) - 1, min(SAMPLE, len(table))).astype(int))
    pool = _pool(name, table.iloc[chosen])
    rows = dict(zip(map(str, pool.ids), template.render_pool(pool), strict=True))
    cells = list(dict.fromkeys(cell for text in rows.values() for _, cell in _cells(text)))
    encodings = tokenizer.encode_batch(cells, add_special_tokens=False)
    pieces = {cell: encoding.tokens for cell, encoding in zip(cells, encodings, strict=True)}
    names = {
        cell
        for text in rows.values()
        for column, cell in _cells(text)
        if column not in structures and not unit_of(cell) and any(c.isalpha() for c in cell)
    }
    told = {
        "long-texts": _too_long(tokenizer, rows, max_tokens),
        "same-tokens": _same(rows, pieces),
        "cut-names": _shredded({cell: pieces[cell] for cell in sorted(names)}),
    }
    sampled = f" (looking at {len(rows)} of {len(table)} texts)" if len(rows) < len(table) else ""
    return [Note(code, name, f"{w}{sampled}.") for code, what in told.items() for w in what]


def _cells(text: Text) -> list[tuple[str, str]]:
    """What each slot of a text was filled with, by column."""
    return [(span.column, text.text[span.start : span.end]) for span in text.spans]


def _too_long(tokenizer: Tokenizer, rows: dict[str, Text], max_tokens: int) -> Iterable[str]:
    longest = sorted(rows, key=lambda i: -len(rows[i].text))[:LONGEST]
    if not any(
        len(e) > max_tokens for e in tokenizer.encode_batch([rows[i].text for i in longest])
    ):
        return
    encodings = tokenizer.encode_batch([text.text for text in rows.values()])
    long = [i for i, e in zip(rows, encodings, strict=True) if len(e) > max_tokens]
    tokenizer.enable_truncation(max_tokens)
    lost = dict[str, None]()
    for i, cut in zip(long, tokenizer.encode_batch([rows[i].text for i in long]), strict=True):
        read = max(end for _, end in cut.offsets)
        lost |= dict.fromkeys(span.column for span in rows[i].spans if span.end > read)
    columns = ", ".join(f"'{column}'" for column in lost)
    yield (
        f"{len(long)} texts are longer than the {max_tokens} tokens that the model reads, first "
        f"{long[0]}" + (f"; cells of {columns} are lost at their end" if lost else "")
    )


def _same(rows: dict[str, Text], pieces: dict[str, list[str]]) -> Iterable[str]:
    """Different texts that are the same tokens, such as those of C1CCCCC1 and c1ccccc1."""
    known: dict[tuple[object, ...], str] = {}
    for i, text in rows.items():
        key = tuple((column, tuple(pieces[cell])) for column, cell in _cells(text))
        other = known.setdefault(key, i)
        for (_, one), (_, two) in zip(_cells(rows[other]), _cells(text), strict=True):
            if one != two:
                yield (
                    f"{other} and {i} are the same to the model, which reads '{one}' and '{two}' "
                    "alike; perhaps it does not tell capitals from small letters"
                )
                return


def _shredded(pieces: dict[str, list[str]]) -> Iterable[str]:
    cut = {
        cell: tokens
        for cell, tokens in pieces.items()
        if len(tokens) >= max(FEWEST_PIECES, PIECES_PER_CHARACTER * len(cell))
    }
    if cut:
        worst = sorted(cut, key=lambda cell: len(cell) / len(cut[cell]))[:WORST]
        shown = ", ".join(f"{cell} ({' '.join(cut[cell])})" for cell in worst)
        yield (
            f"{len(cut)} of {len(pieces)} names mean little to the model, as its tokenizer cuts "
            f"them into pieces: {shown}; a full name may help"
        )
