"""What all HTTP adapters share: reading a body, checking the key, answering whole or as a stream, watching for a client that leaves."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from keyless.answer import Answerer
from keyless.embedder import Embedder
from keyless.journal import Entry, api_key
from keyless.neutral import BadRequest, Done, Event, Usage
from keyless.neutral import Request as NeutralRequest

MAX_BODY_BYTES = 32 * 1024 * 1024

T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)
ErrorBody = Callable[[BadRequest], dict[str, Any]]


class Loose(BaseModel):
    """A wire type, as strict about types as the providers are; fields that keyless does not use are let through."""

    model_config = ConfigDict(extra="allow", strict=True)


def new_id(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:24]}"


def answerer(request: Request) -> Answerer:
    return request.app.state.answerer


def embedder(request: Request) -> Embedder:
    return request.app.state.embedder


def entry(request: Request) -> Entry:
    return request.scope["keyless.entry"]


def check_key(request: Request) -> None:
    """Any key is right, ``keyless`` as well as none of ours; a ``keyless:`` key must hold directives that exist.

    Raises ``BadRequest`` with status 401.
    """
    key = api_key({k.lower(): v for k, v in request.headers.items()})
    if not key:
        raise BadRequest(
            "You didn't provide an API key. keyless takes any: write `keyless` into the connection's password.",
            status=401,
            kind="authentication",
        )
    if key.startswith("keyless:"):
        raise BadRequest(
            f"Incorrect API key provided: {key}. keyless knows no directive {key.removeprefix('keyless:')!r}.",
            status=401,
            kind="authentication",
        )


async def read(request: Request, model: type[Body]) -> Body:
    """The request's JSON as ``model``. Raises ``BadRequest`` that names the field at fault."""
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BODY_BYTES:
                message = f"The request is larger than {MAX_BODY_BYTES} bytes."
                raise BadRequest(message, status=413, kind="request_too_large")
    except ClientDisconnect:
        raise BadRequest("The client left in the middle of its request.", status=499) from None
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(parsed, dict):
        raise BadRequest("The JSON body of your request must be an object.")
    try:
        body = model.model_validate(parsed)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        message = (
            f"Missing required parameter: '{where}'."
            if first["type"] == "missing"
            else f"Invalid value for '{where}': {first['msg']}."
        )
        raise BadRequest(message, param=where or None) from None
    except RecursionError:
        raise BadRequest("The JSON body of your request is nested too deeply.") from None
    note = entry(request)
    note.model = getattr(body, "model", None)
    note.stream = bool(getattr(body, "stream", False))
    return body


def note_usage(request: Request, usage: Usage) -> None:
    entry(request).prompt_tokens, entry(request).completion_tokens = usage.prompt_tokens, usage.completion_tokens


async def while_connected(request: Request, work: Awaitable[T]) -> T | None:
    """``work``'s result, or ``None`` when the client left first, in which case ``work`` is cancelled."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        entry(request).close(499)
        return None
    finally:
        for future in (task, gone):
            future.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def events(request: Request, neutral: NeutralRequest) -> AsyncIterator[Event]:
    """The answer's events, once it has really begun: an error before that is an HTTP status, not a broken stream."""
    source = answerer(request).answer(neutral)

    async def begin() -> list[Event]:
        return [await anext(source), await anext(source)]

    beginning = await while_connected(request, begin())
    if beginning is None:
        raise BadRequest("The client left before the answer began.", status=499)

    async def all_of_them() -> AsyncIterator[Event]:
        try:
            for event in beginning:
                yield _noted(request, event)
            async for event in source:
                yield _noted(request, event)
        finally:
            await source.aclose()  # type: ignore[attr-defined]

    return all_of_them()


def _noted(request: Request, event: Event) -> Event:
    if isinstance(event, Done):
        note_usage(request, event.usage)
    return event


def sse(chunks: AsyncIterator[str]) -> Response:
    return StreamingResponse(chunks, media_type="text/event-stream", headers={"cache-control": "no-cache"})


def error_response(error: BadRequest, body: ErrorBody) -> Response:
    return JSONResponse(body(error), status_code=error.status)


def adapter(
    body: ErrorBody, *, needs_key: bool = True
) -> Callable[[Callable[[Request], Awaitable[Response]]], Callable[[Request], Awaitable[Response]]]:
    """Wrap a route so that what is wrong with a request is answered in the provider's own words."""

    def wrap(route: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                if needs_key:
                    check_key(request)
                return await route(request)
            except BadRequest as error:
                return error_response(error, body)

        return endpoint

    return wrap
