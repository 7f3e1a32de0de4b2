import datetime
import gzip
import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

from gollum.data.pool import Pool
from gollum.data.readers import read_frame, read_table
from gollum.data.spreadsheets import encodings, parts, sheets
from gollum.data.spreadsheets.units import converted, quantity, unit_in
from gollum.data.writers import write_sheet
from gollum.errors import DataError, MissingExtraError


def written(folder, content, name="table.csv"):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refusal(file, **options):
    with pytest.raises(DataError) as caught:
        read_table(file, **options)
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


@pytest.mark.parametrize("cell", ["nan", "inf", "1_000", "1,5,5", "0x10", "٣", "1e999", "1 2", "-"])
def test_lookalikes_of_numbers_stay_text(tmp_path, cell):
    table = read_table(written(tmp_path, f'a;b\n"{cell}";1\n2;1\n'))
    assert table["a"].tolist() == [cell, "2"]


def test_a_code_above_numbers_is_no_second_header(tmp_path):
    table = read_table(written(tmp_path, "code,ligand\n001,A\n123,B\n456,C\n"))
    assert table["code"].tolist() == ["001", "123", "456"]


@pytest.mark.parametrize("first", ["<5", "2–4", "12 ± 1", "trace"])
def test_a_result_above_numbers_is_no_second_header(tmp_path, first):
    table = read_table(written(tmp_path, f"ligand,yield\nA,{first}\nB,12\nC,45\n"))
    assert table["yield"].tolist() == [first, "12", "45"]


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
        (",,,\n,,,\n", "is empty"),
        ("\t\n\t", "is empty"),
        (";", "is empty"),
        (";;\n;;\n", "is empty"),
        ('"",""\n', "is empty"),
        ("sep=;\n;;\n", "is empty"),
        ("a,b\n1,2\n3\n", "row 3: expected 2 cells as in the header, got 1"),
        ("a,b\n1,2\n\n3,4\n", "row 3 is blank"),
        ("a,b\n1,2,3\n", "row 2: expected 2 cells as in the header, got 3"),
        ("a,b,a\n1,2,3\n", "two columns are called 'a'"),
        ('a,b\n1,"2\n', "line 2 cannot be read"),
        ("a" * 200_000, "line 1 cannot be read"),
        (b"a,b\nx,1\n\x81C,2\n", "line 3 is not UTF-8"),
        (b"a,b\nx,1\n\xcf\xf0\xe8,2\n", "line 3 is not UTF-8"),  # Cyrillic
        ("a,b\n°C,1\n".encode() + b"\xb0C,2\n", "line 3 is not UTF-8"),
        (b"a,b\r\xb0C,2\r", "line 2 is not UTF-8"),  # classic Macintosh
        ("a,b\n°C,1\n".encode("utf-16")[:-1], "line 2 is not UTF-16-LE"),
        ("a,b\nx\0,1\n", "line 2 holds a zero byte"),
        ('a,b,c\n1,"2,3\n4,5,6\n7",8,9\n', "row 2: expected 3 cells"),
        ('a,b,c\n1,"2\n4,5,6\n7,8",9\n', "row 2, column 2: the cell runs over several lines"),
        ("a,b;c,d\nx,y;z,w\n", "may be separated by ',' or ';'"),
        ("1,2\n3,4\n", "row 1 holds numbers"),
        ("a,b,,\n1,2,3,4\n", "row 1: columns C and D have no name"),
        ("Plate 3\na,b\nx,y\n", "row 1: there is only one cell, while row 2 has 2"),
        ("Plate 3\nname,T\n-,°C\nx,5\n", "row 1: there is only one cell"),
        ("a,b,\n1,2,3\n4,5,\n6,7,\n", "row 2, column C: cell C2 is outside the table"),
        ("n,t\n-,°C\nx,80\n", "row 2, column 't': '°C' stands above numbers"),
        ("a\n1\n#DIV/0!\n", "row 3, column 'a': the cell holds '#DIV/0!'"),
        ("a\n1\n#BEZUG!\n", "row 3, column 'a': the cell holds '#BEZUG!'"),
        ("a\n1\n2\n1. Feb\n", "row 4, column 'a': '1. Feb' is a date among numbers"),
        ("a;b\n1,5;x\n2.5;y\n", "row 3, column 'a': the column has decimal commas ('1,5', row 2)"),
        ("a;b\n1,5;1.5\n", "row 2, column 'a': '1,5' has a decimal comma, but '1.5' in row 2"),
        ("a;b\n7;x\n1,234;y\n", "row 3, column 'a': '1,234' may mean 1.234 or 1234"),
        ("a;b\n1,5;1.234\n", "row 2, column 'b': '1.234' may mean 1.234 or 1234"),
        ("a;b\n1 234;x\n", "row 2, column 'a': '1 234' may be one number or two"),
        ('a;b\n1;x\n2;y\n"3\n";z\n4 5\n', "row 5: expected 2 cells"),
        ("a\n" + "1\n2\n" + '"3\n4"\n', "row 4, column 'a': '3' is a text of several lines"),
    ],
)
def test_broken_text_is_refused_with_its_place(tmp_path, content, says):
    file = written(tmp_path, content)
    message = refusal(file)
    assert says in message
    assert str(file) in message


def test_folders_and_unknown_endings_are_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert ".parquet" in refusal(written(tmp_path, "a\n", "table.docx"))
    assert "'.gz'" in refusal(written(tmp_path, "a\n", "table.gz"))


@pytest.mark.parametrize("content", [b"a,b\n", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:30]])
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
    assert "not a readable" in refusal(
        written(tmp_path, b"PK\x03\x04 xl/"[:: 1 if ending == "xlsx" else -1], f"t.{ending}")
    )


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


# --- what is read in another way than it is written -----------------------------------------------


def read(folder, content, **options):
    """The table of a text or workbook, and its notes as one text."""
    name = "t.xlsx" if isinstance(content, openpyxl_book()) else "t.csv"
    if name == "t.xlsx":
        content.save(folder / name)
    else:
        written(folder, content, name)
    table = read_table(folder / name, **options)
    assert all(note.startswith(name) and note.endswith(".") for note in table.attrs["notes"])
    return table, " ".join(table.attrs["notes"])


def openpyxl_book():
    return pytest.importorskip("openpyxl").Workbook


@pytest.fixture
def book():
    """A workbook with the rows a, b / x, 1 / y, 2.5."""
    book = openpyxl_book()()
    for row in (("a", "b"), ("x", 1), ("y", 2.5)):
        book.active.append(row)
    return book


@pytest.mark.parametrize(
    ("cells", "values", "noted"),
    [
        (["12,5", "-0,25", "3"], [12.5, -0.25, 3], "'12,5' were read as 12.5"),
        (["1,5e-3", ",5"], [0.0015, 0.5], "'1,5e-3' were read as 1.5e-3"),
        (["1,234", "0,5"], [1.234, 0.5], "'1,234' were read as 1.234"),
        (["1.234,5", "12"], [1234.5, 12], "'1.234,5' were read as 1234.5"),
        (["1,234.5", "1,000"], [1234.5, 1000], "'1,234.5' were read as 1234.5"),
        (["1,234,567", "1,000"], [1234567, 1000], "'1,234,567' were read as 1234567"),
        (["1'234.5", "12’000"], [1234.5, 12000], "'1'234.5' were read as 1234.5"),
        (["12\u202f345,5", "2,5"], [12345.5, 2.5], "were read as 12345.5"),
        (["−5", "–2"], [-5, -2], "'−5' were read as -5"),
        (["\u00a05\u00a0", "\u200b7"], [5, 7], ""),
        (["1.234", "2.500"], [1.234, 2.5], ""),
        (["1.10", "1.1"], [1.1, 1.1], "'1.10' and '1.1' are read as one number"),
        (["80", "80.0"], [80, 80], ""),
    ],
)
def test_numbers_of_several_countries(tmp_path, cells, values, noted):
    rows = "".join(f"x;{cell}\n" for cell in cells)
    table, notes = read(tmp_path, "a;b\n" + rows)
    assert table["b"].tolist() == values
    assert noted in notes
    assert bool(notes) == bool(noted)


@pytest.mark.parametrize(
    ("cells", "noted"),
    [
        (["1", "2", "n.d."], "column 'b': 'n.d.' in row 4 is not a number"),
        (["1", "2", "<5"], "'<5' in row 4"),
        (["1", "nan", "3"], "'nan' in row 3"),
        (["1", "2", "1e400"], "'1e400' in row 4"),
        (["80 °C", "90 °C"], "every cell ends in '°C'"),
        (["85%", "90 %"], "every cell ends in '%'"),
        (["80 °C", "353 K"], "units differ ('80 °C' in row 2, '353 K' in row 3)"),
        (["80", "353 K"], "units differ ('80' in row 2, '353 K' in row 3)"),
        (["SEPT2", "1-Mar"], "'1-Mar' in row 3 looks like a date"),
        (["02-Jan", "03-Jan"], "'02-Jan' in row 2 looks like a date"),
        (["2026-01-02", "2026-01-03"], ""),
        (["5 drops", "1 drop"], "a number followed by 'drop', which is no unit known here"),
        (["1-2", "3-4"], ""),
        (["007", "010"], ""),
        (["3a", "3b"], ""),
        (["1-Octyne", "benzene"], ""),
    ],
)
def test_columns_that_stay_text(tmp_path, cells, noted):
    table, notes = read(tmp_path, "a;b\n" + "".join(f"x;{cell}\n" for cell in cells))
    assert table["b"].tolist() == cells
    assert noted in notes
    assert bool(notes) == bool(noted)


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("5 mol %", "5", "mol %"),
        ("80ºC", "80", "°C"),
        ("1e3 s", "1e3", "s"),
        ("-5,5 °F", "-5,5", "°F"),
        ("10 000 mg", "10 000", "mg"),
        ("2 mL min-1", "2", "mL min-1"),
        ("3 mol·L⁻¹", "3", "mol·L⁻¹"),
        ("1.5 equiv.", "1.5", "equiv."),
        ("20 mmHg", "20", "mmHg"),
        ("5 % (v/v)", "5", "% (v/v)"),
        ("2 Hours", "2", "Hours"),
        ("7", "7", ""),
    ],
)
def test_quantities(text, number, unit):
    assert quantity(text) == (number, unit)


@pytest.mark.parametrize(
    "text", ["3a", "1B", "9 am", "2-Octyne", "4 A MS", "5 foo", "5 mg Pd", "h", "", "3 h 30 min"]
)
def test_names_and_remarks_are_no_quantities(text):
    assert quantity(text) is None


@pytest.mark.parametrize(
    ("value", "unit", "wanted", "expected"),
    [
        (2, "h", "min", 120),
        (80, "°C", "K", 353.15),
        (32, "°F", "C", 0),
        (10, "K/min", "°C/min", 10),
        (1, "mol/L", "mM", 1000),
        (5, "mol%", "%", None),
        (1, "equiv", "mol%", None),
        (1, "M", "g/L", None),
    ],
)
def test_units_in_other_units(value, unit, wanted, expected):
    assert converted(value, unit, wanted) == expected


def test_units_in_names():
    apart = {"IC50 (nM)": "nM", "t [h]": "h", "T / °C": "°C", "yield, %": "%", "T (ºC)": "°C"}
    assert {name: unit_in(name) for name in apart} == {n: (u, True) for n, u in apart.items()}
    assert unit_in("vitamin_C") == ("°C", False)
    for name in ("ligand (R)", "isomer (E)", "dose mg/mL", "time", "loading (Pd)"):
        assert unit_in(name) is None


def test_a_table_without_units_needs_no_library_of_them(tmp_path):
    file = written(tmp_path, "ligand,yield (%)\n2-MeTHF,1\n3a,2\n")
    code = (
        "import sys; from gollum.data.readers import read_table; "
        "assert read_table(sys.argv[1]).shape == (2, 2); assert 'pint' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code, file]).returncode == 0


def test_spaces_are_dropped_where_they_part_equal_names(tmp_path):
    table, notes = read(tmp_path, "a\u00a0b ,n\nL1,1\nL1 ,2\nL2,3\n")
    assert table["a b"].tolist() == ["L1", "L1", "L2"]
    assert "row 3" in notes
    table, notes = read(tmp_path, "a,n\nL1 ,1\nL2,2\n")
    assert table["a"].tolist() == ["L1 ", "L2"]
    assert notes == ""


@pytest.mark.parametrize(
    ("content", "first", "noted"),
    [
        ("\n,\na,b\nx,1\n", 4, ""),
        ("Plate 3\n\na,b\nx,1\n", 4, "'Plate 3' above the header was left out"),
        ("Plate 3,\na,b\nx,1\n", 3, "'Plate 3'"),
        ("sep=;\na;b\nx;1\n", 2, ""),
        ("a|b\nx|1\n\n \n", 2, ""),
        ("a,b\nx,1\n".encode("utf-16"), 2, ""),
        ("a,b\nx,1\n".encode("utf-16-be"), 2, ""),
        ("a,b\rx,1\r", 2, ""),
    ],
)
def test_what_surrounds_a_table_does_not_matter(tmp_path, content, first, noted):
    table, notes = read(tmp_path, content)
    pd.testing.assert_frame_equal(table, pd.DataFrame({"a": ["x"], "b": [1]}))
    assert table.attrs["first_row"] == first
    assert noted in notes
    assert bool(notes) == bool(noted)


def test_windows_text_is_read_and_noted(tmp_path):
    table, notes = read(tmp_path, "a;b\nµmol °C ä;1\n".encode("cp1252"))
    assert table["a"][0] == "µmol °C ä"
    assert "Windows-1252, with words such as 'µmol'" in notes


GERMAN = "Ligand;T (°C);Ausbeute\nmüde;80;12,5\nÄthyl-phos;90;14\n"
CHINESE = "配体;温度\n三苯基膦;80\n二茂铁;90\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "mac_roman"),
        (GERMAN, "utf-7"),
        (GERMAN, "UTF-8"),
        (GERMAN, "utf-8-sig"),
        ("\ufeff" + GERMAN, "utf-8"),
        (GERMAN, "utf-16"),
        ("\ufeff" + GERMAN, "utf-16-be"),
        (GERMAN, "Windows-1252"),
        (GERMAN.replace("\n", "\r"), "macintosh"),
        (CHINESE, "gb18030"),
        (CHINESE, "gbk"),
    ],
)
def test_a_named_encoding_is_used_and_not_noted(tmp_path, text, encoding):
    expected = read_table(written(tmp_path, text.removeprefix("\ufeff"), "right.csv"))
    for name, content in (("t.csv", text.encode(encoding)), ("t.txt.gz", None)):
        file = written(tmp_path, content or gzip.compress(text.encode(encoding)), name)
        table = read_table(file, encoding=encoding)
        pd.testing.assert_frame_equal(table, expected)
        assert not [note for note in table.attrs["notes"] if note.code == "encoding"]


@pytest.mark.parametrize(
    ("name", "content", "encoding", "says"),
    [
        ("t.csv", "a\n1\nä\n", "ascii", "line 3 is not ascii text"),
        ("t.csv", "a\n1\n", "mac_romn", "'mac_romn' is no encoding of texts; name one such as"),
        ("t.csv", "a\n1\n", "rot13", "'rot13' is no encoding"),
        ("t.csv", "a\n1\n", "a\0b", "is no encoding"),
        ("t.csv", "a\n1\n", "", "'' is no encoding"),
        ("t.csv", "a\n1\n\0\n", "latin-1", "line 3 holds a zero byte"),
        ("t.xlsx", "", "utf-8", "is no text; leave out encoding='utf-8'"),
        ("t.parquet", "", "utf-8", "is no text"),
    ],
)
def test_encodings_that_can_not_be(tmp_path, name, content, encoding, says):
    assert says in refusal(written(tmp_path, content, name), encoding=encoding)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (GERMAN.encode("mac_roman"), "mac_roman makes it '(°C)'"),
        (GERMAN.replace(" (°C)", "").encode("mac_roman"), "mac_roman makes it 'müde'"),
        (CHINESE.encode("gb18030"), "gb18030 makes it '配体'"),
        ("лиганд;выход\nферроцен;80\n".encode("cp1251"), "cp1251 makes it 'лиганд'"),
    ],
)
def test_what_a_text_may_be_is_said_with_a_word_to_judge_by(tmp_path, content, says):
    message = refusal(written(tmp_path, content))
    assert "is not UTF-8 text; save the table again as 'CSV UTF-8', or name its enc" in message
    assert says in message


def test_a_semicolon_in_front_of_decimal_commas(tmp_path):
    table, _ = read(tmp_path, "T, °C;yield, %\n80,5;12,5\n70,5;13,5\n")
    assert table.columns.tolist() == ["T, °C", "yield, %"]
    assert table["yield, %"].tolist() == [12.5, 13.5]


def test_numbers_among_the_names_are_noted(tmp_path):
    assert "row 1 was taken for the header" in read(tmp_path, "L1,12.5\nL2,13\n")[1]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.xlsx"])
def test_decomposed_letters_are_composed(tmp_path, name):
    frame = pd.DataFrame({"Lo\u0308sung": ["A\u0308thanol", "DMF"]})
    if name == "t.parquet":
        frame.to_parquet(tmp_path / name)
    else:
        write_sheet(frame, tmp_path / name)
    table = read_table(tmp_path / name)
    assert (
        table.to_dict("list") == {"Lösung": ["Äthanol", "DMF"]} == read_frame(frame).to_dict("list")
    )
    with pytest.raises(DataError, match="two columns are called 'Lösung'"):
        read_frame(frame.assign(Lösung=1))


def test_apostrophes_before_formulas_are_dropped(tmp_path):
    table, _ = read(tmp_path, "a,'-b\n'=1+1,1\n'quoted',2\n''@x,3\n")
    assert table["a"].tolist() == ["=1+1", "'quoted'", "'@x"]
    assert table.columns[1] == "-b"


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"PK\x03\x04 xl/", "holds an Excel workbook; rename it to end in .xlsx"),
        ("t.xlsx", b"a,b\n1,2\n", "holds text; rename it to end in .csv"),
        ("t.xls", b"<html><table>", "holds a web page; open it in Excel and save it as .xlsx"),
        ("t.xls", bytes.fromhex("d0cf11e0a1b11ae1"), "holds an old Excel workbook; open it"),
        ("t.csv", gzip.compress(b"a\n1\n", mtime=0), "holds gzipped data"),
        ("t.xlsx", b"\x01\x02", "holds binary data"),
        ("t.xlsx", bytes.fromhex("d0cf11e0a1b11ae1") + "EncryptedPackage".encode("utf-16-le"),
         "holds a password-protected workbook"),
    ],
)  # fmt: skip
def test_disguised_files_are_named(tmp_path, name, content, says):
    assert says in refusal(written(tmp_path, content, name))


def test_odd_paths_are_refused(tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "gone.csv").symlink_to("nowhere.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is a link to a file that is not there" in refusal(tmp_path / "loop.csv")
    assert "is a link to a file that is not there" in refusal(tmp_path / "gone.csv")
    assert "not a regular file" in refusal(tmp_path / "pipe.csv")
    assert "cannot be opened" in refusal(tmp_path / ("x" * 300 + ".csv"))
    assert "cannot be opened" in refusal(tmp_path / "a\0b.csv")
    assert "cannot be opened" in refusal(written(tmp_path, "a\n") / "t.csv")


def test_files_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    file = written(tmp_path, "a\n1\n")
    monkeypatch.setattr(type(file), "open", refuse)
    assert "another program holds it" in refusal(file)


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    file, stat = written(tmp_path, "a\n1\n"), os.fstat

    def written_to(number):
        with file.open("a") as stream:
            stream.write("2\n")
        return stat(number)

    monkeypatch.setattr(encodings.os, "fstat", written_to)
    assert "changed while it was read" in refusal(file)


def test_large_files_are_refused_with_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "LARGEST", 2**20)
    plain = written(tmp_path, "a\n" + "1\n" * 2**20)
    assert "has 2 MB, and tables of up to 1 MB are read" in refusal(plain)
    packed = written(tmp_path, gzip.compress(plain.read_bytes()), "t.csv.gz")
    assert "unpacks to more than 1 MB" in refusal(packed)
    several = written(tmp_path, gzip.compress(b"a\n") + gzip.compress(b"1\n"), "t.csv.gz")
    assert read_table(several)["a"].tolist() == [1]


def test_a_workbook_that_unpacks_to_too_much(tmp_path, monkeypatch, book):
    monkeypatch.setattr("gollum.data.spreadsheets.parts.LARGEST", 2**10)
    book.save(tmp_path / "t.xlsx")
    assert "unpacks to" in refusal(tmp_path / "t.xlsx")


def test_tables_too_wide_or_too_long_are_refused(tmp_path, monkeypatch):
    wide = ",".join(f"c{i}" for i in range(16_385))
    assert "16385 columns, and up to 16384 are read" in refusal(written(tmp_path, wide + "\n"))
    monkeypatch.setattr(sheets, "MOST_CELLS", 5)
    assert "spans 3 rows and 2 columns" in refusal(written(tmp_path, "a,b\n1,2\n3,4\n"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a\n" + "\n" * 12, "spans 13 rows"),
        ("a\n" + '""\n' * 12, "spans 13 rows"),
        ("a,b\n" + "1,2\n" * 8, "spans 9 rows and 2 columns"),
        ('"a",b\n' + "1,2\n" * 8, "spans 9 rows and 2 columns"),
        ('a,b\n,,,,,"\n",,,,,"\n",,,,,,,,,\n', "spans 1 rows and"),
    ],
)
def test_rows_are_counted_before_they_are_kept(tmp_path, monkeypatch, content, says):
    monkeypatch.setattr(sheets, "MOST_ROWS", 10)
    monkeypatch.setattr(sheets, "MOST_CELLS", 16)
    assert says in refusal(written(tmp_path, content))


def test_marks_in_quotes_part_no_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "MOST_CELLS", 12)
    table = read_table(written(tmp_path, 'a,b\n"1,0,1,0","x\ny"\n"0,1,0,1","z"\n'))
    assert table["a"].tolist() == ["1,0,1,0", "0,1,0,1"]


def test_gzip_of_many_pieces_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "MOST_PARTS", 3)
    packed = gzip.compress(b"a\n") + gzip.compress(b"1\n") * 3
    assert "packed in more than 3 pieces" in refusal(written(tmp_path, packed, "t.csv.gz"))


def test_notes_of_a_wide_table_are_not_copied_with_each_column(tmp_path):
    table = read_table(written(tmp_path, "a;b\n1,5;2,5\n"))
    assert len(table.attrs["notes"]) == 2
    assert table["a"].attrs["notes"] is table.attrs["notes"]


def test_infinite_numbers_in_parquet_are_refused(tmp_path):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"y": [1.0, np.inf]}).to_parquet(tmp_path / "t.parquet")
    assert "row 3, column 'y': the number is infinite" in refusal(tmp_path / "t.parquet")


@pytest.mark.parametrize("kind", ["str", "category"])
def test_parquet_that_unpacks_to_too_much(tmp_path, monkeypatch, kind):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"a": ["long " * 20] * 9, "b": range(9)}).astype({"a": kind})
    table.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["a"].tolist() == ["long " * 20] * 9
    monkeypatch.setattr(sheets, "MOST_CHARACTERS", 899)
    assert "have 900 characters, and up to 899" in refusal(tmp_path / "t.parquet")
    monkeypatch.setattr("gollum.data.readers.UNPACKED", 100)
    assert "unpacks to 0 MB, and up to 0 MB" in refusal(tmp_path / "t.parquet")


# --- workbooks ------------------------------------------------------------------------------------


def spoilt(folder, book):
    book.save(folder / "t.xlsx")
    return refusal(folder / "t.xlsx")


def test_sheets_are_chosen_by_name(tmp_path, book):
    other = book.create_sheet("other")
    other.append(["c"])
    other.append([3])
    table, notes = read(tmp_path, book)
    assert table.columns.tolist() == ["a", "b"]
    assert "sheet 'Sheet' was read; choose another with the key sheet: 'other'" in notes
    assert read(tmp_path, book, sheet="other")[0]["c"].tolist() == [3]
    with pytest.raises(DataError, match=r"no sheet 'othr'\. Did you mean 'other'"):
        read_table(tmp_path / "t.xlsx", sheet="othr")
    with pytest.raises(DataError, match="has no sheets"):
        read_table(written(tmp_path, "a\n1\n"), sheet="other")


def test_hidden_and_empty_sheets_are_passed_over(tmp_path, book):
    book.create_sheet("cover", 0)["A1"] = "secret"
    book["cover"].sheet_state = "hidden"
    book.create_sheet("empty", 0)
    assert read(tmp_path, book)[0].columns.tolist() == ["a", "b"]
    with pytest.raises(DataError, match="sheet 'empty' is empty"):
        read(tmp_path, book, sheet="empty")
    del book["Sheet"]
    assert "choose a hidden one with the key sheet: 'cover'" in spoilt(tmp_path, book)


def test_hidden_rows_and_columns_are_read_and_noted(tmp_path, book):
    book.active.row_dimensions[3].hidden = True
    table, notes = read(tmp_path, book)
    assert len(table) == 2
    assert "row 3 is hidden" in notes
    book.active.row_dimensions[3].hidden = False
    book.active.column_dimensions["B"].hidden = True
    assert "column B is hidden" in read(tmp_path, book)[1]


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        ("B3", "=B2+1", "row 3, column B: cell B3 holds a formula without a computed value"),
        ("B3", datetime.date(2024, 2, 1), "row 3, column 'b': the cell holds the date 2024-02-01"),
        ("A3", datetime.time(8, 30), "row 3, column 'a': the cell holds the date 08:30:00"),
        ("B5", 7, "row 4 is blank"),
        ("XFD3", "x", "row 3, column XFD: cell XFD3 is outside the table"),
        ("B1", "a", "row 1: two columns are called 'a'"),
    ],
)
def test_cells_that_spoil_a_workbook(tmp_path, book, at, value, says):
    if at == "XFD3":
        book.active.append(["z", 3])
    book.active[at] = value
    message = spoilt(tmp_path, book)
    assert says in message
    assert "sheet 'Sheet'" in message


def test_errors_percentages_and_merged_cells(tmp_path, book):
    sheet = book.active
    sheet["B2"].number_format = sheet["B3"].number_format = "0.0%"
    table, notes = read(tmp_path, book)
    assert table["b"].tolist() == [100, 250]
    assert "percentages were read as they are shown, 85 % as 85" in notes
    sheet["B2"].number_format, sheet["B3"].number_format = '0.0"%"', "0\\%"
    assert read(tmp_path, book)[0]["b"].tolist() == [1, 2.5]
    sheet["B2"], sheet["B2"].number_format = 0.07, "0%"
    assert read(tmp_path, book)[0]["b"].tolist() == [7, 2.5]
    sheet["B4"] = "none"
    assert read(tmp_path, book)[0]["b"].tolist() == ["7 %", "2.5 %", "none"]
    del sheet["B4"]
    sheet["B3"].number_format = "General"
    assert "row 3, column 'b': some cells of the column are percentages" in spoilt(tmp_path, book)
    sheet["B3"].data_type, sheet["B3"]._value = "e", "#N/A"
    assert "cell B3 holds the error #N/A" in spoilt(tmp_path, book)
    sheet.merge_cells("A2:A3")
    assert "the cells A2:A3 are merged" in spoilt(tmp_path, book)


def test_codes_by_number_format_are_read_as_they_are_shown(tmp_path, book):
    book.active["B3"] = 123
    for cell in ("B2", "B3"):
        book.active[cell].number_format = "000"
    assert read(tmp_path, book)[0]["b"].tolist() == ["001", "123"]
    for cell in ("B2", "B3"):
        book.active[cell].number_format = "0"
    assert read(tmp_path, book)[0]["b"].tolist() == [1, 123]


def test_two_headers_and_titles_of_a_workbook(tmp_path, book):
    book.active.insert_rows(1)
    book.active["A1"] = "Plate 3"
    book.active.merge_cells("A1:B1")
    table, notes = read(tmp_path, book)
    assert table["b"].tolist() == [1, 2.5]
    assert "'Plate 3' above the header" in notes
    book.active.insert_rows(3)
    book.active["A3"], book.active["B3"] = "-", "%"
    assert "row 3, column 'b': '%' stands above numbers" in spoilt(tmp_path, book)


def test_text_numbers_and_dates_of_a_workbook(tmp_path, book):
    book.active["C1"] = "day"
    book.active["C2"], book.active["C3"] = (datetime.date(2024, 1, day) for day in (1, 2))
    book.active["B2"] = " 1 "
    table, notes = read(tmp_path, book)
    assert table["b"].tolist() == [1, 2.5]
    assert "1 numbers that are stored as text (the first in row 2)" in notes
    assert table["day"].tolist() == ["2024-01-01 00:00:00", "2024-01-02 00:00:00"]
    assert "column 'day': dates are read as text" in notes


def test_a_table_that_starts_in_the_middle_of_its_sheet(tmp_path, book):
    book.active.insert_rows(1, 3)
    book.active.insert_cols(1, 2)
    table, notes = read(tmp_path, book)
    assert (table["b"].tolist(), notes, table.attrs["first_row"]) == ([1, 2.5], "", 5)


# --- workbooks that unpack to more than they look -------------------------------------------------

SHEET = "xl/worksheets/sheet1.xml"
TEXTS = (
    '<Override PartName="/xl/sharedStrings.xml" ContentType="application/vnd.openxmlformats-'
    'officedocument.spreadsheetml.sharedStrings+xml" /></Types>'
)


def changed(book, *changes):
    """A workbook as bytes, in some parts of which one text stands for another."""
    stream, packed = io.BytesIO(), io.BytesIO()
    book.save(stream)
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            for part, before, after in changes:
                if name == part:
                    assert before.encode() in content
                    content = content.replace(before.encode(), after.encode(), 1)
            new.writestr(name, content)
        for part, before, content in changes:
            if not before:
                new.writestr(part, content)
    return packed.getvalue()


def rows_of(count):
    return (SHEET, "</sheetData>", "<row>" + "<c/>" * count + "</row></sheetData>")


def texts_of(count):
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return ("xl/sharedStrings.xml", "", f'<sst xmlns="{space}">' + "<si/>" * count + "</sst>")


NAMED = ("[Content_Types].xml", "</Types>", TEXTS)
MERGED = '</sheetData><mergeCells count="1"><mergeCell ref="A5:XFD1048576" /></mergeCells>'
LINKED = '</sheetData><hyperlinks><hyperlink ref="A1:XFD1048576" location="x" /></hyperlinks>'


@pytest.mark.parametrize(
    ("most", "change", "says"),
    [
        ({"c": 9}, [rows_of(4)], "more than 9 cells, empty ones included"),
        ({"row": 3}, [rows_of(0)], "more than 3 rows"),
        ({"si": 3}, [NAMED, texts_of(4)], "more than 3 different texts"),
        ({"mergeCell": 0}, [(SHEET, "</sheetData>", MERGED)], "more than 0 merged ranges"),
        ({"": 20}, [], "more than 20 formats"),
        ({}, [(SHEET, "<worksheet ", "<!DOCTYPE x [<!ENTITY a 'x'>]><worksheet ")], "entities"),
        ({}, [(SHEET, "<row ", "<row " + "a" * 2**21 + '="" ')], "XML that is none"),
    ],
)
def test_elements_of_a_workbook_are_counted(tmp_path, monkeypatch, book, most, change, says):
    for kind, count in most.items():
        monkeypatch.setitem(parts.MOST_OF, kind, count)
    file = written(tmp_path, changed(book, *change), "t.xlsx")
    assert says in refusal(file)


def test_all_elements_of_a_workbook_are_counted_in_any_encoding(tmp_path, monkeypatch, book):
    monkeypatch.setattr(parts, "MOST_ELEMENTS", 50)
    assert "more than 50 XML elements" in spoilt(tmp_path, book)
    monkeypatch.setattr(parts, "MOST_ELEMENTS", 1000)
    content = "<?xml version='1.0' encoding='utf-16'?><x>" + "<v/>" * 1000 + "</x>"
    packed = changed(book, ("xl/more.xml", "", content.encode("utf-16")))
    assert "more than 1000 XML" in refusal(written(tmp_path, packed, "t.xlsx"))


def test_texts_that_cells_share_count_for_each(tmp_path, monkeypatch, book):
    for row in range(4, 9):
        book.active.cell(row, 1, "long " * 20)
        book.active.cell(row, 2, 1)
    monkeypatch.setattr(sheets, "MOST_CHARACTERS", 400)
    assert "its cells have 504 characters, and up to 400 are read" in spoilt(tmp_path, book)


def test_links_and_formats_around_a_table_make_no_cells(tmp_path, book):
    packed = changed(book, (SHEET, "</sheetData>", LINKED))
    assert read_table(written(tmp_path, packed, "t.xlsx")).shape == (2, 2)


def test_merged_cells_below_a_table_are_no_matter_and_a_giant_range_is(tmp_path, book):
    book.active.merge_cells("A7:B9")
    assert read(tmp_path, book)[0]["b"].tolist() == [1, 2.5]
    packed = changed(book, (SHEET, "A7:B9", "A7:XFD1048576"))
    assert "A7:XFD1048576 are merged" in refusal(written(tmp_path, packed, "t.xlsx"))


def test_cells_behind_a_merged_title_are_not_read(tmp_path, book):
    book.active.insert_rows(1)
    book.active["A1"], book.active["B1"] = "Plate 3", "hidden"
    title = '</sheetData><mergeCells><mergeCell ref="A1:B1" /></mergeCells>'
    packed = changed(book, (SHEET, "</sheetData>", title))
    assert read_table(written(tmp_path, packed, "t.xlsx"))["b"].tolist() == [1, 2.5]
    alone = '<sheetData><row r="1"><c r="B1"><v>1</v></c></row>'
    none = changed(openpyxl_book()(), (SHEET, "<sheetData></sheetData>", alone + title))
    assert "behind merged ones" in refusal(written(tmp_path, none, "t.xlsx"))


MILLION = 10**6
MEASURE = """
import json, resource, sys
from gollum.data.readers import read_table
from gollum.errors import DataError
try:
    read_table(sys.argv[1])
except DataError as error:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([str(error), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in kilobytes")
@pytest.mark.parametrize(
    "bomb",
    [
        lambda: b"a,b\n" + b"\n" * 99 * MILLION,
        lambda: b"a,b\n" + b'""\n' * 33 * MILLION,
        lambda: b"," * 99 * MILLION,
        lambda: [rows_of(20 * MILLION)],
        lambda: [NAMED, texts_of(16 * MILLION)],
        lambda: [(SHEET, "</sheetData>", "<row/>" * 16 * MILLION + "</sheetData>")],
        lambda: [(SHEET, "</sheetData>", MERGED)],
    ],
    ids=["breaks", "quoted", "commas", "cells", "texts", "rows", "merged"],
)
def test_a_bomb_is_refused_quickly_and_in_little_memory(tmp_path, book, bomb):
    what = bomb()
    if isinstance(what, bytes):
        file = written(tmp_path, gzip.compress(what, 1), "t.csv.gz")
    else:
        file = written(tmp_path, changed(book, *what), "t.xlsx")
    done = subprocess.run([sys.executable, "-c", MEASURE, file], capture_output=True, check=True)
    said, seconds, gigabytes = json.loads(done.stdout)
    assert "\n" not in said
    assert seconds < 8  # the import among them
    assert gigabytes < 1
