"""Google's OAuth token endpoint, to which a service-account key's ``token_uri`` points (RFC 7523).

The access token that it hands out is the key's own id, so that a connection chooses quotas and faults by ``private_key_id``
as others do by their API key. Signatures are not checked: any key is right.
"""

from __future__ import annotations

from urllib.parse import parse_qs

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies
from keyless.http.keys import PREFIX
from keyless.neutral import BadRequest

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME = 3600
PLAIN_TOKEN = "keyless-needs-no-key"


async def token(request: Request) -> Response:
    try:
        form = {k: v[0] for k, v in parse_qs((await bodies.raw(request)).decode()).items()}
    except (BadRequest, UnicodeDecodeError):
        return _error("invalid_request", "The form could not be read.")
    if form.get("grant_type") != GRANT:
        return _error("unsupported_grant_type", f"keyless knows {GRANT}: use a service-account key.")
    try:
        header = jwt.get_unverified_header(form.get("assertion", ""))
    except jwt.PyJWTError as error:
        return _error("invalid_grant", f"Invalid JWT: {error}.")
    key = header.get("kid")
    access = key if isinstance(key, str) and key.startswith(PREFIX) else PLAIN_TOKEN
    return JSONResponse({"access_token": access, "expires_in": LIFETIME - 1, "token_type": "Bearer"})


def _error(kind: str, description: str) -> Response:
    return JSONResponse({"error": kind, "error_description": description}, status_code=400)


routes = [Route("/token", token, methods=["POST"])]
