"""Bedrock's invoke: the body is the model's own, so each family has its shape (…/bedrock/latest/userguide/model-parameters.html)."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keyless import anthropic_messages, event_stream, wire
from keyless.bedrock_converse import ConverseRequest, events_of, output, stop_reason, usage_body
from keyless.bedrock_converse import to_neutral as converse_to_neutral
from keyless.bedrock_errors import BEDROCK
from keyless.cohere_embed import encoded
from keyless.neutral import BadRequest, Done, Event, Message, Reply, Started, TextDelta, Usage
from keyless.neutral import Request as NeutralRequest
from keyless.openai_embeddings import resized

Chunks = AsyncIterator[dict[str, Any]]


class ClaudeBody(anthropic_messages.MessagesRequest):
    model: str = ""
    anthropic_version: Literal["bedrock-2023-05-31"]


class TitanConfig(wire.Loose):
    maxTokenCount: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=1)
    topP: float | None = Field(None, ge=0, le=1)
    stopSequences: list[str] | None = None


class TitanBody(wire.Loose):
    inputText: str = Field(min_length=1)
    textGenerationConfig: TitanConfig | None = None


class TitanEmbeddingBody(wire.Loose):
    inputText: str = Field(min_length=1)
    dimensions: Literal[256, 512, 1024] | None = None
    normalize: bool | None = True
    embeddingTypes: list[Literal["float", "binary"]] | None = None


class LlamaBody(wire.Loose):
    prompt: str = Field(min_length=1)
    max_gen_len: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=1)
    top_p: float | None = Field(None, ge=0, le=1)


# --- Claude: Anthropic's messages -----------------------------------------------------------------


def _claude(body: ClaudeBody) -> NeutralRequest:
    return anthropic_messages.to_neutral(body)


def _claude_whole(model: str, reply: Reply) -> dict[str, Any]:
    return anthropic_messages.whole(anthropic_messages.head(model), reply)


def _claude_chunks(model: str, events: AsyncIterator[Event]) -> Chunks:
    return anthropic_messages.events_of(events, anthropic_messages.head(model))


# --- Titan text -----------------------------------------------------------------------------------

_TITAN_REASONS = {"stop": "FINISH", "length": "LENGTH", "tool_calls": "FINISH"}


def _titan(body: TitanBody) -> NeutralRequest:
    # Titan's own convention for a chat: "User: …\nBot:".
    text = re.sub(r"\s*\bBot:\s*$", "", re.sub(r"^\s*User:\s*", "", body.inputText)).strip() or body.inputText
    config = body.textGenerationConfig or TitanConfig()
    return NeutralRequest(
        (Message("user", text),),
        max_tokens=config.maxTokenCount,
        temperature=config.temperature,
        top_p=config.topP,
        stop=tuple(s for s in config.stopSequences or () if s),
    )


def _titan_whole(model: str, reply: Reply) -> dict[str, Any]:
    result = {
        "tokenCount": reply.usage.completion_tokens,
        "outputText": reply.text,
        "completionReason": "STOP_CRITERIA_MET" if reply.stop_sequence else _TITAN_REASONS[reply.finish_reason],
    }
    return {"inputTextTokenCount": reply.usage.prompt_tokens, "results": [result]}


async def _titan_chunks(model: str, events: AsyncIterator[Event]) -> Chunks:
    prompt_tokens = 0
    async for piece in events:
        if isinstance(piece, Started):
            prompt_tokens = piece.prompt_tokens
            continue
        chunk = {
            "outputText": "",
            "index": 0,
            "totalOutputTextTokenCount": None,
            "completionReason": None,
            "inputTextTokenCount": prompt_tokens,
        }
        if isinstance(piece, TextDelta):
            yield {**chunk, "outputText": piece.text}
        elif isinstance(piece, Done):
            reason = "STOP_CRITERIA_MET" if piece.stop_sequence else _TITAN_REASONS[piece.finish_reason]
            yield {**chunk, "totalOutputTextTokenCount": piece.usage.completion_tokens, "completionReason": reason}


# --- Nova: the same as converse -------------------------------------------------------------------


def _nova_whole(model: str, reply: Reply) -> dict[str, Any]:
    return {
        "output": output(reply),
        "stopReason": stop_reason(reply.finish_reason, reply.stop_sequence),
        "usage": usage_body(reply.usage),
    }


async def _nova_chunks(model: str, events: AsyncIterator[Event]) -> Chunks:
    async for kind, fields in events_of(events):
        yield {kind: fields}


# --- Llama ----------------------------------------------------------------------------------------

_LLAMA_TURN = re.compile(
    r"<\|start_header_id\|>(system|user|assistant)<\|end_header_id\|>\s*(.*?)(?=<\|eot_id\|>|<\|start_header_id\|>|$)",
    re.S,
)


def _llama(body: LlamaBody) -> NeutralRequest:
    turns = [(role, text.strip()) for role, text in _LLAMA_TURN.findall(body.prompt)]
    messages = tuple(Message(role, text) for role, text in turns if text) or (Message("user", body.prompt),)
    return NeutralRequest(messages, max_tokens=body.max_gen_len, temperature=body.temperature, top_p=body.top_p)


def _llama_chunk(text: str, usage: Usage | None, reason: str | None) -> dict[str, Any]:
    return {
        "generation": text,
        "prompt_token_count": usage.prompt_tokens if usage else None,
        "generation_token_count": usage.completion_tokens if usage else None,
        "stop_reason": reason,
    }


def _llama_whole(model: str, reply: Reply) -> dict[str, Any]:
    return _llama_chunk(reply.text, reply.usage, "length" if reply.finish_reason == "length" else "stop")


async def _llama_chunks(model: str, events: AsyncIterator[Event]) -> Chunks:
    count, prompt = 0, 0
    async for piece in events:
        if isinstance(piece, Started):
            prompt = piece.prompt_tokens
        elif isinstance(piece, TextDelta):
            count += 1
            yield _llama_chunk(piece.text, Usage(prompt, count), None)
        elif isinstance(piece, Done):
            yield _llama_chunk("", piece.usage, "length" if piece.finish_reason == "length" else "stop")


# --- the routes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """How one family of models is asked and answers."""

    body: type[Any]
    neutral: Callable[[Any], NeutralRequest]
    whole: Callable[[str, Reply], dict[str, Any]]
    chunks: Callable[[str, AsyncIterator[Event]], Chunks]


FAMILIES = {
    "claude": Family(ClaudeBody, _claude, _claude_whole, _claude_chunks),
    "titan": Family(TitanBody, _titan, _titan_whole, _titan_chunks),
    "nova": Family(ConverseRequest, converse_to_neutral, _nova_whole, _nova_chunks),
    "llama": Family(LlamaBody, _llama, _llama_whole, _llama_chunks),
}


def _family(model: str) -> Family:
    """By the model's id, such as ``us.anthropic.claude-sonnet-4-5-20250929-v1:0``. Raises ``BadRequest``."""
    for name, family in FAMILIES.items():
        if name in model.lower():
            return family
    raise BadRequest(
        f"The provided model identifier is invalid: {model}. keyless knows the bodies of {', '.join(FAMILIES)} and titan-embed."
    )


def _headers(began: float, usage: Usage) -> dict[str, str]:
    return {
        "x-amzn-requestid": wire.new_id(""),
        "x-amzn-bedrock-invocation-latency": str(round((time.perf_counter() - began) * 1000)),
        "x-amzn-bedrock-input-token-count": str(usage.prompt_tokens),
        "x-amzn-bedrock-output-token-count": str(usage.completion_tokens),
    }


@wire.adapter(BEDROCK)
async def invoke(request: Request) -> Response:
    model = request.path_params["model"]
    wire.entry(request).model = model
    began = time.perf_counter()
    if "titan-embed" in model:
        return await _titan_embedding(request, began)
    family = _family(model)
    body = await wire.read(request, family.body)
    wire.entry(request).model = model
    reply = await wire.reply(request, await asyncio.to_thread(family.neutral, body))
    return JSONResponse(family.whole(model, reply), headers=_headers(began, reply.usage))


async def _titan_embedding(request: Request, began: float) -> Response:
    body = await wire.read(request, TitanEmbeddingBody)
    vectors, counts = await wire.embed(request, [body.inputText])
    vectors = resized(vectors, body.dimensions or (1536 if "v1" in request.path_params["model"] else 1024))
    by_type = {kind: encoded(vectors, kind)[0] for kind in body.embeddingTypes or ["float"] if kind == "float"}
    if "binary" in (body.embeddingTypes or ()):
        by_type["binary"] = (vectors[0] > 0).astype(int).tolist()
    reply: dict[str, Any] = {"inputTextTokenCount": sum(counts), "embeddingsByType": by_type}
    if "float" in by_type:
        reply["embedding"] = by_type["float"]
    return JSONResponse(reply, headers=_headers(began, Usage(sum(counts), 0)))


@wire.adapter(BEDROCK)
async def invoke_stream(request: Request) -> Response:
    model = request.path_params["model"]
    began = time.perf_counter()
    family = _family(model)
    body = await wire.read(request, family.body)
    wire.entry(request).model, wire.entry(request).stream = model, True
    events = await wire.events(request, await asyncio.to_thread(family.neutral, body))
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

    headers = {"x-amzn-requestid": wire.new_id(""), "x-amzn-bedrock-content-type": "application/json"}
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
