"""Notes carry a code, and what happens depends on that, not on their words."""

import copy
import pickle

import pandas as pd
import pytest

from campaigns import campaign, candidates, recorded, suggested
from gollum.campaign.begin import begin
from gollum.campaign.events import Goal
from gollum.campaign.intake import read_results
from gollum.data.pool import Pool
from gollum.data.readers import read_frame, read_table
from gollum.errors import DataError
from gollum.notes import Note

NOTE = Note("spaces", "t.csv", "they were dropped.", "ligand")
PLAN = suggested(("1-1", "r2"), ("1-2", "r3"))


def codes(notes):
    return [note.code for note in notes]


@pytest.mark.parametrize(
    ("note", "sentence"),
    [
        (Note("a", "t.csv", "all is odd."), "t.csv: all is odd."),
        (Note("a", "", "all is odd."), "all is odd."),
        (Note("a", "", "odd.", "yield"), "column 'yield': odd."),
        (NOTE, "t.csv: column 'ligand': they were dropped."),
        (NOTE.within("iteration 3"), "iteration 3: t.csv: column 'ligand': they were dropped."),
        (Note("a", "", "all is odd.").within("t.csv"), "t.csv: all is odd."),
    ],
)
def test_a_note_is_its_sentence(note, sentence):
    assert isinstance(note, str)
    assert note == f"{note}" == sentence


def test_something_in_front_of_the_place_changes_nothing_else():
    moved = NOTE.within("last fit")
    assert moved.place == "last fit: t.csv"
    assert (moved.code, moved.text, moved.column) == (NOTE.code, NOTE.text, NOTE.column)


def test_a_sentence_from_elsewhere_has_no_code():
    assert Note.of(NOTE) is NOTE
    assert (Note.of("Odd: so.").code, Note.of("Odd: so.")) == ("", "Odd: so.")


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda n, p=p: pickle.loads(pickle.dumps(n, p)) for p in range(6)),  # noqa: S301
    ],
)
def test_copies_keep_everything(copied):
    found = copied(NOTE)
    assert type(found) is Note
    assert (found, vars(found)) == (NOTE, vars(NOTE))


def test_a_note_cannot_be_changed():
    with pytest.raises(AttributeError):
        NOTE.code = "other"


def test_tables_keep_notes():
    frame = pd.DataFrame({"a": [1, 2]})
    frame.attrs["notes"] = (NOTE, "a sentence of the user's")
    (same, other) = read_frame(frame.copy().iloc[:1]).attrs["notes"]
    assert (same.code, same.column, other.code) == ("spaces", "ligand", "")


MESSY = """\
Screening of May
ligand;t;c;d;when;yield
L1 ;80 °C;1 mM;1,5;2024-01-02;71
L1;90 °C;2 M;2,5;2024-01-03;failed
L2;95 °C;3 mM;3;2024-01-04;5
L2;95 °C;3 mM;3;2024-01-04;
"""
FOUND = {
    "title": "", "spaces": "ligand", "one-unit": "t", "several-units": "c", "spelt-numbers": "d",
    "word-among-numbers": "yield",
}  # fmt: skip


def messy(folder):
    file = folder / "t.csv"
    file.write_text(MESSY, "cp1252")
    return read_table(file)


def test_what_is_odd_about_a_table_has_a_code(tmp_path):
    notes = messy(tmp_path).attrs["notes"]
    assert {n.code: n.column for n in notes} == {"encoding": ""} | FOUND
    assert {n.place for n in notes} == {"t.csv"}
    begun = begin(messy(tmp_path), objective="yield", goal=Goal(), name="my", source=None)
    assert codes(begun.notes)[-4:] == ["repeated-rows", "found-bounds", "results", "nothing-left"]
    pool = Pool.from_table(read_frame(pd.DataFrame({"a": [1, 1, 2], "y": [1, 2, 3]})), "y")
    assert codes(pool.notes) == ["repeated-rows"]


@pytest.fixture(params=[False, True], ids=["as they are", "without words"])
def words(request, monkeypatch):
    """Notes as they are, and notes that say nothing."""
    if request.param:
        make = Note.__new__

        def mute(cls, code, place, text, column=""):
            return make(cls, code, "", "…", column)

        monkeypatch.setattr(Note, "__new__", mute)


def read(state, *rows, notes=(), **options):
    frame = pd.DataFrame(rows)
    frame.attrs["notes"] = notes
    return read_results(state, frame, source=None, name="results.xlsx", **options)


@pytest.mark.usefixtures("words")
def test_units_that_were_understood_are_not_complained_about(tmp_path):
    begun = begin(messy(tmp_path), objective="yield", goal=Goal(), name="my", source=None)
    assert "unit" in codes(begun.notes)
    assert not {"one-unit", "several-units"} & set(codes(begun.notes))


@pytest.mark.usefixtures("words")
def test_a_status_among_the_values_of_a_sheet_is_usual():
    rows = {"run": "1-1", "yield": "5"}, {"run": "1-2", "yield": "failed"}
    assert codes(read(campaign(candidates(), PLAN)[0], *rows).notes) == []
    other = ({**row, "weight": w} for row, w in zip(rows, ("5", "much"), strict=True))
    found = codes(read(campaign(candidates(), PLAN)[0], *other).notes)
    assert found == ["word-among-numbers", "other-columns"]


@pytest.mark.usefixtures("words")
def test_cells_in_per_cent_are_no_fractions_of_earlier_results():
    state, row = campaign(candidates(), PLAN, recorded(("1-1", "r2", 71)))[0], {"run": "1-2"}
    assert codes(read(state, row | {"yield": 0.85}).notes) == ["fractions"]
    earlier = recorded(("1-1", "r2", 0.71), ("r3~1", "r3", 0.5))
    state = campaign(candidates(), PLAN, earlier)[0]
    note = Note("percentages", "results.xlsx", "as they are shown.", column="yield")
    with pytest.raises(DataError, match="have the format %"):
        read(state, row | {"yield": 85.0}, notes=(note,))


@pytest.mark.usefixtures("words")
def test_likely_slips_come_first():
    table = candidates().replace("XPhos", "tetrakis(triphenylphosphine)")
    new = {"ligand": "BrettPhos", "hours": 1, "substrate": "CO", "yield": 5}
    slip = new | {"ligand": "tetrakis(triphenylphosphin)"}
    found = read(campaign(table, PLAN)[0], new, slip).notes
    assert codes(found) == ["likely-slip", "new-experiment"]
