"""Read twice, a sheet says nothing new; the order of its rows is no matter; nothing is lost."""

from collections import Counter

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns import campaign, candidates, suggested
from gollum.campaign.intake import read_results
from gollum.campaign.state import Logged, State

TABLE = candidates(4)
PLANS = {"1-1": "r1", "1-2": "r2", "2-1": "r1"}
OUTCOMES = [
    ("", ""), (1, ""), (2, "measured"), (2.5, ""), ("failed", ""), ("", "not run"), (0, "failed"),
]  # fmt: skip

new = st.fixed_dictionaries({"ligand": st.sampled_from(["XPhos", "new"]), "hours": st.just(5.0)})
which = st.one_of(
    st.sampled_from(list(PLANS)).map(lambda run: {"run": run}),
    st.sampled_from(list(TABLE.index)).map(lambda name: {"id": name}),
    st.sampled_from(list(TABLE.index)).map(lambda name: TABLE.loc[name].to_dict()),
    new.map(lambda row: row | {"substrate": "CO"}),
)
row = st.tuples(
    which, st.sampled_from(OUTCOMES), st.sampled_from([None, 3, 4]), st.sampled_from(["", "", "a"])
).map(
    lambda r: (
        {
            "run": "",
            "id": "",
            "ligand": "",
            "hours": None,
            "substrate": "",
            "status": r[1][1],
            "yield": r[1][0],
            "note": r[3],
            # a further result without status or for one that was not run would be a contradiction
            "purity": r[2] if r[1][0] not in ("", 0) and r[1][0] != "failed" else None,
        }
        | r[0]
    )
)
sheets = st.lists(row, max_size=7)


def log_of(batches):
    _, log = campaign(TABLE, *batches, also=("purity",))
    return log


BATCHES = (
    suggested(("1-1", "r1"), ("1-2", "r2")),
    suggested(("2-1", "r1"), batch=2),
)


def read(log, rows, **options):
    state = State.of(log, lambda _: TABLE)
    frame = pd.DataFrame(rows, columns=list(row_columns))
    return read_results(state, frame, source=None, name="f", **options)


row_columns = ("run", "id", "ligand", "hours", "substrate", "status", "yield", "note", "purity")


def fold(log, intake):
    if intake.event is None:
        return log
    return [*log, Logged(len(log) + 1, "t", "", intake.event)]


def state_of(log):
    return State.of(log, lambda _: TABLE)


def outcomes(log):
    """How often each experiment came to each end."""
    state = state_of(log)
    inputs = {name: tuple(cells) for name, *cells in state.table.itertuples()}
    return Counter(
        (inputs[m.result.id], m.result.status, tuple(sorted(m.result.values.items())))
        for m in state.measurements.values()
    )


@settings(max_examples=60, deadline=None)
@given(earlier=st.lists(sheets, max_size=2), last=sheets, correct=st.booleans())
def test_a_sheet_read_twice_says_nothing_new(earlier, last, correct):
    log = log_of(BATCHES)
    for rows in earlier:
        log = fold(log, read(log, rows))
    log = fold(log, read(log, last, correct=correct))
    again = read(log, last)
    assert again.event is None
    assert again.known + again.waiting + sum(not any(filled(r)) for r in last) == len(last)


def filled(cells):
    return [cell for cell in cells.values() if cell not in ("", None)]


@settings(max_examples=60, deadline=None)
@given(rows=sheets, data=st.data())
def test_the_order_of_rows_is_no_matter(rows, data):
    log = log_of(BATCHES)
    other = data.draw(st.permutations(rows))
    assert outcomes(fold(log, read(log, rows))) == outcomes(fold(log, read(log, other)))


@settings(max_examples=60, deadline=None)
@given(several=st.lists(sheets, max_size=4))
def test_nothing_recorded_is_lost(several):
    log = log_of(BATCHES)
    for rows in several:
        before, intake = state_of(log), read(log, rows)
        log = fold(log, intake)
        now = state_of(log)
        assert set(before.measurements) <= set(now.measurements)
        assert len(now.measurements) >= len(before.measurements)
        for run, measurement in before.measurements.items():
            words = (*now.measurements[run].earlier, now.measurements[run].result)
            assert measurement.result in words
        new = intake.measured + intake.failed + intake.not_run
        grown = len(now.measurements) - len(before.measurements)
        assert new == grown + intake.corrected
        assert len(now.table) == len(before.table) + intake.joined
