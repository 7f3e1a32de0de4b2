import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gollum.campaign import factors
from gollum.campaign.factors import read_factors
from gollum.errors import UserError


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


def test_too_many_combinations_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(factors, "MOST_COMBINATIONS", 5)
    message = refusal(tmp_path, "factors:\n  a: [x, y]\n  b: [1, 2, 3]\n")
    assert "2 a × 3 b make 6 combinations" in message
