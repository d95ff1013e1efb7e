"""What tools returned: which calls failed, the values that other calls need, and all of it in plain words."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keyless.mind.text import words
from keyless.neutral import Message, ToolCall

_MOST_VALUES = 2_000
_DEEPEST = 60
"""Levels of a result's JSON; what is nested deeper is taken as text."""
_LONGEST_NAME = 300
"""Characters of a line in a list of names."""
_FAILED = re.compile(
    r"^\W*(?:[\w.]+[ :]+){0,3}?(?:[a-z]*error|exception|traceback|fail(?:ed|ure)|invalid|unknown|no such|not found|does not exist|cannot|could not|"
    r"unable|denied|forbidden|unauthori[sz]ed|missing|bad request|unsupported)\b|fix the errors and try again|"
    r"^\W*there (?:is|are|was) no\b|^\W*(?:http )?[45]\d\d\b(?! *[a-z%€$])|\b(?:not found|does not exist|is (?:not valid|invalid|required|unknown))\W*$",
    re.I,
)
_PAIR = re.compile(
    r"(?m)(?:^|[,;(]|\. )[ \t]*[\"']?([A-Za-z][\w \-]{0,30}?)[\"']?[ \t]*[:=][ \t]*[\"']?([^\n,;\"')]{1,200})"
)


@dataclass(frozen=True)
class Outcome:
    """A call that was made, and what came of it."""

    call: ToolCall
    text: str
    failed: bool

    @property
    def value(self) -> Any:
        """The result as JSON; the text itself where it is none."""
        return parsed(self.text)


def outcomes(turn: tuple[Message, ...]) -> list[Outcome]:
    """The calls of ``turn`` that have a result, in order; results without a call's id belong to the calls in order."""
    waiting: list[ToolCall] = []
    found: list[Outcome] = []
    for message in turn:
        waiting += message.tool_calls
        if message.role == "tool" and waiting:
            call = next((c for c in waiting if c.id == message.tool_call_id), waiting[0])
            waiting.remove(call)
            found.append(Outcome(call, message.text, message.failed or has_failed(message.text)))
    return found


def parsed(text: str) -> Any:
    """``text`` as JSON, without the frames that clients put around a result; ``text`` itself where it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
    if _is_deep(value):
        return text.strip()
    while isinstance(value, dict) and len(value) == 1:
        (key, inner), *_ = value.items()
        if key not in ("result", "output", "return_value", "content", "data", "response"):
            break
        value = parsed(inner) if isinstance(inner, str) else inner
    return value


def _is_deep(value: Any) -> bool:
    """Whether ``value`` is nested deeper than any result that means something; what recurses would fail on it."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [v for o in level if isinstance(o, dict | list) for v in (o.values() if isinstance(o, dict) else o)]
        if not level:
            return False
    return True


def has_failed(text: str) -> bool:
    """Whether a result says that the call went wrong."""
    value = parsed(text)
    if isinstance(value, dict):
        states = [str(value.get(k, "")).lower() for k in ("status", "state", "outcome")]
        return (
            any(value.get(k) for k in ("error", "errors", "isError", "is_error", "exception"))
            or any(value.get(k) is False for k in ("ok", "success", "valid"))
            or any(s in ("error", "failed", "failure", "invalid") for s in states)
        )
    return bool(_FAILED.search(str(value)[:300] if isinstance(value, str) else ""))


def values(value: Any, key: str = "", above: str = "") -> Iterator[tuple[str, str, Any]]:
    """Each scalar of a result with its key and the key above it, as words; of a text its ``key: value`` pairs."""
    todo = deque([(key, above, value)])
    for _ in range(_MOST_VALUES):
        if not todo:
            return
        key, above, value = todo.popleft()
        if isinstance(value, dict):
            todo += [(words(str(k)), key or above, v) for k, v in value.items()]
        elif isinstance(value, list):
            todo += [(key, above, v) for v in value[:_MOST_VALUES]]
        elif (isinstance(value, str) and "\n" in value) or (isinstance(value, str) and not key):
            yield key, above, value
            for name, found in _PAIR.findall(value[:20_000]):
                yield words(name), key, found.strip()
        elif value is not None:
            yield key, above, value


def listing(value: Any) -> list[str]:
    """The names that a result lists, where it is nothing but a list of names; else none."""
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list)]
        return (
            listing(lists[0]) if len(lists) == 1 and not any(isinstance(v, dict | str) for v in value.values()) else []
        )
    if isinstance(value, str):
        lines = [line.strip() for line in value.splitlines() if line.strip()]
        if any(len(line) > _LONGEST_NAME for line in lines):
            return []
        value = [re.sub(r"^(?:[-*•]|\d+[.)])\s+|\s+\(.*\)$", "", line).strip() for line in lines]
        if len(value) < 2 and not (value and re.fullmatch(r"\S*[./_]\S*\w/?", value[0])):
            return []
        value = [line.split()[0] if re.match(r"\S*[./_]\S*\w/?\s", line) else line for line in value]
        return value if all(re.fullmatch(r"[\w./:@#-]+", line) for line in value) else []
    if not isinstance(value, list) or not value:
        return []
    if all(isinstance(v, str) for v in value):
        return value
    if all(isinstance(v, dict) for v in value):
        for name in ("path", "key", "name", "file", "table_name", "table", "id"):
            if all(isinstance(v.get(name), str) and len(v) <= 4 for v in value):
                return [v[name] for v in value]
    return []


def readable(result: Any) -> str:
    """A result in plain words: ``key: value`` lines, a table's rows by its columns; a text as it is."""
    value = parsed(result) if isinstance(result, str) else result
    if isinstance(value, dict):
        columns, rows = value.get("columns"), value.get("rows")
        if isinstance(columns, list) and isinstance(rows, list) and all(isinstance(r, list) for r in rows):
            return "\n".join(
                ", ".join(f"{words(str(c))}: {v}" for c, v in zip(columns, row, strict=False)) for row in rows
            )
        return "\n".join(f"{words(str(k))}: {_plain(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "\n".join(_plain(v) for v in value)
    return str(value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{words(str(k))}: {_plain(v)}" for k, v in value.items())
    if isinstance(value, list):
        return (
            "; ".join(map(_plain, value)) if any(isinstance(v, dict) for v in value) else ", ".join(map(_plain, value))
        )
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
