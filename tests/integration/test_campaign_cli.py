"""The commands of a campaign, as a chemist types them: spreadsheets in, spreadsheets out."""

import os
import random
import signal
import subprocess
import sys
import time
import unicodedata
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from gollum.api import Campaign
from gollum.campaign.store import Store
from gollum.data.readers import read_table
from gollum.data.writers import write_sheet

posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")


def conditions(count=None):
    rows = [
        (x, b, f"{t} °C") for x in ("XPhos", "=SUM(1)", "dppf") for b in "KLM" for t in (40, 80)
    ]
    return pd.DataFrame(rows[:count], columns=["ligand", "base", "temperature"])


def table(name="conditions.xlsx"):
    write_sheet(conditions().assign(yield_pct=""), name)
    return name


def begin(gollum, *more):
    code, out, err = gollum("init", "my.gollum", "--table", table(), "--objective", "yield_pct",
                            "--surrogate", "one_hot", *more)  # fmt: skip
    assert code == 0, err
    return out


def fill(name, values):
    sheet = read_table(name)
    bare = sheet.rename(columns={"temperature (°C)": "temperature"})
    sheet["yield_pct"] = [float(values(row)) for row in bare.itertuples()]
    write_sheet(sheet, name)


def good(row):
    return 10 * len(row.ligand) + 5 * "KLM".index(row.base) + row.temperature / 10


def test_a_campaign_through_spreadsheets(gollum):
    out = begin(gollum)
    assert "18 possible experiments, 0 results; maximize yield_pct" in out
    assert "°C" in out  # the text keeps the unit that the cells had
    code, out, _ = gollum("suggest", "my.gollum", "-n", 4, "-o", "next.xlsx")
    assert code == 0
    assert "gollum record my.gollum next.xlsx" in out
    again = read_table("next.xlsx")
    gollum("suggest", "my.gollum", "-n", 4, "-o", "again.xlsx")
    pd.testing.assert_frame_equal(read_table("again.xlsx"), again)
    fill("next.xlsx", good)
    assert "4 measured" in gollum("record", "my.gollum", "next.xlsx")[1]
    assert "4 known already" in gollum("record", "my.gollum", "next.xlsx")[1]
    code, out, _ = gollum(
        "suggest", "my.gollum", "-n", 3, "-o", "next.csv", "--at-most", "ligand=1"
    )
    assert code == 0
    sheet = read_table("next.csv")
    assert sheet["ligand"].is_unique
    assert sheet["predicted yield_pct"].notna().all()
    assert sheet["why"].str.len().min() > 10
    assert "yield_pct" in gollum("status", "my.gollum")[1]
    code, out, _ = gollum("replay", "my.gollum")
    assert (code, out.count("agrees.")) == (0, 2)
    for name in ("out.csv", "out.xlsx", "out.json"):
        assert gollum("export", "my.gollum", "-o", name)[0] == 0
    assert len(read_table("out.xlsx")) == 4
    code, out, _ = gollum("report", "my.gollum", "-o", "report.html", "--quiet")
    assert code == 0
    page = Path("report.html").read_text("utf-8")
    assert "XPhos" in page


def test_what_a_spreadsheet_would_compute_is_neutralised_and_comes_back(gollum):
    begin(gollum)
    gollum("suggest", "my.gollum", "-n", 18, "-o", "next.csv")
    raw = Path("next.csv").read_text("utf-8-sig")
    assert ",'=SUM(1)," in raw
    assert ",=SUM(1)," not in raw
    fill("next.csv", good)
    code, out, err = gollum("record", "my.gollum", "next.csv")
    assert (code, err) == (0, "")
    assert "18 measured" in out


def test_results_that_are_not_recorded_are_not_written_over(gollum):
    begin(gollum)
    gollum("suggest", "my.gollum", "-n", 3, "-o", "next.xlsx")
    assert gollum("suggest", "my.gollum", "-n", 3, "-o", "next.xlsx")[0] == 0
    fill("next.xlsx", good)
    code, _, err = gollum("suggest", "my.gollum", "-n", 3, "-o", "next.xlsx")
    assert (code, "holds results that are not recorded" in err) == (2, True)
    assert read_table("next.xlsx")["yield_pct"].notna().all()
    gollum("record", "my.gollum", "next.xlsx")
    assert gollum("suggest", "my.gollum", "-n", 3, "-o", "next.xlsx")[0] == 0


def test_a_page_never_takes_the_place_of_the_campaign(gollum):
    table()
    words = "init camp.html --table conditions.xlsx --objective yield_pct --surrogate one_hot"
    assert gollum(*words.split())[0] == 0
    code, _, err = gollum("report", "camp.html")
    assert (code, "is the campaign itself" in err) == (2, True)
    assert gollum("status", "camp.html")[0] == 0


def test_escape_codes_of_cells_do_not_reach_the_terminal(gollum):
    frame = conditions().assign(yield_pct="")
    frame.loc[0, "ligand"] = "\x1b[31mred\x1b]0;title\x07"
    write_sheet(frame, "odd.csv")
    _, out, err = gollum("init", "odd.gollum", "--table", "odd.csv", "--objective", "yield_pct")
    assert "\x1b" not in out + err


def test_factors_instead_of_a_table(gollum):
    with open("factors.yaml", "w") as file:
        file.write("factors:\n  ligand: [XPhos, SPhos]\n  hours: {from: 1, to: 3, step: 1}\n"
                   "exclude:\n  - {ligand: SPhos, hours: 3}\n")  # fmt: skip
    words = "--factors factors.yaml --objective yield --target 50 --surrogate one_hot"
    code, out, err = gollum("init", "my.gollum", *words.split())
    assert code == 0, err
    assert "5 possible experiments" in out
    assert "bring yield to 50" in out


def test_avoiding_and_lifting(gollum):
    begin(gollum)
    assert "Nothing is avoided" in gollum("avoid", "my.gollum")[1]
    code, out, _ = gollum("avoid", "my.gollum", "ligand=XPhos", "r18", "--reason", "empty bottle")
    assert (code, "7 of 18" in out) == (0, True)
    assert "ligand XPhos (empty bottle)" in gollum("avoid", "my.gollum")[1]
    assert "1 of 18" in gollum("avoid", "my.gollum", "ligand=XPhos", "--lift")[1]
    assert "9 of 18" in gollum("avoid", "my.gollum", "temperature>60 °C")[1]
    assert "Avoided: id r18 (empty bottle); temperature > 60" in gollum("status", "my.gollum")[1]
    assert "1 of 18" in gollum("avoid", "my.gollum", "temperature > 60", "--lift")[1]
    code, out, _ = gollum("avoid", "my.gollum", "Ligand=x-phos")
    assert "Note: 'Ligand' is taken for 'ligand'" in out
    assert "Note: 'x-phos' is taken for 'XPhos'" in out
    code, _, err = gollum("avoid", "my.gollum", "ligand=XPhoss")
    assert (code, "Did you mean 'XPhos'?" in err) == (2, True)


def test_texts_in_another_encoding(gollum):
    text = conditions().assign(ligand="Café", yield_pct="").to_csv(index=False)
    Path("mac.csv").write_bytes(text.encode("mac_roman"))
    options = ("--objective", "yield_pct", "--surrogate", "one_hot", "--encoding", "mac_roman")
    assert gollum("init", "my.gollum", "--table", "mac.csv", *options)[0] == 0
    assert set(Campaign("my.gollum").state().table["ligand"]) == {"Café"}
    Path("done.csv").write_bytes("ligand,base,temperature,yield_pct\nCafé,K,40,5\n".encode("utf-7"))
    assert "1 measured" in gollum("record", "my.gollum", "done.csv", "--encoding", "utf-7")[1]
    Path("factors.yaml").write_bytes(
        "factors:\n  ligand: [Café, Thé]\n  base: [K, L]\n".encode("mac_roman")
    )
    assert gollum("init", "new.gollum", "--factors", "factors.yaml", *options)[0] == 0
    assert set(Campaign("new.gollum").state().table["ligand"]) == {"Café", "Thé"}


def test_limits_may_stand_in_one_option(gollum):
    begin(gollum)
    limits = ("--at-most", "Ligand=1,base=2", "--at-most", "base=2", "--same", "temperature")
    code, out, _ = gollum("suggest", "my.gollum", "-n", 3, "-o", "next.csv", *limits)
    assert (code, "'Ligand' is taken for 'ligand'" in out) == (0, True)
    assert read_table("next.csv")["ligand"].is_unique
    for limit in ("base=3,base=2", "base=3,Base=2"):
        code, _, err = gollum("suggest", "my.gollum", "--at-most", limit)
        assert (code, "keep one" in err) == (2, True)


def test_another_template(gollum):
    begin(gollum)
    code, out, _ = gollum("init", "my.gollum", "--template", "{ligand} and {base}")
    assert code == 0
    assert "XPhos and K" in out
    assert gollum("init", "my.gollum", "--template", "{solvent}")[0] == 2


INIT = ("init", "new.gollum", "--table", "conditions.xlsx", "--objective", "yield_pct")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("init", "new.gollum"), "give --table FILE or --factors FILE"),
        (("init", "new.gollum", "--table", "conditions.xlsx"), "give --objective"),
        (("init", "my.gollum", "--table", "conditions.xlsx", "--objective", "y"), "exists already"),
        (("suggest", "other.gollum"), "other.gollum"),
        (("suggest", "conditions.xlsx"), "conditions.xlsx"),
        (("suggest", "my.gollum", "-n", 0), "from 1 to"),
        (("suggest", "my.gollum", "-o", "next.pdf"), "ends in .xlsx or .csv"),
        (("suggest", "my.gollum", "--at-most", "ligand"), "COLUMN=K"),
        (("suggest", "my.gollum", "--same", "ligant"), "'ligand'"),
        (("suggest", "my.gollum", "--cost-weight", "1"), "no costs"),
        (("record", "my.gollum", "nothing.xlsx"), "no file"),
        (("record", "my.gollum", "conditions.xlsx", "--nonsense"), "not an option"),
        (("replay", "my.gollum"), "no suggestion"),
        (("export", "my.gollum", "-o", "x.doc"), "ends in .xlsx or .csv or .json"),
        (("report", "my.gollum", "-o", "my.gollum"), "ends in .html"),
        (("report", "my.gollum", "-o", "conditions.xlsx/r.html"), "(Not a directory)"),
        (("suggest", "my.gollum", "-o", "x" * 300 + ".csv"), "can't be written (File name too"),
        ((*INIT, "--seed", -1), "from 0 on"),
        ((*INIT, "--target", "nan"), "finite"),
        ((*INIT, "--model", "minilmm"), "'minilm'"),
        (("suggest", "my.gollum", "--cost-weight", "-1"), "from 0 on"),
        (("suggest", "my.gollum", "-o", "conditions.xlsx", "-n", "2"), "another name"),
        (("status", "."), "folder"),
    ],
)
def test_mistakes_get_one_sentence(gollum, words, sentence):
    begin(gollum)
    before = Store.open("my.gollum").log()
    code, _, err = gollum(*words)
    assert code == 2
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert Store.open("my.gollum").log() == before
    assert not os.path.exists("new.gollum")


def test_a_folder_that_may_not_be_written_is_named_before_the_work(gollum, monkeypatch):
    begin(gollum)
    monkeypatch.setattr("gollum.files.os.access", lambda *_: False)
    for words in (("report", "my.gollum"), ("suggest", "my.gollum", "-o", "next.csv")):
        code, out, err = gollum(*words)
        assert (code, out) == (2, "")
        assert "can't be written (Permission denied); choose another" in err
    assert Store.open("my.gollum").state().sequence == 1
    os.mkdir("folder.html")
    assert "(Is a directory)" in gollum("report", "my.gollum", "-o", "folder.html")[2]


def test_whatever_the_system_forbids_is_one_sentence(gollum, monkeypatch):
    def forbidden(_):
        raise PermissionError(13, "Permission denied", "secret/my.gollum")

    monkeypatch.setattr("gollum.commands.campaigns.status", forbidden)
    code, _, err = gollum("status", "my.gollum")
    assert code == 2
    assert err.startswith("gollum: 'secret/my.gollum' can't be used (Permission denied); check")
    assert len(err.splitlines()) == 1


def test_options_may_have_decomposed_letters(gollum, tmp_path):
    frame = pd.DataFrame({"Lösung": ["Äthanol", "DMF", "THF"], "Grün": [1, 2, 3]})
    write_sheet(frame.assign(Ausbeute_für=""), "tä.csv")
    word = partial(unicodedata.normalize, "NFD")
    options = ("--objective", word("Ausbeute_für"), "--id-column", word("Grün"))
    code, _, error = gollum("init", "my.gollum", "--table", "tä.csv", *options)
    assert (code, error) == (0, "")
    code, out, _ = gollum("avoid", "my.gollum", word("Lösung=Äthanol"))
    assert "1 of 3 candidates are avoided" in out
    Path(word("ü.csv")).write_text(word("Grün,Ausbeute_für\n2,5\n"), encoding="utf-8")
    assert "1 measured" in gollum("record", "my.gollum", word("ü.csv"))[1]
    code, out, _ = gollum("init", "my.gollum", "--template", word("in {Lösung}"))
    assert "in Äthanol" in out


def start(*words):
    """A command in a process of its own, which takes Ctrl-C and kills like any other."""
    return subprocess.Popen(
        [sys.executable, "-m", "gollum.cli", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finished(process):
    process.communicate()
    return process.returncode


def kill_again_and_again(kills, seed):
    """Kill suggest and record at random moments; the file is whole each time, and goes on."""
    rng = random.Random(seed)  # noqa: S311
    write_sheet(conditions().assign(yield_pct=[float(i) for i in range(18)]), "all.csv")
    began = time.monotonic()
    assert finished(start("suggest", "my.gollum", "-n", 2)) == 0
    usual, lengths, seen = time.monotonic() - began, [], 0
    for number in range(kills):
        words = [("suggest", "my.gollum", "-n", 2 + number % 6, "--fresh"),
                 ("record", "my.gollum", "all.csv")][number % 2]  # fmt: skip
        process = start(*words)
        time.sleep(rng.uniform(0.2, 1.2) * usual)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        store = Store.open("my.gollum")
        lengths.append(len(store.log()))
        state = store.state()
        assert lengths == sorted(lengths), "an event was lost"
        assert len(state.measurements) >= seen, "a result was lost"
        seen = len(state.measurements)
        for batch in state.batches:
            assert 0 < len(batch.suggestions) <= batch.asked
        assert seen in (0, 18), "a sheet was recorded in part"
        if seen:  # begin anew, so that there is always something to lose
            os.replace("my.gollum", f"done-{number}.gollum")
            Campaign.create("my.gollum", table=conditions(), objective="yield_pct",
                            surrogate="one_hot")  # fmt: skip
            lengths, seen = [], 0
    assert finished(start("record", "my.gollum", "all.csv")) == 0
    assert len(Campaign("my.gollum").state().measurements) == 18


@posix
def test_killed_commands_lose_nothing(gollum):
    begin(gollum)
    kill_again_and_again(2, seed=1)


@posix
@pytest.mark.slow
def test_two_hundred_killed_commands_lose_nothing(gollum):
    begin(gollum)
    kill_again_and_again(200, seed=2)


@pytest.mark.parametrize("count", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_several_processes_record_at_once(gollum, count):
    begin(gollum)
    sheets = []
    for number in range(count):
        write_sheet(
            conditions().iloc[number * 2 : number * 2 + 2].assign(yield_pct=float(number)),
            f"{number}.csv",
        )
        sheets.append(start("record", "my.gollum", f"{number}.csv"))
    for process in sheets:
        _, err = process.communicate()
        assert process.returncode == 0, err
    results = Campaign("my.gollum").export("results")
    assert sorted(results["yield_pct"]) == sorted(float(i // 2) for i in range(2 * count))


def test_an_interrupted_suggestion_leaves_nothing(gollum):
    begin(gollum)
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal, sys; signal.signal(2, signal.default_int_handler); "
         "from gollum.cli import main; sys.exit(main(['suggest', 'my.gollum']))"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode in (0, 130)
    # Python itself prints one where the signal falls into a callback of its own, and goes on.
    assert b"Traceback" not in err or b"Exception ignored" in err
    assert len(Store.open("my.gollum").log()) in (1, 2)


def test_a_run_that_was_done_differently_is_recorded_as_done(gollum):
    begin(gollum)
    gollum("suggest", "my.gollum", "-n", 3, "-o", "next.csv")
    sheet = read_table("next.csv").assign(yield_pct=[44.0, None, None])
    sheet.loc[0, "temperature (°C)"] = 58
    write_sheet(sheet, "done.csv")
    code, _, err = gollum("record", "my.gollum", "done.csv")
    assert (code, "or record with --as-done" in err) == (2, True)
    code, out, _ = gollum("record", "my.gollum", "done.csv", "--as-done")
    assert (code, "1 measured, 1 of them done differently, 1 new candidates" in out) == (0, True)
    gollum("report", "my.gollum", "--quiet")
    assert "n1 (asked r" in Path("my.html").read_text(encoding="utf-8")


def test_an_export_never_replaces_what_it_has_not_written(gollum):
    begin(gollum)
    assert gollum("suggest", "my.gollum", "-n", 2, "-o", "next.csv", "--quiet")[0] == 0
    sheet = read_table("next.csv")
    write_sheet(sheet.assign(yield_pct=[5.0, 6.0]), "next.csv")
    typed = Path("next.csv").read_bytes()
    code, _, err = gollum("export", "my.gollum", "-o", "next.csv")
    assert (code, "holds results that are not recorded" in err) == (2, True)
    code, _, err = gollum("export", "my.gollum", "-o", "conditions.xlsx")
    assert (code, "not as this campaign wrote it" in err) == (2, True)
    assert Path("next.csv").read_bytes() == typed
    assert gollum("record", "my.gollum", "next.csv")[0] == 0
    for what in ("results", "history", "candidates", "suggestions"):
        for _ in range(2):
            assert gollum("export", "my.gollum", "--what", what, "-o", f"{what}.csv")[0] == 0


def test_reactions_are_exported_in_surf(gollum, tmp_path):
    (tmp_path / "t.csv").write_text("ligand,solvent,yield\nA,x,5\nB,x,\nA,y,7\nB,y,\n")
    file, out = tmp_path / "c.gollum", tmp_path / "c.tsv"
    gollum("init", file, "--table", tmp_path / "t.csv", "--objective", "yield")
    code, said, _ = gollum("export", file, "--what", "surf", "-o", out)
    assert (code, out.read_text().count("\n")) == (0, 3)
    assert "2 reactions in SURF" in said
    assert gollum("export", file, "--what", "surf", "-o", out)[0] == 0
    out.write_text("mine")
    code, _, error = gollum("export", file, "--what", "surf", "-o", out)
    assert code == 2
    assert "no SURF file" in error
    code, _, error = gollum("export", file, "--what", "surf", "-o", tmp_path / "c.xlsx")
    assert ".tsv or .txt or .csv" in error
    code, _, error = gollum("export", file, "--what", "surf-next", "-o", tmp_path / "n.tsv")
    assert (code, error.count("\n")) == (2, 1)
    assert "nothing is pending" in error
