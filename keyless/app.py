"""The ASGI application: every provider under a path prefix of its own, a log of what came in, and a health check."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from keyless import providers
from keyless.http.adapter import error_response
from keyless.http.batches import Batches
from keyless.http.journal import Journal
from keyless.http.keys import Keys
from keyless.http.prompt_cache import PromptCache
from keyless.http.provider import Dialect, Provider, discovered
from keyless.http.recorder import Recorder, allowed_hosts
from keyless.http.store import Store
from keyless.mind.answerer import Answerer
from keyless.mind.face import Face
from keyless.mind.own import OwnModel
from keyless.mind.weights import Model
from keyless.neutral import BadRequest

log = logging.getLogger("keyless")


def _error_body(error: BadRequest) -> dict[str, Any]:
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.kind}}


NO_PROVIDER = Dialect("", _error_body)
"""For paths that are no provider's: errors in the form that most clients can read."""


def _dialect(request: Request) -> Dialect:
    name, _, path = request.url.path.lstrip("/").partition("/")
    provider = request.app.state.served.get(name)
    return provider.dialect_at(f"/{path}") if provider else NO_PROVIDER


async def _unknown_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    served = ", ".join(f"/{name}" for name in request.app.state.served)
    what = "Method not allowed" if error.status_code == 405 else "Unknown request URL"
    message = f"{what}: {request.method} {request.url.path}. keyless serves {served}."
    return error_response(
        BadRequest(
            message, status=error.status_code, kind="not_found" if error.status_code == 404 else "invalid_request"
        ),
        _dialect(request),
    )


def _failed(request: Request, error: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    told = BadRequest("keyless failed on this request; its log says why.", status=500)
    return error_response(told, _dialect(request))


async def _health(request: Request) -> Response:
    answerer: Face = request.app.state.answerer
    about = {"status": "ok", "model": answerer.name, "context_tokens": answerer.context_tokens}
    return JSONResponse({**about, **answerer.status})


async def _requests(request: Request) -> Response:
    journal: Journal = request.app.state.journal
    if request.method == "DELETE":
        journal.clear()
        return Response(status_code=204)
    try:
        after, limit = int(request.query_params.get("after", 0)), int(request.query_params.get("limit", 1000))
    except ValueError:
        return JSONResponse({"error": "after and limit are whole numbers"}, status_code=400)
    # In ASCII, because a client may have sent half a character, which no encoding has.
    return Response(json.dumps({"requests": journal.rows(after, max(1, limit))}), media_type="application/json")


def create_app(
    threads: int | None = None,
    *,
    model: Model | None = None,
    served: Sequence[Provider] | None = None,
    keep_bodies: bool = False,
) -> Starlette:
    """The server as an ASGI application; the models load when it starts.

    ``threads`` are those of the language model; ``model`` is the reader's own, which then answers everything. ``served`` are the providers, by default those in ``keyless.providers``.
    With ``keep_bodies`` the journal has what each request said.
    """
    journal = Journal(keep_bodies=keep_bodies)
    by_name: dict[str, Provider] = {}
    for provider in discovered(providers) if served is None else served:
        if provider.name in by_name:
            raise ValueError(f"two providers are named {provider.name!r}")
        by_name[provider.name] = provider

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.providers = {name: provider.state() for name, provider in by_name.items()}
        app.state.answerer = await (OwnModel.load(model, threads) if model else Answerer.load(threads))
        app.state.files = Store()
        app.state.batches = Batches(app)
        yield
        await app.state.batches.close()
        app.state.files.close()
        await app.state.answerer.close()

    app = Starlette(
        routes=[
            *(Mount(f"/{name}", routes=provider.routes) for name, provider in by_name.items()),
            Route("/health", _health),
            Route("/_keyless/requests", _requests, methods=["GET", "DELETE"]),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _unknown_route},
    )
    app.router.redirect_slashes = False
    app.state.journal = journal
    app.state.keys = Keys()
    app.state.prompt_cache = PromptCache()
    app.state.served = by_name
    app.add_middleware(
        Recorder, journal=journal, providers=by_name, answered_by=model.name if model else Face.name, failed=_failed
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts())
    return app
