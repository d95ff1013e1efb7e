"""Ollama's errors: its own, and those of its copy of OpenAI's API (https://github.com/ollama/ollama/blob/main/docs/api.md)."""

from __future__ import annotations

from typing import Any

from keyless.http.provider import Dialect
from keyless.neutral import BadRequest

_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def error_body(error: BadRequest) -> dict[str, Any]:
    """``{"error"}``."""
    return {"error": str(error)}


def openai_error_body(error: BadRequest) -> dict[str, Any]:
    """``{"error": {"message", "type", "param", "code"}}``, with no more in it than Ollama puts there."""
    kind = _TYPES.get(error.status, "api_error")
    return {"error": {"message": str(error), "type": kind, "param": None, "code": None}}


# Ollama reads a body as JSON whatever it is declared as.
DIALECT = Dialect("ollama", error_body, needs_key=False, json_only=False)
OPENAI_DIALECT = Dialect("ollama", openai_error_body, needs_key=False, json_only=False)
