"""How good the offline answers are, on the labelled sets in ``tests/keyless/data``, asked over HTTP as any client asks."""

from __future__ import annotations

import base64
import importlib.util
import json
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from stack.settings import REPO

DATA = REPO / "tests" / "keyless" / "data"
HELD_OUT = DATA / "held_out"
"""Sets that were written after keyless was built, and never tuned for."""


@dataclass(frozen=True)
class Score:
    """``right`` of ``total``, and what was wrong."""

    name: str
    right: int
    total: int
    wrong: tuple[str, ...]

    @property
    def share(self) -> float:
        return self.right / self.total


def _chat(client: httpx.Client, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    reply = client.post(
        "/openai/v1/chat/completions",
        json={"model": "gpt-4o-mini", "messages": messages, **more},
        headers={"Authorization": "Bearer keyless-bench"},
    )
    reply.raise_for_status()
    return reply.json()["choices"][0]["message"]


def _filled(client: httpx.Client, messages: list[dict[str, str]], schema: dict[str, Any]) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    return json.loads(_chat(client, messages, response_format=form)["content"])


def classification(client: httpx.Client, data: Path = DATA) -> list[Score]:
    """One score a label set."""
    scores = []
    for group in yaml.safe_load((data / "classification.yaml").read_text()):
        wrong = []
        for item in group["items"]:
            text, label = item[:2]
            labels = group["labels"]
            described = "\n".join(f"- {name}: {meaning}" for name, meaning in labels.items() if meaning)
            kind: dict[str, Any] = (
                {"type": "boolean"} if set(labels) == {"true", "false"} else {"type": "string", "enum": list(labels)}
            )
            question = item[2] if len(item) > 2 else group["instruction"]
            schema = {"type": "object", "properties": {group["field"]: kind}, "required": [group["field"]]}
            messages = [
                {"role": "system", "content": f"{question}\n{described}".strip()},
                {"role": "user", "content": text},
            ]
            got = str(_filled(client, messages, schema)[group["field"]])
            if got.lower() != label:
                wrong.append(f"{text} → {got}, not {label}")
        scores.append(Score(group["set"], len(group["items"]) - len(wrong), len(group["items"]), tuple(wrong)))
    return scores


def fields(client: httpx.Client, data: Path = DATA) -> Score:
    """Typed fields of short documents."""
    wrong, total = [], 0
    for document in yaml.safe_load((data / "documents.yaml").read_text()):
        properties = {}
        for name, field in document["fields"].items():
            kind = {"type": "string", "format": "date"} if field["type"] == "date" else {"type": field["type"]}
            properties[name] = {**kind, **({"description": field["description"]} if "description" in field else {})}
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        messages = [{"role": "user", "content": f"Extract the fields from this document:\n\n{document['text']}"}]
        found = _filled(client, messages, schema)
        for name, field in document["fields"].items():
            total += 1
            want, got = field["value"], found.get(name)
            same = str(got).strip().lower() == want.lower() if isinstance(want, str) else got == want
            if not same:
                wrong.append(f"{name}: {got!r}, not {want!r} ({document['text'][:50]!r})")
    return Score("fields", total - len(wrong), total, tuple(wrong))


def tools(client: httpx.Client, data: Path = DATA) -> Score:
    """The choice of a tool, none among them."""
    wrong, total = [], 0
    for group in yaml.safe_load((data / "tools.yaml").read_text()):
        offered = [
            {"type": "function", "function": {"name": name, "description": tool["description"], "parameters": {
                "type": "object", "properties": {p: {"type": t} for p, t in tool["parameters"].items()}, "required": list(tool["parameters"])}}}
            for name, tool in group["tools"].items()
        ]  # fmt: skip
        for text, want in group["items"]:
            total += 1
            message = _chat(client, [{"role": "user", "content": text}], tools=offered, max_tokens=1)
            called = [c["function"]["name"] for c in message.get("tool_calls") or []]
            if called != ([want] if want else []):
                wrong.append(f"{text} → {called}, not {want}")
    return Score("tools", total - len(wrong), total, tuple(wrong))


def choices(client: httpx.Client, data: Path = DATA) -> list[Score]:
    """Prompts that ask for one of a few words get one of them; prompts that only sound so get prose, no words of the prompt."""
    prompts = yaml.safe_load((data / "choices.yaml").read_text())
    labels, prose = [], []
    for case in prompts["choices"]:
        got = _chat(client, [{"role": "user", "content": case["prompt"]}], max_tokens=16)["content"]
        if got not in case["options"]:
            labels.append(f"{case['prompt'][:60]!r} → {got!r}")
    for prompt in prompts["open"]:
        got = _chat(client, [{"role": "user", "content": prompt}], max_tokens=16)["content"]
        if got.strip(" .!\n").lower() in prompt.lower():
            prose.append(f"{prompt[:60]!r} → {got!r}")
    return [
        Score("one of a few words", len(prompts["choices"]) - len(labels), len(prompts["choices"]), tuple(labels)),
        Score("open prompts", len(prompts["open"]) - len(prose), len(prompts["open"]), tuple(prose)),
    ]


def pages(client: httpx.Client) -> Score:
    """Characters read right on the twenty pages that ``tests/keyless/pages.py`` draws, among all that are on them."""
    drawn = _pages()
    right = total = 0
    wrong = []
    for page in drawn.pages():
        read = _read_off(client, page.data, is_pdf=page.is_pdf)
        share = drawn.right(read, page.text)
        size = len(page.text)
        right, total = right + round(share * size), total + size
        if share < 1:
            wrong.append(f"{page.name}: {share:.3f}")
    return Score("pages", right, total, tuple(wrong))


def _pages() -> Any:
    spec = importlib.util.spec_from_file_location("pages", DATA.parent / "pages.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read_off(client: httpx.Client, data: bytes, *, is_pdf: bool) -> str:
    """What the answer quotes of a picture or a PDF."""
    sent = f"data:application/pdf;base64,{base64.b64encode(data).decode()}"
    part: dict[str, Any] = {"type": "file", "file": {"filename": "page.pdf", "file_data": sent}}
    if not is_pdf:
        part = {"type": "image_url", "image_url": {"url": sent.replace("application/pdf", "image/png", 1)}}
    words = {"type": "text", "text": "What is written here?"}
    answer = _chat(client, [{"role": "user", "content": [words, part]}])["content"]
    return answer.partition('reads: "')[2].removesuffix('".')


def sql(client: httpx.Client, data: Path = DATA) -> Score:
    """Questions about tables that the prompt describes: the statement is run on SQLite and its rows are compared with those of a known one.

    More columns than asked for are allowed; other rows, fewer or more are not. Where nothing fits, no statement may read a row.
    """
    wrong, total = [], 0
    for group in yaml.safe_load((data / "sql.yaml").read_text()):
        with closing(sqlite3.connect(":memory:")) as database:
            database.executescript(group["rows"])
            database.execute("PRAGMA query_only = ON")
            told = f"You are a sqlite expert. Generate a single SQL query based on the user's request.\nReturn ONLY the SQL query, no explanation or markdown.\n\nAvailable schema:\n{group['schema']}"
            for question, want, *ordered in group["items"]:
                total += 1
                messages = [{"role": "system", "content": told}, {"role": "user", "content": question}]
                statement = _chat(client, messages, max_tokens=400)["content"]
                rows = _rows(database, statement)
                expected = None if want == "none" else _rows(database, want)
                if (
                    (rows or None) != expected
                    if expected is None
                    else not _same_rows(rows, expected, ordered=bool(ordered))
                ):
                    wrong.append(f"{question} → {statement}")
    return Score("sql", total - len(wrong), total, tuple(wrong))


def _rows(database: sqlite3.Connection, statement: str) -> list[tuple[Any, ...]] | None:
    try:
        return [tuple(round(v, 6) if isinstance(v, float) else v for v in row) for row in database.execute(statement)]
    except sqlite3.Error:
        return None


def _same_rows(got: list[tuple[Any, ...]] | None, want: list[tuple[Any, ...]] | None, *, ordered: bool) -> bool:
    """Whether each wanted row is there, in its place where the order counts, and no other."""
    if got is None or want is None or len(got) != len(want):
        return False
    left = [Counter(row) for row in got]
    for wanted in map(Counter, want):
        place = next((i for i, row in enumerate(left[: 1 if ordered else None]) if wanted <= row), None)
        if place is None:
            return False
        del left[place]
    return True


def total_of(scores: list[Score], name: str) -> Score:
    """Several scores as one."""
    return Score(
        name, sum(s.right for s in scores), sum(s.total for s in scores), tuple(w for s in scores for w in s.wrong)
    )


def agents(client: httpx.Client, data: Path = DATA) -> Score:
    """Whole tasks of agents: the calls, with what their arguments have to hold, and an answer that uses what they returned."""
    wrong, total = [], 0
    for group in yaml.safe_load((data / "agents.yaml").read_text()):
        offered = [
            {"type": "function", "function": {"name": name, "description": tool["description"], "parameters": {
                "type": "object", "properties": {p: {"type": t} for p, t in tool["parameters"].items()}, "required": list(tool["parameters"])}}}
            for name, tool in group["tools"].items()
        ]  # fmt: skip
        for item in group["items"]:
            total += 1
            calls, said = _run_agent(client, item["ask"], offered, group["results"])
            right = len(calls) == len(item["calls"]) and all(
                name == want and args.items() <= got.items()
                for (name, got), (want, args) in zip(calls, item["calls"], strict=True)
            )
            if not right or str(item.get("says", "")) not in said:
                wrong.append(f"{item['ask']} → {calls}, {said[:80]!r}")
    return Score("agents", total - len(wrong), total, tuple(wrong))


def _run_agent(
    client: httpx.Client, ask: str, offered: list[dict[str, Any]], results: dict[str, list[str]]
) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """The calls of one agent, whose tools return what the set says, and its last words; it has 8 rounds."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": ask}]
    calls: list[tuple[str, dict[str, Any]]] = []
    for _ in range(8):
        message = _chat(client, messages, tools=offered, max_tokens=60)
        if not message.get("tool_calls"):
            return calls, message["content"]
        messages.append(message)
        for call in message["tool_calls"]:
            name = call["function"]["name"]
            before = sum(n == name for n, _ in calls)
            calls.append((name, json.loads(call["function"]["arguments"])))
            result = results[name][min(before, len(results[name]) - 1)]
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    return calls, ""
