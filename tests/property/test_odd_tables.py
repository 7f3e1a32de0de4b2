"""Odd and damaged spreadsheets: each is read as what it means, or refused with its place."""

import datetime
import gzip
import io
import re
import zipfile
from collections import Counter
from dataclasses import dataclass
from dataclasses import replace as but

import numpy as np
import pandas as pd
import pytest

from gollum.campaign.begin import begin
from gollum.campaign.events import Goal
from gollum.data.pool import Pool
from gollum.data.readers import read_table
from gollum.errors import DataError

openpyxl = pytest.importorskip("openpyxl")
from openpyxl.utils import get_column_letter  # noqa: E402

NAMES = ["ligand", "plate", "T (°C)", "yield"]
LIGANDS = [
    "dppf",
    "PPh₃",
    "µ-oxo dimer",
    "Äthyl-phos",
    "XPhos, 95 %",
    'the "good" one',
    "none; blank",
]
WESTERN = [name for name in LIGANDS if "₃" not in name]
NUMBERS = (2, 3)  # columns


@dataclass(frozen=True)
class Odd:
    """A file, the table that it means (None if it means none), and where its damage is."""

    name: str
    content: bytes
    truth: pd.DataFrame | None
    harmless: bool = False  # must be read
    place: tuple[str, ...] = ()  # words of the refusal
    noted: tuple[str, ...] = ()  # words of a note, if it is read
    options: tuple[tuple[str, str], ...] = ()


def make_truth(rng, ligands=LIGANDS):
    size = int(rng.integers(4, 13))
    yields = rng.integers(1, 10_000, size) / 100
    yields[0] = 12.5  # at least one that tells the decimal mark
    yields[int(rng.integers(2, size))] = np.nan
    return pd.DataFrame(
        {
            "ligand": pd.Series(rng.choice(ligands, size), dtype="str"),
            "plate": pd.Series(
                [f"{rng.integers(1, 9)}-{rng.integers(1, 13)}" for _ in range(size)]
            ),
            "T (°C)": rng.integers(-78, 3000, size),
            "yield": yields,
        }
    ).astype({"plate": "str"})


def grid(truth):
    rows = [[None if cell != cell else cell for cell in row] for row in truth.astype(object).values]
    return [list(truth.columns), *rows]


def said(cell, decimal="."):
    return (
        ""
        if cell is None
        else str(cell).replace(".", decimal)
        if isinstance(cell, float)
        else str(cell)
    )


def quoted(cell, sep):
    special = any(c in cell for c in f'{sep}"\n\r')
    return '"' + cell.replace('"', '""') + '"' if special else cell


def lines(rows, sep, decimal="."):
    return [sep.join(quoted(said(cell, decimal), sep) for cell in row) for row in rows]


def dialect(rng):
    sep = str(rng.choice(list(",;\t|")))
    return sep, "." if sep == "," else str(rng.choice([".", ","]))


# --- text ----------------------------------------------------------------------------------------


def harmless_text(rng):
    encoding = str(rng.choice(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]))
    truth = make_truth(rng, WESTERN if encoding == "cp1252" else LIGANDS)
    sep, decimal = dialect(rng)
    rows = grid(truth)
    if rng.random() < 0.3:
        rows[0] = [f" {name}\u00a0" for name in rows[0]]
    if rng.random() < 0.3:
        rows[1:] = [[f"\u00a0{row[0]} ", *row[1:]] for row in rows[1:]]
    text = lines(rows, sep, decimal)
    if rng.random() < 0.3:
        text[:0] = rng.choice(["", "Plate 7"], int(rng.integers(1, 4))).tolist()
    if rng.random() < 0.3:
        text += ["", sep * 3]
    if rng.random() < 0.2:
        text.insert(0, f"sep={sep}")
    eol = str(rng.choice(["\n", "\r\n"] if encoding == "cp1252" else ["\n", "\r\n", "\r"]))
    content = (eol.join(text) + eol).encode(encoding)
    noted = ("Windows-1252",) if encoding == "cp1252" else ()
    odd = Odd("t.csv", content, truth, harmless=True, noted=noted)
    return but(odd, name="t.csv.gz", content=gzip.compress(content)) if rng.random() < 0.2 else odd


def spoilt_cell(rng):
    """A cell that is no number: the column is text, with a note, or the table is refused."""
    truth, (sep, decimal) = make_truth(rng), dialect(rng)
    word = str(rng.choice(["n.d.", "<5", "~40", "nan", "inf", "1e400", "12.5 ± 1", "see below"]))
    i, j = int(rng.integers(1, len(truth) + 1)), int(rng.choice(NUMBERS))
    rows = grid(truth)
    rows[i][j] = word
    texts = [said(row[j], decimal) for row in rows[1:]]
    truth = truth.astype({NAMES[j]: "str"}).assign(**{NAMES[j]: pd.Series(texts, dtype="str")})
    content = "\n".join(lines(rows, sep, decimal)).encode()
    noted = (f"'{word}' in row {i + 1}", f"'{NAMES[j]}'")
    return Odd("t.csv", content, truth, place=(f"row {i + 1}", NAMES[j]), noted=noted)


def refused_cell(rng):
    truth, (sep, decimal) = make_truth(rng), dialect(rng)
    other = {".": "0,75", ",": "0.75"}[decimal]
    words = ["#DIV/0!", "#N/A", "#WERT!", "#NV", "####", "1-Feb", "01.02.2024", "Mar-01", other]
    word = str(rng.choice(words))
    i, j = int(rng.integers(2, len(truth) + 1)), 3
    rows = grid(truth)
    rows[i][j] = word
    content = "\n".join(lines(rows, sep, decimal)).encode()
    return Odd("t.csv", content, None, place=(f"row {i + 1}", "yield"))


def ambiguous(rng):
    truth = make_truth(rng).drop(columns="yield")
    truth["T (°C)"] = [f"{t % 9 + 1},{abs(t) % 1000:03}" for t in truth["T (°C)"]]
    content = "\n".join(lines(grid(truth), ";")).encode()
    return Odd("t.csv", content, None, place=("row 2", "T (°C)", " or "))


def ragged(rng):
    truth, (sep, decimal) = make_truth(rng), dialect(rng)
    text = lines(grid(truth), sep, decimal)
    i = int(rng.integers(1, len(text)))
    damage = rng.choice(["more", "less", "blank", "quote"])
    if damage == "blank" and i == 1:
        i = 2
    text[i] = {
        "more": text[i] + sep + "5",
        "less": "dppf" + sep + "1-2",
        "blank": sep * int(rng.choice([0, 3])),
        "quote": f'"dppf{sep}1-2{sep}5{sep}6',
    }[damage]
    if damage == "blank":
        text.append(text[1])  # it is not the last
    place = f"(row|line) {i + 1}\\b"
    return Odd("t.csv", "\n".join(text).encode(), None, place=(place,))


def bad_header(rng):
    truth = make_truth(rng)
    rows = grid(truth)
    damage = rng.choice(["twice", "nameless", "none", "units"])
    if damage == "twice":
        rows[0][2] = "yield"
    elif damage == "nameless":
        rows[0][1:3] = ["", " "]
    elif damage == "none":
        rows = [[5, 7.5, 80, 3.2], *([1, 2.5, 3, 4.5] for _ in range(5))]
    else:
        rows.insert(1, ["-", "-", "°C", "%"])
    content = "\n".join(lines(rows, ";")).encode()
    return Odd("t.csv", content, None, place=("row 2" if damage == "units" else "row 1",))


def bad_bytes(rng):
    truth = make_truth(rng, WESTERN)
    text = lines(grid(truth), ";")
    i = int(rng.integers(1, len(text)))
    encoded = [line.encode() for line in text]
    encoded[i] = b"x" + [b"\0", b"\x81", b"\xff\xfe\xfd"][int(rng.integers(3))] + encoded[i]
    return Odd("t.csv", b"\n".join(encoded), None, place=(f"line {i + 1}\\b",))


def disguised(rng):
    truth = make_truth(rng)
    text = "\n".join(lines(grid(truth), ",")).encode()
    packed = gzip.compress(text)
    cut = packed[: int(rng.integers(4, len(packed) - 8))]
    book = workbook(grid(truth))
    old = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(500)
    locked = old + "EncryptedPackage".encode("utf-16-le")
    page = b"<html><table><tr><td>1</td></tr></table></html>"
    kinds = [
        ("t.csv.gz", cut), ("t.csv", packed), ("t.csv", book), ("t.xlsx", text), ("t.xls", book),
        ("t.xls", old), ("t.xls", page), ("t.csv", page), ("t.xlsx", locked), ("t.xlsx", b""),
        ("t.csv", b""), ("t.ods", book), ("t.parquet", text),
    ]  # fmt: skip
    name, content = kinds[int(rng.integers(len(kinds)))]
    return Odd(name, content, None)


# --- workbooks -----------------------------------------------------------------------------------


def workbook(rows, change=lambda book, sheet: None):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    change(book, book.active)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def patched(content, pattern, new):
    """The workbook with a change in the XML of its first sheet."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as fresh:
        for name in old.namelist():
            part = old.read(name).decode()
            if name.endswith("sheet1.xml"):
                part, count = re.subn(pattern, new, part, count=1)
                assert count == 1
            fresh.writestr(name, part)
    return stream.getvalue()


def harmless_book(rng):
    truth = make_truth(rng)
    rows, options, noted = grid(truth), (), ()
    kind = str(
        rng.choice(
            ["title", "merged title", "offset", "hidden", "sheets", "cover", "text", "formula"]
        )
    )

    def change(book, sheet):
        if "title" in kind:
            sheet.insert_rows(1, 2)
            sheet["A1"] = "Plate 7"
            if kind == "merged title":
                sheet.merge_cells("A1:D1")
        elif kind == "offset":
            sheet.insert_cols(1, 2)
            sheet.insert_rows(1, 3)
        elif kind == "hidden":
            sheet.row_dimensions[3].hidden = True
        elif kind == "sheets":
            book.create_sheet("other", int(rng.integers(2)))["A1"] = "x"
            sheet.title = "data"
        elif kind == "cover":
            book.create_sheet("secret", 0)["A1"] = "x"
            book.worksheets[0].sheet_state = "hidden"
            book.create_sheet("blank", 0)
        elif kind == "text":
            for cell in sheet["D"][1:]:
                cell.value = None if cell.value is None else str(cell.value)

    content = workbook(rows, change)
    if kind == "formula":
        content = patched(content, r'(<c r="D2"[^>]*>)(?=<v>12.5)', r"\1<f>5*2.5</f>")
    if kind == "sheets":
        options = (("sheet", "data"),)
    noted = {"title": ("Plate 7",), "text": ("stored as text",), "hidden": ("row 3 is hidden",)}
    return Odd("t.xlsx", content, truth, True, noted=noted.get(kind, ()), options=options)


def refused_book(rng):
    truth = make_truth(rng)
    i, j = int(rng.integers(3, len(truth) + 2)), int(rng.choice(NUMBERS)) + 1
    at = f"{get_column_letter(j)}{i}"
    kind = str(
        rng.choice(
            ["error", "formula", "date", "percent", "merged", "wide", "stray", "far", "names"]
        )
    )

    def change(book, sheet):
        if kind == "error":
            sheet[at].value, sheet[at].data_type = "#DIV/0!", "e"
        elif kind == "formula":
            sheet[at] = "=1+1"
        elif kind == "date":
            sheet[at] = datetime.datetime(2024, 2, 1)
        elif kind == "percent":
            sheet[at], sheet[at].number_format = 0.85, "0%"
        elif kind == "merged":
            sheet.merge_cells(f"{at}:{get_column_letter(j)}{i + 1}")
        elif kind == "wide":
            sheet["F2"], sheet[f"G{i}"] = "check", "this"
        elif kind == "stray":
            sheet[f"G{i}"] = "this"
        elif kind == "far":
            sheet["A1048576"] = "end"
        else:
            sheet["C1"] = "yield"

    blank = f"row {len(truth) + 2}"  # below the table
    place = {
        "wide": ("row 1", "F"),
        "stray": (f"row {i}", f"G{i}"),
        "far": (blank,),
        "names": ("row 1", "yield"),
    }
    found = place.get(kind, (f"row {i}", f"'?{re.escape(NAMES[j - 1])}'?|column {at[0]}"))
    return Odd("t.xlsx", workbook(grid(truth), change), None, place=("sheet 'Sheet'", *found))


def damaged_book(rng):
    truth = make_truth(rng)
    content = bytearray(workbook(grid(truth)))
    if rng.random() < 0.5:
        return Odd("t.xlsx", bytes(content[: int(rng.integers(5, len(content)))]), None)
    for position in rng.integers(4, len(content), int(rng.integers(1, 6))):
        content[position] = int(rng.integers(256))
    return Odd("t.xlsx", bytes(content), truth)


KINDS = (
    harmless_text, harmless_text, spoilt_cell, refused_cell, ambiguous, ragged, bad_header,
    bad_bytes, disguised, harmless_book, harmless_book, refused_book, damaged_book,
)  # fmt: skip


def outcome(folder, seed):
    """What came of one file: 'read', 'refused', or what was wrong."""
    rng = np.random.default_rng(seed)
    odd = KINDS[seed % len(KINDS)](rng)
    file = folder / odd.name
    file.write_bytes(odd.content)
    try:
        table = read_table(file, **dict(odd.options))
    except DataError as error:
        message = str(error)
        told = str(file) in message and "\n" not in message and message.endswith(".")
        placed = all(re.search(word if "\\" in word or "|" in word else re.escape(word), message)
                     for word in odd.place)  # fmt: skip
        return "refused" if told and placed and not odd.harmless else f"{odd}: {message}"
    notes = " ".join(table.attrs["notes"])
    if odd.truth is None or not table.equals(odd.truth) or not all(w in notes for w in odd.noted):
        return f"{odd}: read as\n{table}\n{notes}"
    return "read"


@pytest.mark.parametrize("seed", range(60))
def test_odd_tables(tmp_path, seed):
    assert outcome(tmp_path, seed) in ("read", "refused")


@pytest.mark.slow
def test_a_thousand_odd_tables(tmp_path):
    counts = Counter(outcome(tmp_path, seed) for seed in range(1000, 2000))
    print(dict(counts.most_common(2)), [c for c in counts if c not in ("read", "refused")][:3])
    assert set(counts) == {"read", "refused"}


def test_rows_are_counted_as_the_spreadsheet_does(tmp_path):
    (tmp_path / "t.csv").write_text("Plate 7\n\nligand;yield\nA;5,5\nB;6\nA;<5\nC;7,5\n")
    table = read_table(tmp_path / "t.csv")
    with pytest.raises(DataError, match="row 6, column 'yield': '<5'"):
        Pool.from_table(table, "yield")


# --- rows and columns that are no experiments and no inputs --------------------------------------


def half_done(rng):
    """Every combination of ligand and temperature; each second has a yield."""
    grid = [(name, t) for name in LIGANDS[: int(rng.integers(3, 6))] for t in (40, 60, 80)]
    yields = [str(rng.integers(1, 99)) if i % 2 == 0 else "" for i in range(len(grid))]
    rows = [[name, str(t), y] for (name, t), y in zip(grid, yields, strict=True)]
    return ["ligand", "T (°C)", "yield"], rows


def stray(rng, head, rows):
    """A row that is none, and the words of its refusal."""
    last = len(rows) + 2
    total = str(rng.choice(["Total", "mean", "Summe:", "SD", "Mittelwert"]))
    kinds = [
        ([[total, "", "50"]], f"row {last}: '{total}' sums up"),
        ([["", "", ""], ["measured by JD", "", ""]], f"row {last} is blank; delete it"),
        ([["measured by JD", "", ""]], f"row {last}: 'measured by JD' is all"),
        ([head], f"row {last}: the names of the columns stand here again"),
    ]
    more, told = kinds[int(rng.integers(len(kinds)))]
    return head, [*rows, *more], told


def leak(rng, head, rows):
    """A column that tells of the outcome, and the words of the question."""
    name = str(rng.choice(["purity", "yield 2", "Umsatz", "colour"]))
    cells = [("red" if name == "colour" else "50") if row[-1] else "" for row in rows]
    return [*head, name], [[*row, c] for row, c in zip(rows, cells, strict=True)], f"'{name}' is"


def filled_once(rng, head, rows):
    """Names in the first row of their block only."""
    again = [row[0] == before[0] for row, before in zip(rows[1:], rows, strict=False)]
    thin = [rows[0], *(["", *r[1:]] if a else r for r, a in zip(rows[1:], again, strict=True))]
    return head, thin, "column 'ligand' is blank in"


def beside(rng, head, rows):
    """Columns that say something else; nothing is refused."""
    some = {
        "operator": ["AB", "CD"] * len(rows),
        "date": ["2024-03-01", "2024-03-02"] * len(rows),
        "notes": ["cloudy", ""] * len(rows),
        "entry": [str(i) for i in range(1, len(rows) + 1)],
        "catalyst": [""] * len(rows),
    }
    names = list(rng.permutation(list(some)))[: int(rng.integers(1, 5))]
    cells = zip(*(some[n][: len(rows)] for n in names), strict=True)
    return [*names, *head], [[*c, *row] for c, row in zip(cells, rows, strict=True)], ""


@pytest.mark.parametrize("seed", range(40))
def test_rows_and_columns_of_another_kind_are_seen(seed, tmp_path):
    rng = np.random.default_rng(seed)
    head, rows = half_done(rng)
    made, odd, told = (stray, leak, filled_once, beside)[seed % 4](rng, head, rows)
    file = tmp_path / "t.csv"
    file.write_text("\n".join(lines([made, *odd], ",")), encoding="utf-8")

    def start():
        return begin(read_table(file), objective="yield", goal=Goal(), name="t", source=None)

    if told:
        with pytest.raises(DataError, match=re.escape(told)):
            start()
        return
    begun = start()
    assert begun.candidates.columns.tolist() == head[:-1]
    assert len(begun.candidates) == len(rows)
    values = [str(int(r.values["yield"])) for r in begun.recorded.results]
    assert values == [row[-1] for row in rows if row[-1]]
