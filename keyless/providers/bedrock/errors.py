"""Amazon Bedrock's errors: the type in a header, the message in the body (…/bedrock/latest/APIReference/CommonErrors.html)."""

from __future__ import annotations

from typing import Any

from keyless.http.provider import Dialect
from keyless.http.stamps import new_id
from keyless.neutral import BadRequest, ContextOverflow

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
    return {"x-amzn-errortype": kind, "x-amzn-requestid": new_id("")}


# boto3 declares no type for the body of invoke_model.
DIALECT = Dialect("bedrock", error_body, error_headers, json_only=False)
