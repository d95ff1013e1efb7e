"""JSON Schemas that clients send: read once, held against values, turned into sample strings; patterns run in linear time.

A client's pattern is hostile input: Python's ``re`` would never finish on ``^(a+)+$``. The validator's regular expressions
know no look-around and no back-references, which is what makes them linear; a pattern that needs those is refused, as
OpenAI refuses it.
"""

from __future__ import annotations

import random
import re
from datetime import time
from typing import Any

import rstr
from jsonschema_rs import Draft202012Validator, ReferencingError, RegexOptions, ValidationError

from keyless.neutral import BadRequest

_LINEAR = RegexOptions()
_TRIES_THAT_ARE_TOO_LONG = 20


def _is_time(text: str) -> bool:
    """Times of day as programs write them: RFC 3339 insists on an offset, and a ``time`` in Python has none."""
    try:
        time.fromisoformat(text)
    except ValueError:
        return False
    return True


class Validator:
    """What a schema says of values. Raises ``BadRequest`` for something that is no JSON Schema."""

    def __init__(self, schema: Any) -> None:
        try:
            # Offline, because a schema may refer to any address, and keyless opens none.
            self._validator = Draft202012Validator(
                schema, validate_formats=True, formats={"time": _is_time}, pattern_options=_LINEAR, offline=True
            )
        except (ValidationError, ReferencingError, ValueError) as error:
            message = getattr(error, "message", str(error)).splitlines()[0]
            if message.endswith('is not a "regex"'):
                message += " of linear time: look-around and back-references are not supported"
            raise BadRequest(f"Invalid schema: {message}") from None
        self._schema = schema

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` fits."""
        return self._validator.is_valid(value)

    def deepest_fault(self, value: Any) -> tuple[list[str | int], Any] | None:
        """Where in ``value`` its innermost fault is, and the part of the schema that it breaks; ``None`` if there is none."""
        errors = list(self._validator.iter_errors(value))
        if not errors:
            return None
        error = max(errors, key=lambda e: len(e.instance_path))
        part: Any = self._schema
        # The last step is the keyword itself.
        for step in error.schema_path[:-1]:
            part = part[step]
        return list(error.instance_path), part


class Pattern:
    """A client's regular expression, searched for as JSON Schema says. Raises ``BadRequest`` for one that is not linear."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._validator = Validator({"pattern": pattern})

    def found_in(self, text: str) -> bool:
        """Whether some part of ``text`` matches."""
        return self._validator.accepts(text)

    def example(self, variant: int, *, shortest: int = 0, longest: float = float("inf")) -> str:
        """A string that matches, the same for the same ``variant``; ``""`` where none could be made."""
        too_long = 0
        for seed in range(200):
            try:
                made = rstr.Rstr(_Sparing(seed + 1000 * variant)).xeger(self._pattern)
            except (re.error, LookupError, OverflowError, RecursionError):
                # What the validator's expressions can say and Python's cannot, such as \p{L}.
                return ""
            if shortest <= len(made) <= longest and self.found_in(made):
                return made
            too_long += len(made) > longest
            if too_long > _TRIES_THAT_ARE_TOO_LONG:
                break
        return ""


class _Sparing(random.Random):
    """Repeats few times what may be repeated often: repetitions within repetitions would multiply to any length."""

    _most = 8

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._draws = 0

    def randint(self, low: int, high: int) -> int:
        self._draws += 1
        return super().randint(low, min(high, low + self._most)) if self._draws < 500 else low
