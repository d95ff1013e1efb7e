"""What answers by itself: SmolLM2, MiniLM and the rules around them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

from keyless.mind.embedder import Embedder
from keyless.mind.engine import Engine
from keyless.mind.face import Face, check_request, gathered, plain_chat
from keyless.mind.tasks import understand
from keyless.mind.thinking import Thinker, Thought, is_plainly_prose, pictures_of, tool_results, wanted_schema
from keyless.mind.workers import Desk
from keyless.neutral import Done, Event, Reply, Request, Started, Usage


class Answerer(Face):
    """Prose by the language model; decisions, fields and tools by MiniLM and rules."""

    def __init__(self, language: Engine, embeddings: Embedder) -> None:
        super().__init__(language, embeddings)
        self._thinker = Thinker(embeddings)

    @classmethod
    async def load(cls, threads: int | None = None) -> Answerer:
        """The models, loaded. ``threads`` are those of the language model."""
        return cls(await asyncio.to_thread(Engine, threads), await asyncio.to_thread(Embedder))

    async def answer(self, request: Request) -> AsyncIterator[Event]:
        """The reply as it comes: ``Started`` first, ``Done`` last.

        Raises ``BadRequest`` (``ContextOverflow`` among them) before any text or call.
        """
        # The usual case is prose: the engine counts the prompt itself, while it reads it.
        is_prose = await self._is_prose(request)
        async for event in self._prose(plain_chat(request.messages), request) if is_prose else self._thought(request):
            yield event

    async def reply(self, request: Request) -> Reply:
        """The whole reply at once. Raises as ``answer`` does."""
        if await self._is_prose(request):
            return await self._whole_prose(request)
        return await gathered(self._thought(request))

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
        return await self._engine.count_prompt(plain_chat(request.messages), extra)

    async def _is_prose(self, request: Request) -> bool:
        """Whether the answer is the language model's own words and nothing has to be decided before.

        Raises ``BadRequest`` for a request that cannot be answered.
        """
        check_request(request)
        if sum(len(m.text) for m in request.messages) > self.context_tokens:
            # It may be too long for the model: nothing looks for patterns in it then.
            await self._engine.count_prompt(plain_chat(request.messages))
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
            whole = self._prose(plain_chat(request.messages), request, prompt_tokens)
        else:
            # JSON that breaks off at a stop string is none.
            whole = self._spoken(thought.text, prompt_tokens, replace(request, stop=()) if thought.is_json else request)
        async for event in whole:
            yield event

    async def _think(self, request: Request) -> Thought:
        async def written(prompt: str, max_tokens: int) -> str:
            sampling = replace(self._sampling(request), max_tokens=max_tokens, stop=())
            text, _ = await self._engine.complete([{"role": "user", "content": prompt}], sampling)
            return text

        def work(desk: Desk) -> Thought:
            return self._thinker.think(request, lambda prompt, most: desk.ask(written(prompt, most)))

        return await self._workers.run(work)

    def _ends_itself(self, request: Request) -> bool:
        return request.max_tokens is None or request.max_tokens > self.default_max_tokens
