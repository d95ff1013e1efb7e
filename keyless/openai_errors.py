"""OpenAI's error body (https://platform.openai.com/docs/guides/error-codes)."""

from __future__ import annotations

from typing import Any

from keyless.neutral import BadRequest

_CODES = {
    "authentication": "invalid_api_key",
    "context_length_exceeded": "context_length_exceeded",
    "not_found": "not_found",
}


def error_body(error: BadRequest) -> dict[str, Any]:
    return {
        "error": {
            "message": str(error),
            "type": "invalid_request_error",
            "param": error.param,
            "code": _CODES.get(error.kind),
        }
    }
