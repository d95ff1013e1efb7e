"""Ollama (https://github.com/ollama/ollama/blob/main/docs/api.md): chat, generate, embed, tags; streams are lines of JSON."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keyless.http import attachments, bodies, calls, embeddings
from keyless.http.adapter import adapter
from keyless.http.stamps import rfc3339
from keyless.neutral import Attachment, Done, Event, Message, Started, TextDelta, Tool, ToolCall, Usage
from keyless.neutral import Request as NeutralRequest
from keyless.providers.ollama.errors import DIALECT

MODELS = ("smollm2:135m", "all-minilm:latest")
NATIVE_DIMENSIONS = {"nomic-embed-text": 768, "mxbai-embed-large": 1024}


class Options(bodies.Loose):
    num_predict: int | None = None
    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = None
    stop: list[str] | str | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


class Function(bodies.Loose):
    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)


class FunctionHolder(bodies.Loose):
    function: Function


class ChatMessage(bodies.Loose):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: list[FunctionHolder] | None = None
    images: list[str] | None = None


class ChatRequest(bodies.Loose):
    model: str = Field(min_length=1)
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = True
    tools: list[FunctionHolder] | None = None
    format: Literal["", "json"] | dict[str, Any] | None = None
    options: Options | None = None


class GenerateRequest(bodies.Loose):
    model: str = Field(min_length=1)
    prompt: str
    system: str | None = None
    images: list[str] | None = None
    stream: bool | None = True
    format: Literal["", "json"] | dict[str, Any] | None = None
    options: Options | None = None


class EmbedRequest(bodies.Loose):
    model: str = Field(min_length=1)
    input: str | list[str]
    dimensions: int | None = Field(None, ge=1, le=4096)


def _neutral(
    messages: tuple[Message, ...], tools: tuple[Tool, ...], form: Any, options: Options | None
) -> NeutralRequest:
    o = options or Options()
    stop = [o.stop] if isinstance(o.stop, str) else o.stop or []
    return NeutralRequest(
        messages=messages,
        tools=tools,
        schema=form if isinstance(form, dict) else {} if form == "json" else None,
        max_tokens=o.num_predict if o.num_predict is not None and o.num_predict > 0 else None,
        temperature=o.temperature,
        top_p=o.top_p,
        seed=o.seed,
        stop=tuple(s for s in stop if s),
        frequency_penalty=o.frequency_penalty,
        presence_penalty=o.presence_penalty,
    )


def _message(message: ChatMessage) -> Message:
    calls = tuple(ToolCall("", c.function.name, c.function.arguments) for c in message.tool_calls or ())
    return Message(message.role, message.content or "", calls, attachments=_pictures(message.images))


def _pictures(images: list[str] | None) -> tuple[Attachment, ...]:
    return tuple(attachments.image(i, "images") for i in images or ())


def _ending(finish: str, usage: Usage, began: int) -> dict[str, Any]:
    """Durations are nanoseconds, as Ollama gives them. Reading the prompt is not told apart from answering it."""
    took = time.perf_counter_ns() - began
    return {
        "done": True,
        "done_reason": "length" if finish == "length" else "stop",
        "total_duration": took,
        "load_duration": 0,
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": 0,
        "eval_count": usage.completion_tokens,
        "eval_duration": took,
    }


Shape = Callable[[str, tuple[ToolCall, ...]], dict[str, Any]]


def _as_message(text: str, calls: tuple[ToolCall, ...]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [{"function": {"name": c.name, "arguments": c.arguments}} for c in calls]
    return {"message": message}


def _as_response(text: str, calls: tuple[ToolCall, ...]) -> dict[str, Any]:
    return {"response": text}


async def _respond(request: Request, model: str, neutral: NeutralRequest, stream: bool, shape: Shape) -> Response:
    began = time.perf_counter_ns()
    if stream:
        events = await calls.events(request, neutral)
        return StreamingResponse(_lines(events, model, shape, began), media_type="application/x-ndjson")
    reply = await calls.reply(request, neutral)
    head = {"model": model, "created_at": rfc3339(time.time())}
    return JSONResponse(
        {**head, **shape(reply.text, reply.tool_calls), **_ending(reply.finish_reason, reply.usage, began)}
    )


async def _lines(events: AsyncIterator[Event], model: str, shape: Shape, began: int) -> AsyncIterator[str]:
    async for event in events:
        if isinstance(event, Started):
            continue
        text = event.text if isinstance(event, TextDelta) else ""
        calls = (event,) if isinstance(event, ToolCall) else ()
        line = {"model": model, "created_at": rfc3339(time.time()), **shape(text, calls), "done": False}
        if isinstance(event, Done):
            line |= _ending(event.finish_reason, event.usage, began)
        yield json.dumps(line) + "\n"


@adapter(DIALECT)
async def chat(request: Request) -> Response:
    body = await bodies.read(request, ChatRequest)
    functions = [t.function for t in body.tools or ()]
    tools = tuple(
        Tool(f.name, f.description or "", f.parameters or {"type": "object", "properties": {}}) for f in functions
    )

    def make() -> NeutralRequest:
        return _neutral(tuple(map(_message, body.messages)), tools, body.format, body.options)

    neutral = await calls.understood(request, make)
    return await _respond(request, body.model, neutral, body.stream is not False, _as_message)


@adapter(DIALECT)
async def generate(request: Request) -> Response:
    body = await bodies.read(request, GenerateRequest)
    system = (Message("system", body.system),) if body.system else ()

    def make() -> NeutralRequest:
        asked = Message("user", body.prompt, attachments=_pictures(body.images))
        return _neutral((*system, asked), (), body.format, body.options)

    neutral = await calls.understood(request, make)
    return await _respond(request, body.model, neutral, body.stream is not False, _as_response)


@adapter(DIALECT)
async def embed(request: Request) -> Response:
    body = await bodies.read(request, EmbedRequest)
    began = time.perf_counter_ns()
    texts = embeddings.as_texts(body.input)
    vectors, counts = await embeddings.embed(request, texts)
    native = NATIVE_DIMENSIONS.get(body.model.partition(":")[0], vectors.shape[1])
    return JSONResponse(
        {
            "model": body.model,
            "embeddings": embeddings.resized(vectors, body.dimensions or native).tolist(),
            "total_duration": time.perf_counter_ns() - began,
            "load_duration": 0,
            "prompt_eval_count": sum(counts),
        }
    )


@adapter(DIALECT, metered=False)
async def tags(request: Request) -> Response:
    def model(name: str) -> dict[str, Any]:
        details = {
            "format": "gguf",
            "family": name.partition(":")[0],
            "families": None,
            "parameter_size": "",
            "quantization_level": "",
            "parent_model": "",
        }
        return {
            "name": name,
            "model": name,
            "modified_at": "2025-01-01T00:00:00Z",
            "size": 0,
            "digest": "",
            "details": details,
        }

    return JSONResponse({"models": [model(m) for m in MODELS]})


@adapter(DIALECT, metered=False)
async def version(request: Request) -> Response:
    return JSONResponse({"version": "0.0.0-keyless"})


routes = [
    Route("/api/chat", chat, methods=["POST"]),
    Route("/api/generate", generate, methods=["POST"]),
    Route("/api/embed", embed, methods=["POST"]),
    Route("/api/tags", tags, methods=["GET"]),
    Route("/api/version", version, methods=["GET"]),
]
