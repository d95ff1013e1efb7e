"""Anthropic's API."""

from keyless.http.provider import Provider
from keyless.providers.anthropic import batches, messages
from keyless.providers.anthropic.errors import DIALECT

PROVIDER = Provider("anthropic", DIALECT, routes=[*messages.routes, *batches.routes])
