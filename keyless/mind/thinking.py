"""Decides what kind of answer a request gets - tool calls, JSON for a schema, one of a few words, facts, or prose - and makes it.

All of it computes, so it runs in a worker's thread. Prose is left to whoever asks.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, replace
from typing import Any

from keyless.mind.choices import closed_choice, wants_several
from keyless.mind.decisions import Decider
from keyless.mind.embedder import Embedder
from keyless.mind.extraction import Extractor
from keyless.mind.filling import Filler, Writer
from keyless.mind.results import outcomes, readable
from keyless.mind.sql.requests import asks_for_sql, sql_for, with_sql
from keyless.mind.tasks import Task, schema_in, understand, without_material
from keyless.mind.text import sentences, up_to_last_stop, words
from keyless.mind.tools import Planner
from keyless.neutral import Message, Request, Shown, Tool, ToolCall

_ABOUT_TABLES = re.compile(r"(?i)\b(?:tables?|schemas?|columns?)\b")
ABOUT_THE_RESULTS = 0.5
"""Cosine similarity from which a sentence is taken to be about what tools returned."""
# Agent frameworks hand over their answer through a tool; they describe it so.
_ANSWER_TOOL = re.compile(r"final[ _](?:result|response|answer|output)|ends? (?:this|the) conversation", re.I)


@dataclass(frozen=True)
class Thought:
    """Calls of tools, or a text that is known already; with neither, the language model answers in its own words."""

    calls: tuple[ToolCall, ...] = ()
    text: str | None = None
    is_json: bool = False


class Thinker:
    """Answers requests by decisions and extraction. It holds no state between requests."""

    def __init__(self, embedder: Embedder) -> None:
        self._decider = Decider(embedder)
        self._extractor = Extractor(embedder)
        self._ids = itertools.count(1)

    def think(self, request: Request, write: Writer) -> Thought:
        """The answer, unless it is prose. ``write`` is asked for the prose inside it.

        Raises ``BadRequest`` for a schema that cannot be filled.
        """
        task = understand(request.messages)
        if calls := self._tool_calls(request, task, write):
            alike, parameters = self._decider.alike, {t.name: t.parameters or {} for t in request.tools}
            written = (with_sql(c.arguments, parameters[c.name], request.messages, alike) for c in calls)
            return Thought(calls=tuple(replace(c, arguments=a) for c, a in zip(calls, written, strict=True)))
        if (schema := wanted_schema(request, task)) is not None:
            value = self._filler(task, write).fill(schema or {"type": "object"})
            if isinstance(value, dict):
                value = with_sql(value, schema, request.messages, self._decider.alike)
            return Thought(text=json.dumps(value, ensure_ascii=False), is_json=True)
        if asks_for_sql(request.messages) and (query := sql_for(request.messages, self._decider.alike)):
            return Thought(text=query)
        pictures = pictures_of(request.messages)
        # What is written in a picture asks for nothing.
        if options := closed_choice(Task("", task.instructions) if pictures else task):
            material = task.source if len(task.source.split()) > len(options) else f"{task.source} {task.instructions}"
            return Thought(text=self._pick(material, options, task, _worked_examples(request.messages, options)))
        if results := tool_results(request.messages):
            return Thought(text=self._from_results(request, results, write))
        if pictures:
            # What was read and measured, in plain words: the language model would only make things up around it.
            return Thought(text="\n".join(p.in_words for p in pictures))
        return Thought()

    def _pick(self, material: str, options: dict[str, str], task: Task, examples: list[tuple[str, str]]) -> str:
        if {o.lower() for o in options} == {"yes", "no"}:
            questions = [s for s in sentences(f"{task.instructions}\n{task.source}") if s.endswith("?")]
            verdict = self._decider.holds(material, "", questions[0] if questions else task.instructions)
            return next(o for o in options if (o.lower() == "yes") == verdict)
        about = next((s for s in sentences(task.instructions) if s.endswith("?")), task.instructions[:300])
        if wants_several(task):
            return ", ".join(self._decider.several(material, options, about))
        return self._decider.choose(material, options, examples, about)

    def _from_results(self, request: Request, results: list[str], write: Writer) -> str:
        """Prose that uses what the tools returned; the plain facts where the model leaves them out."""
        facts = "\n".join(readable(r) for r in results)
        question = next((m.text for m in reversed(request.messages) if m.role == "user" and m.text.strip()), "")
        prompt = f"{question}\n\nHere is what is known:\n{facts}\n\nAnswer the question in one or two sentences with what is known."
        limit = min(request.max_tokens or 96, 96)
        text = up_to_last_stop(write(prompt[-20_000:], limit).strip())
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

    def _tool_calls(self, request: Request, task: Task, write: Writer) -> list[ToolCall]:
        if not request.tools or request.tool_choice == "none":
            return []
        by_name = {t.name: t for t in request.tools}
        if request.tool_choice in by_name:
            forced = by_name[request.tool_choice]
            return [self._call(forced, task, write)]
        done = outcomes(_this_turn(request.messages))
        answering = [t for t in request.tools if _ANSWER_TOOL.search(f"{t.name} {t.description}")]
        working = [t for t in request.tools if t not in answering]
        asked = [m.text for m in request.messages if m.role == "user" and m.text.strip()]
        question, quoted = without_material(asked[-1] if asked else "")
        system = "\n".join(m.text for m in request.messages if m.role == "system")
        # What a call is about may stand in a picture or a quoted text; what is written there asks for none.
        shown = "\n".join(filter(None, [quoted, *(p.material for p in pictures_of(request.messages))]))

        def fill(tool: Tool, text: str) -> dict[str, Any]:
            arguments = self._arguments(tool, Task(text, task.instructions), None)
            # A query comes after the tables are known, where another tool tells them.
            told = any(_ABOUT_TABLES.search(words(t.name)) for t in working if t is not tool)
            return with_sql(
                arguments, tool.parameters, request.messages, self._decider.alike, "unknown" if told else None
            )

        planner = Planner(self._decider, fill, shown)
        chosen = planner.next(question, system, working, done)
        calls = [ToolCall(self._next_id(), tool.name, arguments) for tool, arguments in chosen]
        if calls:
            return calls if request.parallel_tool_calls else calls[:1]
        if answering:
            output = self._decider.tool(task.source, answering, must=True) or answering[0]
            if request.tool_choice == "required" or request.schema is None:
                return [self._call(output, task, write)]
        if request.tool_choice == "required" and working:
            tool = self._decider.tool(question, working, must=True)
            assert tool is not None
            return [self._call(tool, task, None)]
        return []

    def _call(self, tool: Tool, task: Task, write: Writer | None) -> ToolCall:
        return ToolCall(self._next_id(), tool.name, self._arguments(tool, task, write))

    def _next_id(self) -> str:
        return f"call_{next(self._ids):08d}"

    def _arguments(self, tool: Tool, task: Task, write: Writer | None) -> dict[str, Any]:
        if not tool.parameters.get("properties") and not tool.parameters.get("required"):
            # A tool without parameters takes none.
            return {}
        arguments = self._filler(task, write, "tools").fill(tool.parameters)
        return arguments if isinstance(arguments, dict) else {}

    def _filler(self, task: Task, write: Writer | None, param: str = "response_format") -> Filler:
        return Filler(self._decider, self._extractor, task, write, param)


def is_plainly_prose(messages: tuple[Message, ...]) -> bool:
    """Whether the latest question asks for neither JSON, nor SQL, nor one of a few words."""
    task = understand(messages)
    return schema_in(task.instructions) is None and not asks_for_sql(messages) and not closed_choice(task)


def wanted_schema(request: Request, task: Task) -> dict[str, Any] | None:
    """The JSON Schema that the answer has to fit, if there is one: the request's own, or one in the prompt.

    A request for any JSON, which is the schema ``{}``, gives way to a schema in the prompt.
    """
    return request.schema or schema_in(task.instructions) or request.schema


def tool_results(messages: tuple[Message, ...]) -> list[str]:
    """What tools returned since the latest question."""
    return [m.content for m in _this_turn(messages) if m.role == "tool"]


def pictures_of(messages: tuple[Message, ...]) -> tuple[Shown, ...]:
    """What the pictures of the latest question show."""
    return next((m.pictures for m in reversed(messages) if m.role == "user"), ())


def _this_turn(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    return messages[last + 1 :]


def _worked_examples(messages: tuple[Message, ...], options: dict[str, str]) -> list[tuple[str, str]]:
    """What was asked earlier in the conversation and answered with one of the options, as few-shot prompts have it."""
    given = {option.lower(): option for option in options}
    return [
        (asked.text, given[word])
        for asked, answered in itertools.pairwise(messages)
        if (asked.role, answered.role) == ("user", "assistant")
        and (word := answered.text.strip(" .\n\"'").lower()) in given
    ]


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:[.,:]\d+)*", text))
