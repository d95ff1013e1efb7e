"""What all HTTP adapters share: reading a body, the API key, answering whole or as a stream, watching for a client that leaves."""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from keyless import faults, prompt_cache
from keyless.answer import Answerer, pieces
from keyless.embedder import Embedder
from keyless.engine import DEFAULT_MAX_TOKENS
from keyless.journal import Entry, api_key
from keyless.keys import Key
from keyless.neutral import BadRequest, ContextOverflow, Done, Event, Reply, Started, TextDelta, Usage
from keyless.neutral import Request as NeutralRequest
from keyless.prompt_cache import NOT_CACHED, Block, Breakpoint, Cached
from keyless.provider import Provider
from keyless.store import Store

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_EMBEDDING_TOKENS = 8192
_MAX_EMBEDDING_CHARACTERS = 64 * MAX_EMBEDDING_TOKENS

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)
Endpoint = Callable[[Request], Awaitable[Response]]


class Loose(BaseModel):
    """A wire type, as strict about types as the providers are; fields that keyless does not use are let through."""

    model_config = ConfigDict(extra="allow", strict=True)


class Gone(BadRequest):
    """The client has left; nobody reads the answer."""

    def __init__(self) -> None:
        super().__init__("The client left before it had its answer.", status=499)


def new_id(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:24]}"


def rfc3339(seconds: float) -> str:
    """A time in seconds since the epoch as APIs write it, such as ``2026-11-21T10:00:00.500000Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def page(request: Request, rows: list[dict[str, Any]], *, after: str, usual: int, most: int) -> dict[str, Any]:
    """The part of ``rows`` that the query's ``limit`` and ``after`` ask for. Raises ``BadRequest``."""
    limit, last = request.query_params.get("limit", str(usual)), request.query_params.get(after)
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= most):
        raise BadRequest(f"Invalid 'limit': a whole number from 1 to {most}.", param="limit")
    ids = [row["id"] for row in rows]
    rest = rows[ids.index(last) + 1 :] if last in ids else rows
    shown = rest[: int(limit)]
    return {
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(rest) > len(shown),
    }


def files(request: Request) -> Store:
    return request.app.state.files


def answerer(request: Request) -> Answerer:
    return request.app.state.answerer


def embedder(request: Request) -> Embedder:
    return request.app.state.embedder


def entry(request: Request) -> Entry:
    return request.scope["keyless.entry"]


def key_of(request: Request) -> Key:
    return request.scope["keyless.key"]


def key_headers(request: Request) -> dict[str, str]:
    """Headers that carry the API key, for requests made in the client's name."""
    return {"authorization": f"Bearer {account(request)}"}


def account(request: Request) -> str:
    """Whose request this is: the API key."""
    return api_key({k.lower(): v for k, v in request.headers.items()}) or request.query_params.get("key", "")


def note_usage(request: Request, usage: Usage) -> None:
    entry(request).prompt_tokens, entry(request).completion_tokens = usage.prompt_tokens, usage.completion_tokens


# --- what comes in --------------------------------------------------------------------------------


def adapter(provider: Provider, *, metered: bool = True) -> Callable[[Endpoint], Endpoint]:
    """Wrap a route: the key's quotas and faults come first, and what is wrong is said in the provider's own words.

    A route that is not ``metered`` (lists, files, the state of a batch) takes nothing from the quota of requests.
    """

    def wrap(route: Endpoint) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            key: Key | None = None
            try:
                await raw(request)
                key = request.scope["keyless.key"] = _key(request, provider)
                # The requests of a batch are under no quota of their own, and its faults met the call that made it.
                if "keyless.batch" not in request.scope:
                    if metered:
                        faults.admit(key)
                    if key.directives.latency:
                        await while_connected(request, faults.hinder(key, provider))
                    else:
                        await faults.hinder(key, provider)
                response = await route(request)
            except BadRequest as error:
                response = error_response(error, provider)
            if key is not None:
                response.headers.update(provider.quota_headers(key))
            return response

        return endpoint

    return wrap


def error_response(error: BadRequest, provider: Provider) -> Response:
    headers = provider.error_headers(error)
    if error.retry_after is not None:
        # Rounded up, so that a client which waits as it is told is let in.
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
        headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    return JSONResponse(provider.error_body(error), status_code=error.status, headers=headers)


def _key(request: Request, provider: Provider) -> Key:
    """Any key is right, ``keyless`` as well as none of ours; a ``keyless:`` key must hold directives that exist.

    Raises ``BadRequest`` with status 401.
    """
    key = account(request)
    if not key and provider.needs_key:
        raise BadRequest(
            "You didn't provide an API key. keyless takes any: write `keyless` into the connection's password.",
            status=401,
            kind="authentication",
        )
    return request.app.state.keys.get(provider.name, key)


async def raw(request: Request) -> bytes:
    """The request's body. Raises ``BadRequest`` when it is too large or the client breaks off."""
    if "keyless.body" not in request.scope:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    message = f"The request is larger than {MAX_BODY_BYTES} bytes."
                    raise BadRequest(message, status=413)
        except ClientDisconnect:
            raise Gone from None
        request.scope["keyless.body"] = bytes(body)
    return request.scope["keyless.body"]


async def read(request: Request, model: type[Body]) -> Body:
    """The request's JSON as ``model``. Raises ``BadRequest`` that names the field at fault."""
    body = validated(parsed(await raw(request)), model)
    note = entry(request)
    note.model = getattr(body, "model", None) or note.model
    note.stream = bool(getattr(body, "stream", False))
    return body


def parsed(body: bytes) -> dict[str, Any]:
    """``body`` as a JSON object. Raises ``BadRequest``."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("The JSON body of your request must be an object.")
    return _whole_characters(value) if _SURROGATE.search(body) else value


def _whole_characters(value: dict[str, Any]) -> dict[str, Any]:
    """``value`` with U+FFFD for each half of a pair that JSON's escapes can write and no encoding can."""
    text = json.dumps(value, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def validated(value: dict[str, Any], model: type[Body]) -> Body:
    """``value`` as ``model``. Raises ``BadRequest`` that names the field at fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(p) for p in first["loc"])
        message = (
            f"Missing required parameter: '{where}'."
            if first["type"] == "missing"
            else f"Invalid value for '{where}': {first['msg']}."
        )
        raise BadRequest(message, param=where or None) from None
    except RecursionError:
        raise BadRequest("The JSON body of your request is nested too deeply.") from None


# --- what goes out --------------------------------------------------------------------------------


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """``work``'s result. Raises ``Gone`` when the client left first, in which case ``work`` is cancelled."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        entry(request).close(499)
        raise Gone
    finally:
        for future in (task, gone):
            future.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def reply(request: Request, neutral: NeutralRequest) -> Reply:
    """The whole answer, under the key's quotas and faults. Raises ``BadRequest``."""
    return (await choices(request, [neutral]))[0]


async def choices(request: Request, asked: list[NeutralRequest]) -> list[Reply]:
    """Several whole answers to one prompt, which is counted once. Raises ``BadRequest``."""
    claim = await _claim(request, asked[0], len(asked))
    used = 0

    async def all_of_them() -> list[Reply]:
        return list(await asyncio.gather(*(answerer(request).reply(a) for a in asked)))

    try:
        replies = await while_connected(request, all_of_them())
        used = usage_of(replies).total_tokens
    finally:
        claim.settle(used)
    malformed, truncate = faults.spoils(key_of(request))
    replies = [faults.spoil(r, malformed=malformed, truncate=truncate) for r in replies]
    note_usage(request, usage_of(replies))
    return replies


def usage_of(replies: list[Reply]) -> Usage:
    """What several answers to one prompt used together."""
    return Usage(replies[0].usage.prompt_tokens, sum(r.usage.completion_tokens for r in replies))


async def events(request: Request, neutral: NeutralRequest) -> AsyncIterator[Event]:
    """The answer's events, once it has really begun: an error before that is an HTTP status, not a broken stream."""
    if key_of(request).directives.spoils:
        # What is to be broken has to be known first.
        return _retold(await reply(request, neutral))
    claim = await _claim(request, neutral)
    source = answerer(request).answer(neutral)

    async def begin() -> list[Event]:
        return [await anext(source), await anext(source)]

    try:
        beginning = await while_connected(request, begin())
    except BaseException:
        claim.settle(0)
        raise

    async def all_of_them() -> AsyncIterator[Event]:
        used = 0
        try:
            for event in beginning:
                used = _counted(request, event, used)
                yield event
            async for event in source:
                used = _counted(request, event, used)
                yield event
        finally:
            claim.settle(used)
            await source.aclose()  # type: ignore[attr-defined]

    return all_of_them()


def _counted(request: Request, event: Event, used: int) -> int:
    """Tokens used when ``event`` has come: exact at the end, one for each piece of text until then."""
    if isinstance(event, Done):
        note_usage(request, event.usage)
        return event.usage.total_tokens
    return event.prompt_tokens if isinstance(event, Started) else used + 1


async def _retold(whole: Reply) -> AsyncIterator[Event]:
    yield Started(whole.usage.prompt_tokens)
    for piece in pieces(whole.text):
        yield TextDelta(piece)
    for call in whole.tool_calls:
        yield call
    yield Done(whole.finish_reason, whole.usage, whole.stop_sequence)


async def _claim(request: Request, neutral: NeutralRequest, count: int = 1) -> faults.Claim:
    """What this call may use at most, taken from the quota of tokens; the context that the key asks for is kept too."""
    key = key_of(request)
    limit = key.directives.context
    bucket = None if "keyless.batch" in request.scope else key.tokens
    if limit is None and bucket is None:
        return faults.Claim(None, 0)
    prompt = await answerer(request).count(neutral)
    if limit is not None and prompt >= limit:
        raise ContextOverflow(prompt, limit)
    return faults.Claim(bucket, prompt + count * (neutral.max_tokens or DEFAULT_MAX_TOKENS))


async def cached(request: Request, model: str, blocks: list[Block], neutral: NeutralRequest) -> Cached:
    """What of a prompt is cached for this account; ``blocks`` without a mark cost nothing to look at."""
    marked = prompt_cache.marked(blocks)
    if not marked:
        return NOT_CACHED
    engine = request.app.state.engine
    # A beginning cannot have more tokens than the whole, however tools are written down in either.
    most = await answerer(request).count(neutral)
    breakpoints = [Breakpoint(name, min(len(await engine.tokenize(text)), most), ttl) for name, text, ttl in marked]
    return request.app.state.prompt_cache.use(account(request), model, breakpoints)


async def embed(
    request: Request, texts: list[str], *, limit: int | None = MAX_EMBEDDING_TOKENS
) -> tuple[np.ndarray, list[int]]:
    """Unit vectors of ``texts``, shape ``(len(texts), 384)``, and each text's tokens.

    Raises ``ContextOverflow`` for a text of more than ``limit`` tokens; without one, the beginning of the text is read.
    """
    model = embedder(request)
    key = key_of(request)
    limits = [n for n in (limit, key.directives.context) if n is not None]
    gone = threading.Event()

    def count() -> list[int]:
        # A text of megabytes is not worth counting.
        return [model.count(t) if len(t) < _MAX_EMBEDDING_CHARACTERS else len(t) // 4 for t in texts]

    counts = await asyncio.to_thread(count)
    if limits and max(counts, default=0) > min(limits):
        raise ContextOverflow(max(counts), min(limits), param="input")
    claim = faults.Claim(None if "keyless.batch" in request.scope else key.tokens, sum(counts))
    used = 0
    try:
        vectors = await while_connected(request, asyncio.to_thread(model.embed, texts, gone))
        used = sum(counts)
    finally:
        gone.set()
        claim.settle(used)
    note_usage(request, Usage(used, 0))
    return vectors, counts


def sse(chunks: AsyncIterator[str], headers: dict[str, str] | None = None) -> Response:
    return StreamingResponse(
        chunks, media_type="text/event-stream", headers={"cache-control": "no-cache", **(headers or {})}
    )
