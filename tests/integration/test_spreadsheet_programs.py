"""A campaign whose sheets go through LibreOffice at every step."""

import datetime
import itertools
import shutil
import subprocess
from pathlib import Path

import openpyxl
import pytest

from gollum.cli import main

OFFICE = shutil.which("soffice")
LOTS = {"XPhos": "1-2", "SPhos": "007", "dppf": "1.10"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(OFFICE is None, reason="LibreOffice (soffice) is not installed"),
]


def messy_workbook(path):
    """A title, percentages, units in two spellings, codes, dates and who did it; ten results."""
    book = openpyxl.Workbook()
    book.active.title = "Info"
    book.active["A1"] = "Suzuki, series 3"
    sheet = book.create_sheet("Daten")
    sheet.append(["Suzuki, series 3"])
    sheet.append([])
    sheet.append(["No.", "Kat-Nr", "Ligand ", "Lot", "Base", "T", "t", "Ausbeute", "ee", "Datum",
                  "Operator", "Bemerkung"])  # fmt: skip
    grid = itertools.product((1, 2, 3), LOTS, ("K2CO3", "Cs2CO3"), (60, 80))
    for i, (catalyst, ligand, base, t) in enumerate(grid, start=1):
        done = i % 4 == 1
        result = yield_of(ligand, t) / 100 if done else "failed" if i == 7 else None
        day = datetime.date(2024, 3, 1) if done else None
        sheet.append([i, catalyst, ligand, LOTS[ligand], base, f"{t} °C", "2 h" if i % 2 else
                      "120 min", result, 90 if done else None, day, "AB" if done else None,
                      "cloudy" if i == 5 else None])  # fmt: skip
        sheet.cell(sheet.max_row, 8).number_format = "0.0%"
        sheet.cell(sheet.max_row, 4).number_format = "@"
    book.save(path)


def yield_of(ligand, t):
    return 20 + 50 * (ligand == "SPhos") + t / 8


def through_office(file, ending, folder):
    """The file as LibreOffice saves it in another format, and that as a workbook again."""
    for kind in (ending, "xlsx"):
        target = folder / kind / f"{file.stem}.{kind}"
        target.parent.mkdir(exist_ok=True, parents=True)
        subprocess.run(
            [OFFICE, f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless",
             "--convert-to", kind, "--outdir", str(target.parent), str(file)],
            check=True, capture_output=True, timeout=240,
        )  # fmt: skip
        file = target
    return file


def filled_in(file):
    """Type results into a sheet, and say one of them in another way."""
    book = openpyxl.load_workbook(file)
    sheet = book.active
    heads = {str(cell.value): cell.column for cell in sheet[1]}
    result = next(c for name, c in heads.items() if name.startswith("Ausbeute"))
    warm = next(c for name, c in heads.items() if name.startswith("T ("))
    for row in range(2, sheet.max_row + 1):
        value = yield_of(sheet.cell(row, heads["Ligand"]).value, sheet.cell(row, warm).value)
        sheet.cell(row, result).value = f"{value} %" if row == 2 else value
    book.save(file)
    return sheet.max_row - 1


@pytest.mark.parametrize("ending", ["xlsx", "ods", "csv"])
def test_a_campaign_comes_back_from_a_spreadsheet_program(ending, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def gollum(*words):
        code = main([*map(str, words)])
        out, err = capsys.readouterr()
        assert (code, err) == (0, ""), err
        return out

    messy_workbook(Path("messy.xlsx"))
    said = ("--also", "ee", "--category", "Kat-Nr", "--surrogate", "one_hot")
    table = ("--table", "messy.xlsx", "--sheet", "Daten", "--objective", "Ausbeute")
    out = gollum("init", "a.gollum", *table, *said)
    assert "36 possible experiments, 10 results" in out
    changes = [
        ["--option", "Ligand=AmPhos,Lot=0123"],
        ["--column", "additive=none", "--option", "additive=LiCl"],
        ["--range", "T=100:120:10"],
    ]
    known = 9
    for step, change in enumerate([[], *changes]):
        if change:
            assert "candidates were added" in gollum("add", "a.gollum", *change)
        gollum("suggest", "a.gollum", "-n", 4, "-o", f"next{step}.xlsx", "--quiet")
        sheet = through_office(Path(f"next{step}.xlsx"), ending, tmp_path / str(step))
        count = filled_in(sheet)
        back = through_office(sheet, ending, tmp_path / f"{step}back")
        out = gollum("record", "a.gollum", back)
        assert f"{count} measured" in out
        assert "new candidates" not in out
        known += count
        assert f"{known} measured" in gollum("status", "a.gollum")
    assert gollum("replay", "a.gollum", "--quiet").count("agrees") == 4
