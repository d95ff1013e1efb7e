"""Decides what kind of answer a request gets - a tool call, JSON for a schema, one of a few words, or prose - and makes it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from keyless.decide import Decider, words
from keyless.embedder import Embedder
from keyless.engine import Engine, Sampling, refuse_megabytes
from keyless.extract import Extractor, sentences
from keyless.fill import Filler
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
    Tool,
    ToolCall,
    Usage,
)
from keyless.prompts import Task, closed_choice, described_labels, schema_in, understand

# Agent frameworks hand over their answer through a tool; they describe it so.
ABOUT_THE_RESULTS = 0.5
"""Cosine similarity from which a sentence is taken to be about what tools returned."""
_ANSWER_TOOL = re.compile(r"final[ _](?:result|response|answer|output)|ends? (?:this|the) conversation", re.I)


class Answerer:
    """Answers neutral requests. One for the whole server; it holds no state between requests."""

    def __init__(self, engine: Engine, embedder: Embedder) -> None:
        self._engine = engine
        self._decider = Decider(embedder)
        self._extractor = Extractor(embedder)
        self._ids = itertools.count(1)

    async def answer(self, request: Request) -> AsyncIterator[Event]:
        """The reply as it comes: ``Started`` first, ``Done`` last.

        Raises ``BadRequest`` (``ContextOverflow`` among them) before any text or call.
        """
        _check(request)
        prompt = _chat(request.messages)
        if _is_prose(request):
            # The usual case: the engine counts the prompt itself, while it reads it.
            async for event in self._prose(prompt, request):
                yield event
            return
        task = understand(request.messages)
        schema = _schema(request, task)
        options = closed_choice(task)
        results = _results(request.messages)
        prompt_tokens = await self.count(request)
        if calls := await self._tool_calls(request, task):
            yield Started(prompt_tokens)
            for call in calls:
                yield call
            text = "".join(json.dumps({"name": c.name, "arguments": c.arguments}) for c in calls)
            yield Done("tool_calls", Usage(prompt_tokens, len(await self._engine.tokenize(text))))
            return
        if schema is not None:
            value = await self._filler(task, request).fill(schema or {"type": "object"})
            whole = self._spoken(json.dumps(value, ensure_ascii=False), prompt_tokens, replace(request, stop=()))
        elif options:
            material = task.source if len(task.source.split()) > len(options) else f"{task.source} {task.instructions}"
            examples = _worked_examples(request.messages, options)
            whole = self._spoken(self._pick(material, options, task, examples), prompt_tokens, request)
        elif results:
            whole = self._spoken(await self._from_results(request, results), prompt_tokens, request)
        elif pictures := _pictures(request.messages):
            # What was measured in the picture, in plain words: the language model would only make things up around it.
            whole = self._spoken("\n".join(pictures), prompt_tokens, request)
        else:
            whole = self._prose(prompt, request, prompt_tokens)
        async for event in whole:
            yield event

    async def count(self, request: Request) -> int:
        """Tokens of the prompt, tools and schema included, as ``usage`` will give them.

        Raises ``BadRequest``, and ``ContextOverflow`` when they do not fit.
        """
        _check(request)
        schema = None if _is_prose(request) else _schema(request, understand(request.messages))
        tools = json.dumps([[t.name, t.description, t.parameters] for t in request.tools]) if request.tools else ""
        return await self._engine.count_prompt(_chat(request.messages), tools + (json.dumps(schema) if schema else ""))

    async def reply(self, request: Request) -> Reply:
        """The whole reply at once. Raises as ``answer`` does."""
        _check(request)
        if _is_prose(request):
            return await self._whole_prose(request)
        text: list[str] = []
        calls: list[ToolCall] = []
        done = Done("stop", Usage(0, 0))
        async for event in self.answer(request):
            if isinstance(event, TextDelta):
                text.append(event.text)
            elif isinstance(event, ToolCall):
                calls.append(event)
            elif isinstance(event, Done):
                done = event
        return Reply("".join(text), tuple(calls), done.finish_reason, done.usage, done.stop_sequence)

    async def _whole_prose(self, request: Request) -> Reply:
        stops = request.stop
        text, done = await self._engine.complete(
            _chat(request.messages), _sampling(request), until=lambda text: any(s in text for s in stops)
        )
        at, stop = _first_stop(text, stops)
        return Reply(text[:at], (), "stop" if stop else done.finish_reason, done.usage, stop)

    # --- prose ------------------------------------------------------------------------------------

    async def _prose(
        self, prompt: list[dict[str, str]], request: Request, counted: int | None = None
    ) -> AsyncIterator[Event]:
        """The model's own words, cut at the client's stop strings; a stop string itself is never sent.

        ``counted`` are the prompt's tokens where they are more than the engine reads, because of tools.
        """
        held = ""
        sent = ""
        prompt_tokens = 0
        stream = self._engine.stream(prompt, _sampling(request))
        try:
            async for event in stream:
                if isinstance(event, Done):
                    if held:
                        yield TextDelta(held)
                    yield replace(event, usage=Usage(prompt_tokens, event.usage.completion_tokens))
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

    async def _write(self, prompt: str, max_tokens: int, request: Request) -> str:
        text, _ = await self._engine.complete(
            [{"role": "user", "content": prompt}], replace(_sampling(request), max_tokens=max_tokens, stop=())
        )
        return text

    def _pick(self, material: str, options: list[str], task: Task, examples: list[tuple[str, str]]) -> str:
        if {o.lower() for o in options} == {"yes", "no"}:
            questions = [s for s in sentences(f"{task.instructions}\n{task.source}") if s.endswith("?")]
            verdict = self._decider.holds(material, "", questions[0] if questions else task.instructions)
            return next(o for o in options if (o.lower() == "yes") == verdict)
        return self._decider.choose(material, described_labels(options, task.instructions), examples)

    async def _from_results(self, request: Request, results: list[str]) -> str:
        """Prose that uses what the tools returned; the plain facts where the model leaves them out."""
        facts = "\n".join(_readable(r) for r in results)
        question = next((m.text for m in reversed(request.messages) if m.role == "user" and m.text.strip()), "")
        prompt = f"{question}\n\nHere is what is known:\n{facts}\n\nAnswer the question in one or two sentences with what is known."
        limit = min(request.max_tokens or 96, 96)
        text = _to_last_stop((await self._write(prompt[-20_000:], limit, request)).strip())
        telling = [w for w in re.findall(r"[\w.,\-]*\d[\w.,\-]*|\b[A-Z]\w{2,}", facts) if w.strip(".,-")]
        invented = _numbers(text) - _numbers(f"{facts} {question}")
        used = not _numbers(facts) or _numbers(text) & _numbers(facts)
        named = not telling or sum(w.strip(".,-") in text for w in telling) * 2 >= min(len(telling), 2)
        # A number of the results in a sentence about something else is no answer.
        if text and named and used and not invented and self._decider.alike(text, [facts])[0] >= ABOUT_THE_RESULTS:
            return text
        found = "; ".join(line for line in facts.splitlines() if line.strip())
        return f"Here is what I found: {found}" if telling or not text else f"{text}\n{found}"

    # --- tools ------------------------------------------------------------------------------------

    async def _tool_calls(self, request: Request, task: Task) -> list[ToolCall]:
        if not request.tools or request.tool_choice == "none":
            return []
        by_name = {t.name: t for t in request.tools}
        if request.tool_choice in by_name:
            forced = by_name[request.tool_choice]
            return [await self._call(forced, task, request, prose=True)]
        turn = _this_turn(request.messages)
        called = {(c.name, json.dumps(c.arguments, sort_keys=True)) for m in turn for c in m.tool_calls}
        answering = [t for t in request.tools if _ANSWER_TOOL.search(f"{t.name} {t.description}")]
        working = [t for t in request.tools if t not in answering]
        question = next((m.text for m in reversed(request.messages) if m.role == "user"), "")
        calls: list[ToolCall] = []
        used = {name for name, _ in called}
        must = request.tool_choice == "required" and not answering and not called
        for part in _parts(question) if request.parallel_tool_calls else [question]:
            open_tools = [t for t in working if t.name not in used]
            tool = self._decider.tool(part, open_tools, must=must and not calls)
            if tool is None and part is not question:
                continue
            if tool is not None:
                call = await self._call(tool, Task(part, task.instructions), request, prose=False, whole=question)
                if (call.name, json.dumps(call.arguments, sort_keys=True)) not in called:
                    calls.append(call)
                    used.add(call.name)
        if calls:
            return calls
        if answering:
            chosen = self._decider.tool(task.source, answering, must=True) or answering[0]
            if request.tool_choice == "required" or request.schema is None:
                return [await self._call(chosen, task, request, prose=True)]
        if request.tool_choice == "required" and working:
            tool = self._decider.tool(question, working, must=True)
            assert tool is not None
            return [await self._call(tool, task, request, prose=False)]
        return []

    async def _call(self, tool: Tool, task: Task, request: Request, *, prose: bool, whole: str = "") -> ToolCall:
        filler = self._filler(task, request) if prose else Filler(self._decider, self._extractor, task)
        arguments = await filler.fill(tool.parameters or {"type": "object"})
        if whole and whole != task.source:
            # A part of the question may leave out what the rest says ("… and its price?"): then all of it is read.
            wider = await Filler(self._decider, self._extractor, Task(whole, "")).fill(tool.parameters)
            arguments = {k: wider[k] if v in ("unknown", 0) and k in wider else v for k, v in arguments.items()}
        return ToolCall(f"call_{next(self._ids):08d}", tool.name, arguments if isinstance(arguments, dict) else {})

    def _filler(self, task: Task, request: Request) -> Filler:
        async def write(prompt: str, max_tokens: int) -> str:
            return await self._write(prompt, max_tokens, request)

        return Filler(self._decider, self._extractor, task, write)


def pieces(text: str) -> list[str]:
    """``text`` as a stream brings it: a word at a time, each with the space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


def _schema(request: Request, task: Task) -> dict[str, Any] | None:
    return request.schema or schema_in(task.instructions) or request.schema


def _is_prose(request: Request) -> bool:
    """Whether the answer is the language model's own words and nothing has to be decided before."""
    if request.tools or request.schema is not None or _results(request.messages) or _pictures(request.messages):
        return False
    task = understand(request.messages)
    return schema_in(task.instructions) is None and not closed_choice(task)


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


def _sampling(request: Request) -> Sampling:
    # Stop strings are watched for here, because llama.cpp does not tell which of them it met.
    return Sampling(
        max_tokens=request.max_tokens,
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


def _this_turn(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    return messages[last + 1 :]


def _pictures(messages: tuple[Message, ...]) -> tuple[str, ...]:
    """What the pictures of the latest question show."""
    return next((m.pictures for m in reversed(messages) if m.role == "user"), ())


def _worked_examples(messages: tuple[Message, ...], options: list[str]) -> list[tuple[str, str]]:
    """What was asked earlier in the conversation and answered with one of the options, as few-shot prompts have it."""
    given = {option.lower(): option for option in options}
    return [
        (asked.text, given[word])
        for asked, answered in itertools.pairwise(messages)
        if (asked.role, answered.role) == ("user", "assistant")
        and (word := answered.text.strip(" .\n\"'").lower()) in given
    ]


def _results(messages: tuple[Message, ...]) -> list[str]:
    return [m.text for m in _this_turn(messages) if m.role == "tool"]


def _parts(question: str) -> list[str]:
    """A question and, where it asks for several things, its parts."""
    parts = [
        p.strip() for p in re.split(r"(?<=[.?!])\s+|;\s+|,? and (?:also )?(?=\w+ )", question) if len(p.split()) > 1
    ]
    return parts if len(parts) > 1 else [question]


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:[.,:]\d+)*", text))


def _readable(result: str) -> str:
    """A tool's JSON as ``key: value`` lines; anything else as it is."""
    try:
        value = json.loads(result)
    except ValueError:
        return result.strip()
    if isinstance(value, dict):
        return "\n".join(f"{words(str(k))}: {v if isinstance(v, str) else json.dumps(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "\n".join(_readable(json.dumps(v)) if isinstance(v, dict) else str(v) for v in value)
    return str(value)


def _to_last_stop(text: str) -> str:
    match = re.match(r"^(.*[.!?])(?:\s|$)", text, re.S)
    return match.group(1) if match else text
