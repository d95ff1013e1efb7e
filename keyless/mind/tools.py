"""The next calls of tools: chosen by the goal's steps, what the tools say of themselves and what earlier calls returned."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from keyless.mind.decisions import TOOL_FITS, Decider
from keyless.mind.goals import (
    Step,
    asks_for_a_person,
    asks_to_act,
    changes,
    halves,
    is_kin,
    names_its_thing,
    only_adds,
    states_a_need,
    steps,
    undoes,
)
from keyless.mind.results import Outcome, listing, values
from keyless.mind.schemas import Validator
from keyless.mind.sql.requests import is_sql
from keyless.mind.text import words
from keyless.neutral import Tool

Fill = Callable[[Tool, str], dict[str, Any]]
"""Fills a tool's arguments from a text."""
_MOST_CALLS = 16
_MOST_TABLES = 6
_LOOSELY, _STRONGLY = 0.12, 0.45
_PATH = re.compile(r"[\w.-]*/[\w./-]*\w/?|\b[\w-]+\.[a-z]\w{1,4}\b")
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+")
_WHEN = re.compile(
    r"(?i)\b(?:today|tomorrow|yesterday|(?:next |last )?(?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:next|last|this) (?:week|month|year))\b"
)
_COUNTED = r"(?!is |was |has |does |as |this )[a-z]+s\b"
_PEOPLE = ("to", "recipient", "recipients", "receiver", "address")
_LIST_ASKED = re.compile(r"(?i)\b(?:list|which|exist|available)\b")
_OFFERED = re.compile(
    r"(?i)(?:did you mean|one of|available|valid|allowed|known|expected|must be|use|options are)\b[^:'\"\[]{0,40}[:'\"\[\s]\s*(.+)",
    re.S,
)


class Planner:
    """Chooses calls. It holds no state: what was done is read from the conversation.

    ``material`` may supply arguments, and asks for nothing.
    """

    def __init__(self, decider: Decider, fill: Fill, material: str = "") -> None:
        self._decider = decider
        self._fill = fill
        self._material = material

    def next(self, goal: str, system: str, tools: list[Tool], done: list[Outcome]) -> list[tuple[Tool, dict[str, Any]]]:
        """The calls that come next; none when the goal asks for no further one. No call is made twice."""
        if len(done) >= _MOST_CALLS:
            return []
        made = {_key(o.call.name, o.call.arguments) for o in done}
        if corrected := self._corrected(goal, tools, done, made):
            return corrected
        calls: list[tuple[Tool, dict[str, Any]]] = []
        used = {o.call.name for o in done}
        left = _calls_made(done)
        broken = _has_broken(done)
        for text, tool in self._plan(goal, system, tools):
            if broken and changes(tool):
                # It may rest on what failed.
                continue
            ready, missing = self._arguments(tool, text, goal, done)
            tables = _tables(tool, done)
            # Those that the goal names, or else all.
            ready = [t for t in tables if re.search(rf"\b{re.escape(*t.values())}\b", goal)] or tables or ready
            # The first calls of a tool were made for the first steps that ask for it.
            before, left[tool.name] = left[tool.name], max(0, left[tool.name] - len(ready))
            ready = ready[before:]
            if not ready:
                continue
            if missing:
                calls = calls or self._to_find(
                    missing, tool, [t for t in tools if t.name not in used], text, goal, done
                )
                break
            if calls and changes(tool):
                # What changes something waits for what is read before it.
                break
            calls += [(tool, a) for a in ready]
        fresh = [(t, a) for t, a in calls if _key(t.name, a) not in made]
        return list({_key(t.name, a): (t, a) for t, a in fresh}.values()) or self._opened(goal, tools, done, used)

    def _plan(self, goal: str, system: str, tools: list[Tool]) -> list[tuple[str, Tool]]:
        """Each step with the tool that it asks for; reading that the system prompt tells to do comes first."""
        plan: list[tuple[str, Tool]] = []
        asked = steps(goal)
        for step in asked:
            parts = [Step(part, step.certain) for part in halves(step.text)]
            if len(parts) > 1 and len({t.name for p in parts if (t := self._tool_for(p, tools, least=0.35))}) > 1:
                plan += [(p.text, t) for p in parts if (t := self._tool_for(p, tools))]
            elif tool := self._tool_for(step, tools):
                plan.append((step.text, tool))
        # All of the goal but what it asks not to do.
        whole = Step(" ".join(step.text for step in asked), all(step.certain for step in asked))
        if asked and not plan and (tool := self._tool_for(whole, tools)) and not undoes(tool):
            plan.append((goal, tool))
        reading = [t for t in tools if not changes(t)]
        told = [t for t in reading if re.search(rf"\b{re.escape(t.name)}\b", system)]
        urged = bool(told) or bool(
            re.search(r"(?i)\b(?:use|using|with)\b[^.]{0,30}\btools?\b|\blook\b[^.]{0,20}\bup\b", system)
        )
        if urged and asked and not plan and (tool := self._tool_for(whole, reading, least=_LOOSELY)):
            plan.append((goal, tool))
        whole_plan = [*((goal, t) for t in told if plan), *plan]
        return [one for n, one in enumerate(whole_plan) if one not in whole_plan[:n]]

    def _tool_for(self, asked: Step, tools: list[Tool], least: float = TOOL_FITS) -> Tool | None:
        step = asked.text
        said = set(re.findall(r"[a-z]+", step.lower()))
        # Its name stands there, as it is or as words: "read_file", "read the file".
        named = [
            t
            for t in tools
            if re.search(rf"(?<!\w){re.escape(t.name)}(?!\w)", step)
            or (" " in words(t.name) and set(words(t.name).split()) <= said)
        ]
        scored, refused = [], 0.0
        for tool in named or tools:
            score, akin = self._decider.tool_score(step, tool), False
            if changes(tool):
                if not asked.certain:
                    # Whether it holds nobody here can judge: what changes something is not done on a guess.
                    continue
                if asks_to_act(step) and asks_for_a_person(step, tool):
                    scored.append((score + 1.0, tool))
                    continue
                akin = asks_to_act(step) and is_kin(step, tool)
                if akin and undoes(tool) and not names_its_thing(step, tool):
                    # "Delete the file" is not for a tool that deletes accounts.
                    continue
                enough = TOOL_FITS if only_adds(tool) and states_a_need(step) else _STRONGLY
                if not akin and (undoes(tool) or score < enough or not asks_to_act(step)):
                    refused = refused if asks_to_act(step) else max(refused, score)
                    continue
            if named or score >= least:
                scored.append((score + (1.0 if akin else 0.0), tool))
        best = max(scored, key=lambda s: s[0], default=(0.0, None))
        # What is rather about a change that nobody asked for ("How do I delete …?") is for no other tool either.
        return best[1] if best[0] > refused - 0.15 else None

    # --- arguments --------------------------------------------------------------------------------

    def _arguments(
        self, tool: Tool, step: str, goal: str, done: list[Outcome]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """The arguments of each call that ``step`` asks for, and the required ones that nothing tells."""
        if not tool.parameters.get("properties"):
            return [{}], []
        if self._material:
            goal = f"{goal}\n{self._material}"
        found, wider = self._fill(tool, step), self._fill(tool, goal) if goal != step else {}
        missing = []
        for name in list(found):
            if name in _PEOPLE and (address := _EMAIL.search(goal)):
                found[name] = address.group()
            if is_gap(found[name]) and not is_gap(wider.get(name, "unknown")):
                found[name] = wider[name]
            if (_holds_path(name) and not _PATH.fullmatch(str(found[name]))) or (
                _is_reference(name) and " " in str(found[name])
            ):
                # A sentence is no path, id or key.
                found[name] = (
                    next(iter(_PATH.findall(step) or _PATH.findall(goal)), "unknown")
                    if _holds_path(name)
                    else "unknown"
                )
            required = name in tool.parameters.get("required", [])
            if is_gap(found[name]) or (_is_reference(name) and str(found[name]) not in goal):
                known = self._from_results(name, tool, goal, done)
                if known is not None:
                    found[name] = known
                elif not required:
                    del found[name]
                elif _is_reference(name):
                    # "client 88" is too short for a code, but the only number is the one.
                    numbers = re.findall(r"#?\b([\w-]*\d[\w-]*)", goal)
                    if len(set(numbers)) == 1 and not re.search(r"table|mail", name) and not _holds_path(name):
                        whole = tool.parameters["properties"][name].get("type") == "integer"
                        found[name] = int(numbers[0]) if whole and numbers[0].isdigit() else numbers[0]
                    else:
                        missing.append(name)
                elif found[name] == "unknown":
                    said = (
                        _EMAIL.search(goal)
                        if name in _PEOPLE
                        else _WHEN.search(goal)
                        if "date" in words(name)
                        else None
                    )
                    if said:
                        found[name] = said.group()
                    else:
                        missing.append(name)
        if undoes(tool):
            # "the customer with 3 complaints" is not customer 3.
            missing += [
                n
                for n in found
                if _is_reference(n) and re.search(rf"(?<!\w){re.escape(str(found[n]))} {_COUNTED}", goal)
            ]
        return [{**found, **other} for other in _siblings(found, step)] or [found], missing

    def _from_results(self, name: str, tool: Tool, goal: str, done: list[Outcome]) -> Any:
        """What an earlier result has for the parameter ``name``: by its key, else the listed name that is most like the goal."""
        wanted, last = words(name), words(name).split()[-1]
        for outcome in reversed([o for o in done if not o.failed]):
            near = f"{words(outcome.call.name)} "
            known = [
                value
                for key, above, value in values(outcome.value)
                if key == wanted
                or (key == last and set(wanted.split()[:-1]) <= set(f"{near}{above}".replace("s ", " ").split()))
            ]
            if known:
                return None if undoes(tool) and len(set(map(str, known))) > 1 else known[0]
            # What a tool returned names none of its own arguments: the columns of a table are no tables.
            names = [n for n in listing(outcome.value) if not n.endswith("/")] if outcome.call.name != tool.name else []
            if undoes(tool):
                # Which one is meant has to stand in the goal, not only to be like it.
                said = set(re.findall(r"\w+", words(goal)))
                names = [n for n in names if set(re.findall(r"\w+", words(n.rpartition(".")[0] or n))) <= said]
                names = names if len(names) == 1 else []
            if names and (_is_reference(name) or set(wanted.split()) & set(near.split())):
                return names[
                    max(range(len(names)), key=self._decider.alike(goal, [words(n) for n in names]).__getitem__)
                ]
        return None

    def _to_find(
        self, missing: list[str], tool: Tool, tools: list[Tool], step: str, goal: str, done: list[Outcome]
    ) -> list[tuple[Tool, dict[str, Any]]]:
        """Calls of a tool that only reads and may return what ``tool`` misses."""
        noun = " ".join(w for n in missing for w in words(n).split() if w not in ("id", "name", "number"))
        if any(map(_holds_path, missing)):
            noun += " file key folder director"
        if for_sql := any(is_sql(n, tool.parameters["properties"].get(n)) for n in missing):
            noun = "table schema column"
        stem = re.compile(rf"(?i)\b(?:{'|'.join(map(re.escape, noun.split())) or 'id'})")
        fitting = [
            t for t in tools if t is not tool and not changes(t) and stem.search(f"{words(t.name)} {t.description}")
        ]
        for source in sorted(fitting, key=lambda t: -self._decider.tool_score(f"find {noun}", t)):
            if any(is_sql(n, p) for n, p in source.parameters.get("properties", {}).items()):
                continue
            tables = _tables(source, done) if for_sql else []
            ready, unknown = (tables, []) if tables else self._arguments(source, step, goal, done)
            if ready and not unknown:
                return [(source, a) for a in ready]
        return []

    def _opened(
        self, goal: str, tools: list[Tool], done: list[Outcome], used: set[str]
    ) -> list[tuple[Tool, dict[str, Any]]]:
        """After a mere list of names, the tool that reads what is behind one; not where the goal asks for the list."""
        last = [goal, *(step.text for step in steps(goal))][-1]
        if not done or not listing(done[-1].value) or _LIST_ASKED.search(last):
            return []
        for tool in tools:
            needed = tool.parameters.get("required", [])
            if tool.name not in used and not changes(tool) and len(needed) == 1 and _is_reference(needed[0]):
                ready, missing = self._arguments(tool, goal, goal, done)
                if not missing:
                    return [(tool, a) for a in ready]
        return []

    def _corrected(
        self, goal: str, tools: list[Tool], done: list[Outcome], made: set[str]
    ) -> list[tuple[Tool, dict[str, Any]]]:
        """After an error that names or offers something else: the call again, once, with that."""
        if (
            not done
            or not done[-1].failed
            or (len(done) > 1 and done[-2].failed and done[-2].call.name == done[-1].call.name)
        ):
            return []
        last = done[-1]
        tool = next((t for t in tools if t.name == last.call.name), None)
        offered = _OFFERED.search(last.text[:4_000])
        if tool is None or offered is None or undoes(tool):
            # What is taken away for good is what the goal names, never what a tool offers instead.
            return []
        choices = (
            re.findall(r"[\"'`]([^\"'`\n]{1,80})[\"'`]", offered.group(1))
            or re.findall(r"[\w@./:-]*\w", offered.group(1))[:40]
        )
        properties = tool.parameters.get("properties", {})
        blamed = [n for n in properties if re.search(rf"(?i)\b{re.escape(n)}\b|\b{re.escape(words(n))}\b", last.text)]
        text_ones = [n for n, v in last.call.arguments.items() if isinstance(v, str)]
        for name in blamed or text_ones:
            old = str(last.call.arguments.get(name, goal))
            near = difflib.get_close_matches(old, choices, 1, 0.5) or choices[:1]
            fixed = {**last.call.arguments, name: near[0]} if near else last.call.arguments
            if _key(tool.name, fixed) not in made and Validator(tool.parameters).accepts(fixed):
                return [(tool, fixed)]
        return []


def _tables(source: Tool, done: list[Outcome]) -> list[dict[str, Any]]:
    """The arguments that describe each table of which an earlier result is a list; a query may need several."""
    needed = source.parameters.get("required", [])
    if len(needed) != 1 or "table" not in words(needed[0]).split():
        return []
    lists = (listing(o.value) for o in reversed(done) if not o.failed and o.call.name != source.name)
    return [{needed[0]: name} for name in next(filter(None, lists), [])[:_MOST_TABLES]]


def _calls_made(done: list[Outcome]) -> Counter[str]:
    """How often each tool was called, without those calls that were made again after an error."""
    again = [*(o.call.name for o in done[1:]), ""]
    return Counter(
        o.call.name for o, following in zip(done, again, strict=False) if not (o.failed and following == o.call.name)
    )


def _has_broken(done: list[Outcome]) -> bool:
    """Whether a call failed and no later one of its tool went well."""
    last = {o.call.name: o.failed for o in done}
    return any(last.values())


def is_gap(value: Any) -> bool:
    """Whether this is what an argument gets of which the text says nothing. False is equal to 0, and is an answer."""
    return value in ("unknown", "") or (value == 0 and not isinstance(value, bool))


def _is_reference(name: str) -> bool:
    """Whether a parameter holds something that one looks up and does not make up."""
    return bool(
        re.search(r"\b(?:ids?|path|file|filename|key|number|code|table(?: name)?|e-?mail|reference)$", words(name))
    )


def _holds_path(name: str) -> bool:
    return bool(re.search(r"path|file|key$", words(name)))


def _siblings(found: dict[str, Any], step: str) -> list[dict[str, Any]]:
    """Where the step names several things of a kind ("in Paris and Berlin"), the argument for each."""
    for name, value in found.items():
        if not isinstance(value, str | int) or isinstance(value, bool) or not str(value):
            continue
        one = (
            r"\b[A-ZÀ-Þ][\w'’-]{0,40}(?: [A-ZÀ-Þ][\w'’-]{0,40})?"
            if re.match(r"[A-ZÀ-Þ][a-zà-ÿ]", str(value))
            else r"#?(?<![\w-])[\w-]{0,40}\d[\w-]{0,40}"
        )
        listed = re.search(rf"(?:{one}, )*{one},? and {one}", step)
        if listed and str(value) in (parts := re.split(r",? and |, ", listed.group())):
            return [{name: type(value)(p.lstrip("#"))} for p in parts if isinstance(value, str) or p.isdigit()]
    return []


def _key(name: str, arguments: dict[str, Any]) -> str:
    return f"{name} {json.dumps(arguments, sort_keys=True)}"
