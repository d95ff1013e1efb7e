"""The ASGI application: every provider under a path prefix of its own, a log of what came in, and a health check."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyless import (
    ENGINE_NAME,
    anthropic_batches,
    anthropic_errors,
    anthropic_messages,
    bedrock_converse,
    bedrock_errors,
    bedrock_invoke,
    cohere_chat,
    cohere_embed,
    cohere_errors,
    google_auth,
    google_batches,
    google_cache,
    google_embed,
    google_errors,
    google_files,
    google_generate,
    ollama_api,
    openai_batches,
    openai_chat,
    openai_embeddings,
    openai_errors,
    openai_files,
    openai_images,
    openai_moderations,
    openai_responses,
)
from keyless.answer import Answerer
from keyless.batches import Batches
from keyless.embedder import Embedder
from keyless.engine import CONTEXT_TOKENS, SLOTS, Engine
from keyless.journal import Journal
from keyless.keys import Keys
from keyless.neutral import BadRequest
from keyless.prompt_cache import PromptCache
from keyless.provider import Provider
from keyless.store import Store
from keyless.wire import error_response

log = logging.getLogger("keyless")

PROVIDERS: dict[str, Provider] = {
    p.name: p
    for p in (
        openai_errors.OPENAI,
        anthropic_errors.ANTHROPIC,
        cohere_errors.COHERE,
        google_errors.GOOGLE,
        bedrock_errors.BEDROCK,
        ollama_api.OLLAMA,
    )
}
ROUTES = {
    "openai": [
        *openai_chat.routes,
        *openai_responses.routes,
        *openai_embeddings.routes,
        *openai_images.routes,
        *openai_files.routes,
        *openai_batches.routes,
        *openai_moderations.routes,
    ],
    "anthropic": [*anthropic_messages.routes, *anthropic_batches.routes],
    "cohere": [*cohere_chat.routes, *cohere_embed.routes],
    "google": [
        *google_auth.routes,
        *google_cache.routes,
        *google_files.routes,
        *google_batches.routes,
        *google_generate.routes,
        *google_embed.routes,
        *google_generate.fallback,
    ],
    "bedrock": [*bedrock_converse.routes, *bedrock_invoke.routes],
    # Ollama speaks OpenAI's API too.
    "ollama": [*ollama_api.routes, *openai_chat.routes],
}


class Recorder:
    """Writes every request to the journal, marks every reply as keyless', and lets no failure out as a bare 500."""

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What has an entry already comes from a batch, not over HTTP.
        if (
            scope["type"] != "http"
            or "keyless.entry" in scope
            or scope["path"].startswith("/_keyless")
            or scope["path"] == "/health"
        ):
            await self._app(scope, receive, send)
            return
        provider, _, path = scope["path"].lstrip("/").partition("/")
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        entry = self._journal.open(provider if provider in PROVIDERS else "", scope["method"], f"/{path}", headers)
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
    served = ", ".join(f"/{name}" for name in PROVIDERS)
    what = "Method not allowed" if error.status_code == 405 else "Unknown request URL"
    message = f"{what}: {request.method} {request.url.path}. keyless serves {served}."
    return error_response(BadRequest(message, status=error.status_code, kind="not_found"), _provider(request))


async def _failed(request: Request, error: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    told = BadRequest("keyless failed on this request; its log says why.", status=500)
    return error_response(told, _provider(request))


def _provider(request: Request) -> Provider:
    if request.url.path.startswith("/ollama/v1/"):
        return openai_errors.OPENAI
    return PROVIDERS.get(request.url.path.lstrip("/").partition("/")[0], openai_errors.OPENAI)


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
        app.state.files = Store()
        app.state.batches = Batches(app)
        yield
        await app.state.batches.close()
        app.state.files.close()
        await app.state.engine.close()

    app = Starlette(
        routes=[
            *(Mount(f"/{name}", routes=routes) for name, routes in ROUTES.items()),
            Route("/health", _health),
            Route("/_keyless/requests", _requests, methods=["GET", "DELETE"]),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _unknown_route, Exception: _failed},
    )
    app.router.redirect_slashes = False
    app.state.journal = journal
    app.state.keys = Keys()
    app.state.prompt_cache = PromptCache()
    app.state.responses = OrderedDict()
    app.state.google_caches = OrderedDict()
    app.state.google_uploads = OrderedDict()
    app.add_middleware(Recorder, journal=journal)
    return app
