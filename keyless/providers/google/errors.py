"""Google's error body (https://cloud.google.com/apis/design/errors)."""

from __future__ import annotations

from typing import Any

from keyless.http.provider import Dialect
from keyless.neutral import BadRequest, ContextOverflow

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_body(error: BadRequest) -> dict[str, Any]:
    """``{"error": {"code", "message", "status", "details"}}``; a quota's details say how long to wait."""
    message = str(error)
    if isinstance(error, ContextOverflow):
        message = (
            f"The input token count ({error.tokens}) exceeds the maximum number of tokens allowed ({error.limit})."
        )
    status = _STATUS.get(error.status, "INVALID_ARGUMENT" if error.status < 500 else "INTERNAL")
    body: dict[str, Any] = {"code": error.status, "message": message, "status": status}
    if error.retry_after is not None:
        delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{error.retry_after:.3f}s"}
        body["details"] = [delay]
    elif error.param:
        fault = {"field": error.param, "description": message}
        body["details"] = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [fault]}]
    return {"error": body}


DIALECT = Dialect("google", error_body)
