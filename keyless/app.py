"""The ASGI application: every provider under a path prefix of its own, a log of what came in, and a health check."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyless import (
    ENGINE_NAME,
    anthropic_messages,
    ollama_api,
    openai_chat,
    openai_embeddings,
    openai_errors,
    openai_responses,
)
from keyless.answer import Answerer
from keyless.embedder import Embedder
from keyless.engine import CONTEXT_TOKENS, SLOTS, Engine
from keyless.journal import Journal
from keyless.neutral import BadRequest
from keyless.wire import error_response

log = logging.getLogger("keyless")

ERROR_BODIES: dict[str, Callable[[BadRequest], dict[str, Any]]] = {
    "openai": openai_errors.error_body,
    "anthropic": anthropic_messages.error_body,
    "ollama": ollama_api.error_body,
}


class Recorder:
    """Writes every request to the journal, marks every reply as keyless', and lets no failure out as a bare 500."""

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_keyless") or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        provider, _, path = scope["path"].lstrip("/").partition("/")
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        entry = self._journal.open(provider if provider in ERROR_BODIES else "", scope["method"], f"/{path}", headers)
        scope["keyless.entry"] = entry
        status = 499

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-keyless", ENGINE_NAME.encode())]
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                entry.close(status)

        try:
            await self._app(scope, receive, marked)
        finally:
            # Not closed yet: the reply broke off, because the client has gone or something failed in the middle.
            entry.close(499)


async def _unknown_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    provider = request.url.path.lstrip("/").partition("/")[0]
    body = ERROR_BODIES.get(provider, openai_errors.error_body)
    served = ", ".join(f"/{name}" for name in ERROR_BODIES)
    what = "Method not allowed" if error.status_code == 405 else "Unknown request URL"
    message = f"{what}: {request.method} {request.url.path}. keyless serves {served}."
    return error_response(BadRequest(message, status=error.status_code, kind="not_found"), body)


async def _failed(request: Request, error: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    body = ERROR_BODIES.get(request.url.path.lstrip("/").partition("/")[0], openai_errors.error_body)
    return error_response(
        BadRequest("keyless failed on this request; its log says why.", status=500, kind="api_error"), body
    )


async def _health(request: Request) -> Response:
    state = request.app.state
    return JSONResponse(
        {
            "status": "ok",
            "model": ENGINE_NAME,
            "context_tokens": CONTEXT_TOKENS,
            "slots": SLOTS,
            "busy": state.engine.busy,
            "waiting": state.engine.waiting,
        }
    )


async def _requests(request: Request) -> Response:
    journal: Journal = request.app.state.journal
    if request.method == "DELETE":
        journal.clear()
        return Response(status_code=204)
    try:
        after, limit = int(request.query_params.get("after", 0)), int(request.query_params.get("limit", 1000))
    except ValueError:
        return JSONResponse({"error": "after and limit are whole numbers"}, status_code=400)
    return JSONResponse({"requests": journal.rows(after, max(1, limit))})


def create_app(threads: int | None = None) -> Starlette:
    """The server as an ASGI application; the models load when it starts."""
    journal = Journal()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.engine = await asyncio.to_thread(Engine, threads)
        app.state.embedder = await asyncio.to_thread(Embedder)
        app.state.answerer = Answerer(app.state.engine, app.state.embedder)
        yield
        await app.state.engine.close()

    app = Starlette(
        routes=[
            Mount("/openai", routes=[*openai_chat.routes, *openai_responses.routes, *openai_embeddings.routes]),
            Mount("/anthropic", routes=anthropic_messages.routes),
            Mount("/ollama", routes=ollama_api.routes),
            Route("/health", _health),
            Route("/_keyless/requests", _requests, methods=["GET", "DELETE"]),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _unknown_route, Exception: _failed},
    )
    app.router.redirect_slashes = False
    app.state.journal = journal
    app.state.responses = OrderedDict()
    app.add_middleware(Recorder, journal=journal)
    return app
