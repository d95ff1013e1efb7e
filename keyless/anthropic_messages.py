"""Anthropic messages (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless import wire
from keyless.neutral import (
    BadRequest,
    ContextOverflow,
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

MODELS = ("claude-opus-4-8", "claude-sonnet-5", "claude-sonnet-4-5", "claude-haiku-4-5")
_ERROR_TYPES = {
    "authentication": "authentication_error",
    "not_found": "not_found_error",
    "request_too_large": "request_too_large",
}


def error_body(error: BadRequest) -> dict[str, Any]:
    message = str(error)
    if isinstance(error, ContextOverflow):
        message = f"prompt is too long: {error.tokens} tokens > {error.limit} maximum"
    return {
        "type": "error",
        "error": {"type": _ERROR_TYPES.get(error.kind, "invalid_request_error"), "message": message},
        "request_id": wire.new_id("req_"),
    }


class Block(wire.Loose):
    type: str
    text: str | None = None
    id: str = ""
    name: str = ""
    input: dict[str, Any] = Field(default_factory=dict)
    tool_use_id: str = ""
    content: str | list[dict[str, Any]] | None = None


class InputMessage(wire.Loose):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class ToolDefinition(wire.Loose):
    name: str = Field(min_length=1)
    description: str | None = None
    input_schema: dict[str, Any]


class ToolChoice(wire.Loose):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False


class OutputFormat(wire.Loose):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(wire.Loose):
    format: OutputFormat | None = None


class MessagesRequest(wire.Loose):
    model: str = Field(min_length=1)
    max_tokens: int = Field(ge=1)
    messages: list[InputMessage] = Field(min_length=1)
    system: str | list[Block] | None = None
    temperature: float | None = Field(None, ge=0, le=1)
    top_p: float | None = Field(None, ge=0, le=1)
    stop_sequences: list[str] | None = None
    stream: bool | None = False
    tools: list[ToolDefinition] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None


def _text(blocks: str | list[Block] | list[dict[str, Any]] | None) -> str:
    if isinstance(blocks, str) or blocks is None:
        return blocks or ""
    pieces = []
    for block in blocks:
        kind, text = (block.get("type"), block.get("text")) if isinstance(block, dict) else (block.type, block.text)
        pieces.append(text if text is not None else f"[{kind}]")
    return "\n".join(pieces)


def _messages(message: InputMessage) -> list[Message]:
    if isinstance(message.content, str):
        return [Message(message.role, message.content)]
    # One turn of Anthropic's carries tool results beside the user's words; neutrally each is a turn.
    turns = [
        Message("tool", _text(b.content), tool_call_id=b.tool_use_id)
        for b in message.content
        if b.type == "tool_result"
    ]
    calls = tuple(ToolCall(b.id, b.name, b.input) for b in message.content if b.type == "tool_use")
    said = [b for b in message.content if b.type not in ("tool_result", "tool_use", "thinking", "redacted_thinking")]
    if said or calls:
        turns.append(Message(message.role, _text(said), calls))
    return turns


def to_neutral(body: MessagesRequest) -> NeutralRequest:
    messages = [Message("system", _text(body.system))] if body.system else []
    for message in body.messages:
        messages += _messages(message)
    choice = body.tool_choice
    form = body.output_format or (body.output_config.format if body.output_config else None)
    return NeutralRequest(
        messages=tuple(messages),
        tools=tuple(Tool(t.name, t.description or "", t.input_schema) for t in body.tools or ()),
        tool_choice="auto"
        if choice is None
        else {"any": "required", "tool": choice.name}.get(choice.type, choice.type),
        parallel_tool_calls=not (choice is not None and choice.disable_parallel_tool_use),
        schema=form.schema_ if form else None,
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        stop=tuple(s for s in body.stop_sequences or () if s),
    )


def _stop_reason(finish: str, stop: str | None) -> str:
    return "stop_sequence" if stop else {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[finish]


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "service_tier": "standard",
    }


def _head(body: MessagesRequest) -> dict[str, Any]:
    return {"id": wire.new_id("msg_"), "type": "message", "role": "assistant", "model": body.model}


def _whole(head: dict[str, Any], reply: Reply) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text, "citations": None}] if reply.text else []
    content += [
        {"type": "tool_use", "id": c.id.replace("call_", "toolu_"), "name": c.name, "input": c.arguments}
        for c in reply.tool_calls
    ]
    return {
        **head,
        "content": content,
        "stop_reason": _stop_reason(reply.finish_reason, reply.stop_sequence),
        "stop_sequence": reply.stop_sequence,
        "usage": _usage(reply.usage),
    }


@wire.adapter(error_body)
async def create(request: Request) -> Response:
    body = await wire.read(request, MessagesRequest)
    neutral = to_neutral(body)
    if body.stream:
        return wire.sse(_events(await wire.events(request, neutral), _head(body)))
    reply = await wire.while_connected(request, wire.answerer(request).reply(neutral))
    if reply is None:
        return Response(status_code=499)
    wire.note_usage(request, reply.usage)
    return JSONResponse(_whole(_head(body), reply), headers={"request-id": wire.new_id("req_")})


async def _events(events: AsyncIterator[Event], head: dict[str, Any]) -> AsyncIterator[str]:
    def event(kind: str, **fields: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"

    index, open_text = -1, False
    async for piece in events:
        if isinstance(piece, Started):
            start = {
                **head,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": _usage(Usage(piece.prompt_tokens, 1)),
            }
            yield event("message_start", message=start)
            yield event("ping")
            continue
        if isinstance(piece, TextDelta):
            if not open_text:
                index, open_text = index + 1, True
                yield event(
                    "content_block_start", index=index, content_block={"type": "text", "text": "", "citations": None}
                )
            yield event("content_block_delta", index=index, delta={"type": "text_delta", "text": piece.text})
            continue
        if open_text:
            yield event("content_block_stop", index=index)
            open_text = False
        if isinstance(piece, ToolCall):
            index += 1
            block = {"type": "tool_use", "id": piece.id.replace("call_", "toolu_"), "name": piece.name, "input": {}}
            yield event("content_block_start", index=index, content_block=block)
            yield event(
                "content_block_delta",
                index=index,
                delta={"type": "input_json_delta", "partial_json": json.dumps(piece.arguments)},
            )
            yield event("content_block_stop", index=index)
        elif isinstance(piece, Done):
            delta = {
                "stop_reason": _stop_reason(piece.finish_reason, piece.stop_sequence),
                "stop_sequence": piece.stop_sequence,
            }
            yield event("message_delta", delta=delta, usage=_usage(piece.usage))
    yield event("message_stop")


@wire.adapter(error_body)
async def list_models(request: Request) -> Response:
    data = [{"type": "model", "id": m, "display_name": m, "created_at": "2025-01-01T00:00:00Z"} for m in MODELS]
    return JSONResponse({"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})


routes = [
    Route("/v1/messages", create, methods=["POST"]),
    Route("/v1/models", list_models, methods=["GET"]),
]
