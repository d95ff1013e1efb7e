"""The face of what answers, and what every answerer shares: the engine, embeddings, counting, prose and its stop strings."""

from __future__ import annotations

import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np

from keyless.mind import embedder, engine, moderation
from keyless.mind.embedder import Embedder
from keyless.mind.engine import Engine, Sampling, refuse_megabytes
from keyless.mind.judging import Judge, Question
from keyless.mind.seeing import Eyes
from keyless.mind.text import pieces
from keyless.mind.weights import SLOTS
from keyless.mind.workers import Desk, Workers
from keyless.neutral import (
    Attachment,
    BadRequest,
    Done,
    Event,
    FinishReason,
    Message,
    Reply,
    Request,
    Shown,
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


class Face(ABC):
    """Answers neutral requests and embeds texts. One for the whole server; it holds no state between requests.

    Whatever computes runs in threads of its own: the event loop only waits.
    """

    name = "smollm2-135m"
    context_tokens = engine.CONTEXT_TOKENS
    vocabulary = engine.VOCABULARY
    default_max_tokens = engine.DEFAULT_MAX_TOKENS
    dimensions = embedder.DIMENSIONS
    embedding_tokens = embedder.MAX_TOKENS

    def __init__(self, language: Engine, embeddings: Embedder) -> None:
        self._engine = language
        self._embedder = embeddings
        self._judge = Judge(embeddings)
        self._eyes = Eyes()
        self._workers = Workers(SLOTS)
        # Apart, because a bulk of texts keeps a thread for seconds and nobody's decision shall wait for that.
        self._bulk = Workers(SLOTS)

    async def close(self) -> None:
        """Stop what is at work."""
        self._workers.close()
        self._bulk.close()
        await self._engine.close()

    @property
    def status(self) -> dict[str, Any]:
        """How many requests decode, how many wait, and how many can decode at once."""
        return {"slots": SLOTS, "busy": self._engine.busy, "waiting": self._engine.waiting}

    # --- attachments ------------------------------------------------------------------------------

    async def seen(self, request: Request) -> Request:
        """``request`` with what its pictures and PDFs show in their place; it is answered only so.

        Raises ``BadRequest`` for one that cannot be read.
        """
        return await self._bulk.run(lambda desk: self._eyes.seen(request))

    async def look(self, attachments: list[Attachment]) -> list[Shown]:
        """What each of ``attachments`` shows. Raises ``BadRequest`` for one that cannot be read."""
        return await self._bulk.run(lambda desk: [self._eyes.look(a) for a in attachments])

    # --- answers ----------------------------------------------------------------------------------

    @abstractmethod
    def answer(self, request: Request) -> AsyncIterator[Event]:
        """The reply as it comes: ``Started`` first, ``Done`` last.

        Raises ``BadRequest`` (``ContextOverflow`` among them) before any text or call.
        """

    @abstractmethod
    async def reply(self, request: Request) -> Reply:
        """The whole reply at once. Raises as ``answer`` does."""

    @abstractmethod
    async def count(self, request: Request) -> int:
        """Tokens of the prompt, tools and schema included, as ``usage`` will give them.

        Raises ``BadRequest``, and ``ContextOverflow`` when they do not fit.
        """

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

    async def decide(self, state: str, questions: dict[str, Question]) -> dict[str, list[float]]:
        """How probable each answer to each question about ``state`` is."""
        return await self._workers.run(
            lambda desk: {n: self._judge.probabilities(state, q) for n, q in questions.items()}
        )

    # --- prose ------------------------------------------------------------------------------------

    async def _whole_prose(self, request: Request) -> Reply:
        stops, ends_itself = request.stop, self._ends_itself(request)
        text, done = await self._engine.complete(
            plain_chat(request.messages),
            self._sampling(request),
            until=lambda text: any(s in text for s in stops) or (ends_itself and _is_over(text)),
        )
        at, stop = _first_stop(text, stops)
        return Reply(text[:at], (), "stop" if stop or ends_itself else done.finish_reason, done.usage, stop)

    async def _prose(
        self,
        prompt: list[dict[str, Any]],
        request: Request,
        counted: int | None = None,
        tools: dict[str, Any] | None = None,
    ) -> AsyncIterator[Event]:
        """The model's own words, cut at the client's stop strings; a stop string itself is never sent.

        ``counted`` are the prompt's tokens where they are more than the engine reads, because of tools; ``tools`` are those that
        the model itself may call.
        """
        held = ""
        sent = ""
        prompt_tokens = 0
        ends_itself = self._ends_itself(request)
        stream = self._engine.stream(prompt, self._sampling(request), *([tools] if tools else []))
        try:
            async for event in stream:
                if isinstance(event, Done | ToolCall) and held:
                    yield TextDelta(held)
                    held = ""
                if isinstance(event, ToolCall):
                    yield event
                    continue
                if isinstance(event, Done):
                    reason: FinishReason = "stop" if ends_itself else event.finish_reason
                    yield replace(
                        event, finish_reason=reason, usage=Usage(prompt_tokens, event.usage.completion_tokens)
                    )
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

    def _ends_itself(self, request: Request) -> bool:
        """Whether the client allows more than the model has to say: then the answer's end is the model's own, at the end
        of a sentence.
        """
        return False

    def _sampling(self, request: Request) -> Sampling:
        # Stop strings are watched for here, because llama.cpp does not tell which of them it met.
        unlimited = request.max_tokens is None or self._ends_itself(request)
        return Sampling(
            max_tokens=self.default_max_tokens if unlimited else request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            frequency_penalty=request.frequency_penalty,
            presence_penalty=request.presence_penalty,
        )


async def gathered(events: AsyncIterator[Event]) -> Reply:
    """A whole reply of its events."""
    text: list[str] = []
    calls: list[ToolCall] = []
    done = Done("stop", Usage(0, 0))
    async for event in events:
        if isinstance(event, TextDelta):
            text.append(event.text)
        elif isinstance(event, ToolCall):
            calls.append(event)
        elif isinstance(event, Done):
            done = event
    return Reply("".join(text), tuple(calls), done.finish_reason, done.usage, done.stop_sequence)


def check_request(request: Request, limit: int = engine.CONTEXT_TOKENS) -> None:
    """Raises ``BadRequest`` for a request that cannot be answered, and for one of megabytes."""
    if request.unseen:
        raise ValueError("attachments are looked at first: see Face.seen")
    if not request.messages:
        raise BadRequest("messages: at least one message is required", param="messages")
    # Before anything reads the text: patterns over megabytes would hold up every other client.
    refuse_megabytes(plain_chat(request.messages), limit=limit)
    names = [t.name for t in request.tools]
    if request.tool_choice not in ("auto", "none", "required", *names):
        raise BadRequest(f"tool_choice: there is no tool named {request.tool_choice!r}", param="tool_choice")
    if len(set(names)) != len(names):
        raise BadRequest("tools: names must be unique", param="tools")


def plain_chat(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    """The conversation in the roles that every chat template knows."""
    chat: list[dict[str, str]] = []
    for message in messages:
        if message.role == "tool":
            chat.append({"role": "user", "content": f"Result: {message.content}"})
        elif message.tool_calls:
            asked = "; ".join(f"{c.name}({json.dumps(c.arguments)})" for c in message.tool_calls)
            chat.append({"role": "assistant", "content": f"{message.text}{asked}"})
        else:
            chat.append({"role": message.role, "content": message.content})
    return chat


def _is_over(text: str) -> bool:
    return len(text) >= _LONG_ENOUGH and bool(_AT_AN_END.search(text[-12:]))


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
