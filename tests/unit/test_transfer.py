"""What a benchmark run is given of other tasks."""

import numpy as np
import pytest

from gollum.benchmark.config import load_config
from gollum.benchmark.problem import load_problem
from gollum.benchmark.transfer import with_sources
from gollum.data.catalog import get_task
from gollum.errors import ConfigError

KEYS = {"data.task": "bh-ethyl", "surrogate": "averaged", "protocol": "transfer",
        "transfer.sources": ["bh-cf3", "bh-methoxy"], "transfer.results": 30}  # fmt: skip


def sources(**keys):
    config = load_config(None, {**KEYS, **{f"transfer.{k}": v for k, v in keys.items()}}.items())
    return with_sources(load_problem(config.data), config).sources


def test_a_control_changes_the_sources_that_it_names():
    plain, changed = sources(), sources(control="inverted_labels", controlled=["bh-methoxy"])
    assert plain[0].utility.tolist() == changed[0].utility.tolist()
    ends = plain[1].utility.max() + plain[1].utility.min()
    assert changed[1].utility == pytest.approx(ends - plain[1].utility)
    assert changed[1].table.equals(plain[1].table)


def test_a_control_of_what_is_no_source_is_refused():
    with pytest.raises(ConfigError, match=r"transfer\.controlled names 'bh-2-pyridyl'"):
        sources(control="inverted_labels", controlled=["bh-2-pyridyl"])


def test_rankings_say_which_options_did_better_and_nothing_else():
    found = {source.name: source for source in sources(results=0, form="rankings")}
    assert [*found][:3] == ["bh-cf3 on ligand", "bh-cf3 on base", "bh-cf3 on additive"]
    assert "bh-cf3 on aryl_halide" not in found  # its halides are others
    pool = get_task("bh-cf3").load().labelled()
    ligand = found["bh-cf3 on ligand"]
    means = [pool.values[pool.table.ligand == name].mean() for name in ligand.table.ligand]
    assert np.argsort(means).tolist() == np.argsort(ligand.utility).tolist()
    assert sorted(ligand.utility) == [1.0, 2.0, 3.0, 4.0]
    assert not ligand.comparable
