import sys

import numpy as np
import pandas as pd
import pytest

from gollum.data.pool import Pool
from gollum.errors import DataError, MissingExtraError
from gollum.features.fixed import drfp, morgan, one_hot


def pool_of(**columns):
    table = pd.DataFrame(columns)
    return Pool.from_table(table.assign(y=np.arange(len(table)) / 10), "y", name="demo")


def test_one_hot_of_categories_numbers_and_blanks():
    pool = pool_of(ligand=["b", "a", None, "b"], temperature=[20.0, 40.0, 30.0, 60.0])
    expected = [[0, 0, 1, 0], [0, 1, 0, 0.5], [1, 0, 0, 0.25], [0, 0, 1, 1]]
    assert one_hot(pool) == pytest.approx(np.array(expected))
    assert one_hot(pool).dtype == np.float64


def test_one_hot_counts_renamed_and_constant_columns_once():
    pool = pool_of(
        ligand=["a", "b", "a", "c"],
        ligand_smiles=["C", "CC", "C", "CCC"],
        solvent=["water"] * 4,
        base=["x", "x", "y", "y"],
        hours=[2, 2, 2, 2],
    )
    assert one_hot(pool).shape == (4, 3 + 2)


def test_one_hot_keeps_a_column_that_only_merges_levels():
    pool = pool_of(halide=["Cl", "Br", "I", "Cl"], row=["a", "a", "b", "c"], n=[1, 2, 3, 4])
    assert one_hot(pool).shape == (4, 3 + 3 + 1)


def test_one_hot_marks_missing_numbers_and_fills_in_the_median():
    pool = pool_of(equiv=[1.0, np.nan, 2.0, 5.0])
    assert one_hot(pool) == pytest.approx(np.array([[0, 0], [0.25, 1], [0.25, 0], [1, 0]]))


def test_one_hot_reads_nullable_and_boolean_columns():
    pool = pool_of(n=pd.array([1, None, 3], dtype="Int64"), dry=[True, False, False])
    assert one_hot(pool) == pytest.approx(np.array([[0, 0, 1], [0.5, 1, 0], [1, 0, 0]]))


def test_one_hot_refuses_what_it_cannot_use():
    pool = Pool("demo", pd.DataFrame({"a": ["x", "x"]}), "y", "maximize", np.array([0.0, 1.0]))
    with pytest.raises(DataError, match="no input column differs"):
        one_hot(pool)
    with pytest.raises(DataError, match=r"candidate 'r2', column 'n'.*infinite"):
        one_hot(pool_of(n=[1.0, np.inf, 2.0]))


def test_morgan_equals_rdkit_and_puts_columns_side_by_side():
    chem = pytest.importorskip("rdkit.Chem")
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    pool = pool_of(halide=["CCBr", "CCl", "CCBr", ""], base=["N", "N", "CN", "CN"])
    bits = morgan(pool, ["halide", "base"], radius=2, n_bits=64)
    generator = GetMorganGenerator(radius=2, fpSize=64)
    expected = generator.GetFingerprintAsNumPy(chem.MolFromSmiles("CCBr"))
    assert bits.shape == (4, 128)
    assert bits.dtype == np.uint8
    assert bits[0, :64] == pytest.approx(expected)
    assert bits[2, :64] == pytest.approx(expected)
    assert not bits[3, :64].any()
    assert (bits[0, 64:] != bits[2, 64:]).any()


def test_morgan_skips_constant_columns_of_several():
    pytest.importorskip("rdkit")
    pool = pool_of(a=["C", "CC"], b=["N", "N"])
    assert morgan(pool, ["a", "b"]) == pytest.approx(morgan(pool, ["a"]))
    assert morgan(pool, ["b"]).shape == (2, 2048)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["good", "bad"], "demo: candidate 'r2', column 'bad': 'C1CC' is not a valid SMILES"),
        (["god"], "no SMILES column 'god'. Did you mean 'good'"),
        (["same", "same_too"], "no SMILES column differs"),
        ([], "no SMILES column differs"),
    ],
)
def test_morgan_says_what_is_wrong_and_nothing_else(columns, message, capfd):
    pytest.importorskip("rdkit")
    pool = pool_of(good=["C", "N"], bad=["C", "C1CC"], same=["C", "C"], same_too=["N", "N"])
    with pytest.raises(DataError, match=message):
        morgan(pool, columns)
    assert capfd.readouterr().err == ""


def test_drfp_equals_the_encoder_and_keeps_the_order():
    package = pytest.importorskip("drfp")
    reactions = ["CCBr.N>>CCN", "CCl.N>[Pd]>CN", "CCBr.N>>CCN", "CC=O..N>>CCN"]
    expected = package.DrfpEncoder.encode(reactions, n_folded_length=256, radius=2)
    bits = drfp(reactions, "demo", list("abcd"), radius=2, n_bits=256)
    assert bits.dtype == np.uint8
    assert bits == pytest.approx(np.stack(expected))


@pytest.mark.parametrize(
    ("reaction", "message"),
    [
        ("CCBr.N", "candidate 'b'.*write 'reactants>>products'"),
        (">>CC", "candidate 'b'.*write 'reactants>>products'"),
        ("N->[Pd].C>>CC", "candidate 'b'.*dative bond"),
        ("CCBr.C1CC>>CCN", "candidate 'b': 'C1CC' in the reaction .* is not a valid SMILES"),
    ],
)
def test_drfp_names_the_reaction_it_cannot_read(reaction, message, capfd):
    pytest.importorskip("drfp")
    with pytest.raises(DataError, match=message):
        drfp(["CCBr.N>>CCN", reaction], "demo", ["a", "b"])
    assert capfd.readouterr().err == ""


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    monkeypatch.setitem(sys.modules, "drfp", None)
    with pytest.raises(MissingExtraError, match="pip install rdkit drfp"):
        morgan(pool_of(a=["C", "N"]), ["a"])
    with pytest.raises(MissingExtraError, match="pip install rdkit drfp"):
        drfp(["C>>N"], "demo", ["a"])
