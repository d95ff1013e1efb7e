"""Quotas and faults as a request meets them: at the door, while it waits, and in the answer that it gets."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from keyless.http.keys import Bucket, Key
from keyless.http.provider import Dialect
from keyless.neutral import BadRequest, Reply, Usage

_KINDS = {401: "authentication", 404: "not_found", 429: "rate_limit_requests"}


def admit(key: Key) -> None:
    """Take one request from the key's quota. Raises ``BadRequest`` (429) that says when to come again."""
    bucket = key.requests
    if bucket is not None and (wait := bucket.take(1)):
        raise BadRequest(
            f"Rate limit reached on requests per min (RPM): Limit {bucket.limit}, Requested 1. "
            f"Please try again in {wait:.3f}s.",
            status=429,
            kind="rate_limit_requests",
            retry_after=wait,
        )


async def hinder(key: Key, dialect: Dialect) -> None:
    """Wait or fail as the key asks. Raises ``BadRequest``."""
    asked = key.directives
    if asked.latency and key.turn("latency", asked.latency_share):
        await asyncio.sleep(asked.latency)
    if asked.outage:
        raise BadRequest("keyless is down, as this API key asks.", status=dialect.overloaded)
    for number, (status, share) in enumerate(asked.fails):
        if key.turn(f"fail {number}", share):
            raise BadRequest(
                f"keyless fails this request with {status}, as this API key asks.",
                status=status,
                kind=_KINDS.get(status, "invalid_request"),
                retry_after=1.0 if status == 429 else None,
            )


class Claim:
    """Tokens taken from a quota before a call, and settled with what it really used."""

    def __init__(self, bucket: Bucket | None, tokens: int) -> None:
        """Take ``tokens``. Raises ``BadRequest`` (429)."""
        self._bucket = bucket
        self._taken = tokens
        if bucket is None:
            return
        limit = f"on tokens per min (TPM): Limit {bucket.limit}, Requested {tokens}."
        if tokens > bucket.limit:
            raise BadRequest(
                f"Request too large {limit} The input or output tokens must be reduced.",
                status=429,
                kind="rate_limit_tokens",
            )
        if wait := bucket.take(tokens):
            raise BadRequest(
                f"Rate limit reached {limit} Please try again in {wait:.3f}s.",
                status=429,
                kind="rate_limit_tokens",
                retry_after=wait,
            )

    def settle(self, used: int) -> None:
        """Give back what was taken beyond ``used``. Only the first call counts."""
        if self._bucket is not None:
            self._bucket.give_back(self._taken - used)
            self._bucket = None


def spoils(key: Key) -> tuple[bool, bool]:
    """Whether this answer is to be malformed, and whether it is to be cut."""
    asked = key.directives
    return key.turn("malformed", asked.malformed), key.turn("truncate", asked.truncate)


def spoil(reply: Reply, *, malformed: bool, truncate: bool) -> Reply:
    """``reply`` as a model that does it wrong would give it. Prose has no form to break; it can be cut."""
    if malformed:
        calls = tuple(replace(c, arguments={"unexpected": json.dumps(c.arguments)}) for c in reply.tool_calls)
        text = _broken_json(reply.text) if reply.text.lstrip()[:1] in ("{", "[") else reply.text
        reply = replace(reply, text=text, tool_calls=calls)
    if truncate:
        kept = max(1, reply.usage.completion_tokens // 2)
        reply = replace(
            reply,
            text=reply.text[: len(reply.text) // 2],
            tool_calls=(),
            finish_reason="length",
            stop_sequence=None,
            usage=Usage(reply.usage.prompt_tokens, kept),
        )
    return reply


def _broken_json(text: str) -> str:
    """As models write it that were told to answer in JSON and are too polite: fenced, with a comma too many."""
    return f"Sure! Here is the JSON you asked for:\n```json\n{text.rstrip()[:-1]},{text.rstrip()[-1]}\n```"
