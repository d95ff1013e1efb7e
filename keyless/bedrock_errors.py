"""Amazon Bedrock's errors: the type in a header, the message in the body (…/bedrock/latest/APIReference/CommonErrors.html)."""

from __future__ import annotations

from typing import Any

from keyless import wire
from keyless.neutral import BadRequest, ContextOverflow
from keyless.provider import Provider

_TYPES = {
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}


def error_body(error: BadRequest) -> dict[str, Any]:
    """``{"message"}``."""
    if isinstance(error, ContextOverflow):
        return {"message": f"Input is too long for requested model: {error.tokens} tokens, at most {error.limit}."}
    return {"message": str(error)}


def error_headers(error: BadRequest) -> dict[str, str]:
    """The name of the exception that the SDK raises."""
    kind = _TYPES.get(error.status, "ValidationException" if error.status < 500 else "InternalServerException")
    return {"x-amzn-errortype": kind, "x-amzn-requestid": wire.new_id("")}


BEDROCK = Provider("bedrock", error_body, error_headers)
