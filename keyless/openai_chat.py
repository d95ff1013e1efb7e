"""OpenAI chat completions and models (https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless import pictures, wire
from keyless.neutral import BadRequest, Done, Event, Message, Reply, TextDelta, Tool, ToolCall, Usage
from keyless.neutral import Request as NeutralRequest
from keyless.openai_errors import OPENAI

MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-3.5-turbo",
    "text-embedding-3-small",
    "text-embedding-3-large",
)


class FunctionCall(wire.Loose):
    name: str
    arguments: str = "{}"


class CalledTool(wire.Loose):
    id: str = ""
    function: FunctionCall


class ImageUrl(wire.Loose):
    url: str


class Part(wire.Loose):
    type: str
    text: str | None = None
    image_url: ImageUrl | str | None = None


class ChatMessage(wire.Loose):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: str = ""


class Function(wire.Loose):
    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class FunctionTool(wire.Loose):
    type: Literal["function"]
    function: Function


class NamedFunction(wire.Loose):
    name: str


class NamedTool(wire.Loose):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(wire.Loose):
    name: str = "response"
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")


class ResponseFormat(wire.Loose):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(wire.Loose):
    include_usage: bool = False


class ChatRequest(wire.Loose):
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


def parse_arguments(raw: str) -> dict[str, Any]:
    """A call's arguments as an object; what is no JSON object is kept under ``input``, so that it is not lost."""
    try:
        value = json.loads(raw or "{}")
    except ValueError:
        return {"input": raw}
    return value if isinstance(value, dict) else {"input": value}


def text_of(content: str | list[Part] | None) -> str:
    if isinstance(content, list):
        return "\n".join(part.text or f"[{part.type}]" for part in content if part.image_url is None)
    return content or ""


def pictures_of(content: str | list[Part] | None) -> tuple[str, ...]:
    """What the images in ``content`` show. Raises ``BadRequest`` for one that cannot be read."""
    if not isinstance(content, list):
        return ()
    urls = [p.image_url if isinstance(p.image_url, str) else p.image_url.url for p in content if p.image_url]
    return tuple(pictures.describe(pictures.from_base64(url, "image_url"), "image_url") for url in urls)


def _message(message: ChatMessage) -> Message:
    role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    calls = tuple(
        ToolCall(c.id, c.function.name, parse_arguments(c.function.arguments)) for c in message.tool_calls or ()
    )
    return Message(role, text_of(message.content), calls, message.tool_call_id, pictures_of(message.content))  # type: ignore[arg-type]


def tools_of(tools: list[FunctionTool] | None) -> tuple[Tool, ...]:
    """Functions as neutral tools; one without parameters takes none."""
    none: dict[str, Any] = {"type": "object", "properties": {}}
    functions = [t.function for t in tools or ()]
    return tuple(Tool(f.name, f.description or "", f.parameters or none) for f in functions)


def to_neutral(body: ChatRequest) -> NeutralRequest:
    """Raises ``BadRequest`` for a ``json_schema`` format without a schema, or an image that cannot be read."""
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
        messages=tuple(_message(m) for m in body.messages),
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


def usage_body(usage: Usage) -> dict[str, Any]:
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


@wire.adapter(OPENAI)
async def create(request: Request) -> Response:
    body = await wire.read(request, ChatRequest)
    neutral = await asyncio.to_thread(to_neutral, body)
    head = {"id": wire.new_id("chatcmpl-"), "created": int(time.time()), "model": body.model}
    if body.stream:
        if (body.n or 1) > 1:
            raise BadRequest("keyless streams one choice at a time: send n=1 or stream=false.", param="n")
        usage = body.stream_options is not None and body.stream_options.include_usage
        return wire.sse(_chunks(await wire.events(request, neutral), head, include_usage=usage))
    # Further choices differ as sampled ones do: each has a seed of its own.
    asked = [replace(neutral, seed=(neutral.seed or 0) + i) if i else neutral for i in range(body.n or 1)]
    replies = await wire.choices(request, asked)
    return JSONResponse(
        {
            **head,
            "object": "chat.completion",
            "choices": [_choice(i, r) for i, r in enumerate(replies)],
            "usage": usage_body(wire.usage_of(replies)),
            "service_tier": "default",
            "system_fingerprint": "keyless",
        }
    )


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
                    "usage": usage_body(event.usage),
                }
                yield f"data: {json.dumps(body)}\n\n"
    yield "data: [DONE]\n\n"


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "keyless"}


@wire.adapter(OPENAI, metered=False)
async def list_models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [_model(m) for m in MODELS]})


@wire.adapter(OPENAI, metered=False)
async def get_model(request: Request) -> Response:
    return JSONResponse(_model(request.path_params["model"]))


routes = [
    Route("/v1/chat/completions", create, methods=["POST"]),
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
]
