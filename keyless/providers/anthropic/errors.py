"""Anthropic's error body and rate limit headers (https://docs.anthropic.com/en/api/errors, …/rate-limits)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from keyless.http.keys import Bucket, Key
from keyless.http.provider import Dialect
from keyless.http.stamps import new_id
from keyless.neutral import BadRequest, ContextOverflow

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(error: BadRequest) -> dict[str, Any]:
    """``{"type": "error", "error": {"type", "message"}, "request_id"}``."""
    message = str(error)
    if isinstance(error, ContextOverflow):
        message = f"prompt is too long: {error.tokens} tokens > {error.limit} maximum"
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": new_id("req_")}


def quota_headers(key: Key) -> dict[str, str]:
    """``anthropic-ratelimit-*`` for the quotas that the key has; resets are times in RFC 3339."""
    headers: dict[str, str] = {}

    def add(name: str, bucket: Bucket | None) -> None:
        if bucket is not None:
            reset = datetime.now(UTC) + timedelta(seconds=bucket.refilled_in(bucket.limit))
            headers[f"anthropic-ratelimit-{name}-limit"] = str(bucket.limit)
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(int(max(0, bucket.left)))
            headers[f"anthropic-ratelimit-{name}-reset"] = reset.isoformat(timespec="seconds").replace("+00:00", "Z")

    add("requests", key.requests)
    add("tokens", key.tokens)
    return headers


DIALECT = Dialect("anthropic", error_body, quota_headers=quota_headers, overloaded=529)
