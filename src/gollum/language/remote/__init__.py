"""Vectors of texts and answers to questions from an OpenAI-compatible endpoint.

Sent with consent, paid for once, kept.
"""

from gollum.language.remote.chat import Prompt, chat
from gollum.language.remote.embed import Estimate, embed_remote, estimate
from gollum.language.remote.endpoint import Endpoint
from gollum.language.remote.store import Store, store_path

__all__ = [
    "Endpoint",
    "Estimate",
    "Prompt",
    "Store",
    "chat",
    "embed_remote",
    "estimate",
    "store_path",
]
