"""Whatever pandas writes as CSV, the reader gives back."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gollum.data.readers import read_table

# Letters first, so that a text is neither blank nor a number; the rest is as nasty as CSV gets.
words = st.builds(
    str.__add__,
    st.sampled_from("Nxé[σ"),
    st.text(alphabet="aA1 ,;\"'\t\n#=[]()@\\/µ", max_size=12),
)
names = st.lists(st.from_regex(r"[a-z][a-z_ %]{0,6}[a-z]", fullmatch=True), min_size=4, max_size=4)
floats = st.floats(allow_nan=False, allow_infinity=False)
rows = st.lists(
    st.tuples(
        words,
        words | st.just(""),
        st.integers(-(2**63), 2**63 - 1),
        floats | st.just(np.nan),
    ),
    min_size=1,
    max_size=8,
)


def is_tidy(texts):
    """No two texts differ only by the spaces around them; the reader would make them one."""
    return len({text.strip() for text in texts}) == len(set(texts))


def roundtrip(table, **options):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "table.csv")
        table.to_csv(file, index=False, **options)
        return read_table(file)


@settings(max_examples=60, deadline=None)
@given(titles=names.filter(lambda n: len(set(n)) == 4), rows=rows, delimiter=st.sampled_from(",;"))
def test_csv_roundtrip(titles, rows, delimiter):
    assume(all(is_tidy([row[i] for row in rows]) for i in range(2)))
    table = pd.DataFrame(rows, columns=titles).astype({titles[2]: "int64", titles[3]: "float64"})
    back = roundtrip(table, sep=delimiter, lineterminator="\n")
    assert back.columns.tolist() == titles
    for title in titles[:3]:
        assert back[title].tolist() == table[title].tolist()
    if table[titles[3]].isna().all():
        assert back[titles[3]].eq("").all()
    else:
        np.testing.assert_array_equal(back[titles[3]], table[titles[3]])
