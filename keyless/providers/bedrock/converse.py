"""Bedrock's converse, converse-stream and count-tokens (…/bedrock/latest/APIReference/API_runtime_Converse.html)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keyless.http import bodies, calls, context
from keyless.http.adapter import adapter
from keyless.http.stamps import new_id
from keyless.providers.bedrock import event_stream
from keyless.providers.bedrock.codec import (
    ConverseRequest,
    cache_blocks,
    events_of,
    output,
    stop_reason,
    to_neutral,
    usage_body,
)
from keyless.providers.bedrock.errors import DIALECT


class CountInput(bodies.Loose):
    converse: ConverseRequest


class CountRequest(bodies.Loose):
    input: CountInput


def _note(request: Request, stream: bool) -> None:
    context.entry(request).model, context.entry(request).stream = request.path_params["model"], stream


@adapter(DIALECT)
async def converse(request: Request) -> Response:
    _note(request, False)
    body = await bodies.read(request, ConverseRequest)
    began = time.perf_counter()
    neutral = await calls.understood(request, to_neutral, body)
    reply = await calls.reply(request, neutral)
    cached = await calls.cached(request, request.path_params["model"], cache_blocks(body), neutral)
    return JSONResponse(
        {
            "output": output(reply),
            "stopReason": stop_reason(reply.finish_reason, reply.stop_sequence),
            "usage": usage_body(reply.usage, cached),
            "metrics": {"latencyMs": round((time.perf_counter() - began) * 1000)},
        },
        headers={"x-amzn-requestid": new_id("")},
    )


@adapter(DIALECT)
async def converse_stream(request: Request) -> Response:
    body = await bodies.read(request, ConverseRequest)
    _note(request, True)
    neutral = await calls.understood(request, to_neutral, body)
    events = await calls.events(request, neutral)
    cached = await calls.cached(request, request.path_params["model"], cache_blocks(body), neutral)

    async def frames() -> AsyncIterator[bytes]:
        async for kind, fields in events_of(events, cached):
            yield event_stream.event(kind, json.dumps(fields).encode())

    return StreamingResponse(frames(), media_type=event_stream.MEDIA_TYPE, headers={"x-amzn-requestid": new_id("")})


@adapter(DIALECT)
async def count_tokens(request: Request) -> Response:
    body = await bodies.read(request, CountRequest)
    _note(request, False)
    neutral = await calls.understood(request, to_neutral, body.input.converse)
    return JSONResponse({"inputTokens": await calls.count(request, neutral)})


routes = [
    Route("/model/{model:path}/converse", converse, methods=["POST"]),
    Route("/model/{model:path}/converse-stream", converse_stream, methods=["POST"]),
    Route("/model/{model:path}/count-tokens", count_tokens, methods=["POST"]),
]
