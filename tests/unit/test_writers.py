"""Written tables come back as they were, and hold nothing that a spreadsheet computes."""

import csv
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gollum.data.readers import read_table
from gollum.data.writers import write_sheet
from gollum.errors import DataError

openpyxl = pytest.importorskip("openpyxl")

FRAME = pd.DataFrame(
    {
        "plate": ["1-2", "007", "MAR1", "3/4"],
        "=name": ["=1+1", "-OMe", "@x", "'=quoted"],
        "note": ["\tx", "+5 °C", "", 'a;b,\n"c"'],
        "n": [1, -2, 3, 10**17 + 1],
        "y": [0.1 + 0.2, np.nan, -1e-300, 5.0],
    }
).astype({"plate": "str", "=name": "str", "note": "str"})
ENDINGS = ("csv", "xlsx")


@pytest.mark.parametrize("ending", ENDINGS)
def test_roundtrip(tmp_path, ending):
    write_sheet(FRAME, tmp_path / f"t.{ending}")
    pd.testing.assert_frame_equal(read_table(tmp_path / f"t.{ending}"), FRAME)
    assert [file.name for file in tmp_path.iterdir()] == [f"t.{ending}"]


# Surely text: a letter in front or behind; unique, so that no column is tidied of its spaces.
words = st.text(alphabet="=+-@'\t\r\n aA1,;\"µ", max_size=8).map(lambda text: f"{text}N")


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(words, min_size=1, max_size=6, unique_by=str.strip),
    ending=st.sampled_from(ENDINGS),
)
def test_any_text_comes_back(texts, ending):
    frame = pd.DataFrame({"text": texts, "n": range(len(texts))}).astype({"text": "str"})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"t.{ending}")
        write_sheet(frame, file)
        back = read_table(file)["text"].tolist()
    if ending == "xlsx":
        texts = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    assert back == texts


def test_csv_is_safe_to_open(tmp_path):
    write_sheet(FRAME, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8-sig") as stream:
        header, *rows = csv.reader(stream)
    assert header[1] == "'=name"
    assert [row[1] for row in rows] == ["'=1+1", "'-OMe", "'@x", "''=quoted"]
    assert [row[3] for row in rows][:2] == ["1", "-2"]  # numbers are no formulas


def test_workbooks_hold_text_as_text(tmp_path):
    write_sheet(FRAME, tmp_path / "t.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").active
    assert {cell.data_type for row in sheet for cell in row} <= {"s", "n"}
    assert all(cell.number_format == "@" for cell in sheet["A"])
    assert sheet["B2"].value == "'=1+1"
    assert sheet["D5"].value == str(10**17 + 1)  # Excel keeps 15 digits of a number


def test_other_values_become_text(tmp_path):
    frame = pd.DataFrame({"dry": [True, False], "day": pd.to_datetime(["2024-01-02", None])})
    write_sheet(frame, tmp_path / "t.csv")
    table = read_table(tmp_path / "t.csv")
    assert table["dry"].tolist() == ["True", "False"]
    assert table["day"].tolist() == ["2024-01-02 00:00:00", ""]


@pytest.mark.parametrize(
    ("name", "frame", "says"),
    [
        ("t.ods", FRAME, "use .csv or .xlsx"),
        ("no/t.csv", FRAME, "cannot be written"),
        ("t.csv", pd.DataFrame({"y": [1, np.inf]}), "row 3, column 'y'"),
        ("t.csv", pd.DataFrame({"a": ["\ud800"]}, dtype=object), "is no character"),
        ("t.xlsx", pd.DataFrame({"a": ["x" * 32_768]}), "row 2, column 'a'"),
        ("t.xlsx", pd.DataFrame({"a": ["b\x01"]}), "row 2, column 'a'"),
        ("t.csv", pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are called 'a'"),
    ],
)
def test_refusals_leave_the_earlier_file(tmp_path, name, frame, says):
    file = tmp_path / name
    if file.parent == tmp_path:
        file.write_text("earlier")
    with pytest.raises(DataError, match=says) as caught:
        write_sheet(frame, file)
    assert str(file) in str(caught.value)
    assert not file.exists() or file.read_text() == "earlier"
    assert len(list(tmp_path.iterdir())) == file.exists()
