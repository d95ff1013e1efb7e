"""Bedrock's converse, converse-stream and count-tokens (…/bedrock/latest/APIReference/API_runtime_Converse.html)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keyless import event_stream, pictures, wire
from keyless.bedrock_errors import BEDROCK
from keyless.neutral import BadRequest, Done, Event, Message, Reply, Started, TextDelta, Tool, ToolCall, Usage
from keyless.neutral import Request as NeutralRequest
from keyless.prompt_cache import NOT_CACHED, Cached
from keyless.prompt_cache import Block as CacheBlock


class Source(wire.Loose):
    bytes: str | None = None
    text: str | None = None


class Picture(wire.Loose):
    format: str
    source: Source


class Document(wire.Loose):
    name: str = ""
    format: str = "txt"
    source: Source


class ToolUse(wire.Loose):
    toolUseId: str
    name: str
    input: dict[str, Any] = Field(default_factory=dict)


class ToolResult(wire.Loose):
    toolUseId: str
    content: list[dict[str, Any]] = Field(default_factory=list)


class CachePoint(wire.Loose):
    type: Literal["default"]
    ttl: Literal["5m", "1h"] = "5m"


class Block(wire.Loose):
    text: str | None = None
    cachePoint: CachePoint | None = None
    image: Picture | None = None
    document: Document | None = None
    toolUse: ToolUse | None = None
    toolResult: ToolResult | None = None


class ConverseMessage(wire.Loose):
    role: Literal["user", "assistant"]
    content: list[Block]


class Inference(wire.Loose):
    maxTokens: int | None = Field(None, ge=1)
    max_new_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=1)
    topP: float | None = Field(None, ge=0, le=1)
    stopSequences: list[str] | None = None


class InputSchema(wire.Loose):
    json_: dict[str, Any] = Field(alias="json")


class ToolSpec(wire.Loose):
    name: str = Field(min_length=1)
    description: str | None = None
    inputSchema: InputSchema


class ToolHolder(wire.Loose):
    toolSpec: ToolSpec | None = None
    cachePoint: CachePoint | None = None


class NamedTool(wire.Loose):
    name: str


class ToolChoice(wire.Loose):
    auto: dict[str, Any] | None = None
    any: dict[str, Any] | None = None
    tool: NamedTool | None = None


class ToolConfig(wire.Loose):
    tools: list[ToolHolder] = Field(min_length=1)
    toolChoice: ToolChoice | None = None


class JsonSchema(wire.Loose):
    schema_: str = Field(alias="schema")


class Structure(wire.Loose):
    jsonSchema: JsonSchema | None = None


class TextFormat(wire.Loose):
    type: Literal["json_schema"]
    structure: Structure


class OutputConfig(wire.Loose):
    textFormat: TextFormat | None = None


class ConverseRequest(wire.Loose):
    messages: list[ConverseMessage] = Field(min_length=1)
    system: list[Block] | None = None
    inferenceConfig: Inference | None = None
    toolConfig: ToolConfig | None = None
    outputConfig: OutputConfig | None = None


class CountInput(wire.Loose):
    converse: ConverseRequest


class CountRequest(wire.Loose):
    input: CountInput


def _text(blocks: list[Block]) -> str:
    pieces = [b.text for b in blocks if b.text is not None]
    pieces += [_document(b.document) for b in blocks if b.document is not None]
    return "\n".join(pieces)


def _document(document: Document) -> str:
    """A document's text; of a format that is not text only its name."""
    if document.source.text is not None:
        return document.source.text
    if document.format in ("txt", "md", "csv", "html") and document.source.bytes:
        return pictures.from_base64(document.source.bytes, "document").decode("utf-8", "replace")
    return f"[document {document.name}]"


def _result(result: ToolResult) -> str:
    pieces = [c["text"] if isinstance(c.get("text"), str) else json.dumps(c.get("json", c)) for c in result.content]
    return "\n".join(pieces)


def _messages(message: ConverseMessage) -> list[Message]:
    # One turn carries tool results beside the user's words; neutrally each is a turn.
    turns = [
        Message("tool", _result(b.toolResult), tool_call_id=b.toolResult.toolUseId)
        for b in message.content
        if b.toolResult is not None
    ]
    calls = tuple(ToolCall(b.toolUse.toolUseId, b.toolUse.name, b.toolUse.input) for b in message.content if b.toolUse)
    said = [b for b in message.content if b.text is not None or b.image is not None or b.document is not None]
    if said or calls:
        shown = tuple(
            pictures.describe(pictures.from_base64(b.image.source.bytes or "", "image"))
            for b in said
            if b.image is not None
        )
        turns.append(Message(message.role, _text(said), calls, pictures=shown))
    return turns


def to_neutral(body: ConverseRequest) -> NeutralRequest:
    """Raises ``BadRequest`` for a picture, a document or a schema that cannot be read."""
    messages = [Message("system", _text(body.system))] if body.system else []
    for message in body.messages:
        messages += _messages(message)
    config = body.inferenceConfig or Inference()
    chosen = body.toolConfig.toolChoice if body.toolConfig else None
    choice = "auto"
    if chosen is not None:
        choice = chosen.tool.name if chosen.tool else "required" if chosen.any is not None else "auto"
    specs = [t.toolSpec for t in body.toolConfig.tools if t.toolSpec] if body.toolConfig else []
    return NeutralRequest(
        messages=tuple(messages),
        tools=tuple(Tool(s.name, s.description or "", s.inputSchema.json_) for s in specs),
        tool_choice=choice,
        schema=_schema(body.outputConfig),
        max_tokens=config.maxTokens or config.max_new_tokens,
        temperature=config.temperature,
        top_p=config.topP,
        stop=tuple(s for s in config.stopSequences or () if s),
    )


def _schema(config: OutputConfig | None) -> dict[str, Any] | None:
    if config is None or config.textFormat is None:
        return None
    definition = config.textFormat.structure.jsonSchema
    try:
        schema = json.loads(definition.schema_) if definition else {}
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise BadRequest("outputConfig: jsonSchema.schema must be a JSON object, written as a string", param="schema")
    return schema


def stop_reason(finish: str, stop: str | None) -> str:
    return "stop_sequence" if stop else {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[finish]


def cache_blocks(body: ConverseRequest) -> list[CacheBlock]:
    """Tools, then the system prompt, then the messages; a cache point marks what stands before it."""
    blocks: list[CacheBlock] = []
    holders = [("tool", t) for t in (body.toolConfig.tools if body.toolConfig else ())]
    spoken = [("system", b) for b in body.system or ()] + [(m.role, b) for m in body.messages for b in m.content]
    for role, holder in [*holders, *spoken]:
        if holder.cachePoint is not None:
            if blocks:
                blocks[-1] = replace(blocks[-1], ttl=holder.cachePoint.ttl)
            continue
        sent = holder.model_dump(exclude_none=True)
        text = holder.text if isinstance(holder, Block) else None
        if isinstance(holder, ToolHolder) and holder.toolSpec is not None:
            spec = holder.toolSpec
            text = json.dumps([spec.name, spec.description or "", spec.inputSchema.json_])
        blocks.append(CacheBlock([role, sent], text or json.dumps(sent)))
    return blocks


def usage_body(usage: Usage, cached: Cached = NOT_CACHED) -> dict[str, Any]:
    body = {
        "inputTokens": max(0, usage.prompt_tokens - cached.read - cached.written),
        "outputTokens": usage.completion_tokens,
        "totalTokens": usage.total_tokens,
    }
    if cached == NOT_CACHED:
        return body
    return {**body, "cacheReadInputTokens": cached.read, "cacheWriteInputTokens": cached.written}


def _use_id(call: ToolCall) -> str:
    return call.id.replace("call_", "tooluse_")


def output(reply: Reply) -> dict[str, Any]:
    """The answer as a message of the assistant."""
    content: list[dict[str, Any]] = [{"text": reply.text}] if reply.text or not reply.tool_calls else []
    content += [{"toolUse": {"toolUseId": _use_id(c), "name": c.name, "input": c.arguments}} for c in reply.tool_calls]
    return {"message": {"role": "assistant", "content": content}}


def _note(request: Request, stream: bool) -> None:
    wire.entry(request).model, wire.entry(request).stream = request.path_params["model"], stream


@wire.adapter(BEDROCK)
async def converse(request: Request) -> Response:
    _note(request, False)
    body = await wire.read(request, ConverseRequest)
    began = time.perf_counter()
    neutral = await asyncio.to_thread(to_neutral, body)
    reply = await wire.reply(request, neutral)
    cached = await wire.cached(request, request.path_params["model"], cache_blocks(body), neutral)
    return JSONResponse(
        {
            "output": output(reply),
            "stopReason": stop_reason(reply.finish_reason, reply.stop_sequence),
            "usage": usage_body(reply.usage, cached),
            "metrics": {"latencyMs": round((time.perf_counter() - began) * 1000)},
        },
        headers={"x-amzn-requestid": wire.new_id("")},
    )


@wire.adapter(BEDROCK)
async def converse_stream(request: Request) -> Response:
    body = await wire.read(request, ConverseRequest)
    _note(request, True)
    neutral = await asyncio.to_thread(to_neutral, body)
    events = await wire.events(request, neutral)
    cached = await wire.cached(request, request.path_params["model"], cache_blocks(body), neutral)

    async def frames() -> AsyncIterator[bytes]:
        async for kind, fields in events_of(events, cached):
            yield event_stream.event(kind, json.dumps(fields).encode())

    return StreamingResponse(
        frames(), media_type=event_stream.MEDIA_TYPE, headers={"x-amzn-requestid": wire.new_id("")}
    )


async def events_of(
    events: AsyncIterator[Event], cached: Cached = NOT_CACHED
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The answer as converse-stream's events: name and fields."""
    began = time.perf_counter()
    index, open_text = 0, False
    async for piece in events:
        if isinstance(piece, Started):
            yield "messageStart", {"role": "assistant"}
            continue
        if isinstance(piece, TextDelta):
            open_text = True
            yield "contentBlockDelta", {"delta": {"text": piece.text}, "contentBlockIndex": index}
            continue
        if open_text:
            yield "contentBlockStop", {"contentBlockIndex": index}
            index, open_text = index + 1, False
        if isinstance(piece, ToolCall):
            start = {"toolUse": {"toolUseId": _use_id(piece), "name": piece.name}}
            yield "contentBlockStart", {"start": start, "contentBlockIndex": index}
            delta = {"toolUse": {"input": json.dumps(piece.arguments)}}
            yield "contentBlockDelta", {"delta": delta, "contentBlockIndex": index}
            yield "contentBlockStop", {"contentBlockIndex": index}
            index += 1
        elif isinstance(piece, Done):
            yield "messageStop", {"stopReason": stop_reason(piece.finish_reason, piece.stop_sequence)}
            latency = round((time.perf_counter() - began) * 1000)
            yield "metadata", {"usage": usage_body(piece.usage, cached), "metrics": {"latencyMs": latency}}


@wire.adapter(BEDROCK)
async def count_tokens(request: Request) -> Response:
    body = await wire.read(request, CountRequest)
    _note(request, False)
    neutral = await asyncio.to_thread(to_neutral, body.input.converse)
    return JSONResponse({"inputTokens": await wire.answerer(request).count(neutral)})


routes = [
    Route("/model/{model:path}/converse", converse, methods=["POST"]),
    Route("/model/{model:path}/converse-stream", converse_stream, methods=["POST"]),
    Route("/model/{model:path}/count-tokens", count_tokens, methods=["POST"]),
]
