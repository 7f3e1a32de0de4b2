import gzip
import sys

import numpy as np
import pandas as pd
import pytest

from gollum.data.pool import Pool
from gollum.data.readers import read_table
from gollum.errors import DataError, MissingExtraError


def written(folder, content, name="table.csv"):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refusal(file):
    with pytest.raises(DataError) as caught:
        read_table(file)
    message = str(caught.value)
    assert caught.value.__cause__ is None
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return message


def test_columns_are_typed_by_their_cells(tmp_path):
    table = read_table(
        written(tmp_path, "ligand,n,t,code,y\nNone,1,1.5,007,\nNA,-2,2e3,010,3\nn.a.,+3,.5,100,4\n")
    )
    assert table["ligand"].tolist() == ["None", "NA", "n.a."]
    assert table["n"].tolist() == [1, -2, 3]
    assert table["n"].dtype == np.int64
    assert table["t"].tolist() == [1.5, 2000.0, 0.5]
    assert table["code"].tolist() == ["007", "010", "100"]
    assert np.isnan(table["y"][0])
    assert table["y"].tolist()[1:] == [3.0, 4.0]


@pytest.mark.parametrize("cell", ["nan", "inf", "1_000", "1,5", "0x10", "٣", "1e999", "1 2", "-"])
def test_lookalikes_of_numbers_stay_text(tmp_path, cell):
    table = read_table(written(tmp_path, f'a;b\n"{cell}";1\n2;1\n'))
    assert table["a"].tolist() == [cell, "2"]


def test_codes_too_long_for_an_integer_stay_text(tmp_path):
    assert read_table(written(tmp_path, f"a\n{10**30}\n{10**30 + 1}\n"))["a"].nunique() == 2


def test_blank_cells_are_empty_text_or_nan(tmp_path):
    table = read_table(written(tmp_path, "a,b,c,d\nx,1,,k\n ,,,k\ny,2, ,k\n"))
    assert table["a"].tolist() == ["x", "", "y"]
    assert table["b"].isna().tolist() == [False, True, False]
    assert table["c"].tolist() == ["", "", ""]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "a,b\nx,1\n"),
        ("t.csv", "\ufeffa,b\r\nx,1\r\n"),
        ("T.CSV", "a,b\nx,1"),
        ("t.csv", "a;b\nx;1\n"),
        ("t.csv", "a\tb\nx\t1\n"),
        ("t.tsv", "a\tb\nx\t1\n"),
        ("t.csv", " a ,b,,\nx,1,,\n,,,\n\n"),
        ("t.csv", '"a","b"\n"x","1"\n'),
    ],
)
def test_dialects_of_text(tmp_path, name, content):
    for file in (
        written(tmp_path, content, name),
        written(tmp_path, gzip.compress(content.encode()), name + ".gz"),
    ):
        pd.testing.assert_frame_equal(read_table(file), pd.DataFrame({"a": ["x"], "b": [1]}))


def test_quoted_cells_keep_delimiters_and_line_ends(tmp_path):
    table = read_table(written(tmp_path, 'a,b\n"x, y\nz","say ""hi"""\n'))
    assert table.iloc[0].tolist() == ["x, y\nz", 'say "hi"']


def test_a_nameless_column_with_values_is_kept_and_numbered(tmp_path):
    assert read_table(written(tmp_path, ",a\n0,x\n1,y\n")).columns.tolist() == ["unnamed 1", "a"]


def test_header_only_reads_and_the_pool_refuses_it(tmp_path):
    table = read_table(written(tmp_path, "a,y\n"))
    assert table.shape == (0, 2)
    with pytest.raises(DataError, match="no rows"):
        Pool.from_table(table, "y")


def test_missing_file_suggests_the_nearest_name(tmp_path):
    written(tmp_path, "a\n1\n", "plates.csv")
    assert "Did you mean 'plates.csv'?" in refusal(tmp_path / "plate.csv")
    assert "There is no file" in refusal(tmp_path / "nowhere" / "plate.csv")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("\n,\na,b\n", "row 1 is blank"),
        ("a,b\n1,2\n3\n", "row 3: expected 2 cells as in the header, got 1"),
        ("a,b\n1,2\n\n3,4\n", "row 3 is blank"),
        ("a,b\n1,2,3\n", "row 2: expected 2 cells as in the header, got 3"),
        ("a,b,a\n1,2,3\n", "two columns are called 'a'"),
        ('a,b\n1,"2\n', "line 2 cannot be read"),
        ("a" * 200_000, "line 1 cannot be read"),
        (b"a,b\nx,1\n\xb0C,2\n", "line 3 is not UTF-8"),
    ],
)
def test_broken_text_is_refused_with_its_place(tmp_path, content, says):
    file = written(tmp_path, content)
    message = refusal(file)
    assert says in message
    assert str(file) in message


def test_folders_and_unknown_endings_are_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert ".parquet" in refusal(written(tmp_path, "a\n", "table.xls"))
    assert "'.gz'" in refusal(written(tmp_path, "a\n", "table.gz"))


@pytest.mark.parametrize("content", [b"a,b\n", gzip.compress(b"a,b\n1,2\n" * 99)[:30]])
def test_broken_gzip_is_refused(tmp_path, content):
    assert "gzip" in refusal(written(tmp_path, content, "t.csv.gz"))


@pytest.fixture
def mixed():
    return pd.DataFrame({"a": ["x", None, "None"], "n": [1, 2, 3], "y": [0.5, np.nan, 2.0]})


@pytest.mark.parametrize("ending", ["xlsx", "parquet"])
def test_typed_formats_agree_with_text(tmp_path, mixed, ending):
    pytest.importorskip({"xlsx": "openpyxl", "parquet": "pyarrow"}[ending])
    file = tmp_path / f"t.{ending}"
    getattr(mixed, {"xlsx": "to_excel", "parquet": "to_parquet"}[ending])(file, index=False)
    mixed.to_csv(tmp_path / "t.csv", index=False)
    pd.testing.assert_frame_equal(read_table(file), read_table(tmp_path / "t.csv"))


def test_parquet_booleans_and_dates_become_text(tmp_path):
    pytest.importorskip("pyarrow")
    days = pd.to_datetime(["2024-01-02", None])
    pd.DataFrame({"dry": [True, False], "day": days}).to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table["dry"].tolist() == ["True", "False"]
    assert table["day"].tolist() == ["2024-01-02 00:00:00", ""]


@pytest.mark.parametrize(("ending", "module"), [("xlsx", "openpyxl"), ("parquet", "pyarrow")])
def test_broken_workbooks_and_parquet_are_refused(tmp_path, ending, module):
    pytest.importorskip(module)
    assert "not a readable" in refusal(written(tmp_path, "no such thing", f"t.{ending}"))


def test_an_empty_sheet_is_refused(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    openpyxl.Workbook().save(tmp_path / "t.xlsx")
    assert "is empty" in refusal(tmp_path / "t.xlsx")


@pytest.mark.parametrize(
    ("ending", "module", "extra"),
    [("xlsx", "openpyxl", "excel"), ("parquet", "pyarrow", "parquet")],
)
def test_a_missing_package_names_its_extra(tmp_path, monkeypatch, ending, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"the .{extra}. extra"):
        read_table(written(tmp_path, "x", f"t.{ending}"))
