"""What every route of a provider is wrapped in: the key's quotas and faults, and errors in the provider's own words."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyless.http import faults
from keyless.http.bodies import raw
from keyless.http.connection import while_connected
from keyless.http.context import account, entry, is_in_batch, journal
from keyless.http.keys import Key
from keyless.http.provider import Dialect
from keyless.neutral import BadRequest

Endpoint = Callable[[Request], Awaitable[Response]]


def adapter(dialect: Dialect, *, metered: bool = True) -> Callable[[Endpoint], Endpoint]:
    """Wrap a route: the key's quotas and faults come first, and what is wrong is said in the provider's own words.

    A route that is not ``metered`` (lists, files, the state of a batch) takes nothing from the quota of requests.
    """

    def wrap(route: Endpoint) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            key: Key | None = None
            try:
                request.scope["keyless.dialect"] = dialect
                journal(request).note_body(entry(request), await raw(request))
                key = request.scope["keyless.key"] = _key(request, dialect)
                # The requests of a batch are under no quota of their own, and its faults met the call that made it.
                if not is_in_batch(request):
                    if metered:
                        faults.admit(key)
                    if key.directives.latency:
                        await while_connected(request, faults.hinder(key, dialect))
                    else:
                        await faults.hinder(key, dialect)
                response = await route(request)
            except BadRequest as error:
                response = error_response(error, dialect)
            if key is not None:
                response.headers.update(dialect.quota_headers(key))
            return response

        return endpoint

    return wrap


def error_response(error: BadRequest, dialect: Dialect) -> Response:
    headers = dialect.error_headers(error)
    if error.retry_after is not None:
        # Rounded up, so that a client which waits as it is told is let in.
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
        headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    return JSONResponse(dialect.error_body(error), status_code=error.status, headers=headers)


def _key(request: Request, dialect: Dialect) -> Key:
    """Any key is right, ``keyless`` as well as none of ours; a ``keyless:`` key must hold directives that exist.

    Raises ``BadRequest`` with status 401.
    """
    key = account(request)
    if not key and dialect.needs_key:
        raise BadRequest(
            "You didn't provide an API key. keyless takes any: write `keyless` into the connection's password.",
            status=401,
            kind="authentication",
        )
    return request.app.state.keys.get(dialect.name, key)
