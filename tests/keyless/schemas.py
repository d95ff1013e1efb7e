"""Random JSON Schemas of the kinds that clients send: nested objects, arrays, enums, optional fields, unions, bounds."""

from __future__ import annotations

import random
from typing import Any

NAMES = [
    "name", "summary", "amount", "total_price", "date", "email", "items", "tags", "category", "score", "is_open", "city", "count",
    "address", "customer", "notes", "reason", "steps", "value", "kind", "id", "order_number", "quantity", "rating", "phone", "url",
    "created_at", "status", "lines", "answer", "title", "language",
]  # fmt: skip
WORDS = [
    "red",
    "green",
    "open",
    "closed",
    "billing",
    "technical",
    "low",
    "high",
    "positive",
    "negative",
    "a b",
    "ünï",
    "1",
]
PATTERNS = [r"^[A-Z]{2}-\d{3}$", r"^\d{4}$", r"^(yes|no)$", r"^[a-f0-9]{8}$", r"^\+?\d{7,12}$"]
FORMATS = ["date", "date-time", "email", "uri", "uuid", "time", "ipv4", "hostname"]


def string(r: random.Random) -> dict[str, Any]:
    """Plain, bounded, patterned or of a format."""
    kind = r.random()
    if kind < 0.4:
        return {"type": "string"}
    if kind < 0.6:
        low = r.randint(0, 12)
        return {"type": "string", "minLength": low, "maxLength": low + r.randint(0, 30)}
    if kind < 0.8:
        return {"type": "string", "format": r.choice(FORMATS)}
    return {"type": "string", "pattern": r.choice(PATTERNS)}


def number(r: random.Random) -> dict[str, Any]:
    """Whole or not, with bounds or steps."""
    schema: dict[str, Any] = {"type": r.choice(["number", "integer"])}
    if r.random() < 0.6:
        low = r.randint(-50, 50)
        schema[r.choice(["minimum", "exclusiveMinimum"])] = low
        if r.random() < 0.7:
            schema[r.choice(["maximum", "exclusiveMaximum"])] = low + r.randint(12, 100)
    if r.random() < 0.2:
        schema["multipleOf"] = r.choice([2, 5, 0.5] if schema["type"] == "number" else [2, 5])
    return schema


def node(r: random.Random, depth: int) -> dict[str, Any]:
    """Any schema; deeper ones are simpler."""
    kind = r.random()
    if depth <= 0 or kind < 0.5:
        return r.choice(
            [string, number, lambda r: {"type": "boolean"}, lambda r: {"enum": r.sample(WORDS, r.randint(1, 5))},
             lambda r: {"const": r.choice(WORDS)}, lambda r: {"enum": [1, 2, 3]}, lambda r: {"type": "null"}]
        )(r)  # fmt: skip
    if kind < 0.65:
        low = r.randint(0, 3)
        schema: dict[str, Any] = {
            "type": "array",
            "items": node(r, depth - 1),
            "minItems": low,
            "maxItems": low + r.randint(0, 3),
        }
        return schema
    if kind < 0.72:
        return {
            "type": "array",
            "items": {"type": r.choice(["string", "integer"])},
            "uniqueItems": True,
            "minItems": r.randint(0, 4),
        }
    if kind < 0.87:
        return {
            r.choice(["anyOf", "anyOf", "oneOf"]): [{"type": "null"}, string(r)]
            if r.random() < 0.5
            else [{"type": "boolean"}, object_(r, depth - 1)]
        }
    if kind < 0.92:
        return {"type": r.choice([["string", "null"], ["integer", "null"], ["number", "string"]])}
    return object_(r, depth - 1)


def object_(r: random.Random, depth: int) -> dict[str, Any]:
    """An object with some of its fields required."""
    names = r.sample(NAMES, r.randint(1, 5))
    schema: dict[str, Any] = {"type": "object", "properties": {n: node(r, depth) for n in names}}
    schema["required"] = [n for n in names if r.random() < 0.7]
    if r.random() < 0.7:
        schema["additionalProperties"] = False
    if r.random() < 0.1:
        schema["additionalProperties"] = {"type": "integer"}
    return schema


def schema(seed: int) -> dict[str, Any]:
    """The schema of a seed; every third one refers to definitions, one of them to itself."""
    r = random.Random(seed)
    top = object_(r, 3)
    if seed % 3 == 0:
        top["$defs"] = {"Part": object_(r, 1), "Tree": {"type": "object", "properties": {
            "name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}, "required": ["name", "children"]}}  # fmt: skip
        top["properties"] |= {
            "part": {"$ref": "#/$defs/Part"},
            "tree": {"$ref": "#/$defs/Tree"},
            "both": {"allOf": [{"$ref": "#/$defs/Part"}], "description": "A part"},
        }
        top["required"] = [*top["required"], "part", "tree"]
    return top
