"""What computes never runs on the event loop, and work that nobody waits for any more ends."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from keyless.mind import answerer, moderation, thinking
from keyless.mind.answerer import Answerer
from keyless.mind.engine import SLOTS
from keyless.mind.workers import Abandoned, Workers
from keyless.neutral import Done, Message, Request, Usage
from stack.ports import free_port

SCHEMA = {
    "type": "object",
    "properties": {"reply": {"type": "string", "description": "a reply"}},
    "required": ["reply"],
}
LIMIT = 30
REPO = Path(__file__).resolve().parents[2]


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


def test_prose_for_a_thread_comes_from_the_event_loop(embedder):
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


def test_a_thread_that_asks_after_its_client_left_is_told():
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


def test_those_who_wait_for_prose_hold_up_no_decision(embedder):
    """As many JSON requests as may compute at once wait for the language model; somebody asks for a decision."""

    async def main():
        engine = Engine()
        engine.hangs = True
        one = Answerer(engine, embedder)
        waiting = [asyncio.create_task(one.reply(request(schema=SCHEMA))) for _ in range(SLOTS + 1)]
        await asyncio.wait_for(engine.asked.wait(), LIMIT)
        await asyncio.sleep(0.2)
        decided = await asyncio.wait_for(one.reply(request("Is it red? Answer only yes or no. It is red.")), LIMIT)
        assert decided.text == "yes" and not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(main())


def test_at_most_so_many_threads_compute_at_once():
    async def main():
        workers, running, most = Workers(2), 0, 0

        def work(desk):
            nonlocal running, most
            running += 1
            most = max(most, running)
            threading.Event().wait(0.02)
            running -= 1

        await asyncio.gather(*(workers.run(work) for _ in range(12)))
        return most

    assert asyncio.run(main()) == 2


def test_bulk_has_threads_of_its_own(embedder):
    """Embeddings keep threads for seconds; a decision does not wait for them."""

    async def main():
        one = Answerer(Engine(), embedder)
        held = threading.Event()
        bulk = [asyncio.create_task(one._bulk.run(lambda desk: held.wait(LIMIT))) for _ in range(SLOTS + 2)]
        await asyncio.sleep(0.1)
        decided = await asyncio.wait_for(one.reply(request("Is it red? Answer only yes or no. It is red.")), LIMIT)
        held.set()
        await asyncio.gather(*bulk)
        assert decided.text == "yes"

    asyncio.run(main())


LONG = " ".join(["Ana Costa paid 12.50 EUR on 3 May 2024 to Acme Ltd for order A-123 in Berlin."] * 130)


def many_fields():
    """A small schema whose 10,000 objects each look through the whole text."""

    def ten_of(name):
        names = list("abcdefghij")
        return {"type": "object", "properties": {key: {"$ref": f"#/$defs/{name}"} for key in names}, "required": names}

    fields = {"name": {"type": "string"}, "amount": {"type": "number"}, "kind": {"enum": ["paid", "open"]}}
    inner = {"type": "object", "properties": fields, "required": list(fields)}
    return {**ten_of("A"), "$defs": {"A": ten_of("B"), "B": ten_of("C"), "C": ten_of("D"), "D": inner}}


def test_computing_that_is_abandoned_ends(embedder):
    """Nothing in it asks the event loop for anything; it looks by itself whether its client is still there."""

    async def main():
        one = Answerer(Engine(), embedder)
        started, ended = threading.Event(), threading.Event()
        think = one._thinker.think

        def watched(*args):
            started.set()
            try:
                return think(*args)
            except Abandoned:
                ended.set()
                raise

        one._thinker.think = watched
        work = asyncio.create_task(one.reply(request(f"Extract. ```{LONG}```", schema=many_fields())))
        await asyncio.to_thread(started.wait, LIMIT)
        await asyncio.sleep(0.2)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert await asyncio.to_thread(ended.wait, LIMIT), "it goes on for nobody"

    asyncio.run(main())


def test_ctrl_c_ends_the_process_while_it_computes(tmp_path):
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "keyless", "--port", str(port)], cwd=REPO)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                    break
            time.sleep(0.1)
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": f"Extract. ```{LONG}```"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": many_fields()}},
        }
        with pytest.raises(httpx.TimeoutException):
            headers = {"authorization": "Bearer any"}
            reply = httpx.post(
                f"{url}/openai/v1/chat/completions", json=body, headers=headers, timeout=1, trust_env=False
            )
            pytest.fail(f"not long enough: {reply.text[:300]}")
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)
    finally:
        server.kill()
        server.wait()


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
