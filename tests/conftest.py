import os

# Before anything imports the libraries that read them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # one process per core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools

import pytest
import torch
from transformers import AttentionInterface

from gollum.language.engine.attention import NAME, attention
from helpers import FAMILIES, load, save_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """Folder of a tiny random model of a family; made once."""

    @functools.cache
    def folder(family):
        return save_model(tmp_path_factory.mktemp(family), family)

    return folder


@pytest.fixture(params=FAMILIES, scope="session")
def family(request):
    """Each family in turn; all tests of one come together, so that its model is read seldom."""
    return request.param


@pytest.fixture
def backbone(family, model_folder):
    """A freshly loaded model of each family in turn, averaged over tokens."""
    return load(model_folder(family))


@pytest.fixture
def calls(monkeypatch):
    """For each time that a model asked for our attention, whether it wanted gradients."""
    seen = []

    def counted(module, query, *args, **options):
        seen.append(torch.is_grad_enabled() and query.requires_grad)
        return attention(module, query, *args, **options)

    monkeypatch.setitem(AttentionInterface._global_mapping, NAME, counted)
    return seen


@pytest.fixture
def bert(model_folder):
    return load(model_folder("bert"))
