import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gollum.campaign import grid
from gollum.campaign.factors import read_factors
from gollum.data.writers import write_sheet
from gollum.errors import ConfigError, UserError


def written(folder, text, name="factors.yaml"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def read(folder, text):
    return read_factors(written(folder, text))


def refusal(folder, text):
    with pytest.raises(UserError) as caught:
        read(folder, text)
    message = str(caught.value)
    assert caught.value.__cause__ is None
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return message.removeprefix(f"{folder}/factors.yaml")


EXAMPLE = """
factors:
  ligand: [XPhos, SPhos, dppf]
  temperature_C: {from: 40, to: 100, step: 20}
  catalyst_mol_pct: [1, 2.5, 5]
exclude:
  - {ligand: dppf, temperature_C: [80, 100]}
  - ligand: XPhos
    temperature_C: {above: 80}
"""


def test_all_combinations_less_the_excluded_ones_in_order(tmp_path):
    table = read(tmp_path, EXAMPLE)
    product = itertools.product(["XPhos", "SPhos", "dppf"], [40, 60, 80, 100], [1.0, 2.5, 5.0])
    expected = [
        row
        for row in product
        if not (row[0] == "dppf" and row[1] >= 80) and not (row[0] == "XPhos" and row[1] > 80)
    ]
    assert list(table.itertuples(index=False, name=None)) == expected
    assert table["temperature_C"].dtype == np.int64
    assert table["catalyst_mol_pct"].dtype == np.float64
    assert table.attrs["factors"] == ("ligand", "temperature_C", "catalyst_mol_pct")
    (note,) = table.attrs["notes"]
    assert note == (
        "factors.yaml: 3 ligand × 4 temperature_C × 3 catalyst_mol_pct make 36 combinations, "
        "9 of them are excluded and 27 stay."
    )


def test_options_are_what_is_written(tmp_path):
    names = ["NO", "on", "null", "~", "2024-01-01", "1-2", "007", "12:30", "0x1F", "1_000", ".inf"]
    table = read(tmp_path, f"factors:\n  base: [{', '.join(names)}]\n")
    assert table["base"].tolist() == names


def test_numbers_may_be_written_in_several_ways(tmp_path):
    table = read(tmp_path, "factors:\n  x: [1e3, -2, +3, .5, 4.0]\n")
    assert table["x"].tolist() == [1000.0, -2.0, 3.0, 0.5, 4.0]


def test_a_number_in_quotation_marks_is_a_name(tmp_path):
    table = read(tmp_path, "factors:\n  plate: ['1', '2']\n")
    assert table["plate"].tolist() == ["1", "2"]


def test_one_word_makes_names_of_numbers_and_this_is_told(tmp_path):
    table = read(tmp_path, "factors:\n  t: [80.0, RT]\nexclude:\n  - {t: 80.0}\n")
    assert table["t"].tolist() == ["RT"]
    assert "'RT' among the numbers of 't'" in table.attrs["notes"][0]


@given(
    start=st.integers(-500, 500), step=st.integers(1, 50), count=st.integers(0, 20),
    digits=st.integers(0, 3),
)  # fmt: skip
def test_ranges_hold_the_decimals_that_one_would_type(tmp_path_factory, start, step, count, digits):
    def typed(number):
        return f"{number / 10**digits:.{digits}f}"

    values = [start + i * step for i in range(count + 1)]
    ends = f"{{from: {typed(start)}, to: {typed(values[-1])}, step: {typed(step)}}}"
    table = read(tmp_path_factory.mktemp("range"), f"factors:\n  x: {ends}\n")
    assert table["x"].tolist() == [float(typed(value)) for value in values]


def test_windows_text_is_read(tmp_path):
    table = read(tmp_path, "factors:\n  t: [80 °C, 90 °C]\n".encode("cp1252"))
    assert table["t"].tolist() == ["80 °C", "90 °C"]
    assert "Windows-1252" in table.attrs["notes"][0]


def test_an_exclusion_that_hits_nothing_is_told(tmp_path):
    base = "factors:\n  a: [x, y]\n  t: [1, 2, 3]\nexclude:\n"
    lines = "  - {t: {above: 3}}\n  - {a: x, t: 1}\n  - {t: {below: 2}, a: [x]}\n"
    table = read(tmp_path, base + lines)
    assert len(table) == 5
    first, second, _ = table.attrs["notes"]
    assert first == "factors.yaml: line 5 excludes nothing."
    assert second == "factors.yaml: line 7 excludes nothing that the lines above it leave."


def test_limits_on_both_sides_and_quoted_options(tmp_path):
    base = "factors:\n  t: [1, 2, 3, 4]\nexclude:\n"
    assert read(tmp_path, base + "  - {t: {above: 1, below: 4}}\n")["t"].tolist() == [1, 4]
    assert read(tmp_path, base + "  - {t: ['1', 4.0]}\n")["t"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", " is empty"),
        ("- a\n- b\n", ": line 1: the file should begin with 'factors:'"),
        ("factors: [a, b]\n", ": line 1: 'factors' needs lines such as"),
        ("factors:\n", ": line 1: 'factors' needs lines such as"),
        ("exclude:\n  - {a: b}\n", ": there are no 'factors'"),
        ("factor:\n  a: [x]\n", ": line 1: 'factor' is unknown here"),
        ("factor:\n  a: [x]\n", "Did you mean 'factors'?"),
        ("factors:\n  a: [x]\n  b: [y]\n  a: [z]\n", ": line 4: 'a' was there already, in line 2"),
        ("factors:\n  a: [x]\nfactors:\n  a: [y]\n", ": line 3: 'factors' was there already"),
        ("factors:\n  a: [x, y, x]\n", ": line 2: 'a' has the option 'x' twice"),
        ("factors:\n  a:\n  - 80\n  - 80.0\n", ": line 4: 'a' has the option '80' twice"),
        ("factors:\n  a: []\n", ": line 2: 'a' needs options"),
        ("factors:\n  a: x\n", ": line 2: 'a' needs options"),
        ("factors:\n  a:\n  b: [x]\n", ": line 2: 'a' needs options"),
        ("factors:\n  a: [x, , y]\n", ": line 2"),
        ("factors:\n  a:\n  - x\n  -\n", ": line 4: an entry is blank"),
        ("factors:\n  a:\n  - [Pd]\n  - x\n", ": line 3: expected one name or number, got '[Pd]'"),
        ("factors:\n  a:\n  - ratio: 1\n", ": line 3: expected one name or number"),
        ("factors:\n  a:\n  - [Na+].[OH-]\n", ": line 3"),
        ("factors:\n  a: [1, 2\n  b: [x]\n", ": line 3"),
        ("factors:\n\ta: [1, 2]\n", ": line 2: it begins with a tab; use spaces"),
        ("factors:\n  a: [1]\n---\nfactors:\n", ": line 3"),
        ("factors:\n  a: [x\x07]\n", ": line 2: it holds a character"),
        ("factors:\n  a:\n  - 2,5\n  - 3\n", ": line 3: write the number '2,5' with a point"),
        ("factors:\n  a: {from: 1, to: 2}\n", ": line 2: the range of 'a' has no 'step'"),
        ("factors:\n  a: {from: 1, to: 2, steps: 1}\n", "Did you mean 'step'?"),
        ("factors:\n  a: {from: 1, to: RT, step: 1}\n", ": line 2: 'RT' is not a number"),
        ("factors:\n  a: {from: 40, to: 100, step: 25}\n", "reach 90 and miss 100"),
        ("factors:\n  a: {from: 3, to: 1, step: 1}\n", "should go up"),
        ("factors:\n  a: {from: 1, to: 3, step: 0}\n", "should go up"),
        ("factors:\n  a: {from: 0, to: 1, step: 1e-300}\n", "take a larger step"),
        ("factors:\n  a: [x]\nexclude:\n", ": line 3: 'exclude' needs lines such as"),
        ("factors:\n  a: [x]\nexclude:\n  - x\n", ": line 4: a line of 'exclude' should be"),
        ("factors:\n  a: [x, y]\nexclude:\n  - {b: x}\n", ": line 4: there is no factor 'b'"),
        (
            "factors:\n  a: [xa, y]\nexclude:\n  - {a: xb}\n",
            "has no option 'xb'. Did you mean 'xa'?",
        ),
        ("factors:\n  a: [x, y]\nexclude:\n  - {a: []}\n", ": line 4: the list for 'a' is empty"),
        ("factors:\n  a: [x, y]\nexclude:\n  - {a: {above: 1}}\n", "no name is above"),
        ("factors:\n  a: [1, 2]\nexclude:\n  - {a: {over: 1}}\n", "there can be above, below"),
        ("factors:\n  a: [1, 2]\nexclude:\n  - {a: {above: x}}\n", "'x' is not a number"),
        ("factors:\n  a: [1, 2]\nexclude:\n  - {a: [1, 2]}\n", "every combination is excluded"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, says):
    assert says in refusal(tmp_path, text)


@pytest.mark.parametrize("name", ["1,4-dioxane", "N,N-dimethylformamide", "2-(1,3-dioxolan-2-yl)"])
def test_a_comma_inside_a_name_does_not_make_two_options_of_it(tmp_path, name):
    assert "the comma cuts '" in refusal(tmp_path, f"factors:\n  solvent: [{name}, DMF]\n")
    for form in (f"['{name}', DMF]", f"\n  - {name}\n  - DMF"):
        assert read(tmp_path, f"factors:\n  solvent: {form}\n")["solvent"].tolist() == [name, "DMF"]


@pytest.mark.parametrize("options", ["1,2,5", "XPhos,SPhos,dppf", "1, 4-dioxane", "-1,-2"])
def test_lists_without_spaces_are_read(tmp_path, options):
    assert len(read(tmp_path, f"factors:\n  a: [{options}]\n")) == len(options.split(","))


def test_a_file_that_is_not_there_suggests_the_nearest(tmp_path):
    written(tmp_path, EXAMPLE)
    with pytest.raises(UserError, match=r"Did you mean 'factors\.yaml'"):
        read_factors(tmp_path / "factor.yaml")


def test_deep_nesting_and_binary_content_are_refused(tmp_path):
    assert "nested too deeply" in refusal(tmp_path, "factors: " + "[" * 5000)
    assert "holds" in refusal(tmp_path, b"PK\x03\x04factors")


MANY = "factors:\n" + "".join(f"  x{i}: {{from: 40, to: 100, step: 0.1}}\n" for i in range(3))


def test_only_what_goes_together_stays(tmp_path):
    text = """factors:
  metal: [Pd, Ni, none]
  ligand: [XPhos, dppf, none]
  t: {from: 20, to: 100, step: 20}
  base: [K2CO3, DBU]
together:
  - {metal: Pd, ligand: [XPhos, dppf]}
  - {ligand: dppf, metal: Ni}
  - {metal: none, ligand: none}
  - {metal: Pd, t: {above: 50}}
  - {metal: [Ni, none], t: [20, 40]}
"""
    table = read(tmp_path, text)
    pairs = [("Pd", "XPhos"), ("Pd", "dppf"), ("Ni", "dppf"), ("none", "none")]
    expected = [
        (m, g, t, b)
        for m, g in pairs
        for t in (20, 40, 60, 80, 100)
        for b in ("K2CO3", "DBU")
        if (t > 50 if m == "Pd" else t < 50)
    ]
    assert list(table.itertuples(index=False, name=None)) == expected
    assert "70 of them are excluded and 20 stay" in table.attrs["notes"][-1]


def test_what_is_wrong_with_what_goes_together_is_said(tmp_path):
    text = "factors:\n  a: [x, y]\n  b: [1, 2]\ntogether:\n"
    for lines, says in (
        ("  - {a: x, b: 1}\n", "line 5: 'y' of 'a' goes together with no 'b'; add a line with it"),
        ("  - {a: [x, y]}\n", "line 5: a line of 'together' names two factors or more"),
        ("  - x\n", "line 5: a line of 'together' is such as '- {catalyst: Pd(OAc)2"),
        ("  a: x\n", "'together' needs lines such as '- {catalyst"),
        ("  - {a: z, b: 1}\n", "line 5: 'a' has no option 'z'"),
    ):
        assert says in refusal(tmp_path, text + lines)
    wide = "".join(f"  x{i}: {{from: 1, to: 1001, step: 1}}\n" for i in range(2))
    message = refusal(tmp_path, f"factors:\n{wide}together:\n  - {{x0: 1, x1: 1}}\nsample: 5\n")
    assert "'x0', 'x1' have more than 1,000,000 combinations; name fewer factors" in message


def test_too_many_combinations_are_counted_and_sample_is_named(tmp_path):
    message = refusal(tmp_path, MANY)
    assert "601 x0 × 601 x1 × 601 x2 make 217,081,801 combinations" in message
    assert "write 'sample: 20000'" in message


def test_a_sample_is_drawn_by_seed_and_told(tmp_path):
    file = written(tmp_path, MANY + "sample: 500\n")
    table = read_factors(file, seed=3)
    assert len(table.drop_duplicates()) == 500
    assert (
        "500 of these 217,081,801 were drawn, all equally likely (seed 3)"
        in (table.attrs["notes"][-1])
    )
    assert table.equals(read_factors(file, seed=3))
    assert not table.equals(read_factors(file, seed=4))


def test_a_sample_of_more_than_there_are_is_all_of_them(tmp_path):
    table = read(tmp_path, "factors:\n  a: [1, 2]\nsample: 10\n")
    assert table["a"].tolist() == [1, 2]
    assert len(table.attrs["notes"]) == 1


def test_what_is_ruled_out_is_not_made_first(tmp_path):
    names = "".join(f"  f{i}: {{from: 1, to: 20, step: 1}}\n" for i in range(8))
    lines = "".join(f"  - {{f{i}: {{above: 2}}}}\n" for i in range(8))
    table = read(tmp_path, f"factors:\n{names}exclude:\n{lines}")
    assert len(table) == 2**8
    assert "make 25,600,000,000 combinations" in table.attrs["notes"][-1]


RELATED = """
factors:
  a: {from: 0, to: 1, step: 0.1}
  b: [0.1, 0.2, 5]
  mol %: [0, 1, 2]
  salt: [none, LiCl, NaCl]
relations:
  - """


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("a + b == 0.3", lambda r: round(r.a + r.b, 9) == 0.3),
        ("a < b", lambda r: r.a < r.b),
        ("b <= a", lambda r: r.b <= r.a),
        ("0.5 < 2*a + b/2 - 0.1 <= 1", lambda r: 0.5 < round(2 * r.a + r.b / 2 - 0.1, 9) <= 1),
        ("-(a - 1) >= 3*(b - 0.1)", lambda r: round(1 - r.a - 3 * (r.b - 0.1), 9) >= 0),
        ("'`mol %` > 10*a'", lambda r: r.mol > round(10 * r.a, 9)),
        (
            "{only: {salt: [LiCl, NaCl]}, with: {mol %: {above: 0}, b: 5}}",
            lambda r: r.salt == "none" or (r.mol > 0 and r.b == 5),
        ),
        ("{only: {b: [0.1, 5]}, with: {b: [0.1, 0.2]}}", lambda r: r.b != 5),
        (
            "{at_most: 1, of: [a, mol %, salt]}",
            lambda r: (r.a > 0) + (r.mol > 0) + (r.salt != "none") <= 1,
        ),
    ],
)
def test_relations_say_what_stays(tmp_path, line, stays):
    whole = read(tmp_path, RELATED.removesuffix("relations:\n  - "))
    table = read(tmp_path, f"{RELATED}{line}\n").rename(columns={"mol %": "mol"})
    rows = whole.rename(columns={"mol %": "mol"}).itertuples(index=False)
    expected = [tuple(row) for row in rows if stays(row)]
    assert list(table.itertuples(index=False, name=None)) == expected


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a + c < 3", "there is no factor 'c'"),
        ("a + salt < 3", "'salt' has names for options, and a relation needs numbers"),
        ("a * b < 3", "a relation is linear"),
        ("3 / a < 3", "a relation is linear"),
        ("a / 0 < 1", "can't be divided by 0"),
        ("a != b", "compare by == <= >= < > only"),
        ("a = b", "write a relation such as"),
        ("a + b", "write a relation such as"),
        ("a ** 2 < 3", "write a relation such as"),
        ("a < 1e999", "write a relation such as"),
        ("__import__('os') < a", "write a relation such as"),
        ("a < b and b < 3", "write a relation such as"),
        (f"{'(' * 300}a < 3", "write a relation such as"),
        (f"a{' + a' * 20000} < 3", "write a relation such as"),
        ("a - a < 2", "depends on no factor"),
        ("a * 1e-30 < b", "too many digits"),
        ("a > 1", "every combination is excluded"),
        ("{only: {salt: LiCl}}", "is such as"),
        ("{only: {salt: KCl}, with: {a: 1}}", "'salt' has no option 'KCl'"),
        ("{never: {salt: LiCl}}", "'never' is unknown here"),
        ("{at_most: 1, of: [a, b]}", "'b' has no option 0 or none"),
        ("{at_most: 1, of: [a, c]}", "there is no factor 'c'"),
        ("{at_most: a, of: [a]}", "'at_most' is how many"),
    ],
)
def test_a_relation_that_means_nothing_is_refused_with_its_line(tmp_path, line, says):
    message = refusal(tmp_path, f"{RELATED}{line}\n")
    assert message.startswith(": line 8: ")
    assert says in message


def test_a_relation_that_excludes_nothing_is_told(tmp_path):
    table = read(tmp_path, f"{RELATED}a < b\n  - a <= 5\n  - a <= b\n")
    assert table.attrs["notes"][:2] == (
        "factors.yaml: line 9 excludes nothing.",
        "factors.yaml: line 10 excludes nothing that the lines above it leave.",
    )


def test_a_mixture_has_a_column_for_each_part(tmp_path):
    text = "mixture: {parts: [water, THF, DMF], total: 1, step: 0.1, at_most: 2}\n"
    table = read(tmp_path, f"factors:\n  t: [20, 40]\n{text}relations:\n  - water >= 0.5\n")
    steps = [f / 10 for f in range(11)]
    expected = [
        (t, a, b, c)
        for t, a, b, c in itertools.product([20, 40], steps, steps, steps)
        if round(a + b + c, 9) == 1 and a * b * c == 0 and a >= 0.5
    ]
    assert list(table.itertuples(index=False, name=None)) == expected
    assert "2 t × 30 mixtures of water, THF, DMF make 60 combinations" in table.attrs["notes"][0]


def test_several_mixtures_stand_in_a_list(tmp_path):
    text = "  - {parts: [a, b], total: 100, step: 50}\n  - {parts: [c, d], total: 1, step: 1}\n"
    table = read(tmp_path, f"mixture:\n{text}")
    assert table.to_numpy().tolist() == [
        [0, 100, 0, 1], [0, 100, 1, 0], [50, 50, 0, 1], [50, 50, 1, 0], [100, 0, 0, 1],
        [100, 0, 1, 0],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mixture: [a, b]\n", ": line 1: a mixture is such as"),
        ("mixture: {parts: [a, b], total: 1}\n", ": line 1: the mixture has no 'step'"),
        ("mixture: {parts: [a, b], total: 1, step: 0.3}\n", "steps of 0.3 do not make 1"),
        ("mixture: {parts: [a, b], total: x, step: 1}\n", "'x' is not a number"),
        ("mixture: {parts: [a, b], total: 1e999, step: 1}\n", "'1e999' is not a number"),
        ("mixture: {parts: [a, b], total: 1, step: 1.0e-9}\n", "take larger ones"),
        ("mixture: {parts: [a, a], total: 1, step: 1}\n", "each named once"),
        ("mixture: {parts: [a], total: 1, step: 1}\n", "two parts or more"),
        ("mixture: {parts: [a, b], total: 1, step: 1, at_most: 0}\n", "'at_most' is how many"),
        (
            "factors:\n  a: [x]\nmixture: {parts: [a, b], total: 1, step: 1}\n",
            ": line 3: 'a' is there already",
        ),
        ("factors:\n  a: [x, y]\nsample: 1\n", ": line 3: 'sample' is how many"),
        ("factors:\n  a: [x, y]\nsample: 2000000\n", "from 2 to 1,000,000"),
        ("factors:\n  a: [x, y]\ntable: t.csv\n", "'factors' is unknown here"),
    ],
)
def test_mixtures_and_samples_that_mean_nothing_are_refused(tmp_path, text, says):
    assert says in refusal(tmp_path, text)


def test_what_is_too_entangled_is_refused_with_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "MOST_LINKS", 11)
    monkeypatch.setattr(grid, "SMALL", 0)
    assert ": line 8: with this line more options are tied" in refusal(
        tmp_path, f"{RELATED}a < b\n"
    )


@pytest.mark.parametrize("ending", ["xlsx", "csv"])
def test_lists_of_options_come_from_the_columns_of_a_spreadsheet(tmp_path, ending):
    if ending == "xlsx":
        pytest.importorskip("openpyxl")
    file = tmp_path / f"lists.{ending}"
    lists = pd.DataFrame({"ligand": ["X: Phos", "Ü", ""], "t (h)": [1.0, 2.5, 4.0]})
    write_sheet(lists, file)
    table = read_factors(file)
    assert len(table) == 6
    assert table["ligand"].unique().tolist() == ["X: Phos", "Ü"]
    assert table["t (h)"].dtype == float
    write_sheet(pd.DataFrame({"ligand": ["X", "X"], "t": [1, 2]}), file)
    with pytest.raises(ConfigError, match="'X' twice"):
        read_factors(file)
