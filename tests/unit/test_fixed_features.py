import sys

import numpy as np
import pandas as pd
import pytest

from gollum.data.pool import Pool
from gollum.errors import DataError, MissingExtraError
from gollum.features.base import FixedFeatures, represented
from gollum.features.fixed import columns, molecules
from gollum.features.fixed.molecules import canonical
from gollum.features.fixed.reactions import drfp, written_with
from gollum.features.layout import Blocks, Layout, Slot, block, side_by_side
from gollum.features.problem import Problem
from gollum.features.representations import REPRESENTATIONS, Setup
from gollum.settings import Settings
from helpers import CPU, make_pool

FIXED = ("one_hot", "morgan", "fragments", "descriptors", "drfp")


def pool_of(**columns):
    table = pd.DataFrame(columns)
    return Pool.from_table(table.assign(y=np.arange(len(table)) / 10), "y", name="demo")


def matrix_of(blocks, table):
    """Features of a pool, which its own rows have as well, in an order of their own."""
    rows = np.arange(len(table))[::-1]
    assert np.array_equal(blocks.encode(table.iloc[rows]), blocks.matrix[rows])
    assert blocks.layout.size == blocks.matrix.shape[1]
    return blocks.matrix


def one_hot(pool):
    return matrix_of(columns.one_hot(pool), pool.table)


def morgan(pool, *arguments, **options):
    return matrix_of(molecules.morgan(pool, *arguments, **options), pool.table)


def fragments(pool, *arguments):
    return matrix_of(molecules.fragments(pool, *arguments), pool.table)


def descriptors(pool, *arguments):
    return matrix_of(molecules.descriptors(pool, *arguments), pool.table)


def fingerprint(bits):
    layout = Layout((Slot("fingerprint", (), bits.shape[1], "bits"),))
    return Blocks(bits, layout, lambda table: bits[:: 1 if table.index[0] == "r1" else -1])


def beside(pool, bits, covered):
    return matrix_of(columns.beside(pool, fingerprint(bits), covered), pool.table)


def fixed_features(name, pool, structures, reactions):
    problem = Problem(pool, (), structures=tuple(structures), reactions=reactions)
    return REPRESENTATIONS[name](Setup(problem, Settings(), CPU)).matrix


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
    rings = "C1CC2CCC1(CC2)c1ccc2[nH]ccc2c1.Brc1ncc(C[C@H](N)C)s1>>C1CCC2(CC1)OCC[N+]2=O"
    reactions = ["CCBr.N>>CCN", "CCl.N>[Pd]>CN", "CCBr.N>>CCN", "CC=O..N>>CCN", rings]
    expected = package.DrfpEncoder.encode(reactions, n_folded_length=1024)
    bits = drfp(reactions, "demo", list("abcde"), n_bits=1024)
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
    pytest.importorskip("rdkit")
    with pytest.raises(DataError, match=message):
        drfp(["CCBr.N>>CCN", reaction], "demo", ["a", "b"])
    assert capfd.readouterr().err == ""


def test_fragments_are_counted_per_column_and_constant_counts_left_out():
    pytest.importorskip("rdkit")
    pool = pool_of(
        start=["OCCO", "CO", "c1ccccc1", ""], base=["C", "C", "C", "C"], acid=["C", "C", "C", "CO"]
    )
    counts = fragments(pool, ["start", "base", "acid"])
    assert counts.dtype == np.float64
    # fr_Al_OH and fr_Al_OH_noTert count alcohols, fr_benzene rings; other counts don't differ.
    alcohols, rings, in_acid = [2, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]
    columns = counts.T.tolist()
    assert columns.count(alcohols) == 2
    assert columns.count(rings) == 1
    assert columns.count(in_acid) == 2
    assert (np.ptp(counts, axis=0) > 0).all()


def test_fragments_equal_rdkit():
    chem = pytest.importorskip("rdkit.Chem")
    from rdkit.Chem import Fragments

    smiles = ["CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "CCCCCCO", "CS(=O)(=O)N"]
    names = sorted(name for name in dir(Fragments) if name.startswith("fr_"))
    expected = np.array(
        [[getattr(Fragments, n)(chem.MolFromSmiles(s)) for n in names] for s in smiles]
    )
    expected = expected[:, expected.min(axis=0) < expected.max(axis=0)]
    assert len(names) == 85
    assert fragments(pool_of(a=smiles), ["a"]) == pytest.approx(expected)


def test_descriptors_are_standardised_over_the_pool():
    chem = pytest.importorskip("rdkit.Chem")
    from rdkit.Chem.Descriptors import MolWt

    smiles = ["CCO", "CCCCO", "c1ccccc1", "CC(=O)O", "CCN", "CCO"]
    features = descriptors(pool_of(a=smiles, same=["C"] * 6, n=range(6)), ["a", "same"])
    d = features.shape[1]
    assert 50 < d < 217
    assert features.mean(axis=0) == pytest.approx(np.zeros(d), abs=1e-12)
    assert features.var(axis=0) == pytest.approx(np.full(d, 1 / d))
    weights = np.array([MolWt(chem.MolFromSmiles(s)) for s in smiles])
    expected = (weights - weights.mean()) / weights.std() / np.sqrt(d)
    assert np.abs(features - expected[:, None]).max(axis=0).min() == pytest.approx(0, abs=1e-12)
    assert (features[0] == features[5]).all()
    # The mean squared distance between two candidates, one of them twice included, is 2.
    assert squared_distances(features).mean() == pytest.approx(2.0)


def test_every_column_of_structures_counts_as_much_as_another():
    pytest.importorskip("rdkit")
    pool = pool_of(
        a=["CCO", "CCCCO", "c1ccccc1", "CC(=O)O", "CCN", "CCO"],
        b=["C", "C", "C", "[Na+]", "[Na+]", "[Na+]"],
    )
    alone, both = descriptors(pool, ["a"]), descriptors(pool, ["a", "b"])
    d = alone.shape[1]
    assert both[:, :d] == pytest.approx(alone / np.sqrt(2))
    assert squared_distances(both[:, :d]).mean() == pytest.approx(1.0)
    assert squared_distances(both[:, d:]).mean() == pytest.approx(1.0)


def test_a_blank_cell_is_the_mean_of_the_other_descriptors_and_drops_none():
    pytest.importorskip("rdkit")
    smiles = ["CCO", "CCCCO", "c1ccccc1", "CC(=O)O"]
    without = descriptors(pool_of(a=smiles), ["a"])
    blank = descriptors(pool_of(a=[*smiles, ""]), ["a"])
    assert blank[:4] == pytest.approx(without)
    assert not blank[4].any()


def test_a_descriptor_that_is_no_number_for_one_molecule_is_left_out():
    pytest.importorskip("rdkit")
    smiles = ["CCO", "CCCCO", "c1ccccc1"]
    # RDKit has no partial charges for this complex.
    with_metal = descriptors(pool_of(a=[*smiles, "[Pd]"]), ["a"])
    assert np.isfinite(with_metal).all()


@pytest.mark.parametrize("encode", [fragments, descriptors])
def test_features_that_cannot_tell_molecules_apart_are_refused(encode):
    pytest.importorskip("rdkit")
    with pytest.raises(DataError, match=r"demo: no .* differs between the candidates"):
        encode(pool_of(a=["C", "C"], b=[1, 2]), ["a"])
    with pytest.raises(DataError, match="candidate 'r2', column 'a': 'C1CC' is not a valid"):
        encode(pool_of(a=["C", "C1CC"]), ["a"])


def test_canonical_smiles_keep_blanks_and_the_order():
    pytest.importorskip("rdkit")
    pool = pool_of(a=["OCC", "C(O)C", "", "N"])
    assert canonical(pool, "a") == ["CCO", "CCO", "", "N"]


# --- what a fingerprint does not see --------------------------------------------------------------


def squared_distances(features):
    difference = features[:, None].astype(float) - features[None]
    return (difference**2).sum(-1)


def test_numbers_and_categories_stand_beside_a_fingerprint_with_equal_weight():
    rng = np.random.default_rng(0)
    pool = pool_of(
        start=[f"C{'C' * i}" for i in rng.permutation(np.arange(12) % 4)],
        partner=[f"N{'C' * i}" for i in rng.permutation(np.arange(12) % 3)],
        hours=rng.permutation(12) * 2.0,
        flask=rng.permutation(["a", "b", "c"] * 4),
    )
    bits = rng.integers(0, 2, (12, 50)).astype(np.uint8)
    features = beside(pool, bits, ["start", "partner"])
    assert features.shape == (12, 50 + 1 + 3)
    assert (features[:, :50] == bits).all()
    per_column = squared_distances(bits).mean() / 2
    assert squared_distances(features[:, 50:51]).mean() == pytest.approx(per_column)
    assert squared_distances(features[:, 51:]).mean() == pytest.approx(per_column)
    order = np.argsort(pool.table["hours"])
    assert (np.diff(features[order, 50]) > 0).all()


def test_nothing_is_added_where_structures_say_everything():
    bits = np.eye(4, dtype=np.uint8)
    names = {"ligand": ["x", "y", "x", "z"], "solvent": ["water"] * 4, "label": list("pqrs")}
    pool = pool_of(smiles=["C", "N", "C", "O"], **names)
    blocks = fingerprint(bits)
    assert columns.beside(pool, blocks, ["smiles"]) is blocks


def test_a_name_that_only_some_structures_share_is_kept():
    bits = np.eye(4, dtype=np.uint8)
    pool = pool_of(smiles=["C", "N", "C", "O"], vendor=["x", "x", "y", "y"])
    assert beside(pool, bits, ["smiles"]).shape == (4, 4 + 2)


def test_a_reaction_says_the_columns_whose_molecules_it_holds():
    pool = pool_of(
        halide=["CBr", "CCl"],
        base=["[K+].[F-]", "N"],
        ligand=["P", ""],
        solvent=["O", "CO"],
        hours=[1, 2],
    )
    reactions = ["CBr.N>P>CN.[F-].[K+]", "CCl.N>>CN"]
    assert written_with(reactions, pool) == ["halide", "base", "ligand"]


@pytest.mark.parametrize("name", ["morgan", "fragments", "descriptors", "drfp"])
def test_fingerprints_by_name_see_the_other_columns_too(name):
    pytest.importorskip("drfp")
    smiles = ["CCO", "CCN", "c1ccccc1"]
    reactions = [f"{s}>>C" for s in smiles]
    alone = fixed_features(name, pool_of(a=smiles), ["a"], reactions)
    both = fixed_features(name, pool_of(a=smiles, hours=[1.0, 3.0, 2.0]), ["a"], reactions)
    assert alone.dtype == (np.uint8 if name in ("morgan", "drfp") else np.float64)
    assert (both[:, :-1] == alone).all()
    assert both[:, -1] / both[1, -1] == pytest.approx([0.0, 1.0, 0.5])


@pytest.mark.parametrize("name", FIXED)
def test_features_by_name_say_what_is_missing(name):
    pool = pool_of(hours=[1.0, 2.0])
    if name == "one_hot":
        assert fixed_features(name, pool, (), None).shape == (2, 1)
    else:
        with pytest.raises(DataError, match=f"demo: surrogate '{name}' needs"):
            fixed_features(name, pool, (), None)


@pytest.mark.parametrize("encode", [morgan, fragments, descriptors])
def test_a_missing_package_names_its_extra(monkeypatch, encode):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(MissingExtraError, match="pip install rdkit"):
        encode(pool_of(a=["C", "N"]), ["a"])
    with pytest.raises(MissingExtraError, match="pip install rdkit"):
        drfp(["C>>N"], "demo", ["a"])


def test_of_rows_that_differ_in_numbers_only_the_numbers_are_read():
    pool = make_pool(8)
    reads = []

    def written(table):
        reads.append(len(table))
        return np.arange(2.0 * len(table)).reshape(-1, 2)

    words = block("text", ["ligand", "hours"], "vector", written, pool.table)
    plain = columns.one_hot(pool)
    features = represented([side_by_side([words, plain]), plain])  # the same slots twice
    like = np.array([3, 6])
    near = pool.table.iloc[like].assign(hours=[0.5, 6.25])
    found = features.numbers(near, like)
    assert reads == [8]
    np.testing.assert_allclose(found[:, :2], words.matrix[like])
    np.testing.assert_allclose(found[:, 2:], plain.encode(near))
    with pytest.raises(DataError, match="Numbers are read in words only"):
        FixedFeatures(words).numbers(near, like)
