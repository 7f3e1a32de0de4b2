"""What the columns of a table are taken for."""

import pandas as pd
import pytest

from gollum.data.roles import OURS, Said, assign
from gollum.errors import DataError

YIELDS = [5.0, None, 21.0, None, 40.0, None]


def table(**columns):
    """Six experiments, of which every second has a yield."""
    return pd.DataFrame(
        {
            "ligand": ["XPhos", "XPhos", "SPhos", "SPhos", "dppf", "dppf"],
            "T": [40, 80, 40, 80, 40, 80],
            **columns,
            "yield": YIELDS,
        }
    )


def roles(frame, objective="yield", **said):
    return assign(frame, "t.csv", Said(objective, **said), refused=OURS)


def question(frame, objective="yield", **said):
    with pytest.raises(DataError) as caught:
        roles(frame, objective, **said)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("purity", [90.1, None, 97.0, None, 95.0, None], "filled only where 'yield' is"),
        ("colour", ["red", "", "blue", "", "red", ""], "filled only where 'yield' is"),
        ("ee", ["40", "PENDING", "50", "pending", "60", ""], "filled only where 'yield' is"),
        ("yield_2", [1.0] * 6, "called like 'yield'"),
        ("Yield std", [1.0] * 6, "called like 'yield'"),
        ("conversion (%)", [1.0] * 6, "called like a result"),
        ("Umsatz", ["1", "2", "3", "4", "5", "offen"], None),
        ("x", [1, 2, 3, 4, 5, 6], "a count of the rows"),
    ],
)
def test_what_may_tell_of_the_outcome_is_asked_about(name, cells, reason):
    frame = table(**{name: cells})
    if reason is None:
        assert roles(frame).role(name) == "input"
        return
    told = question(frame)
    assert f"'{name}' is {reason}" in told
    assert "--remark" in told
    assert "--number" in told
    assert roles(frame, remarks=[name]).role(name) == "remark"
    assert roles(frame, numbers=[name]).role(name) == "input"
    assert roles(frame, also=[name]).role(name) == "result"
    assert roles(frame, inputs=["ligand", "T"]).role(name) == "left out"


def test_all_doubtful_columns_are_asked_about_at_once():
    told = question(table(**{f"yield_{i}": [1.0] * 6 for i in (1, 2)}, assay=YIELDS))
    assert "'yield_1', 'yield_2' are called like 'yield'; 'assay' is filled only" in told


def test_few_blank_cells_are_no_evidence():
    """A column that is blank in the one open row may be an input that is not always used."""
    frame = table(additive=["LiCl"] * 5 + [""])
    frame["yield"] = [1.0] * 5 + [None]
    assert roles(frame).role("additive") == "input"


@pytest.mark.parametrize(
    ("name", "cells", "role"),
    [
        ("Notes", ["cloudy", "", "", "", "", ""], "remark"),
        ("my notes", ["cloudy", "", "", "", "", "red"], "remark"),
        ("operator", ["AB", "CD"] * 3, "remark"),
        ("date", ["2024-03-01", "2024-03-02"] * 3, "remark"),
        ("date", ["2024-03-01", "", "2024-03-02", "", "2024-03-02", ""], "remark"),
        ("date", ["palm", "medjool"] * 3, "input"),
        ("priority", [1, 0, 0, -1, -1, 0], "remark"),
        ("status", [""] * 5 + ["failed"], "outcome"),
        ("catalyst", [""] * 6, "left out"),
        ("Unnamed: 0", list("abcdef"), "id"),
        ("entry", [1, 2, 3, 4, 5, 6], "id"),
        ("#", [3, 4, 5, 6, 7, 8], "id"),
        ("sample id", ["JD-1", "JD-2", "JD-3", "JD-4", "JD-5", "JD-6"], "id"),
        ("sample", ["JD-1", "JD-2", "JD-3", "JD-3", "JD-5", "JD-6"], "input"),
        ("acid", ["a", "b", "c", "d", "e", "f"], "input"),
        ("conc", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "input"),
        ("id", [1, 2, 3, 4, 5, 6], "id"),
    ],
)
def test_a_role_is_proposed_with_its_reason(name, cells, role):
    found = roles(table(**{name: cells}))
    assert found.role(name) == role
    column = next(c for c in found.columns if c.name == name)
    assert bool(column.reason) == (role != "input")
    assert (name in str(found.notes)) == (role != "input")


def test_the_column_that_is_called_id_names_the_rows():
    frame = table(entry=[1, 2, 3, 4, 5, 6], id=list("abcdef"))
    found = roles(frame)
    assert found.id_column == "id"
    assert found.role("entry") == "left out"


@pytest.mark.parametrize(
    ("name", "cells", "told"),
    [
        ("catalyst_no", [1, 2, 3, 1, 2, 3], "1 to 3"),
        ("base", [0, 1, 2, 0, 1, 2], "0 to 2"),
        ("base", [1, 2, 4, 1, 2, 4], ""),
        ("equiv", [1, 2, 3, 1, 2, 3], ""),
        ("base", [1.5, 2, 3, 1, 2, 3], ""),
    ],
)
def test_codes_that_are_read_as_quantities_get_a_note(name, cells, told):
    frame = table(**{name: cells})
    notes = [n for n in roles(frame).notes if n.code == "codes"]
    assert [n.column for n in notes] == ([name] if told else [])
    if told:
        assert told in notes[0]
        assert f"--category {name}" in notes[0]
        assert not roles(frame, numbers=[name]).notes
        made = roles(frame, categories=[name])
        assert not made.notes
        assert made.table[name].tolist() == list(map(str, cells))
        assert frame[name].tolist() == cells


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"also": ["yield"]}, "'yield' is the objective; name it only once"),
        ({"remarks": ["T"], "numbers": ["T"]}, "'T' is a remark; name it only once"),
        ({"categories": ["T"], "inputs": ["ligand"]}, "'T' is not among the inputs"),
        ({"remarks": ["tee"]}, "there is no column 'tee'"),
        ({"inputs": []}, "the list of inputs is empty"),
        ({"remarks": ["ligand", "T"]}, "no column describes the experiments"),
        ({"factors": ["yield"]}, "'yield' is a factor and no result"),
    ],
)
def test_what_contradicts_itself_is_refused(said, told):
    assert told in question(table(), **said)


def test_a_price_gets_a_note():
    found = roles(table(price=[1, 2, 3, 4, 5, 5]))
    assert found.role("price") == "input"
    assert "--cost price" in str(found.notes)
    assert not roles(table(price=[1, 2, 3, 4, 5, 5]), cost="price").notes


def test_exported_candidates_are_known_again():
    frame = table(id=list("abcdef"), state=["open", "measured"] * 3, results=[0, 1] * 3)
    frame = frame.rename(columns={"yield": "mean yield"})
    found = roles(frame)
    assert found.inputs == ["ligand", "T"]
    assert found.of("left out") == ["state", "results", "mean yield"]
    assert "as of an earlier campaign: 'state', 'results', 'mean yield'" in str(found.notes)


def test_a_slip_in_the_name_of_a_result_is_seen():
    assert "did you mean 'yield'" in question(table(), objective="yeild")


def test_the_way_to_say_so_is_that_of_the_command():
    told = question(table(purity=YIELDS), keeps=False, option="--data.{}")
    assert "--data.remark purity" in told
    assert "also" not in told
