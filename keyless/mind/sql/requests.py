"""Which requests ask for SQL, and the conversation's question and tables for it."""

from __future__ import annotations

import re
from typing import Any

from keyless.mind.sql import statement
from keyless.mind.sql.names import Alike
from keyless.mind.text import sentences, words
from keyless.neutral import Message

_ASKED = re.compile(
    r"(?i)\b(?:write|return|generate|give|output|produce|create|answer|respond|reply|translate|convert|provide|build)s?\b[^.\n]{0,80}"
    r"\b(?:SQL|(?-i:SELECT))\b(?! (?:injection|server|database|analyst|expert|course|tutorial|book))"
)
_ABOUT_SQL = re.compile(
    r"(?i)\b(?:explain|why|difference|compare|what is|what does|how does|teach|describe)\b[^.\n]{0,60}\bSQL\b"
)
_LEAD = re.compile(
    r"(?i)^.{0,200}?\b(?:write|generate|give me|create|produce|provide|build|return)\s+(?:me\s+)?(?:an?|the|one|a single)?\s*(?:[\w-]+\s+){0,2}?"
    r"(?:SQL\s*)?(?:query|statement|SQL|SELECT)\s*(?:query|statement)?\s*(?:that|to|which|for)?\s*(?:finds?|returns?|gets?|shows?|lists?|computes?|calculates?|answers?)?:?\s*"
)
_FIELD = re.compile(r"(?i)\bsql\b")
_QUERY = re.compile(r"(?i)\s*(?:select\b.+\bfrom|with\b.+\bselect|select\s+[\d'])\b", re.S)
_WORDS_ABOUT = re.compile(
    r"(?i)\b(?:why|how|explain\w*|explanation|summary|reason\w*|describe\w*|title|comment|dialect|error|whether)\b"
)


def asks_for_sql(messages: tuple[Message, ...]) -> bool:
    """Whether the answer is to be SQL and not words about it."""
    told = "\n".join(m.text for m in messages if m.role == "system")
    question = _latest(messages)
    return bool(_ASKED.search(told) or _ASKED.search(question)) and not _ABOUT_SQL.search(question)


def sql_for(messages: tuple[Message, ...], alike: Alike) -> str | None:
    """The query that answers the latest question; ``None`` where the conversation describes no tables or none fits."""
    return statement(_question(_latest(messages)), material_of(messages), alike=alike)


def with_sql(
    arguments: dict[str, Any],
    schema: dict[str, Any],
    messages: tuple[Message, ...],
    alike: Alike,
    otherwise: str | None = None,
) -> dict[str, Any]:
    """``arguments`` with a query in each string that ``schema`` names or describes as SQL.

    Where none can be written, ``otherwise`` stands there, or what stood there before. A query that the client wrote stays.
    """
    properties = schema.get("properties", {})
    wanted = [
        n for n, v in arguments.items() if isinstance(v, str) and is_sql(n, properties.get(n)) and not _QUERY.match(v)
    ]
    written = (sql_for(messages, alike) or otherwise) if wanted else None
    return {**arguments, **dict.fromkeys(wanted, written)} if written else arguments


def is_sql(name: str, schema: Any) -> bool:
    """Whether a parameter or field of this name and JSON Schema holds a query."""
    described = schema.get("description", "") if isinstance(schema, dict) else ""
    plain = f"{words(name)}. {described}" if isinstance(described, str) else words(name)
    return bool(_FIELD.search(plain)) and not _WORDS_ABOUT.search(plain)


def material_of(messages: tuple[Message, ...]) -> str:
    """All that a conversation says of tables. What a tool returned stands below the name that it was asked for."""
    asked = {call.id: call.arguments for message in messages for call in message.tool_calls}
    parts = []
    for message in messages:
        if message.role == "tool":
            named = [
                v
                for v in asked.get(message.tool_call_id, {}).values()
                if isinstance(v, str) and re.fullmatch(r"[\w.]{1,100}", v)
            ]
            parts += [
                f"Table: {named[0]}" if named and '"columns"' in message.text and '"rows"' not in message.text else "",
                message.text,
            ]
        elif message.role in ("system", "user"):
            parts.append(message.text)
    return "\n".join(parts)


def _latest(messages: tuple[Message, ...]) -> str:
    return next((m.text for m in reversed(messages) if m.role == "user" and m.text.strip()), "")


def _question(text: str) -> str:
    """``text`` without the tables that it describes and the words that ask for SQL."""
    text = re.sub(
        r"(?s)```.*?```|<(\w+)>.{0,20000}?</\1>|(?i:\bcreate table\b)[^;]*;?|\b\w+\([^()?,]*,[^()?]*\)", "\n", text
    )
    lines = [line for line in text.splitlines() if line.strip() and not _describes(line)]
    kept = [
        s
        for s in sentences("\n".join(lines))
        if not re.match(
            r"(?i)^(?:return|output|answer|reply|respond)\b.*\bSQL\b|.*\bno (?:explanation|markdown|prose)\b", s
        )
    ]
    kept = [_LEAD.sub("", re.sub(r"(?i)^(?:question|request|task|user question)\s*:\s*", "", s)) for s in kept]
    return " ".join(k for k in kept if k.strip()) or text


def _describes(line: str) -> bool:
    """Whether a line tells of a table's columns rather than asks for something."""
    if re.match(r"(?i)^\W*(?:table|columns?|schema|tables|available schema|database schema)\b[^?]*:", line) or re.match(
        r"^\s*[\[{\]}]", line
    ):
        return True
    if re.match(r"^[\s\-*•]*[\w.]+\s*\([^(),]*,[^()]*\)", line):
        return True
    listed = re.match(r"^[\s\-*•]*\"?[\w.]+\"?\s*[:(]\s*(.*)", line)
    return bool(
        listed
        and listed.group(1).count(",")
        and "?" not in line
        and not re.match(r"(?i)^\W*(?:question|request|task)\b", line)
    )
