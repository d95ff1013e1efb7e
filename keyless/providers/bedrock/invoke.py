"""Bedrock's invoke: the body is the model's own, so each family has its shape (…/bedrock/latest/userguide/model-parameters.html)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keyless.http import bodies, calls, context, embeddings
from keyless.http.adapter import adapter
from keyless.http.stamps import new_id
from keyless.neutral import Done, Event, Usage
from keyless.providers.bedrock import event_stream
from keyless.providers.bedrock.errors import DIALECT
from keyless.providers.bedrock.families import family_of


class TitanEmbeddingBody(bodies.Loose):
    inputText: str = Field(min_length=1)
    dimensions: Literal[256, 512, 1024] | None = None
    normalize: bool | None = True
    embeddingTypes: list[Literal["float", "binary"]] | None = None


def _headers(began: float, usage: Usage) -> dict[str, str]:
    return {
        "x-amzn-requestid": new_id(""),
        "x-amzn-bedrock-invocation-latency": str(round((time.perf_counter() - began) * 1000)),
        "x-amzn-bedrock-input-token-count": str(usage.prompt_tokens),
        "x-amzn-bedrock-output-token-count": str(usage.completion_tokens),
    }


@adapter(DIALECT)
async def invoke(request: Request) -> Response:
    model = request.path_params["model"]
    context.entry(request).model = model
    began = time.perf_counter()
    if "titan-embed" in model:
        return await _titan_embedding(request, began)
    family = family_of(model)
    body = await bodies.read(request, family.body)
    context.entry(request).model = model
    reply = await calls.reply(request, await calls.understood(request, family.neutral, body))
    return JSONResponse(family.whole(model, reply), headers=_headers(began, reply.usage))


async def _titan_embedding(request: Request, began: float) -> Response:
    body = await bodies.read(request, TitanEmbeddingBody)
    vectors, counts = await embeddings.embed(request, [body.inputText])
    vectors = embeddings.resized(vectors, body.dimensions or (1536 if "v1" in request.path_params["model"] else 1024))
    by_type = {
        kind: embeddings.encoded(vectors, kind)[0] for kind in body.embeddingTypes or ["float"] if kind == "float"
    }
    if "binary" in (body.embeddingTypes or ()):
        by_type["binary"] = (vectors[0] > 0).astype(int).tolist()
    reply: dict[str, Any] = {"inputTextTokenCount": sum(counts), "embeddingsByType": by_type}
    if "float" in by_type:
        reply["embedding"] = by_type["float"]
    return JSONResponse(reply, headers=_headers(began, Usage(sum(counts), 0)))


@adapter(DIALECT)
async def invoke_stream(request: Request) -> Response:
    model = request.path_params["model"]
    began = time.perf_counter()
    family = family_of(model)
    body = await bodies.read(request, family.body)
    context.entry(request).model, context.entry(request).stream = model, True
    events = await calls.events(request, await calls.understood(request, family.neutral, body))
    usage = Usage(0, 0)

    async def watched() -> AsyncIterator[Event]:
        nonlocal usage
        async for event in events:
            if isinstance(event, Done):
                usage = event.usage
            yield event

    first = time.perf_counter() - began

    async def frames() -> AsyncIterator[bytes]:
        held: dict[str, Any] | None = None
        async for chunk in family.chunks(model, watched()):
            if held is not None:
                yield _frame(held)
            held = chunk
        if held is not None:
            yield _frame(
                held | {"amazon-bedrock-invocationMetrics": _metrics(usage, first, time.perf_counter() - began)}
            )

    headers = {"x-amzn-requestid": new_id(""), "x-amzn-bedrock-content-type": "application/json"}
    return StreamingResponse(frames(), media_type=event_stream.MEDIA_TYPE, headers=headers)


def _frame(chunk: dict[str, Any]) -> bytes:
    inner = base64.b64encode(json.dumps(chunk).encode()).decode()
    return event_stream.event("chunk", json.dumps({"bytes": inner}).encode())


def _metrics(usage: Usage, first: float, whole: float) -> dict[str, int]:
    """What the last chunk of every family carries; ``first`` and ``whole`` are seconds, told in milliseconds."""
    return {
        "inputTokenCount": usage.prompt_tokens,
        "outputTokenCount": usage.completion_tokens,
        "invocationLatency": round(whole * 1000),
        "firstByteLatency": round(first * 1000),
    }


routes = [
    Route("/model/{model:path}/invoke", invoke, methods=["POST"]),
    Route("/model/{model:path}/invoke-with-response-stream", invoke_stream, methods=["POST"]),
]
