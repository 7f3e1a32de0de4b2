"""Names that have an order: said in three ways, kept, changed later, and represented by ranks."""

import numpy as np
import pandas as pd
import pytest

from gollum.api import Campaign
from gollum.campaign.factors import read_factors
from gollum.cli import main
from gollum.data.pool import Pool
from gollum.errors import DataError, UserError
from gollum.features.fixed.columns import one_hot

STIRRING = ("slow", "medium", "fast", "vigorous")
TABLE = pd.DataFrame(
    [(s, x, g) for s in STIRRING for x in ("A", "B", "C") for g in (1, 2, 5)],
    columns=["stirring", "ligand", "grade"],
)
OPTIONS = {"objective": "yield", "surrogate": "one_hot"}


def test_ranks_stand_in_place_of_indicators():
    table = TABLE.assign(grade="x").rename_axis("id")
    table.index = pd.Index([f"r{i}" for i in range(36)], name="id")
    pool = Pool("p", table, "y", "maximize", np.full(36, np.nan), orders={"stirring": STIRRING})
    blocks = one_hot(pool)
    assert [slot.form for slot in blocks.layout] == ["number", "indicators"]
    expected = np.repeat([0, 1 / 3, 2 / 3, 1], 9)
    np.testing.assert_allclose(blocks.parts[0].matrix[:, 0], expected)
    others = pd.DataFrame({"stirring": ["fast", "other"], "ligand": "A"})
    np.testing.assert_allclose(blocks.encode(others)[:, 0], [2 / 3, 0.5])  # the median
    unordered = Pool("p", table, "y", "maximize", np.full(36, np.nan))
    assert pool.fingerprint != unordered.fingerprint


def test_an_order_is_said_by_an_option_or_a_file(tmp_path):
    TABLE.to_csv(tmp_path / "runs.csv", index=False)
    orders = ["--ordinal", "Stirring=slow, Medium,fast,vigorous,wild", "--ordinal", "grade=1,2,5"]
    arguments = ["init", str(tmp_path / "a.gollum"), "--table", str(tmp_path / "runs.csv"),
                 "--objective", "yield", "--surrogate", "one_hot", *orders]  # fmt: skip
    assert main(arguments) == 0
    made = Campaign(tmp_path / "a.gollum").state()
    orders = {"stirring": (*STIRRING, "wild"), "grade": ("1", "2", "5")}
    assert made.created.orders == made.pool.orders == orders
    assert made.table["grade"].tolist()[:3] == ["1", "2", "5"]
    file = tmp_path / "runs.yaml"
    said = "columns: {stirring: {ordinal: [slow, medium, fast, vigorous, wild]}, grade: %s}\n"
    file.write_text("table: runs.csv\n" + said % "{ordinal: [1, 2, 5]}")
    other, start = Campaign.create(tmp_path / "b.gollum", factors=file, **OPTIONS)
    assert other.state().created.orders == orders
    shown = {column.name: (column.kind, column.example) for column in start.columns}
    assert shown["grade"] == ("ordinal", "1 < 2 < 5")
    with pytest.raises(UserError, match="'grade' has another order in the file"):
        Campaign.create(tmp_path / "c.gollum", factors=file, ordinal={"grade": "215"}, **OPTIONS)
    file.write_text("table: runs.csv\n" + said % "ordinal")
    with pytest.raises(UserError, match="line 2: no list gives 'grade' an order; say it, such as"):
        read_factors(file)
    lists = "factors:\n  stirring: [slow, medium, fast, vigorous]\n  t: [1, 2]\n"
    file.write_text(lists + "columns: {stirring: ordinal}\n")
    other, _ = Campaign.create(tmp_path / "d.gollum", factors=file, **OPTIONS)
    assert other.state().created.orders == {"stirring": STIRRING}


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"stirring": ["slow", "fast"]}, "'medium' of 'stirring' is not in the order slow < fast"),
        ({"stirring": [*STIRRING, "Slow"]}, "the order of 'stirring' has 'slow' twice"),
        ({"stirring": ["slow"]}, "the order of 'stirring' needs two names or more"),
        ({"strring": STIRRING}, "Did you mean 'stirring'?"),
    ],
)
def test_what_is_no_order_is_refused(tmp_path, order, says):
    with pytest.raises(DataError) as caught:
        Campaign.create(tmp_path / "my.gollum", table=TABLE, ordinal=order, **OPTIONS)
    assert says in str(caught.value)
    assert not (tmp_path / "my.gollum").exists()


def test_an_order_is_said_and_changed_later(tmp_path):
    made, _ = Campaign.create(tmp_path / "my.gollum", table=TABLE, **OPTIONS)
    results = TABLE[::3].assign(**{"yield": np.repeat([10, 30, 50, 60], 3) + np.arange(12) % 3})
    made.record(results)
    made.suggest(2)
    with pytest.raises(DataError, match="'grade' holds numbers"):
        made.order({"stirring": STIRRING, "grade": "125"})
    assert made.state().created.orders == {}
    assert made.order({"stirring": STIRRING}) == {"stirring": STIRRING}
    made.rename("stirring", {"vigorous": "very fast"})
    assert made.state().created.orders["stirring"][-1] == "very fast"
    new = [{"stirring": "wild", "ligand": "A", "grade": 1, "yield": 61}]
    note = str(made.record(new).notes[0])
    assert "stirring 'wild' has no place in the order slow < medium < fast < very fast" in note
    made.order({"stirring": [*STIRRING[:3], "very fast", "wild"]})
    assert made.suggest(2).shape[0] == 2
    assert all(one.agrees for one in made.replay())
