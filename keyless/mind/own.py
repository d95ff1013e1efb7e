"""A reader's own model answers everything by itself: prose, JSON by llama.cpp's grammar, tools by its own chat template.

Labels alone (one enum or boolean, a choice of a few words) are decided by MiniLM where the model is small: a model of 0.5 billion
parameters got 20 of 36 right, where MiniLM gets 30. Larger ones decide by themselves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from keyless.mind.choices import closed_choice
from keyless.mind.embedder import Embedder
from keyless.mind.engine import Engine, Sampling
from keyless.mind.face import Face, check_request, gathered, plain_chat
from keyless.mind.schemas import Validator
from keyless.mind.sql.requests import asks_for_sql
from keyless.mind.tasks import Task, schema_in, understand
from keyless.mind.text import pieces
from keyless.mind.thinking import Thinker, pictures_of
from keyless.mind.weights import Model
from keyless.neutral import BadRequest, Done, Event, Message, Reply, Request, Started, TextDelta, Tool, ToolCall, Usage

Schema = dict[str, Any]
Chat = list[dict[str, Any]]

_MOST_CALLS = 5
_MARK = "JSON:\n"
"""What the grammar lets every answer begin with. llama.cpp goes on without a grammar that it cannot take, and this shows it."""
_ONE = ("anyOf", "oneOf", "allOf", "$ref", "if", "not")


class OwnModel(Face):
    """The model of a file. Embeddings, reranking and moderation stay MiniLM's."""

    default_max_tokens = 1024

    def __init__(self, language: Engine, embeddings: Embedder) -> None:
        super().__init__(language, embeddings)
        self._model = language.model
        self.name = self._model.name
        self.context_tokens = self._model.context_tokens
        self.vocabulary = self._model.vocabulary
        self._thinker = Thinker(embeddings)

    @classmethod
    async def load(cls, model: Model, threads: int | None = None, template: str = "") -> OwnModel:
        """The models, loaded. ``threads`` are those of the language model."""
        return cls(await asyncio.to_thread(Engine, threads, model, template), await asyncio.to_thread(Embedder))

    @property
    def status(self) -> dict[str, Any]:
        """Also which file answers, and who decides labels."""
        labels = "all-MiniLM-L6-v2" if self._model.is_small else self.name
        return {**super().status, "file": str(self._model.path), "labels": labels}

    async def reply(self, request: Request) -> Reply:
        """The whole reply at once. Raises as ``answer`` does."""
        return await gathered(self.answer(request))

    async def count(self, request: Request) -> int:
        """Tokens of the prompt, tools and schema included, as ``usage`` will give them. Raises as ``answer`` does."""
        check_request(request, self.context_tokens)
        tools = _offered(request) if self._by_template(request) else []
        return await self._engine.count_prompt(self._prompt(request), tools=[_function(t) for t in tools])

    async def answer(self, request: Request) -> AsyncIterator[Event]:
        """The reply as it comes: ``Started`` first, ``Done`` last.

        Prose comes as it is written, JSON and calls when they are whole. Raises ``BadRequest`` (``ContextOverflow`` among
        them) before any text or call.
        """
        check_request(request, self.context_tokens)
        if sum(len(m.text) for m in request.messages) > self.context_tokens:
            # It may be too long for the model: nothing looks for patterns in it then.
            await self.count(request)
        if self._model.is_small and await self._workers.run(lambda desk: _asks_for_a_label(request)):
            prompt_tokens = await self.count(request)
            thought = await self._workers.run(lambda desk: self._thinker.think(request, lambda prompt, most: ""))
            # JSON that breaks off at a stop string is none.
            limits = replace(request, stop=()) if thought.is_json else request
            events = self._spoken(thought.text or "", prompt_tokens, limits)
        elif _offered(request):
            events = self._with_tools(request)
        elif request.schema is not None:
            events = self._json(request)
        else:
            events = self._prose(self._prompt(request), request)
        async for event in events:
            yield event

    # --- tools ------------------------------------------------------------------------------------

    async def _with_tools(self, request: Request) -> AsyncIterator[Event]:
        """Calls, or else the answer."""
        if self._by_template(request):
            events = self._prose(self._prompt(request), request, tools=_llama_cpp_tools(request))
        else:
            events = self._written_calls(request)
        if request.schema is None:
            async for event in events:
                yield event
            return
        # A grammar for the answer would leave no room for calls: they come first, and JSON is asked for where there are none.
        first = await gathered(events)
        if first.tool_calls:
            yield Started(first.usage.prompt_tokens)
            for call in first.tool_calls:
                yield call
            yield Done(first.finish_reason, first.usage)
            return
        async for event in self._json(replace(request, tools=())):
            yield event

    async def _written_calls(self, request: Request) -> AsyncIterator[Event]:
        """Tools told in words and called in JSON: where the chat template has none, and where a call must come, because
        llama.cpp does not hold every model to one.
        """
        for tool in _offered(request):
            _validator(tool.parameters, "tools")
        text, done = await self._filled(self._prompt(request), request, _calls_schema(request), "tools")
        yield Started(done.usage.prompt_tokens)
        # Of what max_tokens cut, only text is of use.
        value = from_json(text or "{}", allow_partial="trailing-strings")
        calls = value.get("tool_calls", []) if done.finish_reason != "length" else []
        for piece in pieces(value.get("answer", "")):
            yield TextDelta(piece)
        for call in calls:
            yield ToolCall(self._engine.new_id(), call["name"], call["arguments"])
        yield replace(done, finish_reason="tool_calls") if calls else done

    # --- JSON -------------------------------------------------------------------------------------

    async def _json(self, request: Request) -> AsyncIterator[Event]:
        """JSON for the request's schema; where ``max_tokens`` cuts it, the finish reason says so."""
        text, done = await self._filled(
            self._prompt(request), request, request.schema or {"type": "object"}, "response_format"
        )
        yield Started(done.usage.prompt_tokens)
        for piece in pieces(text):
            yield TextDelta(piece)
        yield done

    async def _filled(self, prompt: Chat, request: Request, schema: Schema, param: str) -> tuple[str, Done]:
        """JSON by llama.cpp's grammar, and how it ended.

        Raises ``BadRequest``, which names ``param``, where the grammar does not take the schema or does not hold the answer to it.
        """
        fits = _validator(schema, param)
        sampling = self._sampling(request)
        marked = len(await self._engine.tokenize(_MARK))
        most = (sampling.max_tokens or self.default_max_tokens) + marked
        said, done = await self._engine.complete(prompt, replace(sampling, max_tokens=most, grammar=_grammar(schema)))
        if not said.startswith(_MARK):
            raise BadRequest("Invalid schema: llama.cpp's grammar cannot take it", param=param)
        text = said.removeprefix(_MARK)
        used = Usage(done.usage.prompt_tokens, max(0, done.usage.completion_tokens - marked))
        if done.finish_reason != "length":
            fault = _fault(text, fits)
            if fault is not None:
                message = f"The model's answer does not fit the schema ({fault}): llama.cpp's grammar cannot hold it to all of the schema"
                raise BadRequest(message, param=param)
        return text, replace(done, usage=used)

    # --- the prompt -------------------------------------------------------------------------------

    def _sampling(self, request: Request) -> Sampling:
        sampling = super()._sampling(request)
        return sampling if self._model.is_small else replace(sampling, repeat_penalty=1.0)

    def _prompt(self, request: Request) -> Chat:
        """The conversation as the model's template takes it, with what it has to be told in words at its top."""
        systems = [m.content for m in request.messages if m.role == "system"]
        rest = tuple(m for m in request.messages if m.role != "system")
        tools = _offered(request)
        if tools and not self._by_template(request):
            systems.append(_tools_in_words(tools))
        elif request.schema and not tools:
            systems.append(
                f"Answer with JSON that fits this JSON Schema: {json.dumps(request.schema, ensure_ascii=False)}"
            )
        top = [{"role": "system", "content": "\n\n".join(systems)}] if systems else []
        return top + (_turns(rest) if self._by_template(request) else list(plain_chat(rest)))

    def _by_template(self, request: Request) -> bool:
        """Whether the model's own chat template carries tools, earlier calls and their results."""
        return self._model.knows_tools and request.tool_choice in ("auto", "none")


def _validator(schema: Schema, param: str) -> Validator:
    """Raises ``BadRequest``, which names ``param``, for something that is no JSON Schema, or is nested too deeply."""
    try:
        return Validator(schema)
    except BadRequest as error:
        error.param = param
        raise


def _fault(text: str, fits: Validator) -> str | None:
    """Where JSON does not fit its schema, if it does not."""
    try:
        fault = fits.deepest_fault(json.loads(text))
    except (ValueError, RecursionError):
        return "it is no JSON"
    return None if fault is None else "at " + ("/".join(map(str, fault[0])) or "its top")


def _asks_for_a_label(request: Request) -> bool:
    """Whether the answer is one enum or boolean, or one of a few words."""
    if _offered(request):
        return False
    if request.schema is None:
        task = understand(request.messages)
        if schema_in(task.instructions) is not None or asks_for_sql(request.messages):
            return False
        # What is written in a picture asks for nothing.
        return bool(closed_choice(Task("", task.instructions) if pictures_of(request.messages) else task))
    properties, definitions = (request.schema.get(key) for key in ("properties", "$defs"))
    fields = list(properties.values()) if isinstance(properties, dict) else []
    part = fields[0] if len(fields) == 1 else request.schema
    if isinstance(part, dict) and str(part.get("$ref", "")).startswith("#/$defs/"):
        part = definitions.get(part["$ref"].removeprefix("#/$defs/")) if isinstance(definitions, dict) else None
    return isinstance(part, dict) and ("enum" in part or part.get("type") == "boolean")


def _offered(request: Request) -> list[Tool]:
    """The tools that the model may call: that one alone which the client wants."""
    if request.tool_choice == "none":
        return []
    return [t for t in request.tools if request.tool_choice in ("auto", "required", t.name)]


def _function(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _llama_cpp_tools(request: Request) -> dict[str, Any]:
    return {
        "tools": [_function(t) for t in _offered(request)],
        "tool_choice": "auto",
        "parallel_tool_calls": request.parallel_tool_calls,
    }


def _turns(messages: tuple[Message, ...]) -> Chat:
    """The conversation with earlier calls and their results, in the form that llama.cpp gives to the template."""
    names = {c.id: c.name for m in messages for c in m.tool_calls}
    turns: Chat = []
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            turn["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}}
                for c in message.tool_calls
            ]
        if message.role == "tool":
            turn |= {"tool_call_id": message.tool_call_id, "name": names.get(message.tool_call_id, "")}
        turns.append(turn)
    return turns


def _tools_in_words(tools: list[Tool]) -> str:
    listed = "\n".join(
        json.dumps({"name": t.name, "description": t.description, "parameters": t.parameters}, ensure_ascii=False)
        for t in tools
    )
    return (
        f"You have these tools:\n{listed}\n"
        'To use some, answer {"tool_calls": [{"name": …, "arguments": {…}}]}. If none helps, answer {"answer": …}.'
    )


def _calls_schema(request: Request) -> Schema:
    """Calls of the tools on offer, or an answer where the client does not insist on a call."""
    tools = _offered(request)
    calls = [_object(name={"const": t.name}, arguments={"$ref": f"#/$defs/tool{i}"}) for i, t in enumerate(tools)]
    most = _MOST_CALLS if request.parallel_tool_calls else 1
    listed = _object(tool_calls={"type": "array", "items": {"anyOf": calls}, "minItems": 1, "maxItems": most})
    definitions = {
        f"tool{i}": _moved(t.parameters or {"type": "object"}, f"#/$defs/tool{i}") for i, t in enumerate(tools)
    }
    options = [listed, _object(answer={"type": "string"})] if request.tool_choice == "auto" else [listed]
    return {"anyOf": options, "$defs": definitions}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _moved(part: Any, root: str) -> Any:
    """A schema for another place: what it refers to from ``#`` lies below ``root``."""
    if isinstance(part, list):
        return [_moved(p, root) for p in part]
    if not isinstance(part, dict):
        return part
    refers = isinstance(part.get("$ref"), str) and part["$ref"].startswith("#")
    return {k: root + v[1:] if k == "$ref" and refers else _moved(v, root) for k, v in part.items()}


def _grammar(schema: Schema) -> str:
    """The schema for llama.cpp's grammar, without free white space, in which a small model may lose itself."""
    narrow = _closed(schema) if not any(_combines(part) for part in _parts(schema)) else schema
    guided = {
        **narrow,
        "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True},
    }
    return f"%llguidance {{}}\nstart: {json.dumps(_MARK)} answer\nanswer: %json {json.dumps(guided)}"


def _parts(part: Any) -> Iterator[dict[str, Any]]:
    """All objects in a schema."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
        if isinstance(part, dict | list):
            waiting.extend(part.values() if isinstance(part, dict) else part)


def _combines(part: dict[str, Any]) -> bool:
    """Whether fields come from several schemas, none of which may close the object then."""
    several = isinstance(part.get("allOf"), list) and len(part["allOf"]) > 1
    return several or ("properties" in part and any(key in part for key in _ONE))


def _closed(part: Any, *, is_schema: bool = True) -> Any:
    """The schema with no other fields than those that it names: a small model would go on to invent some."""
    if isinstance(part, list):
        return [_closed(p) for p in part]
    if not isinstance(part, dict):
        return part
    fields = ("properties", "$defs", "definitions", "patternProperties")
    plain = ("enum", "const", "default", "examples")
    closed = {
        k: v if is_schema and k in plain else _closed(v, is_schema=not (is_schema and k in fields))
        for k, v in part.items()
    }
    open_ended = ("additionalProperties", "patternProperties", "unevaluatedProperties")
    if is_schema and isinstance(part.get("properties"), dict) and not any(key in part for key in open_ended):
        closed["additionalProperties"] = False
    return closed
