"""OpenAI's error body and rate limit headers (https://platform.openai.com/docs/guides/error-codes, …/rate-limits)."""

from __future__ import annotations

from typing import Any

from keyless.http.keys import Bucket, Key
from keyless.http.provider import Dialect
from keyless.neutral import BadRequest

_CODES = {
    "authentication": "invalid_api_key",
    "context_length_exceeded": "context_length_exceeded",
    "not_found": "not_found",
    "unsupported_content_type": "unsupported_content_type",
    "rate_limit_requests": "rate_limit_exceeded",
    "rate_limit_tokens": "rate_limit_exceeded",
    "invalid_image": "invalid_image",
    "invalid_image_url": "invalid_image_url",
    "invalid_base64": "invalid_base64",
    "invalid_file": "invalid_file",
    "unsupported_file": "unsupported_file",
}


def error_body(error: BadRequest) -> dict[str, Any]:
    """``{"error": {"message", "type", "param", "code"}}``."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    if error.status == 429:
        kind = "tokens" if error.kind == "rate_limit_tokens" else "requests"
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": _CODES.get(error.kind)}}


def _duration(seconds: float) -> str:
    """As OpenAI writes it: ``120ms``, ``1.5s``, ``6m0s``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"


def quota_headers(key: Key) -> dict[str, str]:
    """``x-ratelimit-*`` for the quotas that the key has."""
    headers: dict[str, str] = {}

    def add(name: str, bucket: Bucket | None) -> None:
        if bucket is not None:
            headers[f"x-ratelimit-limit-{name}"] = str(bucket.limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(int(max(0, bucket.left)))
            headers[f"x-ratelimit-reset-{name}"] = _duration(bucket.refilled_in(bucket.limit))

    add("requests", key.requests)
    add("tokens", key.tokens)
    return headers


DIALECT = Dialect("openai", error_body, quota_headers=quota_headers, unsupported_type=400)
