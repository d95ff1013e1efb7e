"""Cohere chat v2, models and tokenizing (https://docs.cohere.com/reference/chat)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, calls
from keyless.http.adapter import adapter
from keyless.http.chat_shape import CalledTool, FunctionTool, Part, content_of, parse_arguments, tools_of
from keyless.http.stamps import new_id
from keyless.http.streams import sse
from keyless.neutral import BadRequest, Done, Event, Message, Started, TextDelta, ToolCall, Usage
from keyless.neutral import Request as NeutralRequest
from keyless.providers.cohere.errors import DIALECT

_FINISH = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}


class Document(bodies.Loose):
    data: dict[str, Any] | str
    id: str | None = None


class ContentPart(Part):
    document: Document | None = None


class ChatMessage(bodies.Loose):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    tool_calls: list[CalledTool] | None = None
    tool_plan: str | None = None
    tool_call_id: str = ""


class ResponseFormat(bodies.Loose):
    type: Literal["text", "json_object"]
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    json_schema: dict[str, Any] | None = None


class ChatRequest(bodies.Loose):
    model: str = Field(min_length=1)
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool = False
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["REQUIRED", "NONE"] | None = None
    documents: list[str | Document] | None = None
    response_format: ResponseFormat | None = None
    max_tokens: int | None = Field(None, ge=1)
    stop_sequences: list[str] | None = Field(None, max_length=5)
    temperature: float | None = Field(None, ge=0)
    seed: int | None = None
    frequency_penalty: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=0, le=1)
    p: float | None = Field(None, ge=0, le=1)


def _as_text(document: str | Document) -> str:
    if isinstance(document, str):
        return document
    return document.data if isinstance(document.data, str) else json.dumps(document.data, ensure_ascii=False)


def _message(message: ChatMessage) -> Message:
    content = message.content
    documents = [p.document for p in content if p.document] if isinstance(content, list) else []
    text, attachments = content_of(content)  # type: ignore[arg-type]
    if documents:
        text = "\n".join(map(_as_text, documents))
    calls = tuple(
        ToolCall(c.id, c.function.name, parse_arguments(c.function.arguments)) for c in message.tool_calls or ()
    )
    return Message(message.role, text, calls, message.tool_call_id, attachments=attachments)  # type: ignore[arg-type]


def to_neutral(body: ChatRequest) -> NeutralRequest:
    """Raises ``BadRequest`` for a picture that cannot be read, and for a format together with tools."""
    form = body.response_format
    schema = None if form is None or form.type == "text" else form.schema_ or form.json_schema or {}
    if schema is not None and (body.tools or body.documents):
        raise BadRequest("response_format cannot be used together with tools or documents", param="response_format")
    # Documents are what a search has found: to the model they are the result of a tool.
    found = tuple(Message("tool", _as_text(d)) for d in body.documents or ())
    return NeutralRequest(
        messages=tuple(map(_message, body.messages)) + found,
        tools=tools_of(body.tools),
        tool_choice={"REQUIRED": "required", "NONE": "none", None: "auto"}[body.tool_choice],
        schema=schema,
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.p,
        seed=body.seed,
        stop=tuple(s for s in body.stop_sequences or () if s),
        frequency_penalty=body.frequency_penalty,
        presence_penalty=body.presence_penalty,
    )


def _usage(usage: Usage) -> dict[str, Any]:
    tokens = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
    return {"billed_units": tokens, "tokens": tokens, "cached_tokens": 0}


def _finish(finish: str, stop: str | None) -> str:
    return "STOP_SEQUENCE" if stop else _FINISH[finish]


def _call(call: ToolCall, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


@adapter(DIALECT)
async def chat(request: Request) -> Response:
    body = await bodies.read(request, ChatRequest)
    neutral = await calls.understood(request, to_neutral, body)
    if body.stream:
        return sse(_events(await calls.events(request, neutral)))
    reply = await calls.reply(request, neutral)
    message: dict[str, Any] = {"role": "assistant"}
    if reply.text or not reply.tool_calls:
        message["content"] = [{"type": "text", "text": reply.text}]
    if reply.tool_calls:
        message["tool_plan"] = _plan(reply.tool_calls[0])
        message["tool_calls"] = [_call(c, json.dumps(c.arguments)) for c in reply.tool_calls]
    return JSONResponse(
        {
            "id": new_id(""),
            "finish_reason": _finish(reply.finish_reason, reply.stop_sequence),
            "message": message,
            "usage": _usage(reply.usage),
        }
    )


def _plan(call: ToolCall) -> str:
    return f"I will use the tool {call.name}."


async def _events(events: AsyncIterator[Event]) -> AsyncIterator[str]:
    def event(kind: str, **fields: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"

    index, open_text = 0, False
    async for piece in events:
        if isinstance(piece, Started):
            yield event("message-start", id=new_id(""), delta={"message": {"role": "assistant"}})
            continue
        if isinstance(piece, TextDelta):
            if not open_text:
                open_text = True
                start = {"message": {"content": {"type": "text", "text": ""}}}
                yield event("content-start", index=index, delta=start)
            yield event("content-delta", index=index, delta={"message": {"content": {"text": piece.text}}})
            continue
        if open_text:
            yield event("content-end", index=index)
            index, open_text = index + 1, False
        if isinstance(piece, ToolCall):
            if index == 0:
                yield event("tool-plan-delta", delta={"message": {"tool_plan": _plan(piece)}})
            yield event("tool-call-start", index=index, delta={"message": {"tool_calls": _call(piece, "")}})
            arguments = {"tool_calls": {"function": {"arguments": json.dumps(piece.arguments)}}}
            yield event("tool-call-delta", index=index, delta={"message": arguments})
            yield event("tool-call-end", index=index)
            index += 1
        elif isinstance(piece, Done):
            finish = _finish(piece.finish_reason, piece.stop_sequence)
            yield event("message-end", delta={"finish_reason": finish, "usage": _usage(piece.usage)})


routes = [Route("/v2/chat", chat, methods=["POST"])]
