"""Cohere's error body and rate limit headers (https://docs.cohere.com/reference/errors)."""

from __future__ import annotations

from typing import Any

from keyless.http.keys import Key
from keyless.http.provider import Dialect
from keyless.http.stamps import new_id
from keyless.neutral import BadRequest


def error_body(error: BadRequest) -> dict[str, Any]:
    """``{"id", "message"}``."""
    return {"id": new_id(""), "message": str(error)}


def quota_headers(key: Key) -> dict[str, str]:
    """What Cohere says of a trial key's calls a minute."""
    if key.requests is None:
        return {}
    return {
        "x-trial-endpoint-call-limit": str(key.requests.limit),
        "x-trial-endpoint-call-remaining": str(int(max(0, key.requests.left))),
    }


DIALECT = Dialect("cohere", error_body, quota_headers=quota_headers)
