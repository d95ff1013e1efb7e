"""JSON for a schema: every field decided, found in the text or written, and the whole checked against the schema."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from keyless.mind.choices import closed_choice, described_labels
from keyless.mind.decisions import Decider
from keyless.mind.extraction import LEAST, Extractor, Wanted, find_all, kind_of
from keyless.mind.schemas import Pattern, Validator
from keyless.mind.tasks import Task
from keyless.mind.text import first_sentence, sentences, up_to_last_stop, words
from keyless.mind.workers import check
from keyless.mind.written import decimal_mark, to_number
from keyless.neutral import BadRequest

Schema = dict[str, Any]
Writer = Callable[[str, int], str]
"""Writes prose: what to write and the most tokens it may take. It waits for the language model."""

_MAX_DEPTH = 8
_MOST_ASKED = 10_000
_MOST_ROWS = 24
_MOST_PHRASES = 500
"""Phrases of a text whose meaning is compared with the whole text's."""
_BARE = 12
"""Words of a question that brings no material of its own."""
_BULLET = re.compile(r"(?m)^[ \t]*(?:[-*•]|\d+[.)])[ \t]+(.+)$")
_PARTS = [
    re.compile(p) for p in (r"\n+", r";|\n", r"[,;](?=\s)|\s(?:and|und|et|y|e)\s|\n", r"(?<=[.!?])\s+(?=[^\W\d_])")
]
_OFFERS = re.compile(r"(?i)\b(?:one of|either)\b|[:(\[|\"`“]|\s'|\b(?:must|can|should) be\b")
_ABSENT = object()
# The apostrophes of "I can't find what's new" quote nothing.
_QUOTED = re.compile(r"(?<!\w)'([^'\n]{3,})'(?!\w)|\"([^\"]{3,})\"|“([^“”]{3,})”|„([^„“]{3,})“")
_PROSE = re.compile(
    r"\b(?:summary|description|explanation|reasons?|reasoning|rationale|reply|response|answer|message|body|text|content|comment|"
    r"notes?|advice|recommendation|suggestion|title|headline|subject|outline|draft|story|thoughts?|justification|feedback|plan|"
    r"analysis|paragraph|section|caption|slogan|steps?|question|review|article|post|email body|critique|heading|tagline)\b"
)
_AS_ASKED = re.compile(
    r"\b(?:query|question|search|prompt|input|request|q|text|message|body|content|summary|description|subject|title|topic|reason|problem|issue)\b"
)
_WHETHER = re.compile(r"(?i)\b(?:whether|(?:true|yes) (?:only )?(?:if|when))\b")
_GIST = re.compile(r"\b(?:summary|gist|title|headline|subject|heading|caption)\b")
_SCALE_NAMES = re.compile(r"\b(?:rating|stars|satisfaction|sentiment|mood)\b")
_LIST_OF_WORDS = re.compile(
    r"\b(?:keywords?|tags?|topics?|labels?|entities|names|skills|products|companies|people|places|terms)\b"
)


@dataclass
class Filler:
    """Fills schemas from a ``Task``. Without a ``write`` (tool arguments) prose fields take the request's own words."""

    decider: Decider
    extractor: Extractor
    task: Task
    write: Writer | None = None
    param: str = "response_format"
    root: Schema = field(default_factory=dict)
    in_row: bool = False
    """Whether the text is one item of a list: whatever stands in it belongs to that item."""

    def fill(self, schema: Schema) -> Any:
        """A value that validates against ``schema``.

        Raises ``BadRequest``, which names ``param``, for something that is no JSON Schema, or one that no value could be
        made for.
        """
        try:
            return self._valid(schema)
        except BadRequest as error:
            error.param = error.param or self.param
            raise
        except OverflowError:
            raise BadRequest("Invalid schema: a number in it is too large", param=self.param) from None
        except RecursionError:
            raise BadRequest("Invalid schema: it refers to itself without an end", param=self.param) from None

    def _valid(self, schema: Schema) -> Any:
        self.root = schema
        validator = Validator(schema)
        _refuse_endless(schema)
        value = self._value(schema, "", self._material(), 0)
        if value is _ABSENT:
            value = self._smallest(schema, 0)
        # What was found may break a bound; that part alone falls back to the smallest value that is allowed.
        for _ in range(20):
            fault = validator.deepest_fault(value)
            if fault is None:
                return value
            value = self._repair(value, *fault)
        value = self._smallest(schema, 0)
        if validator.accepts(value):
            return value
        raise BadRequest("Invalid schema: no value could be made for it; it uses keywords that are not supported")

    def _material(self) -> str:
        """What to read: the latest question's material; the instructions too, where all the facts stand there."""
        source, told = self.task.source, self.task.instructions
        facts = self._facts(self._resolve(self.root).get("properties", {}))
        bare = facts and len(source.split()) <= _BARE and not self.extractor.fields(source, facts)
        return f"{told}\n{source}" if bare and self.extractor.fields(told, facts) else source

    # --- one node ---------------------------------------------------------------------------------

    def _value(self, schema: Any, name: str, text: str, depth: int) -> Any:
        """The value of one node, or ``_ABSENT`` when ``text`` has nothing for it."""
        check()
        schema = self._resolve(schema)
        if depth > _MAX_DEPTH:
            return _ABSENT
        if "const" in schema:
            return schema["const"]
        if choices := self._choices(schema):
            return self._choose(choices, schema, name, text)
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return self._one_of(schema, options, name, text, depth)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._one_of(schema, [{**schema, "type": k} for k in kind], name, text, depth)
        if kind == "object" or (
            kind is None and ("properties" in schema or not schema or "additionalProperties" in schema)
        ):
            return self._object(schema, name, text, depth)
        if kind == "array":
            return self._array(schema, name, text, depth)
        if kind == "boolean":
            return self.decider.holds(text, name, schema.get("description", "") or self._question(name))
        if kind == "null":
            return None
        if kind in ("number", "integer"):
            return self._number(schema, name, text, self.extractor.fields(text, [_wanted(schema, name)]).get(name))
        return self._string(schema, name, text, self.extractor.fields(text, [_wanted(schema, name)]).get(name))

    def _question(self, name: str, labels: list[str] | None = None) -> str:
        """The sentence of the instructions that asks for a field; its name where none does."""
        field_name = words(name)
        asked = [s for s in sentences(self.task.instructions) if len(s) < 200]
        if labels is None:
            # Only what can be true or false answers a yes or no.
            asked = [s for s in asked if s.endswith("?") or _WHETHER.search(s)]
        if not asked:
            return field_name
        best = self.decider.nearest(wanted := f"{field_name} {' '.join(labels or [])}", asked)
        sure = labels or len(self.root.get("properties", {})) < 2 or self.decider.alike(wanted, [best])[0] > 0.4
        return best if sure else field_name

    def _choices(self, schema: Schema) -> list[tuple[Any, str]]:
        """The values that an enum, or alternatives of one value each, leave open, with what is said of each; else none."""
        if "enum" in schema:
            return [(value, "") for value in schema["enum"]]
        options = [self._resolve(option) for option in schema.get("anyOf") or schema.get("oneOf") or []]
        if all("const" in option for option in options):
            return [(o["const"], o.get("description") or words(str(o.get("title", "")))) for o in options]
        return []

    def _choose(self, choices: list[tuple[Any, str]], schema: Schema, name: str, text: str) -> Any:
        labels = {str(value): value for value, _ in choices}
        if {w.lower() for w in labels} == {"yes", "no"}:
            verdict = self.decider.holds(text, name, schema.get("description", "") or self._question(name))
            return next(v for label, v in labels.items() if (label.lower() == "yes") == verdict)
        return labels[
            self.decider.choose(text, self._described(choices, schema), about=self._question(name, list(labels)))
        ]

    def _described(self, choices: list[tuple[Any, str]], schema: Schema) -> dict[str, str]:
        said = {str(value): meaning for value, meaning in choices}
        told = described_labels(list(said), schema.get("description", ""), self.task.instructions)
        return {label: said[label] or told[label] for label in said}

    def _listed(self, schema: Schema, name: str) -> dict[str, str]:
        """The labels that the prompt lists for a plain string: its description does, or a sentence that names the field."""
        start = words(name)[:5]
        told = [schema.get("description", "")]
        if start:
            told += [s for s in sentences(self.task.instructions) if re.search(rf"(?i)\b{re.escape(start)}", s)]
        for said in told:
            # "Category: a, b or c" reads as "Answer: a, b or c".
            asked = re.sub(rf"(?i)^\W*(?:the )?{re.escape(start)}\w*\W*(?=\w)", "", said) if start else said
            for form in (said, *((f"Answer {asked}", f"Answer: {asked}") if _OFFERS.search(said) else ())):
                if found := closed_choice(Task("", form)):
                    return {**found, **described_labels(list(found), self.task.instructions)}
        only = len(self.root.get("properties", {})) == 1
        return closed_choice(Task("", self.task.instructions)) if only else {}

    def _one_of(self, schema: Schema, options: list[Any], name: str, text: str, depth: int) -> Any:
        shared = {k: v for k, v in schema.items() if k in ("description", "title")}
        resolved = [{**shared, **self._resolve(option)} for option in options]
        real = [o for o in resolved if o.get("type") != "null"]
        nullable = len(real) < len(resolved)
        if not real:
            return None
        if len(real) > 1 and all(o.get("type") == "object" or "properties" in o for o in real):
            said = (f"{words(o.get('title', ''))} {o.get('description', '')}" for o in real)
            fields = (" ".join(map(words, o.get("properties", {}))) for o in real)
            titles = {str(i): f"{one} {other}" for i, (one, other) in enumerate(zip(said, fields, strict=True))}
            real = [real[int(self.decider.choose(text, titles))]]
        for option in sorted(real, key=lambda o: o.get("type") == "string"):
            value = self._value(option, name, text, depth + 1)
            if value is not _ABSENT:
                return value
        return None if nullable else _ABSENT

    def _object(self, schema: Schema, name: str, text: str, depth: int) -> Any:
        properties = {k: self._resolve(v) for k, v in schema.get("properties", {}).items()}
        required = set(schema.get("required", []))
        if not properties:
            return self._mapping(schema, text) if schema.get("additionalProperties", True) is not False else {}
        # Facts are looked for together, so that two fields do not claim the same words.
        facts = self._facts(properties)
        if self.in_row:
            # What has no form is what the rest of the row says, unless it stands beside its name.
            facts = [f for f in facts if kind_of(f) or re.search(rf"(?i)\b{re.escape(f.words)}\s*[:=]", text)]
        found = self.extractor.fields(text, facts, least=0.0 if self.in_row else LEAST)
        left = _leftovers(text, found) if self.in_row else []
        result: dict[str, Any] = {}
        for key, child in properties.items():
            plain = self._not_null(child)
            if self._is_fact(plain, key):
                if plain["type"] == "string" and left and key not in found:
                    found[key] = left.pop(0)
                fill = self._string if plain["type"] == "string" else self._number
                value = fill(plain, key, text, found.get(key))
                if value is _ABSENT and plain is not child:
                    value = None
            elif left and plain.get("type") == "string" and not self._choices(plain):
                value = _fit(left.pop(0), plain)
            else:
                value = self._value(child, key, text, depth + 1)
            if value is _ABSENT and key in required:
                value = self._smallest(child, depth + 1, name=key)
            if value is not _ABSENT and not (value is None and key not in required):
                result[key] = value
        for key in required - result.keys():
            result[key] = self._smallest(properties.get(key, {}), depth + 1)
        return result

    def _mapping(self, schema: Schema, text: str) -> dict[str, Any]:
        """An object without named properties: the text's ``key: value`` lines, as far as the values fit."""
        inner = schema.get("additionalProperties")
        inner = self._resolve(inner) if isinstance(inner, dict) else {}
        result: dict[str, Any] = {}
        for key, raw in re.findall(r"(?m)^[ \t]*(?:[-*][ \t]*)?([A-Za-z][\w ]{0,30}?)[ \t]*[:=]\s*(\S.*)$", text):
            kind = inner.get("type", "string")
            try:
                result[words(key).replace(" ", "_")] = (
                    raw.strip() if kind == "string" else (to_number(raw) if kind == "number" else int(to_number(raw)))
                )
            except ValueError:
                continue
        if not result and inner.get("type", "string") == "string" and not schema.get("propertyNames"):
            result = {"answer": first_sentence(text)} if text.strip() else {}
        limit = schema.get("maxProperties", len(result))
        return dict(list(result.items())[:limit])

    def _array(self, schema: Schema, name: str, text: str, depth: int) -> Any:
        low = schema.get("minItems", 0)
        high = min(schema.get("maxItems", 12), max(12, low))
        if prefix := schema.get("prefixItems"):
            fixed = [self._value(s, name, text, depth + 1) for s in prefix]
            fixed = [self._smallest(s, depth + 1) if v is _ABSENT else v for s, v in zip(prefix, fixed, strict=True)]
            low, high = max(low, len(fixed)), max(low, len(fixed))
            rest = schema.get("items")
            return fixed + [
                self._smallest(rest if isinstance(rest, dict) else {}, depth + 1) for _ in range(low - len(fixed))
            ]
        item = self._resolve(schema.get("items", {"type": "string"}) or {"type": "string"})
        if choices := [(item["const"], "")] if "const" in item else self._choices(item):
            labels = {str(value): value for value, _ in choices}
            about = self._question(name, list(labels))
            values = [labels[label] for label in self.decider.several(text, self._described(choices, item), about)]
        elif item.get("type") == "object" or "properties" in item or "anyOf" in item or "oneOf" in item:
            rows = self._rows(self._facts(item.get("properties", {})), text)[: max(1, high)]
            inner = replace(self, in_row=len(rows) > 1)
            values = [inner._value(item, name, row, depth + 1) for row in rows]
        elif item.get("type") in ("number", "integer"):
            days = [(day.start, day.end) for day in find_all("date", text)]
            found = [n for n in find_all("number", text) if not any(start <= n.start < end for start, end in days)]
            numbers = [to_number(n.text, decimal_mark(text)) for n in found]
            values = [self._number(item, name, text, n) for n in numbers if item["type"] == "number" or n == int(n)]
        elif item.get("type", "string") == "string":
            values = self._strings(item, name, schema.get("description", ""), text, max(low, min(high, 5)))
        else:
            values = [self._value(item, name, text, depth + 1)]
        result: list[Any] = []
        fits = Validator(self._with_defs(item))
        for value in values:
            if value is not _ABSENT and value not in result and fits.accepts(value):
                result.append(value)
        for attempt in range(50):
            if len(result) >= low:
                break
            value = self._smallest(item, depth + 1, variant=attempt)
            if not schema.get("uniqueItems") or value not in result:
                result.append(value)
        return result[:high]

    def _rows(self, facts: list[Wanted], text: str) -> list[str]:
        """The parts of ``text`` that each describe one item: of the ways to part it, that with most facts in like parts."""
        best, most = [text], self.extractor.possible(text, facts)
        for parts in (_BULLET.findall(text), *(part.split(text) for part in _PARTS)):
            parts = [part for part in parts if part and part.strip(" |-\t")][:_MOST_ROWS]
            counts = [self.extractor.possible(part, facts) for part in parts]
            full = max(counts, default=0)
            alike = [part for part, count in zip(parts, counts, strict=True) if count == full]
            if full * len(alike) > most:
                best, most = alike, full * len(alike)
        if len(best) > 1 and ":" in best[0] and ":" not in "".join(best[1:]):
            # "Order: 2 lamps, 3 chairs"
            best = [best[0].split(":", 1)[1], *best[1:]]
        return best if facts else _BULLET.findall(text) or [text]

    def _strings(self, item: Schema, name: str, description: str, text: str, count: int) -> list[Any]:
        bullets = _BULLET.findall(text)
        kind = kind_of(Wanted(_singular(words(name)) or "item", description, "string", item.get("format", "")))
        if kind in ("email", "url", "phone", "date", "percent", "money", "code"):
            return [f.text for f in find_all(kind, text)]
        own = re.escape(words(name))
        if own and (labelled := re.search(rf"(?im)^[ \t]*{own}[ \t]*:[ \t]*(.+)$", text)):
            return [p.strip(" .") for p in re.split(r",|;| and ", labelled.group(1)) if p.strip(" .")]
        if kind in ("person", "company", "place"):
            return (
                list(dict.fromkeys(f.text for f in find_all(kind, text)))
                or [f.text for f in find_all("name", text)][:count]
            )
        if bullets:
            return bullets
        if _LIST_OF_WORDS.search(words(name)) or self.write is None:
            return self._key_phrases(text, count)
        return self._written_list(name, description, text, count)

    def _key_phrases(self, text: str, count: int) -> list[str]:
        """Noun-like phrases of ``text``, those nearest to the whole text's meaning first."""
        phrases = dict.fromkeys(
            p.strip().lower()
            for p in re.split(
                r"(?i)[^\w\- ]|\b(?:the|a|an|and|or|but|of|to|in|on|at|for|with|by|from|is|are|was|were|be|been|it|its|this|that|i|we|you|my|our|your|has|have|had|not|will|would|can|could|please|when|who|which|as|so|if|me|us)\b",
                text,
            )
        )
        ranked = [p for p in phrases if 2 < len(p) < 40 and not p.isdigit() and len(p.split()) <= 3][:_MOST_PHRASES]
        if not ranked:
            return []
        scores = self.decider.alike(text, ranked)
        return [p for _, p in sorted(zip(scores, ranked, strict=True), key=lambda s: (-s[0], s[1]))][:count]

    def _written_list(self, name: str, description: str, text: str, count: int) -> list[str]:
        assert self.write is not None
        wanted = description or words(name)
        reply = self.write(f"{text}\n\nWrite {count} short lines: {wanted}. One per line, numbered.", 40 * count)
        lines = [re.sub(r"^\s*(?:[-*•]|\d+[.):]?)\s*", "", line).strip(" *") for line in reply.splitlines()]
        return [line for line in lines if len(line.split()) > 1][:count] or [first_sentence(reply)]

    # --- scalars ----------------------------------------------------------------------------------

    def _number(self, schema: Schema, name: str, text: str, found: Any) -> Any:
        low, high = _bounds(schema)
        whole = schema.get("type") == "integer"
        if found is not None and low <= found <= high:
            return int(found) if whole else found
        if math.isinf(low) or math.isinf(high):
            return _ABSENT
        # A mark between two bounds that the text does not state: a judgement.
        wanted = f"{words(name)} {schema.get('description', '')}"
        share = (
            self.decider.polarity(text)
            if _SCALE_NAMES.search(wanted)
            else self.decider.agreement(text, f"{wanted} {self.task.instructions}"[:400])
        )
        value = low + share * (high - low)
        return round(value) if whole else round(value, 2)

    def _string(self, schema: Schema, name: str, text: str, found: Any) -> Any:
        if (pattern := schema.get("pattern")) is not None:
            return self._by_pattern(pattern, text)
        label = f"{words(name)} {schema.get('description', '')}".strip()
        prose, kind = _is_prose(schema, name), kind_of(_wanted(schema, name))
        if not prose and not schema.get("format") and (labels := self._listed(schema, name)):
            return self.decider.choose(text, labels, about=self._question(name, list(labels)))
        asked = prose or _AS_ASKED.search(words(name)) or _is_expression(name)
        if self.write is None and not schema.get("format") and asked:
            return _fit(self._as_asked(name, text), schema)
        if found is not None and not prose:
            return _fit(str(found), schema)
        if schema.get("format") or kind:
            return _ABSENT
        if self.write is None:
            return _fit(self._as_asked(name, text), schema)
        if not prose and (phrases := self._key_phrases(text, 12)):
            return _fit(self.decider.nearest(label, phrases), schema)
        if _GIST.search(words(name)):
            # The text's own words: a model this small makes up the rest when it is asked to condense.
            return _fit(self._gist(text, words(name)), schema)
        limit = schema.get("maxLength")
        budget = min(80, max(8, limit // 5)) if limit else 80
        task = f"Write the {label} for this. {self._hint()}".strip()
        return _fit(_whole_sentences(self.write(f"{text}\n\n{task}", budget)), schema)

    def _gist(self, text: str, name: str) -> str:
        """The sentence that is nearest to the whole text's meaning; for a headline without its end mark."""
        candidates = [re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*", "", s) for s in sentences(text)]
        candidates = [s for s in candidates if len(s.split()) > 2] or [text.strip()]
        best = self.decider.nearest(text, candidates)
        return best if "summary" in name or "gist" in name else best.rstrip(".!")

    def _hint(self) -> str:
        """The instruction sentence that a prose field most likely answers, if there is a short one."""
        told = [s for s in sentences(self.task.instructions) if len(s) < 160]
        return told[-1] if told else ""

    def _as_asked(self, name: str, text: str) -> str:
        if _is_expression(name) and (match := re.search(r"[\d(][\d\s.+\-*/^%()x×÷]{0,500}[\d)]", text)):
            return match.group().strip()
        if quoted := _QUOTED.search(text):
            return next(filter(None, quoted.groups()))
        return text.strip()

    def _by_pattern(self, pattern: str, text: str) -> Any:
        wanted = Pattern(pattern)
        candidates = (piece.strip(".,;:!?()\"'") for piece in re.findall(r"\S+", text))
        return next((c for c in candidates if wanted.found_in(c)), _ABSENT)

    # --- schema plumbing --------------------------------------------------------------------------

    def _resolve(self, schema: Any) -> Schema:
        """``schema`` without ``$ref`` and ``allOf`` at its top; ``true`` is any string."""
        if not isinstance(schema, dict):
            return {"type": "string"}
        seen = 0
        while "$ref" in schema and seen < 20:
            node: Any = self.root
            for part in schema["$ref"].lstrip("#/").split("/"):
                node = (
                    node.get(part.replace("~1", "/").replace("~0", "~"), {})
                    if part and isinstance(node, dict)
                    else node
                )
            schema = {**(node if isinstance(node, dict) else {}), **{k: v for k, v in schema.items() if k != "$ref"}}
            seen += 1
        if "allOf" in schema:
            merged: Schema = {k: v for k, v in schema.items() if k != "allOf"}
            for part in schema["allOf"]:
                part = self._resolve(part)
                merged["properties"] = {**part.get("properties", {}), **merged.get("properties", {})}
                merged["required"] = [*merged.get("required", []), *part.get("required", [])]
                merged = {**part, **merged}
            return {k: v for k, v in merged.items() if not (k in ("properties", "required") and not v)}
        return schema

    def _with_defs(self, schema: Schema) -> Schema:
        return {**schema, **{k: self.root[k] for k in ("$defs", "definitions") if k in self.root}}

    def _not_null(self, schema: Schema) -> Schema:
        """The one alternative of an ``Optional``; the schema itself when it is none."""
        options = schema.get("anyOf") or schema.get("oneOf") or []
        real = [self._resolve(o) for o in options if not (isinstance(o, dict) and o.get("type") == "null")]
        if len(real) == 1 and len(options) == 2:
            return {**{k: v for k, v in schema.items() if k in ("description", "title")}, **real[0]}
        kind = schema.get("type")
        if isinstance(kind, list) and len(kind) == 2 and "null" in kind:
            return {**schema, "type": next(k for k in kind if k != "null")}
        return schema

    def _facts(self, properties: dict[str, Any]) -> list[Wanted]:
        plain = {name: self._not_null(self._resolve(child)) for name, child in properties.items()}
        return [_wanted(child, name) for name, child in plain.items() if self._is_fact(child, name)]

    def _is_fact(self, schema: Schema, name: str) -> bool:
        if schema.get("type") in ("number", "integer"):
            return "enum" not in schema and "const" not in schema
        plain = schema.get("type") == "string" and not ({"enum", "const", "pattern"} & schema.keys())
        return plain and not _is_prose(schema, name)

    def _repair(self, value: Any, path: list[str | int], broken: Any) -> Any:
        replacement = self._smallest(broken if isinstance(broken, dict) else {}, 0)
        if not path:
            return replacement
        parent = value
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = replacement
        return value

    def _smallest(self, schema: Any, depth: int, *, variant: int = 0, name: str = "") -> Any:
        """The plainest allowed value, for what the text says nothing about; ``variant`` gives different ones."""
        schema = self._resolve(schema)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if "enum" in schema:
            return schema["enum"][variant % len(schema["enum"])]
        if options := schema.get("anyOf") or schema.get("oneOf"):
            resolved = sorted((self._resolve(o) for o in options), key=lambda o: o.get("type") != "null")
            return self._smallest(resolved[min(variant, len(resolved) - 1)], depth + 1, variant=variant)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = "null" if "null" in kind else kind[0]
        if kind == "object" or (kind is None and "properties" in schema):
            if depth > 4 * _MAX_DEPTH:
                raise BadRequest("Invalid schema: it requires itself without an end")
            properties = schema.get("properties", {})
            made = {
                k: self._smallest(properties.get(k, {}), depth + 1, variant=variant) for k in schema.get("required", [])
            }
            inner = schema.get("additionalProperties", {})
            for i in range(schema.get("minProperties", 0) - len(made)):
                made[f"key{i + 1}"] = self._smallest(inner if isinstance(inner, dict) else {}, depth + 1)
            return made
        if kind == "array":
            items = [self._smallest(s, depth + 1) for s in schema.get("prefixItems", [])]
            inner = schema.get("items", {})
            for i in range(schema.get("minItems", 0) - len(items)):
                items.append(self._smallest(inner, depth + 1, variant=i))
            return items
        if kind == "boolean":
            return bool(variant % 2)
        if kind == "null":
            return None
        if kind in ("number", "integer"):
            return _number_within(schema, variant)
        return _string_within(schema, variant)


def _refuse_endless(schema: Any) -> None:
    """Raises ``BadRequest`` for what no answer can hold: no choice at all, or more than fits."""
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            if part.get("enum") == []:
                raise BadRequest("Invalid schema: an enum has no values")
            for name in ("minLength", "minItems", "minProperties"):
                least = part.get(name)
                if isinstance(least, int | float) and least > _MOST_ASKED:
                    raise BadRequest(f"Invalid schema: {name} is {least}, more than an answer can hold")
            todo += part.values()
        elif isinstance(part, list):
            todo += part


def _is_prose(schema: Schema, name: str) -> bool:
    return not schema.get("format") and bool(_PROSE.search(words(name)))


def _is_expression(name: str) -> bool:
    return bool(re.search(r"\b(?:expression|formula|calculation)\b", words(name)))


def _wanted(schema: Schema, name: str) -> Wanted:
    kind = schema.get("type", "string")
    return Wanted(
        name or "value",
        schema.get("description", ""),
        kind if isinstance(kind, str) else "string",
        schema.get("format", ""),
    )


def _bounds(schema: Schema) -> tuple[float, float]:
    step = 1 if schema.get("type") == "integer" else 1e-6
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + step)
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - step)
    return low, high


def _number_within(schema: Schema, variant: int) -> float | int:
    low, high = _bounds(schema)
    whole = schema.get("type") == "integer"
    step = schema.get("multipleOf") or (1 if whole else None)
    start = low if not math.isinf(low) else (high if high < 0 else 0)
    if step is None:
        value = start + (variant if math.isinf(high) else variant * (high - start) / 64)
        return float(min(max(value, low), high))
    value = (math.ceil(start / step - 1e-9) + variant) * step
    if value > high:
        value = math.floor(high / step + 1e-9) * step
    return int(value) if whole else round(float(value), 9)


_FORMAT_DEFAULTS = {
    "date-time": "{today}T00:00:00Z", "date": "{today}", "time": "00:00:00", "duration": "P1D", "email": "unknown@example.com",
    "idn-email": "unknown@example.com", "hostname": "example.com", "ipv4": "127.0.0.1", "ipv6": "::1",
    "uuid": "00000000-0000-4000-8000-00000000000{variant}", "uri": "https://example.com/", "url": "https://example.com/",
    "uri-reference": "/", "iri": "https://example.com/", "json-pointer": "", "regex": ".*",
}  # fmt: skip


def _string_within(schema: Schema, variant: int) -> str:
    if pattern := schema.get("pattern"):
        low, high = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        return Pattern(pattern).example(variant, shortest=low, longest=high)
    if default := _FORMAT_DEFAULTS.get(schema.get("format", "")):
        return default.format(today=date.today().isoformat(), variant=variant % 10)
    plain = "unknown" if not variant else f"unknown {variant + 1}"
    return _fit(plain, schema)


def _fit(text: str, schema: Schema) -> str:
    """``text`` within ``minLength`` and ``maxLength``, cut between words where it can be."""
    high = schema.get("maxLength")
    if high is not None and len(text) > high:
        cut = text[:high].rsplit(" ", 1)[0]
        text = cut if len(cut) >= max(1, schema.get("minLength", 0)) else text[:high]
    low = schema.get("minLength", 0)
    return text if len(text) >= low else (text + "." * low)[: max(low, len(text))]


def _whole_sentences(text: str) -> str:
    """Up to the last full stop, so that prose does not end in the middle of a word."""
    return up_to_last_stop(re.sub(r"\s+", " ", text).strip().strip("\"'*#").strip())


def _leftovers(row: str, found: dict[str, Any]) -> list[str]:
    """What a row says besides what was ``found`` in it: "2 lamps at 49.90 EUR" leaves "lamps"."""
    spans = [
        span for kind in ("date", "time", "money", "number", "email", "url", "phone") for span in find_all(kind, row)
    ]
    characters = list(row)
    for span in spans:
        characters[span.start : span.end] = "\n" * (span.end - span.start)
    row = "".join(characters)
    for value in found.values():
        row = row.replace(str(value), "\n")
    parts = (
        re.sub(r"^(?:\W|_|\b\w{1,2}\b|and\b)+|(?:\W|_|\b\w{1,2}\b)+$", "", part) for part in re.split(r"[\n,;:|]", row)
    )
    return [part for part in parts if part]


def _singular(name: str) -> str:
    return re.sub(r"(?<=[a-z]{2})s$", "", name)
