"""Cohere's API."""

from keyless.http.provider import Provider
from keyless.providers.cohere import chat, embeddings, tokens
from keyless.providers.cohere.errors import DIALECT

PROVIDER = Provider("cohere", DIALECT, routes=[*chat.routes, *tokens.routes, *embeddings.routes])
