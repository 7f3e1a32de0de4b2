"""Plates from addresses."""

import pytest

from gollum.web.plate import Plate, in_order

RUNS = [f"b1-{i}" for i in range(1, 8)]


def test_runs_fill_the_plate_in_reading_order():
    assert list(Plate.of({}, RUNS).wells) == ["A1", "A2", "A3", "A4", "A5", "A6", "B1"]
    assert list(Plate.of({"order": "columns"}, RUNS).wells)[:5] == ["A1", "B1", "C1", "D1", "A2"]
    assert list(Plate.of({"order": "snake"}, RUNS).wells)[-1] == "B6"
    assert Plate.of({}, [f"b1-{i}" for i in range(30)]).size == 96
    assert in_order(96, "rows")[-1] == "H12"


def test_controls_stay_free_and_what_is_said_stays():
    plate = Plate.of({"controls": "a1, D6", "wells": "b1-1.B3 b1-2.A1 b1-9.C1 b1-3.B3"}, RUNS)
    assert plate.controls == ("A1", "D6")
    assert plate.wells["B3"] == "b1-1"
    assert {"A1", "D6", "C1"} & set(plate.wells) == set()
    assert sorted(plate.wells.values()) == RUNS
    again = Plate.of({"size": "24", "controls": "A1 D6", "wells": "b1-1.B3"}, RUNS)
    assert again.wells == plate.wells
    assert [well for well, _ in plate.reading][:2] == ["A1", "A2"]


def test_wells_are_exchanged_also_with_controls_and_free_ones():
    plate = Plate.of({"controls": "A1", "move": "a1 a2"}, RUNS)
    assert plate.controls == ("A2",)
    assert plate.wells["A1"] == "b1-1"
    assert Plate.of({"move": "A1 D6"}, RUNS).wells["D6"] == "b1-1"


def test_too_many_are_said_and_nonsense_is_passed_over():
    many = [f"b1-{i}" for i in range(1, 31)]
    plate = Plate.of({"size": "24"}, many)
    assert plate.left == tuple(many[24:])
    for said in ({"size": "25"}, {"order": "x"}, {"move": "A1"}, {"wells": "..; A1."}):
        assert Plate.of(said, RUNS) == Plate.of({}, RUNS)


@pytest.mark.parametrize("size", [24, 96])
@pytest.mark.parametrize("order", ["rows", "columns", "snake"])
def test_each_order_reads_each_well_once(size, order):
    assert len(set(in_order(size, order))) == size
