"""Ollama's API, and its copy of OpenAI's below ``/v1``."""

from keyless.http.provider import Provider
from keyless.providers.ollama import api, openai_v1
from keyless.providers.ollama.errors import DIALECT, OPENAI_DIALECT

PROVIDER = Provider("ollama", DIALECT, routes=[*api.routes, *openai_v1.routes], other_dialects={"/v1/": OPENAI_DIALECT})
