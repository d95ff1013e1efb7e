"""Token counts, message batches and prompt caching by the official client."""

from __future__ import annotations

import time

import anthropic
import pytest
from shapes import valid

from keyless.http.prompt_cache import MIN_TOKENS, Breakpoint, Cached, PromptCache

HELLO = {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": "Hello there"}]}
TOOL = {
    "name": "get_weather",
    "description": "Weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"system": "Be brief."},
        {"tools": [TOOL]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]},
    ],
)
def test_counted_tokens_are_those_of_the_bill(anthropic_client, more):
    counted = anthropic_client.messages.count_tokens(**{**HELLO, **more})
    valid(counted)
    billed = anthropic_client.messages.create(**{**HELLO, **more}, max_tokens=3)
    assert counted.input_tokens == billed.usage.input_tokens


def request(number: int, **params) -> dict:
    return {"custom_id": f"r{number}", "params": {**HELLO, "max_tokens": 3, **params}}


def ended(client, batch, limit=60):
    deadline = time.monotonic() + limit
    while batch.processing_status != "ended":
        assert time.monotonic() < deadline
        batch = client.messages.batches.retrieve(batch.id)
        valid(batch)
    return batch


def test_batch(anthropic_client):
    batch = anthropic_client.messages.batches.create(requests=[request(0), request(1, max_tokens=0), request(2)])
    valid(batch)
    assert batch.processing_status == "in_progress" and batch.request_counts.processing == 3
    batch = ended(anthropic_client, batch)
    counts = batch.request_counts
    assert (counts.succeeded, counts.errored, counts.processing) == (2, 1, 0)
    results = {r.custom_id: r.result for r in anthropic_client.messages.batches.results(batch.id)}
    for result in results.values():
        valid(result)
    assert results["r0"].message.usage.output_tokens == 3
    assert results["r1"].error.error.type == "invalid_request_error"
    assert batch.id in [b.id for b in anthropic_client.messages.batches.list()]
    anthropic_client.messages.batches.delete(batch.id)
    with pytest.raises(anthropic.NotFoundError):
        anthropic_client.messages.batches.retrieve(batch.id)


def test_cancelled_requests_are_told(clients, fresh, anthropic_client):
    slow = clients["anthropic"](fresh("latency=1s"))  # its requests are at work while the next lines ask
    batch = slow.messages.batches.create(requests=[request(i) for i in range(6)])
    with pytest.raises(anthropic.BadRequestError, match="being processed"):
        anthropic_client.messages.batches.delete(batch.id)
    assert anthropic_client.messages.batches.cancel(batch.id).processing_status == "canceling"
    counts = ended(anthropic_client, batch).request_counts
    assert counts.canceled >= 4 and counts.succeeded + counts.canceled == 6
    kinds = [r.result.type for r in anthropic_client.messages.batches.results(batch.id)]
    assert kinds.count("canceled") == counts.canceled and len(kinds) == 6


def test_bad_batches(anthropic_client):
    with pytest.raises(anthropic.BadRequestError, match="twice"):
        anthropic_client.messages.batches.create(requests=[request(0), request(0)])
    with pytest.raises(anthropic.BadRequestError, match="requests"):
        anthropic_client.messages.batches.create(requests=[])
    with pytest.raises(anthropic.NotFoundError):
        anthropic_client.messages.batches.retrieve("msgbatch_none")


# A tool call is decided without the language model, which would take seconds to read prompts as long as these.
CALL = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "get_weather"}, "max_tokens": 100}


def cached(client, system: str, *, ttl="5m", **more):
    block = {"type": "text", "text": system, "cache_control": {"type": "ephemeral", "ttl": ttl}}
    return client.messages.create(**{**HELLO, **CALL, "system": [block], **more}).usage


def test_prompt_caching_is_accounted_for(anthropic_client, clients):
    system = "You answer questions about the contract below. " * 200
    first, second = cached(anthropic_client, system), cached(anthropic_client, system)
    valid(first)
    assert first.cache_creation_input_tokens > MIN_TOKENS and first.cache_read_input_tokens == 0
    assert first.cache_creation.ephemeral_5m_input_tokens == first.cache_creation_input_tokens
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert second.cache_creation_input_tokens == 0 and second.input_tokens == first.input_tokens
    plain = anthropic_client.messages.create(**HELLO, **CALL, system=system).usage
    assert plain.input_tokens == first.input_tokens + first.cache_creation_input_tokens
    assert cached(clients["anthropic"]("another"), system).cache_read_input_tokens == 0, "accounts share nothing"
    hour = cached(anthropic_client, f"Other. {system}", ttl="1h")
    assert hour.cache_creation.ephemeral_1h_input_tokens == hour.cache_creation_input_tokens > 0
    assert cached(anthropic_client, "Too short to be kept.").cache_creation_input_tokens == 0
    with anthropic_client.messages.stream(
        **{**HELLO, **CALL, "system": [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]}
    ) as stream:
        assert stream.get_final_message().usage.cache_read_input_tokens == first.cache_creation_input_tokens


def test_the_cache_forgets_in_time():
    now = 0.0
    cache = PromptCache(lambda: now)
    short, long = Breakpoint("a", 2000, 300), Breakpoint("ab", 3000, 3600)
    assert cache.use("me", "m", [short, long]) == Cached(0, 2000, 1000)
    now = 299.0
    assert cache.use("me", "m", [short]) == Cached(2000)
    now = 598.0
    assert cache.use("me", "m", [short]) == Cached(2000), "each use starts the time anew"
    now = 899.0
    assert cache.use("me", "m", [short]) == Cached(0, 2000)
    assert cache.use("me", "m", [long]) == Cached(3000)
    assert cache.use("me", "other", [long]).read == cache.use("you", "m", [long]).read == 0
    assert cache.use("me", "m", [Breakpoint("s", MIN_TOKENS - 1, 300)]) == Cached()
