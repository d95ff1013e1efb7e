"""Anthropic's messages, token counts and models (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, calls
from keyless.http.adapter import adapter
from keyless.http.stamps import new_id
from keyless.http.streams import sse
from keyless.providers.anthropic.codec import (
    MessagesRequest,
    Prompt,
    cache_blocks,
    events_of,
    head,
    to_neutral,
    whole,
)
from keyless.providers.anthropic.errors import DIALECT

MODELS = ("claude-opus-4-8", "claude-sonnet-5", "claude-sonnet-4-5", "claude-haiku-4-5")


@adapter(DIALECT)
async def create(request: Request) -> Response:
    body = await bodies.read(request, MessagesRequest)
    neutral = await calls.understood(request, to_neutral, body)
    headers = {"request-id": new_id("req_")}
    if body.stream:
        events = await calls.events(request, neutral)
        cached = await calls.cached(request, body.model, cache_blocks(body), neutral)
        return sse(_sse(events_of(events, head(body.model), cached)), headers)
    reply = await calls.reply(request, neutral)
    cached = await calls.cached(request, body.model, cache_blocks(body), neutral)
    return JSONResponse(whole(head(body.model), reply, cached), headers=headers)


@adapter(DIALECT)
async def count_tokens(request: Request) -> Response:
    neutral = await calls.understood(request, to_neutral, await bodies.read(request, Prompt))
    return JSONResponse({"input_tokens": await calls.count(request, neutral)})


async def _sse(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    async for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


@adapter(DIALECT, metered=False)
async def list_models(request: Request) -> Response:
    data = [{"type": "model", "id": m, "display_name": m, "created_at": "2025-01-01T00:00:00Z"} for m in MODELS]
    return JSONResponse({"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})


routes = [
    Route("/v1/messages", create, methods=["POST"]),
    Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
    Route("/v1/models", list_models, methods=["GET"]),
]
