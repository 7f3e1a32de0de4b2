"""Vectors of texts from an OpenAI-compatible endpoint: sent with consent, paid for once, kept."""

from gollum.language.remote.embed import Estimate, embed_remote, estimate
from gollum.language.remote.endpoint import Endpoint
from gollum.language.remote.store import Store, store_path

__all__ = ["Endpoint", "Estimate", "Store", "embed_remote", "estimate", "store_path"]
