"""Learning from earlier campaigns on the command line."""

import pandas as pd
import pytest

GRID = pd.MultiIndex.from_product(
    [["XPhos", "SPhos", "PPh3"], ["K3PO4", "DBU"]], names=["ligand", "base"]
).to_frame(index=False)
AVERAGED = ("--surrogate", "averaged", "--averaging.particles", "16", "--averaging.moves", "2")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    GRID.to_csv("conditions.csv", index=False)
    old = GRID.rename(columns={"base": "Base used"}).assign(**{"yield": [90, 80, 40, 30, 10, 0]})
    old.to_csv("old.csv", index=False)


def told(out):
    """A command's output without its layout."""
    return " ".join(out.split())


def begin(gollum, *words):
    table = ("--table", "conditions.csv", "--objective", "yield")
    return gollum("init", "new.gollum", *table, *AVERAGED, *words)


def test_a_campaign_begins_with_what_is_known(gollum, tmp_path):
    code, out, _ = begin(gollum, "--learn-from", "old.csv")
    assert code == 0
    assert "base Base used 100% of the options in common" in told(out)
    assert "new.gollum learns from 6 results of old.csv." in out
    code, out, _ = gollum("suggest", "new.gollum", "-n", "2", "-o", "next.csv")
    assert code == 0
    assert "by earlier results alone" in out
    assert set(pd.read_csv("next.csv")["ligand"]) == {"XPhos"}
    _, out, _ = gollum("status", "new.gollum")
    assert "Learns from old.csv: 6 results, joined by ligand, base (there Base used)." in told(out)
    _, out, _ = gollum("replay", "new.gollum")
    assert "agrees" in out
    assert gollum("report", "new.gollum", "-o", "r.html")[0] == 0
    assert "Earlier campaigns" in (tmp_path / "r.html").read_text("utf-8")


def test_a_source_that_can_not_be_used_leaves_no_campaign_behind(gollum, tmp_path):
    code, out, err = begin(gollum, "--learn-from", "old.csv", "--learn-from", "missing.csv")
    assert (code, "missing.csv" in err) == (2, True)
    assert out == ""
    assert not (tmp_path / "new.gollum").exists()


def test_several_changes_are_made_together_or_not_at_all(gollum, tmp_path):
    begin(gollum)
    before = (tmp_path / "new.gollum").read_bytes()
    rank = ("--rank", "ligand=XPhos > PPh3", "--rank", "solvent=x > y")
    code, out, err = gollum("learn", "new.gollum", "old.csv", *rank)
    assert (code, out, "no column 'solvent'" in err) == (2, "", True)
    code, out, _ = gollum("init", "new.gollum", "--failed-word", "nix", "--price", "ligand=no.csv")
    assert (code, out) == (2, "")
    assert (tmp_path / "new.gollum").read_bytes() == before


def test_a_source_is_added_and_let_go_later(gollum):
    begin(gollum)
    assert gollum("learn", "new.gollum", "old.csv", "--match", "base=Base used")[0] == 0
    code, out, _ = gollum("learn", "new.gollum", "--forget", "old.csv")
    assert (code, told(out)) == (0, "new.gollum does not learn from old.csv any more.")
    code, _, err = gollum("learn", "new.gollum")
    assert (code, err) == (
        2, "gollum: name a campaign or table to learn from, or --forget one.\n",
    )  # fmt: skip


def test_columns_of_a_source_are_said_as_those_of_a_campaign(gollum):
    begin(gollum)
    old = pd.read_csv("old.csv").assign(purity=range(90, 96), conversion=range(70, 76))
    old.to_csv("more.csv", index=False)
    code, _, err = gollum("learn", "new.gollum", "more.csv")
    assert (code, "--also" in err) == (2, True)  # they may tell of the outcome
    code, out, _ = gollum("learn", "new.gollum", "more.csv", "--also", "purity,conversion")
    assert (code, "learns from 6 results" in told(out)) == (0, True)


def test_a_campaign_that_exists_is_sent_to_the_command_for_it(gollum):
    begin(gollum)
    code, _, err = gollum("init", "new.gollum", "--minimize", "--learn-from", "old.csv")
    assert (code, "gollum learn new.gollum old.csv" in err) == (2, True)
    assert "maximize" in told(gollum("status", "new.gollum")[1])


def test_repeats_of_a_source_are_told_once(gollum):
    begin(gollum)
    old = pd.read_csv("old.csv")
    pd.concat([old, old.assign(**{"yield": old["yield"] + 1})]).to_csv("twice.csv", index=False)
    code, out, _ = gollum("learn", "new.gollum", "twice.csv")
    assert code == 0
    assert "learns from 6 results of twice.csv" in told(out)
    assert told(out).count("Note:") == 1  # rows are the same candidate
    assert "6 rows have the inputs of an earlier one" in told(out)
