"""Tables in OpenDocument spreadsheets."""

import sys
import zipfile

import pytest

from campaigns import campaign, candidates, suggested
from gollum.campaign.intake import read_results
from gollum.data.readers import read_table
from gollum.errors import DataError, MissingExtraError

NAMES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in (("office", "office"), ("table", "table"), ("text", "text"))
)


def cell(value, more=""):
    """One cell; a percentage is ('%', fraction)."""
    if value is None:
        return f"<table:table-cell {more}/>"
    if isinstance(value, str):
        kind = 'office:value-type="string"'
        return f"<table:table-cell {kind} {more}><text:p>{value}</text:p></table:table-cell>"
    kind, number = ("percentage", value[1]) if isinstance(value, tuple) else ("float", value)
    kind = f'office:value-type="{kind}" office:value="{number}"'
    return f"<table:table-cell {kind} {more}><text:p>{number}</text:p></table:table-cell>"


def write(file, sheets):
    """A file with sheets: title → rows of cells, or of their XML."""
    tables = "".join(
        f'<table:table table:name="{title}">'
        + "".join(
            row if isinstance(row, str)
            else f"<table:table-row>{''.join(map(cell, row))}</table:table-row>"
            for row in rows
        )
        + "</table:table>"
        for title, rows in sheets.items()
    )  # fmt: skip
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "content.xml",
            f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {NAMES}><office:body>'
            f"<office:spreadsheet>{tables}</office:spreadsheet></office:body>"
            "</office:document-content>",
        )
    return file


@pytest.fixture(autouse=True)
def calamine():
    pytest.importorskip("python_calamine")


def refusal(file, **options):
    with pytest.raises(DataError) as caught:
        read_table(file, **options)
    return str(caught.value)


ROWS = [
    ["run", "yield", "share", "note"],
    ["b1-1", 71.5, ("%", 0.5), None],
    ["b1-2", 80, ("%", 1), "x"],
]


def test_numbers_texts_percentages_and_blanks(tmp_path):
    table = read_table(write(tmp_path / "t.ods", {"A": ROWS}))
    assert table.to_dict("list") == {
        "run": ["b1-1", "b1-2"], "yield": [71.5, 80], "share": [50, 100], "note": ["", "x"]
    }  # fmt: skip
    whole = read_table(write(tmp_path / "w.ods", {"A": [["n", "m"], [1, 2], [3, 4]]}))
    assert whole["n"].dtype == "int64"


def test_results_are_recorded_from_the_sheet_that_has_them(tmp_path):
    file = write(tmp_path / "t.ods", {"Plan": [["who", "when"], ["x", "y"]], "Results": ROWS})
    assert "and sheet 'Results' has; say --sheet Results" in refusal(file, wanted="yield")
    state, _ = campaign(candidates(), suggested(("b1-1", "r2"), ("b1-2", "r3")))
    frame = read_table(file, sheet="Results")
    assert read_results(state, frame, source=None, name="t.ods").measured == 2


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (cell(5, 'table:number-columns-repeated="99999"'), "there are 99999 columns"),
        (cell(None, 'table:number-columns-repeated="9999999999"') + cell(5), "columns, and up to"),
        (cell("x", 'table:number-columns-spanned="2"') + cell(5), "cells are merged there"),
    ],
)
def test_what_is_too_large_or_merged_is_refused(tmp_path, row, says):
    rows = [*ROWS, f"<table:table-row>{row}</table:table-row>"]
    assert says in refusal(write(tmp_path / "t.ods", {"A": rows}))


def test_one_row_that_stands_for_millions_is_refused(tmp_path):
    row = f'<table:table-row table:number-rows-repeated="99999999">{cell(5)}</table:table-row>'
    assert "the table spans 100000002 rows" in refusal(
        write(tmp_path / "t.ods", {"A": [*ROWS, row]})
    )


def test_damaged_files_and_a_missing_library_are_one_sentence(tmp_path, monkeypatch):
    file = tmp_path / "t.ods"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "x")
        archive.writestr("content.xml", "<a><b></a>")
    assert "is not a readable OpenDocument spreadsheet" in refusal(file)
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(MissingExtraError, match="pip install python-calamine"):
        read_table(file)
