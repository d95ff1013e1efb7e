"""The engine in this process: tokens counted truly, slots given back."""

from __future__ import annotations

import asyncio

import pytest

from keyless.mind.engine import CONTEXT_TOKENS, SLOTS, Engine, Sampling
from keyless.neutral import ContextOverflow, Done, Started, TextDelta


@pytest.fixture(scope="module")
def run():
    """``run(scenario)`` gives a coroutine function the engine, all on one event loop, as in the server."""
    loop = asyncio.new_event_loop()

    async def start():
        return Engine()

    engine = loop.run_until_complete(start())
    yield lambda scenario: loop.run_until_complete(asyncio.wait_for(scenario(engine), 60))
    loop.run_until_complete(engine.close())
    loop.close()


def ask(text):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("text", ["Hi", "Größe: 12 €, naïve 東京 🦙", "a " * 500, "<|im_end|> {}\n\n\t x"])
def test_the_count_beforehand_is_the_engine_s_own(run, text):
    async def scenario(engine):
        counted = await engine.count_prompt(ask(text))
        events = [e async for e in engine.stream(ask(text), Sampling(max_tokens=3))]
        assert isinstance(events[0], Started) and isinstance(events[-1], Done)
        assert counted == events[0].prompt_tokens == events[-1].usage.prompt_tokens

    run(scenario)


def test_tokens_make_the_text_again(run):
    async def scenario(engine):
        text = "Größe: 12 €, naïve 東京"
        assert await engine.detokenize(await engine.tokenize(text)) == text

    run(scenario)


def test_whole_and_streamed_are_the_same(run):
    async def scenario(engine):
        whole, done = await engine.complete(ask("Tell me about lamps."), Sampling(max_tokens=40))
        events = [e async for e in engine.stream(ask("Tell me about lamps."), Sampling(max_tokens=40))]
        assert "".join(e.text for e in events if isinstance(e, TextDelta)) == whole
        assert events[-1] == done and done.finish_reason == "length" and done.usage.completion_tokens == 40

    run(scenario)


def test_until_ends_the_decoding_early(run):
    async def scenario(engine):
        text, done = await engine.complete(
            ask("Write a very long story."), Sampling(max_tokens=3000), until=lambda t: len(t) > 20
        )
        assert 20 < len(text) < 60 and done.usage.completion_tokens < 20 and done.usage.prompt_tokens > 10

    run(scenario)


def test_slots_come_back_from_abandoned_streams_and_cancelled_calls(run):
    async def scenario(engine):
        long = Sampling(max_tokens=4000)
        streams = [engine.stream(ask(f"Write a long story {i}."), long) for i in range(SLOTS)]
        for stream in streams:
            await anext(stream)
        assert engine.busy == SLOTS
        waiting = asyncio.create_task(engine.complete(ask("Hi"), Sampling(max_tokens=2)))
        await asyncio.sleep(0.05)
        assert engine.waiting == 1, "the fifth waits"
        for stream in streams:
            await stream.aclose()
        await waiting
        call = asyncio.create_task(engine.complete(ask("Write a long story."), long))
        while not engine.busy:
            await asyncio.sleep(0.01)
        call.cancel()
        while engine.busy:
            await asyncio.sleep(0.01)

    run(scenario)


def test_overflow(run):
    async def scenario(engine):
        for text in ("word " * (CONTEXT_TOKENS + 1), "word " * 1_000_000):
            for call in (engine.complete(ask(text), Sampling()), engine.count_prompt(ask(text))):
                with pytest.raises(ContextOverflow) as caught:
                    await call
                assert caught.value.tokens > caught.value.limit == CONTEXT_TOKENS

    run(scenario)
