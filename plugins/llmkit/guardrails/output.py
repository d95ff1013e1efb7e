"""A model's answer before anything is done with it: parsed, checked against a type, repaired once, or put into quarantine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llmkit.database import connected

if TYPE_CHECKING:
    from pydantic import BaseModel

Value = TypeVar("Value", bound="BaseModel")
_LONGEST = 100_000
"""Characters of an answer that json-repair is let at: of some texts its time grows with their square."""

_SQL = """
CREATE TABLE IF NOT EXISTS llm_quarantine (
    id bigserial PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dag_id text, task_id text, run_id text, map_index int,
    item text NOT NULL,
    answer text NOT NULL,
    errors text NOT NULL,
    UNIQUE (dag_id, task_id, run_id, map_index, item)
)
"""


class OutputRejected(ValueError):
    """An answer that does not fit its type; ``answer`` is what the model said last, ``errors`` what is wrong with it."""

    def __init__(self, answer: str, errors: list[str]) -> None:
        super().__init__(f"the answer does not fit: {'; '.join(errors)}")
        self.answer, self.errors = answer, errors


@dataclass(frozen=True)
class Checked(Generic[Value]):
    """A ``value`` of the type that was asked for, and how it came to: ``as it is``, ``parsed leniently`` or ``repaired``."""

    value: Value
    how: str


def checked(answer: str, kind: type[Value], *, repair: Callable[[str], str] | None = None) -> Checked[Value]:
    """``answer`` as a ``kind`` (a pydantic model).

    JSON is read as it is; then leniently (json-repair: fences, commas, quotes, comments), which mends the form and never
    the content, and takes nothing that was cut off; then ``repair`` is called once with a prompt that names the errors, and its answer is read in the same
    way. Raises ``OutputRejected``.
    """
    value, errors, strict = _read(answer, kind)
    if value is not None:
        return Checked(value, "as it is" if strict else "parsed leniently")
    if repair is not None:
        answer = repair(_prompt(answer, kind, errors))
        value, errors, _ = _read(answer, kind)
        if value is not None:
            return Checked(value, "repaired")
    raise OutputRejected(answer, errors)


def quarantine(rejected: OutputRejected, item: str, context: Any, *, conn_id: str = "llm_db") -> None:
    """Keep a rejected answer in the table ``llm_quarantine``, for a person to look at. A retry keeps it once.

    ``item`` says what was asked about, ``context`` is the task's Airflow context.
    """
    ti = context["ti"]
    with connected(conn_id, "llm_quarantine", _SQL) as connection:
        connection.execute(
            "INSERT INTO llm_quarantine (dag_id, task_id, run_id, map_index, item, answer, errors) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            # Postgres has no NUL in texts, and a model may answer with one.
            [ti.dag_id, ti.task_id, ti.run_id, ti.map_index]
            + [text.replace("\0", "") for text in (item, rejected.answer, "; ".join(rejected.errors))],
        )


def quarantined(dag_id: str, run_id: str, *, conn_id: str = "llm_db") -> list[dict[str, str]]:
    """What a run put into quarantine: ``item``, ``errors`` and ``answer`` of each, by item."""
    query = "SELECT item, errors, answer FROM llm_quarantine WHERE dag_id = %s AND run_id = %s ORDER BY item, id"
    with connected(conn_id, "llm_quarantine", _SQL) as connection:
        rows = connection.execute(query, [dag_id, run_id]).fetchall()
    return [dict(zip(("item", "errors", "answer"), row, strict=True)) for row in rows]


def _read(text: str, kind: type[Value]) -> tuple[Value | None, list[str], bool]:
    """The value, or what is wrong with it, and whether the text was JSON as it is."""
    from pydantic import ValidationError

    errors: list[str] = []
    for strict, read in ((True, str), (False, _lenient)):
        try:
            return kind.model_validate_json(read(text)), [], strict
        except ValidationError as error:
            errors = [f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {e['msg']}" for e in error.errors()]
        except _NotMended as error:
            errors.append(str(error))
    return None, errors, False


class _NotMended(Exception):
    """Nobody knows what the JSON of an answer was to be; the text says why."""


def _lenient(text: str) -> str:
    """The JSON in ``text`` with its form mended. Raises ``_NotMended``, also where it was cut off: what is missing is unknown."""
    from json_repair import repair_json

    if len(text) > _LONGEST:
        raise _NotMended(f"the answer is longer than {_LONGEST} characters, and its form is not mended")
    # What a model says around its JSON is not part of it.
    block = re.search(r"```(?:json)?\s*(.*?)(?:```|\Z)", text, re.DOTALL)
    found = block[1] if block else text
    if sum(map(found.count, "{[")) > sum(map(found.count, "}]")):
        raise _NotMended("the answer ends in the middle")
    try:
        return repair_json(found) or "null"
    except (ValueError, RecursionError) as error:
        raise _NotMended(f"the answer's form cannot be mended ({type(error).__name__})") from None


def _prompt(answer: str, kind: type[BaseModel], errors: list[str]) -> str:
    wrong = "\n".join(f"- {error}" for error in errors)
    schema = json.dumps(kind.model_json_schema())
    return (
        f"This answer cannot be used:\n\n{answer}\n\nWhat is wrong with it:\n{wrong}\n\n"
        f"Answer again, with nothing but JSON that fits this JSON Schema: {schema}"
    )
