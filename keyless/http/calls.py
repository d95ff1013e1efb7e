"""Calls to the model for every provider's API: whole or as a stream, under the key's quotas, faults and limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request

from keyless.http import faults, prompt_cache
from keyless.http.connection import while_connected
from keyless.http.context import account, answerer, is_in_batch, key_of, note_asked, note_usage
from keyless.http.prompt_cache import NOT_CACHED, Block, Breakpoint, Cached
from keyless.mind.text import pieces
from keyless.neutral import ContextOverflow, Done, Event, Reply, Started, TextDelta, Usage
from keyless.neutral import Request as NeutralRequest


async def understood(request: Request, make: Callable[..., NeutralRequest], *body: Any) -> NeutralRequest:
    """What ``make`` makes of ``body``, its pictures and PDFs read. Raises ``BadRequest`` for what cannot be read."""
    neutral = await asyncio.to_thread(make, *body)
    return await while_connected(request, answerer(request).seen(neutral)) if neutral.unseen else neutral


async def reply(request: Request, neutral: NeutralRequest) -> Reply:
    """The whole answer, under the key's quotas and faults. Raises ``BadRequest``."""
    return (await choices(request, [neutral]))[0]


async def choices(request: Request, asked: list[NeutralRequest]) -> list[Reply]:
    """Several whole answers to one prompt, which is counted once. Raises ``BadRequest``."""
    note_asked(request, asked[0])
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


async def count(request: Request, neutral: NeutralRequest) -> int:
    """Tokens of the prompt. Raises ``BadRequest``."""
    note_asked(request, neutral)
    return await answerer(request).count(neutral)


async def events(request: Request, neutral: NeutralRequest) -> AsyncIterator[Event]:
    """The answer's events, once it has really begun: an error before that is an HTTP status, not a broken stream."""
    if key_of(request).directives.spoils:
        # What is to be broken has to be known first.
        return _retold(await reply(request, neutral))
    note_asked(request, neutral)
    claim = await _claim(request, neutral)
    source = answerer(request).answer(neutral)

    async def begin() -> list[Event]:
        return [await anext(source), await anext(source)]

    try:
        beginning = await while_connected(request, begin())
    except BaseException:
        claim.settle(0)
        raise

    async def settled() -> AsyncIterator[Event]:
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

    # Begun here: a generator that a client never lets begin would not settle what was claimed.
    rest = settled()
    first = await anext(rest)

    async def all_of_them() -> AsyncIterator[Event]:
        try:
            yield first
            async for event in rest:
                yield event
        finally:
            await rest.aclose()  # type: ignore[attr-defined]

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
    bucket = None if is_in_batch(request) else key.tokens
    if limit is None and bucket is None:
        return faults.Claim(None, 0)
    model = answerer(request)
    prompt = await model.count(neutral)
    if limit is not None and prompt >= limit:
        raise ContextOverflow(prompt, limit)
    return faults.Claim(bucket, prompt + count * (neutral.max_tokens or model.default_max_tokens))


async def cached(request: Request, model: str, blocks: list[Block], neutral: NeutralRequest) -> Cached:
    """What of a prompt is cached for this account; ``blocks`` without a mark cost nothing to look at."""
    marked = prompt_cache.marked(blocks)
    if not marked:
        return NOT_CACHED
    answering = answerer(request)
    # A beginning cannot have more tokens than the whole, however tools are written down in either.
    most = await answering.count(neutral)
    breakpoints = [Breakpoint(name, min(await answering.count_text(text), most), ttl) for name, text, ttl in marked]
    return request.app.state.prompt_cache.use(account(request), model, breakpoints)
