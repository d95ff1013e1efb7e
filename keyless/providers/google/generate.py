"""Google's generateContent, streamGenerateContent and countTokens, and its models (https://ai.google.dev/api)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keyless.http import bodies, calls, context
from keyless.http.adapter import adapter
from keyless.http.stamps import new_id, rfc3339
from keyless.http.streams import sse
from keyless.neutral import BadRequest, Done, Event, Reply, Started, TextDelta, ToolCall, Usage
from keyless.providers.google import caches, files
from keyless.providers.google.codec import MODELS_AT, Prompt, model_routes, note, to_neutral
from keyless.providers.google.errors import DIALECT

MODELS = ("gemini-3-pro", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-embedding-001")
ACTIONS = (
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "predict",
    "embedContent",
    "batchEmbedContents",
    "batchGenerateContent",
    "asyncBatchEmbedContent",
)
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}


class GenerateRequest(Prompt):
    cached_content: str | None = None


class CountRequest(Prompt):
    generate_content_request: Prompt | None = None


def _part(call: ToolCall) -> dict[str, Any]:
    return {"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}}


def _candidate(index: int, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": index}
    return {**candidate, "finishReason": _FINISH[finish]} if finish else candidate


def _usage(usage: Usage, cached: int) -> dict[str, Any]:
    body: dict[str, Any] = {
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": usage.completion_tokens,
        "totalTokenCount": usage.total_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.prompt_tokens}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": usage.completion_tokens}],
    }
    if cached:
        body["cachedContentTokenCount"] = cached
        body["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": cached}]
    return body


def _head(request: Request) -> dict[str, Any]:
    head = {"modelVersion": request.path_params["model"], "responseId": new_id("")}
    # Only Vertex AI tells when.
    return {**head, "createTime": rfc3339(time.time())} if "publisher" in request.path_params else head


@adapter(DIALECT)
async def generate(request: Request) -> Response:
    body, cached = caches.expanded(request, await bodies.read(request, GenerateRequest))
    note(request)
    neutral = await calls.understood(request, to_neutral, body, files.reader(request))
    count = (body.generation_config.candidate_count if body.generation_config else None) or 1
    # Further candidates differ as sampled ones do: each has a seed of its own.
    asked = [replace(neutral, seed=(neutral.seed or 0) + i) if i else neutral for i in range(count)]
    replies = await calls.choices(request, asked)
    return JSONResponse(
        {
            "candidates": [_candidate(i, _parts(r), r.finish_reason) for i, r in enumerate(replies)],
            "usageMetadata": _usage(calls.usage_of(replies), cached),
            **_head(request),
        }
    )


def _parts(reply: Reply) -> list[dict[str, Any]]:
    text = [{"text": reply.text}] if reply.text or not reply.tool_calls else []
    return [*text, *(_part(c) for c in reply.tool_calls)]


@adapter(DIALECT)
async def stream(request: Request) -> Response:
    body, cached = caches.expanded(request, await bodies.read(request, GenerateRequest))
    note(request, stream=True)
    neutral = await calls.understood(request, to_neutral, body, files.reader(request))
    events = await calls.events(request, neutral)
    chunks = _chunks(events, _head(request), cached)
    if request.query_params.get("alt") == "sse":
        return sse(f"data: {json.dumps(chunk)}\r\n\r\n" async for chunk in chunks)
    return StreamingResponse(_array(chunks), media_type="application/json")


async def _array(chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """Without ``alt=sse`` a stream is one JSON array that grows."""
    opening = "["
    async for chunk in chunks:
        yield f"{opening}{json.dumps(chunk)}"
        opening = ",\r\n"
    yield "]"


async def _chunks(events: AsyncIterator[Event], head: dict[str, Any], cached: int) -> AsyncIterator[dict[str, Any]]:
    prompt = 0
    async for piece in events:
        if isinstance(piece, Started):
            prompt = piece.prompt_tokens
        elif isinstance(piece, Done):
            parts = [{"text": ""}]
            yield {
                "candidates": [_candidate(0, parts, piece.finish_reason)],
                "usageMetadata": _usage(piece.usage, cached),
                **head,
            }
        else:
            parts = [{"text": piece.text}] if isinstance(piece, TextDelta) else [_part(piece)]
            so_far = {"promptTokenCount": prompt, "totalTokenCount": prompt}
            yield {"candidates": [_candidate(0, parts, None)], "usageMetadata": so_far, **head}


@adapter(DIALECT)
async def count_tokens(request: Request) -> Response:
    body = await bodies.read(request, CountRequest)
    note(request)
    asked = body.generate_content_request or body
    neutral = await calls.understood(request, to_neutral, asked, files.reader(request))
    tokens = await calls.count(request, neutral)
    return JSONResponse({"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]})


def _model(request: Request, name: str) -> dict[str, Any]:
    if "publisher" in request.path_params:
        return {"name": f"publishers/{request.path_params['publisher']}/models/{name}", "versionId": "default"}
    most = context.answerer(request).context_tokens
    actions = ["embedContent"] if "embedding" in name else ["generateContent", "countTokens", "createCachedContent"]
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "description": "Answered by keyless.",
        "inputTokenLimit": most,
        "outputTokenLimit": most,
        "supportedGenerationMethods": actions,
    }


@adapter(DIALECT, metered=False)
async def list_models(request: Request) -> Response:
    name = "publisherModels" if "publisher" in request.path_params else "models"
    return JSONResponse({name: [_model(request, m) for m in MODELS]})


@adapter(DIALECT, metered=False)
async def get_model(request: Request) -> Response:
    return JSONResponse(_model(request, request.path_params["model"]))


@adapter(DIALECT, metered=False)
async def unknown(request: Request) -> Response:
    name, _, action = request.path_params["model"].rpartition(":")
    raise BadRequest(
        f"Unknown action {action!r} of {name}: keyless serves {', '.join(ACTIONS)}.", status=404, kind="not_found"
    )


routes = [
    *model_routes({"generateContent": generate, "streamGenerateContent": stream, "countTokens": count_tokens}),
    *(Route(place, list_models, methods=["GET"]) for place in MODELS_AT),
    *(Route(f"{place}/{{model}}", get_model, methods=["GET"]) for place in MODELS_AT),
]
# To be tried after the embeddings' routes: what comes here is no action of either.
fallback = [Route(f"{place}/{{model}}", unknown, methods=["POST"]) for place in MODELS_AT]
