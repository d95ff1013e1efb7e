"""OpenAI's chat completions as neutral requests and replies (https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyless.http import bodies, calls
from keyless.http.attachments import Find, no_files
from keyless.http.chat_shape import (
    CalledTool,
    FunctionTool,
    NamedTool,
    Part,
    content_of,
    parse_arguments,
    tools_of,
)
from keyless.http.stamps import new_id
from keyless.http.streams import sse
from keyless.neutral import BadRequest, Done, Event, Message, Reply, TextDelta, ToolCall, Usage
from keyless.neutral import Request as NeutralRequest


class ChatMessage(bodies.Loose):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: str = ""


class JsonSchema(bodies.Loose):
    name: str = "response"
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")


class ResponseFormat(bodies.Loose):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(bodies.Loose):
    include_usage: bool = False


class ChatRequest(bodies.Loose):
    model: str = Field(min_length=1)
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(1, ge=1, le=8)
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = True
    response_format: ResponseFormat | None = None


def _message(message: ChatMessage, find: Find) -> Message:
    role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    calls = tuple(
        ToolCall(c.id, c.function.name, parse_arguments(c.function.arguments)) for c in message.tool_calls or ()
    )
    text, attachments = content_of(message.content, find)
    return Message(role, text, calls, message.tool_call_id, attachments=attachments)  # type: ignore[arg-type]


def to_neutral(body: ChatRequest, find: Find = no_files) -> NeutralRequest:
    """``find`` gives the files that were uploaded.

    Raises ``BadRequest`` for a ``json_schema`` format without a schema, or a file that is not there.
    """
    schema: dict[str, Any] | None = None
    if body.response_format is not None and body.response_format.type != "text":
        schema = {}
        if body.response_format.type == "json_schema":
            if body.response_format.json_schema is None:
                raise BadRequest(
                    "Missing required parameter: 'response_format.json_schema'.", param="response_format.json_schema"
                )
            schema = body.response_format.json_schema.schema_
    choice = body.tool_choice or "auto"
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return NeutralRequest(
        messages=tuple(_message(m, find) for m in body.messages),
        tools=tools_of(body.tools),
        tool_choice=choice if isinstance(choice, str) else choice.function.name,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        schema=schema,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed,
        stop=tuple(s for s in stop if s),
        frequency_penalty=body.frequency_penalty,
        presence_penalty=body.presence_penalty,
    )


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _call_body(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}


def _choice(index: int, reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.text or (None if reply.tool_calls else ""),
        "refusal": None,
        "annotations": [],
    }
    if reply.tool_calls:
        message["tool_calls"] = [_call_body(c) for c in reply.tool_calls]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}


async def _chunks(events: AsyncIterator[Event], head: dict[str, Any], *, include_usage: bool) -> AsyncIterator[str]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        body = {**head, "object": "chat.completion.chunk", "system_fingerprint": "keyless", "choices": [choice]}
        return f"data: {json.dumps({**body, 'usage': None} if include_usage else body)}\n\n"

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    index = 0
    async for event in events:
        if isinstance(event, TextDelta):
            yield chunk({"content": event.text})
        elif isinstance(event, ToolCall):
            call = _call_body(event)
            yield chunk({"tool_calls": [{"index": index, **call, "function": {"name": event.name, "arguments": ""}}]})
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": call["function"]["arguments"]}}]})
            index += 1
        elif isinstance(event, Done):
            yield chunk({}, event.finish_reason)
            if include_usage:
                body = {
                    **head,
                    "object": "chat.completion.chunk",
                    "system_fingerprint": "keyless",
                    "choices": [],
                    "usage": _usage(event.usage),
                }
                yield f"data: {json.dumps(body)}\n\n"
    yield "data: [DONE]\n\n"


async def answered(request: Request, body: ChatRequest, find: Find = no_files) -> Response:
    """The response to ``body``, whole or as a stream; ``find`` gives files that were uploaded. Raises ``BadRequest``."""
    neutral = await calls.understood(request, to_neutral, body, find)
    head = {"id": new_id("chatcmpl-"), "created": int(time.time()), "model": body.model}
    if body.stream:
        if (body.n or 1) > 1:
            raise BadRequest("keyless streams one choice at a time: send n=1 or stream=false.", param="n")
        usage = body.stream_options is not None and body.stream_options.include_usage
        return sse(_chunks(await calls.events(request, neutral), head, include_usage=usage))
    # Further choices differ as sampled ones do: each has a seed of its own.
    asked = [replace(neutral, seed=(neutral.seed or 0) + i) if i else neutral for i in range(body.n or 1)]
    replies = await calls.choices(request, asked)
    return JSONResponse(
        {
            **head,
            "object": "chat.completion",
            "choices": [_choice(i, r) for i, r in enumerate(replies)],
            "usage": _usage(calls.usage_of(replies)),
            "service_tier": "default",
            "system_fingerprint": "keyless",
        }
    )
