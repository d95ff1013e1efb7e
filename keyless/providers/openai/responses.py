"""OpenAI responses (https://platform.openai.com/docs/api-reference/responses), with its stream of named events."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, calls, context
from keyless.http.adapter import adapter
from keyless.http.attachments import Find
from keyless.http.chat_shape import NamedTool, Part, content_of, parse_arguments
from keyless.http.stamps import new_id
from keyless.http.streams import sse
from keyless.neutral import BadRequest, Done, Event, Message, Reply, Started, TextDelta, Tool, ToolCall, Usage
from keyless.neutral import Request as NeutralRequest
from keyless.providers.openai import files
from keyless.providers.openai.errors import DIALECT

REMEMBERED = 1000


class Item(bodies.Loose):
    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = "{}"
    output: str | list[Part] | None = None


class FlatTool(bodies.Loose):
    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ChosenTool(bodies.Loose):
    type: str
    name: str = ""


class TextFormat(bodies.Loose):
    type: Literal["text", "json_object", "json_schema"] = "text"
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class TextConfig(bodies.Loose):
    format: TextFormat | None = None


class ResponsesRequest(bodies.Loose):
    model: str = Field(min_length=1)
    input: str | list[Item]
    instructions: str | None = None
    previous_response_id: str | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stream: bool | None = False
    store: bool | None = True
    tools: list[FlatTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | ChosenTool | None = None
    parallel_tool_calls: bool | None = True
    text: TextConfig | None = None
    metadata: dict[str, str] | None = None


@dataclass(frozen=True)
class Turn:
    """A stored response: the conversation up to and with its answer, and the body it was sent as."""

    messages: tuple[Message, ...]
    body: dict[str, Any]


class Responses(OrderedDict[str, Turn]):
    """The responses that were stored, by id, oldest first."""


def _store(request: Request) -> Responses:
    return context.provider_state(request, "openai")


def _message(item: Item, find: Find) -> Message | None:
    if item.type == "function_call":
        return Message("assistant", "", (ToolCall(item.call_id, item.name, parse_arguments(item.arguments)),))
    if item.type == "function_call_output":
        text, attachments = content_of(item.output, find)
        return Message("tool", text, tool_call_id=item.call_id, attachments=attachments)
    if item.role is None:
        return None  # reasoning and the like: nothing that the model said to anybody
    text, attachments = content_of(item.content, find)
    return Message("system" if item.role == "developer" else item.role, text, attachments=attachments)


def to_neutral(body: ResponsesRequest, before: tuple[Message, ...], find: Find) -> NeutralRequest:
    items = [Item(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    if not items:
        raise BadRequest("Invalid 'input': empty array.", param="input")
    said = tuple(m for m in (_message(i, find) for i in items) if m is not None)
    system = (Message("system", body.instructions),) if body.instructions else ()
    form = body.text.format if body.text else None
    schema = None if form is None or form.type == "text" else form.schema_ or {}
    choice = body.tool_choice or "auto"
    if isinstance(choice, NamedTool):
        choice = choice.function.name
    elif isinstance(choice, ChosenTool):
        choice = choice.name
    functions = body.tools or []
    if hosted := next((t for t in functions if t.type != "function"), None):
        # keyless asks nobody on the net, runs no code and keeps no vector store: it says so as a model without that tool does.
        raise BadRequest(f"Hosted tool '{hosted.type}' is not supported with {body.model}.", param="tools")
    return NeutralRequest(
        messages=system + before + said,
        tools=tuple(
            Tool(t.name, t.description or "", t.parameters or {"type": "object", "properties": {}}) for t in functions
        ),
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        schema=schema,
        max_tokens=body.max_output_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
    )


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }


def _head(body: ResponsesRequest) -> dict[str, Any]:
    form = (
        body.text.format.model_dump(by_alias=True, exclude_none=True)
        if body.text and body.text.format
        else {"type": "text"}
    )
    return {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "model": body.model,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "temperature": body.temperature if body.temperature is not None else 1.0,
        "text": {"format": form},
        "tool_choice": body.tool_choice if isinstance(body.tool_choice, str) else "auto",
        "tools": [t.model_dump(by_alias=True, exclude_none=True) for t in body.tools or ()],
        "top_p": body.top_p if body.top_p is not None else 1.0,
        "truncation": "disabled",
    }


def _text_item(identifier: str, text: str, status: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": identifier, "type": "message", "status": status, "role": "assistant", "content": [part]}


def _call_item(identifier: str, call: ToolCall, arguments: str, status: str) -> dict[str, Any]:
    return {
        "id": identifier,
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
    }


def _ended(head: dict[str, Any], output: list[dict[str, Any]], finish: str, usage: Usage) -> dict[str, Any]:
    body = {**head, "status": "completed", "output": output, "usage": _usage(usage)}
    if finish == "length":
        body |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return body


def _remember(request: Request, asked: NeutralRequest, reply: Reply, body: dict[str, Any]) -> None:
    said = tuple(m for m in asked.messages if m.role != "system" or m.text != body["instructions"])
    store = _store(request)
    store[body["id"]] = Turn((*said, Message("assistant", reply.text, reply.tool_calls)), body)
    while len(store) > REMEMBERED:
        store.popitem(last=False)


@adapter(DIALECT)
async def create(request: Request) -> Response:
    body = await bodies.read(request, ResponsesRequest)
    before: tuple[Message, ...] = ()
    if body.previous_response_id:
        before = _find(request, body.previous_response_id, param="previous_response_id").messages
    neutral = await calls.understood(request, to_neutral, body, before, files.reader(request))
    head = _head(body)
    if body.stream:
        events = await calls.events(request, neutral)
        return sse(_events(request, events, neutral, head, store=body.store is not False))
    reply = await calls.reply(request, neutral)
    status = "incomplete" if reply.finish_reason == "length" else "completed"
    output = [_call_item(new_id("fc_"), c, json.dumps(c.arguments), "completed") for c in reply.tool_calls]
    if reply.text or not output:
        output.insert(0, _text_item(new_id("msg_"), reply.text, status))
    whole = _ended(head, output, reply.finish_reason, reply.usage)
    if body.store is not False:
        _remember(request, neutral, reply, whole)
    return JSONResponse(whole)


async def _events(
    request: Request, events: AsyncIterator[Event], neutral: NeutralRequest, head: dict[str, Any], *, store: bool
) -> AsyncIterator[str]:
    number = -1

    def event(kind: str, **fields: Any) -> str:
        nonlocal number
        number += 1
        return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **fields})}\n\n"

    running = {**head, "status": "in_progress", "output": [], "usage": None}
    output: list[dict[str, Any]] = []
    calls: list[ToolCall] = []
    text, identifier = "", ""
    async for piece in events:
        if isinstance(piece, Started):
            yield event("response.created", response=running)
            yield event("response.in_progress", response=running)
        elif isinstance(piece, TextDelta):
            where = {"output_index": len(output), "content_index": 0}
            if not identifier:
                identifier = new_id("msg_")
                item = {**_text_item(identifier, "", "in_progress"), "content": []}
                yield event("response.output_item.added", output_index=len(output), item=item)
                part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
                yield event("response.content_part.added", item_id=identifier, part=part, **where)
            text += piece.text
            yield event("response.output_text.delta", item_id=identifier, delta=piece.text, logprobs=[], **where)
        elif isinstance(piece, ToolCall):
            arguments = json.dumps(piece.arguments)
            made, place = new_id("fc_"), len(output)
            yield event(
                "response.output_item.added", output_index=place, item=_call_item(made, piece, "", "in_progress")
            )
            yield event("response.function_call_arguments.delta", item_id=made, output_index=place, delta=arguments)
            yield event(
                "response.function_call_arguments.done",
                item_id=made,
                output_index=place,
                name=piece.name,
                arguments=arguments,
            )
            output.append(_call_item(made, piece, arguments, "completed"))
            calls.append(piece)
            yield event("response.output_item.done", output_index=place, item=output[-1])
        elif isinstance(piece, Done):
            status = "incomplete" if piece.finish_reason == "length" else "completed"
            if identifier:
                where = {"item_id": identifier, "output_index": len(output), "content_index": 0}
                item = _text_item(identifier, text, status)
                yield event("response.output_text.done", text=text, logprobs=[], **where)
                yield event("response.content_part.done", part=item["content"][0], **where)
                yield event("response.output_item.done", output_index=len(output), item=item)
                output.append(item)
            whole = _ended(head, output, piece.finish_reason, piece.usage)
            if store:
                _remember(request, neutral, Reply(text, tuple(calls), piece.finish_reason, piece.usage), whole)
            yield event(f"response.{whole['status']}", response=whole)


def _find(request: Request, identifier: str, param: str | None = None) -> Turn:
    turn = _store(request).get(identifier)
    if turn is None:
        raise BadRequest(
            f"Response with id '{identifier}' not found.", status=404 if param is None else 400, param=param
        )
    return turn


@adapter(DIALECT, metered=False)
async def get(request: Request) -> Response:
    return JSONResponse(_find(request, request.path_params["id"]).body)


routes = [
    Route("/v1/responses", create, methods=["POST"]),
    Route("/v1/responses/{id}", get, methods=["GET"]),
]
