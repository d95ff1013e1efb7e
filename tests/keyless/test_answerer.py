"""What computes never runs on the event loop, and work that nobody waits for any more ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from keyless.mind import answerer, moderation, thinking
from keyless.mind.answerer import Answerer
from keyless.mind.workers import Abandoned, Workers
from keyless.neutral import Done, Message, Request, Usage

SCHEMA = {
    "type": "object",
    "properties": {"reply": {"type": "string", "description": "a reply"}},
    "required": ["reply"],
}
LIMIT = 30


class Engine:
    """An engine that answers at once, or never when it is told to hang."""

    busy = waiting = 0

    def __init__(self) -> None:
        self.hangs = False
        self.asked = asyncio.Event()
        self.cancelled = False

    async def count_prompt(self, messages, extra=""):
        return 10

    async def tokenize(self, text, *, special=False):
        return text.split()

    async def complete(self, messages, sampling, until=lambda text: False):
        self.asked.set()
        try:
            while self.hangs:
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "Fine.", Done("stop", Usage(1, 1))

    async def close(self):
        pass


def request(text="Write a reply to this ticket: it broke.", **more):
    return Request((Message("user", text),), **more)


@pytest.fixture
def waits_for_the_loop(monkeypatch):
    """Make a function wait until the event loop has had a turn; on the event loop itself that would be for ever."""

    def patched(owner, name):
        original = getattr(owner, name)

        def waiting(*args, **kwargs):
            turn = threading.Event()
            loop.call_soon_threadsafe(turn.set)
            assert turn.wait(LIMIT), f"{name} ran on the event loop"
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, waiting)

    loop = asyncio.new_event_loop()
    yield loop, patched
    loop.close()


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (thinking.Thinker, "think", lambda a: a.reply(request(schema=SCHEMA))),
        (answerer, "is_plainly_prose", lambda a: a.reply(request())),
        (answerer, "wanted_schema", lambda a: a.count(request("Answer with JSON.", schema={}))),
        (moderation, "scores", lambda a: a.moderate(["I will hurt you"])),
    ],
    ids=["think", "is prose", "schema", "moderate"],
)
def test_nothing_that_computes_runs_on_the_event_loop(embedder, waits_for_the_loop, owner, name, call):
    loop, patched = waits_for_the_loop
    patched(owner, name)
    loop.run_until_complete(asyncio.wait_for(call(Answerer(Engine(), embedder)), LIMIT))


def test_embedding_and_its_counting_run_elsewhere_too(embedder, waits_for_the_loop):
    loop, patched = waits_for_the_loop
    patched(embedder, "embed")
    patched(embedder, "count")
    one = Answerer(Engine(), embedder)
    vectors = loop.run_until_complete(asyncio.wait_for(one.embed(["a", "b"]), LIMIT))
    assert vectors.shape == (2, one.dimensions)
    assert loop.run_until_complete(asyncio.wait_for(one.count_for_embedding(["a"]), LIMIT)) == [3]


def test_a_thread_s_prose_comes_from_the_event_loop(embedder):
    reply = asyncio.run(Answerer(Engine(), embedder).reply(request(schema=SCHEMA)))
    assert "Fine." in reply.text


def test_work_that_is_abandoned_ends(embedder):
    """A client leaves while its JSON waits for prose: the engine is let go, and so is the thread."""

    async def main():
        engine = Engine()
        engine.hangs = True
        one = Answerer(engine, embedder)
        one._workers = Workers(1)
        work = asyncio.create_task(one.reply(request(schema=SCHEMA)))
        await asyncio.wait_for(engine.asked.wait(), LIMIT)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        # The only thread is free again: it answers somebody else.
        engine.hangs = False
        reply = await asyncio.wait_for(one.reply(request(schema=SCHEMA)), LIMIT)
        assert engine.cancelled and "Fine." in reply.text

    asyncio.run(main())


def test_who_asks_after_everybody_has_left_is_told():
    async def main():
        seen = []
        left = threading.Event()

        def work(desk):
            left.wait(LIMIT)
            try:
                desk.ask(asyncio.sleep(0))
            except Abandoned:
                seen.append("abandoned")

        workers = Workers(1)
        task = asyncio.create_task(workers.run(work))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left.set()
        await workers.run(lambda desk: None)
        assert seen == ["abandoned"]

    asyncio.run(main())


def test_a_long_prompt_is_counted_before_anything_looks_for_patterns_in_it(embedder):
    from keyless.neutral import ContextOverflow

    class Full(Engine):
        async def count_prompt(self, messages, extra=""):
            raise ContextOverflow(9000, 8192)

    async def main():
        one = Answerer(Full(), embedder)
        with pytest.raises(ContextOverflow):
            await one.reply(request("<a>" * 100_000))

    looked = []
    original = answerer.is_plainly_prose
    answerer.is_plainly_prose = lambda messages: looked.append(1) or original(messages)
    try:
        asyncio.run(asyncio.wait_for(main(), LIMIT))
    finally:
        answerer.is_plainly_prose = original
    assert not looked
