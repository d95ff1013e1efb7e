"""What answers: the language model, the embeddings and the rules around them, behind one asynchronous face."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np

from keyless.mind import embedder, engine, moderation
from keyless.mind.embedder import Embedder
from keyless.mind.engine import Engine, Sampling, refuse_megabytes
from keyless.mind.judging import Judge, Question
from keyless.mind.tasks import understand
from keyless.mind.text import pieces
from keyless.mind.thinking import Thinker, Thought, is_plainly_prose, pictures_of, tool_results, wanted_schema
from keyless.mind.workers import Desk, Workers
from keyless.neutral import (
    BadRequest,
    Done,
    Event,
    FinishReason,
    Message,
    Reply,
    Request,
    Started,
    TextDelta,
    ToolCall,
    Usage,
)

_MAX_EMBEDDING_CHARACTERS = 64 * 8192
"""A longer text has more tokens than any API takes; it is not worth counting."""
_LONG_ENOUGH = 700
"""Characters after which an answer that no client's limit ends is over at the next end of a sentence or line."""
_AT_AN_END = re.compile(r"(?:[^\W\d][.!?][\"'”’)*]*\s*|\n)$")


class Answerer:
    """Answers neutral requests and embeds texts. One for the whole server; it holds no state between requests.

    Whatever computes runs in threads of its own: the event loop only waits.
    """

    context_tokens = engine.CONTEXT_TOKENS
    vocabulary = engine.VOCABULARY
    default_max_tokens = engine.DEFAULT_MAX_TOKENS
    dimensions = embedder.DIMENSIONS
    embedding_tokens = embedder.MAX_TOKENS

    def __init__(self, language: Engine, embeddings: Embedder) -> None:
        self._engine = language
        self._embedder = embeddings
        self._thinker = Thinker(embeddings)
        self._judge = Judge(embeddings)
        self._workers = Workers(engine.SLOTS)
        # Apart, because a bulk of texts keeps a thread for seconds and nobody's decision shall wait for that.
        self._bulk = Workers(engine.SLOTS)

    @classmethod
    async def load(cls, threads: int | None = None) -> Answerer:
        """The models, loaded. ``threads`` are those of the language model."""
        return cls(await asyncio.to_thread(Engine, threads), await asyncio.to_thread(Embedder))

    async def close(self) -> None:
        """Stop what is at work."""
        self._workers.close()
        self._bulk.close()
        await self._engine.close()

    @property
    def status(self) -> dict[str, int]:
        """How many requests decode, how many wait, and how many can decode at once."""
        return {"slots": engine.SLOTS, "busy": self._engine.busy, "waiting": self._engine.waiting}

    # --- answers ----------------------------------------------------------------------------------

    async def answer(self, request: Request) -> AsyncIterator[Event]:
        """The reply as it comes: ``Started`` first, ``Done`` last.

        Raises ``BadRequest`` (``ContextOverflow`` among them) before any text or call.
        """
        # The usual case is prose: the engine counts the prompt itself, while it reads it.
        is_prose = await self._is_prose(request)
        async for event in self._prose(_chat(request.messages), request) if is_prose else self._thought(request):
            yield event

    async def reply(self, request: Request) -> Reply:
        """The whole reply at once. Raises as ``answer`` does."""
        if await self._is_prose(request):
            return await self._whole_prose(request)
        text: list[str] = []
        calls: list[ToolCall] = []
        done = Done("stop", Usage(0, 0))
        async for event in self._thought(request):
            if isinstance(event, TextDelta):
                text.append(event.text)
            elif isinstance(event, ToolCall):
                calls.append(event)
            elif isinstance(event, Done):
                done = event
        return Reply("".join(text), tuple(calls), done.finish_reason, done.usage, done.stop_sequence)

    async def count(self, request: Request) -> int:
        """Tokens of the prompt, tools and schema included, as ``usage`` will give them.

        Raises ``BadRequest``, and ``ContextOverflow`` when they do not fit.
        """
        return await self._count(request, is_prose=await self._is_prose(request))

    async def _count(self, request: Request, *, is_prose: bool) -> int:
        schema = request.schema
        if not schema and not is_prose:
            schema = await self._workers.run(lambda desk: wanted_schema(request, understand(request.messages)))
        tools = json.dumps([[t.name, t.description, t.parameters] for t in request.tools]) if request.tools else ""
        extra = tools + (json.dumps(schema) if schema else "")
        return await self._engine.count_prompt(_chat(request.messages), extra)

    async def _is_prose(self, request: Request) -> bool:
        """Whether the answer is the language model's own words and nothing has to be decided before.

        Raises ``BadRequest`` for a request that cannot be answered.
        """
        _check(request)
        if sum(len(m.text) for m in request.messages) > self.context_tokens:
            # It may be too long for the model: nothing looks for patterns in it then.
            await self._engine.count_prompt(_chat(request.messages))
        if request.tools or request.schema is not None or tool_results(request.messages):
            return False
        if pictures_of(request.messages):
            return False
        return await self._workers.run(lambda desk: is_plainly_prose(request.messages))

    async def _thought(self, request: Request) -> AsyncIterator[Event]:
        """The answer to what is not plainly prose."""
        prompt_tokens = await self._count(request, is_prose=False)
        thought = await self._think(request)
        if thought.calls:
            yield Started(prompt_tokens)
            for call in thought.calls:
                yield call
            text = "".join(json.dumps({"name": c.name, "arguments": c.arguments}) for c in thought.calls)
            yield Done("tool_calls", Usage(prompt_tokens, len(await self._engine.tokenize(text))))
            return
        if thought.text is None:
            whole = self._prose(_chat(request.messages), request, prompt_tokens)
        else:
            # JSON that breaks off at a stop string is none.
            whole = self._spoken(thought.text, prompt_tokens, replace(request, stop=()) if thought.is_json else request)
        async for event in whole:
            yield event

    async def _think(self, request: Request) -> Thought:
        async def written(prompt: str, max_tokens: int) -> str:
            sampling = replace(_sampling(request), max_tokens=max_tokens, stop=())
            text, _ = await self._engine.complete([{"role": "user", "content": prompt}], sampling)
            return text

        def work(desk: Desk) -> Thought:
            return self._thinker.think(request, lambda prompt, most: desk.ask(written(prompt, most)))

        return await self._workers.run(work)

    async def decide(self, state: str, questions: dict[str, Question]) -> dict[str, list[float]]:
        """How probable each answer to each question about ``state`` is."""
        return await self._workers.run(
            lambda desk: {n: self._judge.probabilities(state, q) for n, q in questions.items()}
        )

    # --- texts ------------------------------------------------------------------------------------

    async def count_text(self, text: str) -> int:
        """Tokens of ``text`` for the language model."""
        return len(await self._engine.tokenize(text))

    async def tokens_of(self, text: str) -> list[tuple[int, str]]:
        """The language model's tokens of ``text``: id and spelling."""
        return await self._engine.pieces(text)

    async def text_of(self, tokens: list[int]) -> str:
        """The text that the language model's ``tokens`` stand for."""
        return await self._engine.detokenize(tokens)

    async def count_for_embedding(self, texts: list[str]) -> list[int]:
        """Tokens of each text for the embeddings; of a text that is too long for any API a guess."""

        def count(desk: Desk) -> list[int]:
            return [self._embedder.count(t) if len(t) < _MAX_EMBEDDING_CHARACTERS else len(t) // 4 for t in texts]

        return await self._bulk.run(count)

    async def embed(self, texts: list[str]) -> np.ndarray:
        """Unit vectors of ``texts``, shape ``(len(texts), dimensions)``, float32. Being cancelled stops it at the next batch."""
        gone = threading.Event()
        try:
            return await self._bulk.run(lambda desk: self._embedder.embed(texts, gone))
        finally:
            gone.set()

    async def moderate(self, texts: list[str]) -> list[dict[str, float]]:
        """For each text a score from 0 to 1 for each category of ``moderation.CATEGORIES``."""
        return await self._bulk.run(lambda desk: moderation.scores(self._embedder, texts))

    # --- prose ------------------------------------------------------------------------------------

    async def _whole_prose(self, request: Request) -> Reply:
        stops, ends_itself = request.stop, _ends_itself(request)
        text, done = await self._engine.complete(
            _chat(request.messages),
            _sampling(request),
            until=lambda text: any(s in text for s in stops) or (ends_itself and _is_over(text)),
        )
        at, stop = _first_stop(text, stops)
        reason = "stop" if stop or ends_itself else done.finish_reason
        return Reply(text[:at], (), reason, done.usage, stop)

    async def _prose(
        self, prompt: list[dict[str, str]], request: Request, counted: int | None = None
    ) -> AsyncIterator[Event]:
        """The model's own words, cut at the client's stop strings; a stop string itself is never sent.

        ``counted`` are the prompt's tokens where they are more than the engine reads, because of tools.
        """
        held = ""
        sent = ""
        prompt_tokens = 0
        ends_itself = _ends_itself(request)
        stream = self._engine.stream(prompt, _sampling(request))
        try:
            async for event in stream:
                if isinstance(event, Done):
                    if held:
                        yield TextDelta(held)
                    reason: FinishReason = "stop" if ends_itself else event.finish_reason
                    yield Done(reason, Usage(prompt_tokens, event.usage.completion_tokens))
                    return
                if isinstance(event, Started):
                    prompt_tokens = event.prompt_tokens if counted is None else counted
                    yield Started(prompt_tokens)
                    continue
                held += event.text
                at, stop = _first_stop(held, request.stop)
                if stop is not None:
                    if held[:at]:
                        yield TextDelta(held[:at])
                    tokens = len(await self._engine.tokenize(sent + held))
                    yield Done("stop", Usage(prompt_tokens, tokens), stop)
                    return
                if ends_itself and _is_over(sent + held):
                    yield TextDelta(held)
                    yield Done("stop", Usage(prompt_tokens, len(await self._engine.tokenize(sent + held))))
                    return
                # What may be the beginning of a stop string waits for the next token.
                keep = _possible_start(held, request.stop)
                if ready := held[: len(held) - keep]:
                    yield TextDelta(ready)
                    sent += ready
                    held = held[len(held) - keep :]
        finally:
            await stream.aclose()

    async def _spoken(self, text: str, prompt_tokens: int, request: Request) -> AsyncIterator[Event]:
        """A text that is known already, token by token, under the same limits as prose."""
        yield Started(prompt_tokens)
        at, stop = _first_stop(text, request.stop)
        tokens = await self._engine.tokenize(text[:at] if stop else text)
        reason: FinishReason = "stop"
        if request.max_tokens is not None and len(tokens) > request.max_tokens:
            tokens, reason, stop = tokens[: request.max_tokens], "length", None
            text = await self._engine.detokenize(tokens)
        elif stop:
            text = text[:at]
        for piece in pieces(text):
            yield TextDelta(piece)
        yield Done(reason, Usage(prompt_tokens, len(tokens)), stop)


def _check(request: Request) -> None:
    if not request.messages:
        raise BadRequest("messages: at least one message is required", param="messages")
    # Before anything reads the text: patterns over megabytes would hold up every other client.
    refuse_megabytes(_chat(request.messages))
    names = [t.name for t in request.tools]
    if request.tool_choice not in ("auto", "none", "required", *names):
        raise BadRequest(f"tool_choice: there is no tool named {request.tool_choice!r}", param="tool_choice")
    if len(set(names)) != len(names):
        raise BadRequest("tools: names must be unique", param="tools")


def _chat(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    """The conversation in the roles that SmolLM2's chat template knows."""
    chat: list[dict[str, str]] = []
    for message in messages:
        if message.role == "tool":
            chat.append({"role": "user", "content": f"Result: {message.text}"})
        elif message.tool_calls:
            asked = "; ".join(f"{c.name}({json.dumps(c.arguments)})" for c in message.tool_calls)
            chat.append({"role": "assistant", "content": f"{message.text}{asked}"})
        else:
            chat.append({"role": message.role, "content": message.content})
    return chat


def _ends_itself(request: Request) -> bool:
    """Whether the client allows more than a model this small has to say: then the answer's end is the model's own."""
    return request.max_tokens is None or request.max_tokens > engine.DEFAULT_MAX_TOKENS


def _is_over(text: str) -> bool:
    return len(text) >= _LONG_ENOUGH and bool(_AT_AN_END.search(text[-12:]))


def _sampling(request: Request) -> Sampling:
    # Stop strings are watched for here, because llama.cpp does not tell which of them it met.
    return Sampling(
        max_tokens=None if _ends_itself(request) else request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
    )


def _first_stop(text: str, stops: tuple[str, ...]) -> tuple[int, str | None]:
    hits = [(text.find(s), s) for s in stops if s and s in text]
    return min(hits) if hits else (len(text), None)


def _possible_start(text: str, stops: tuple[str, ...]) -> int:
    """How many characters at the end of ``text`` could be the beginning of a stop string."""
    longest = max((len(s) for s in stops), default=0)
    for size in range(min(longest - 1, len(text)), 0, -1):
        if any(s.startswith(text[-size:]) for s in stops):
            return size
    return 0
