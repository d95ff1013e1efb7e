"""Bedrock's converse as neutral requests and replies (…/bedrock/latest/APIReference/API_runtime_Converse.html)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from keyless.http import attachments, bodies
from keyless.http.prompt_cache import NOT_CACHED, Cached
from keyless.http.prompt_cache import Block as CacheBlock
from keyless.neutral import (
    Attachment,
    BadRequest,
    Done,
    Event,
    Message,
    Reply,
    Started,
    TextDelta,
    Tool,
    ToolCall,
    Usage,
)
from keyless.neutral import Request as NeutralRequest


class Source(bodies.Loose):
    bytes: str | None = None
    text: str | None = None


class Picture(bodies.Loose):
    format: str
    source: Source


class Document(bodies.Loose):
    name: str = ""
    format: str = "txt"
    source: Source


class ToolUse(bodies.Loose):
    toolUseId: str
    name: str
    input: dict[str, Any] = Field(default_factory=dict)


class ToolResult(bodies.Loose):
    toolUseId: str
    content: list[dict[str, Any]] = Field(default_factory=list)
    status: Literal["success", "error"] | None = None


class CachePoint(bodies.Loose):
    type: Literal["default"]
    ttl: Literal["5m", "1h"] = "5m"


class Block(bodies.Loose):
    text: str | None = None
    cachePoint: CachePoint | None = None
    image: Picture | None = None
    document: Document | None = None
    toolUse: ToolUse | None = None
    toolResult: ToolResult | None = None


class ConverseMessage(bodies.Loose):
    role: Literal["user", "assistant"]
    content: list[Block]


class Inference(bodies.Loose):
    maxTokens: int | None = Field(None, ge=1)
    max_new_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=1)
    topP: float | None = Field(None, ge=0, le=1)
    stopSequences: list[str] | None = None


class InputSchema(bodies.Loose):
    json_: dict[str, Any] = Field(alias="json")


class ToolSpec(bodies.Loose):
    name: str = Field(min_length=1)
    description: str | None = None
    inputSchema: InputSchema


class ToolHolder(bodies.Loose):
    toolSpec: ToolSpec | None = None
    cachePoint: CachePoint | None = None


class NamedTool(bodies.Loose):
    name: str


class ToolChoice(bodies.Loose):
    auto: dict[str, Any] | None = None
    any: dict[str, Any] | None = None
    tool: NamedTool | None = None


class ToolConfig(bodies.Loose):
    tools: list[ToolHolder] = Field(min_length=1)
    toolChoice: ToolChoice | None = None


class JsonSchema(bodies.Loose):
    schema_: str = Field(alias="schema")


class Structure(bodies.Loose):
    jsonSchema: JsonSchema | None = None


class TextFormat(bodies.Loose):
    type: Literal["json_schema"]
    structure: Structure


class OutputConfig(bodies.Loose):
    textFormat: TextFormat | None = None


class ConverseRequest(bodies.Loose):
    messages: list[ConverseMessage] = Field(min_length=1)
    system: list[Block] | None = None
    inferenceConfig: Inference | None = None
    toolConfig: ToolConfig | None = None
    outputConfig: OutputConfig | None = None


def _text(blocks: list[Block]) -> str:
    return "\n".join(b.text for b in blocks if b.text is not None)


def _document(document: Document) -> Attachment | str:
    """A text, a PDF, or of another format only the name. Raises ``BadRequest``."""
    if document.source.text is not None:
        return document.source.text
    kind = {"pdf": "application/pdf", **dict.fromkeys(("txt", "md", "csv", "html"), "text/plain")}.get(document.format)
    if kind and document.source.bytes:
        return attachments.sent_file(document.source.bytes, kind, "document")
    return f"[document {document.name}]"


def _shown(blocks: list[Block]) -> list[Attachment | str]:
    """Pictures and documents, in their order. Raises ``BadRequest``."""
    sent: list[Attachment | str] = []
    for block in blocks:
        if block.image is not None:
            sent.append(attachments.image(block.image.source.bytes or ""))
        if block.document is not None:
            sent.append(_document(block.document))
    return sent


def _result(result: ToolResult) -> Message:
    files = [c for c in result.content if "image" in c or "document" in c]
    texts, sent = attachments.sorted_out(_shown([bodies.validated(c, Block) for c in files]))
    rest = [c for c in result.content if c not in files]
    said = [c["text"] if isinstance(c.get("text"), str) else json.dumps(c.get("json", c)) for c in rest]
    failed = result.status == "error"
    return Message("tool", "\n".join([*said, *texts]), tool_call_id=result.toolUseId, failed=failed, attachments=sent)


def _messages(message: ConverseMessage) -> list[Message]:
    # One turn carries tool results beside the user's words; neutrally each is a turn.
    turns = [_result(b.toolResult) for b in message.content if b.toolResult is not None]
    calls = tuple(ToolCall(b.toolUse.toolUseId, b.toolUse.name, b.toolUse.input) for b in message.content if b.toolUse)
    said = [b for b in message.content if b.text is not None or b.image is not None or b.document is not None]
    if said or calls:
        texts, sent = attachments.sorted_out(_shown(said))
        text = "\n".join([b.text for b in said if b.text is not None] + texts)
        turns.append(Message(message.role, text, calls, attachments=sent))
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
