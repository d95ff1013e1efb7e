"""Facts that stand in a text: numbers, amounts, dates, names, codes; each found by its form and by the words around it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from dateutil import parser as dateutil_parser

from keyless.mind.embedder import Embedder
from keyless.mind.text import stem, words
from keyless.mind.workers import check
from keyless.mind.written import (
    DATE,
    LONGEST_NUMBER,
    NUMBER,
    SPANS,
    amounts,
    decimal_mark,
    month_first,
    to_currency,
    to_date,
    to_number,
)

_UPPER = "".join(filter(str.isupper, map(chr, range(0x2000))))
# No word is longer. Here and below, repetitions that may begin anywhere are bounded or begin at an edge: the time to search
# a text must grow no faster than the text.
_CAP = rf"[{_UPPER}][\w'’]{{0,40}}"

_BEFORE_PLACE = r"(?<!\w)(?:in|from|to|near|via|left|reached|visit|leaving|nach|aus|bei|à|de|en|desde|hasta)\s"

_TITLE = "Mrs?|Ms|Dr|Prof|Herr|Frau|Monsieur|Madame|Mme|Señora?|Sra?|Don|Doña"
_PATTERNS: dict[str, re.Pattern[str]] = {
    "email": re.compile(r"(?<![\w.+\-])[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+"),
    "url": re.compile(r"https?://[^\s<>\"')\]]*[^\s<>\"')\].,;:!?]|\bwww\.[^\s<>\"')\]]*[^\s<>\"')\].,;:!?]", re.I),
    "date": DATE,
    "time": re.compile(r"\b(?:[01]?\d|2[0-3])[:h][0-5]\d(?::[0-5]\d)?\b(?:\s?[ap]m\b)?|\b(?:1[0-2]|[1-9])\s?[ap]m\b", re.I),
    "phone": re.compile(r"(?<![\w.\-])(?:\+|0)\d[\d\s()/\-]{5,}\d(?!\w)|\(\d{3}\) ?\d{3}-\d{4}|(?<![\w\-])\d{3}-\d{3,4}-\d{4}\b"),
    "percent": re.compile(r"[-−]?(?<![\d.,])\d+(?:[.,]\d+)?\s?(?:%|(?:percent|per cent|prozent|pour ?cent|por ciento|per ?cento)\b)", re.I),
    "number": NUMBER,
    "code": re.compile(r"\b(?=[\w\-]{0,60}\d)[A-Z0-9]{1,40}(?:-[A-Z0-9]{1,40}){1,8}\b|\b[a-z]+-\d+\b|\b[A-Z]{1,4} ?\d{2,}+[A-Z0-9]*+\b|#\d+|\b\d{3,}\b"),
    "company": re.compile(rf"{_CAP}(?:[ &\-]+{_CAP}){{0,4}},? (?:Inc|Ltd|LLC|GmbH|AG|AS|SA|SAS|BV|NV|AB|Oy|Corp|Co|PLC|plc|Corporation|Limited|Company|Group|Bank|KG|SE|SpA)\b\.?"),
    "person": re.compile(rf"(?<!\w)(?:(?:{_TITLE})\.? ){{0,3}}{_CAP}(?: (?:van|von|de|der|da|di|la|el|bin|al)){{0,2}}(?: [A-Z]\.)?[ \-]{_CAP}(?: {_CAP})?"),
    "place": re.compile(rf"{_BEFORE_PLACE}(?P<found>{_CAP}(?: {_CAP})?)"),
    "name": re.compile(rf"{_CAP}(?:[ \-&]{_CAP})*"),
}  # fmt: skip

# The first kind one of whose words stands in the field's name or description, the name being asked first.
_KIND_WORDS: dict[str, str] = {
    "email": r"e-?mails?|mail|courriel|correo",
    "url": r"url|website|link|homepage|web page",
    "phone": r"(?:tele)?phone|telephone|mobile|fax|telefon|t[ée]l[ée](?:phone|fono)",
    "percent": r"percent(?:age)?|pct|prozent",
    "currency": r"currency|währung|devise|moneda",
    "date": r"dates?|deadline|birthday|(?:due|issued|shipped|counted|paid|signed|delivered|created|ordered)(?: on| by)|\w*datum|fecha",
    "time": r"(?:departure|arrival|start|end|opening|closing)? ?time(?: of day)?|clock|uhrzeit|heure|hora",
    "code": r"ids?|number|code|reference|ref|sku|iban|serial|tracking|identifier|ticket|credit note|\w*nummer|n[uú]m[ée]ro",
    "money": r"price|amount|total|cost|fee|salary|rent|fare|budget|subtotal|tax|vat|revenue|deposit|principal|payment|charge|\w*(?:betrag|preis)|"
             r"miete|kosten|gehalt|prix|montant|loyer|salaire|precio|importe|alquiler|salario",
    "company": r"company|supplier|vendor|provider|organi[sz]ation|employer|firm|landlord|merchant|seller|business|manufacturer|lieferant|firma|"
               r"fournisseur|entreprise|proveedor|empresa",
    "place": r"city|town|country|place|location|origin|destination|region|state|venue|stadt|ort|ville|lieu|pays|ciudad|lugar|país",
    "person": r"person|customer|client|candidate|passenger|patient|employee|manager|sender|author|tenant|engineer|agent|driver|"
              r"owner|contact|captain|recipient|signed by|full name|assignee|user|speaker|lawyer|doctor|reviewer|name|kund(?:e|in)|"
              r"patientin|(?:ver)?mieter(?:in)?|cliente|nom|nombre|paciente",
}  # fmt: skip

_LEADS_TO_VALUE = frozenset(["is", "are", "was", "of", "as", "to", "at", "by", "on", "for", "from"])
_STOP = frozenset(
    re.findall(
        r"\w+",
        """the a an of for to in on at by with and or is are was were be been it its this that as from per each any all number no id
        date name field value text string written given total whether""",
    )
)
_ROLE = rf"{_KIND_WORDS['person']}|{_KIND_WORDS['company']}|dear|hi|hello|from|by|director|the|our|your|der|die|das|ihre?|unsere?|les?|la|el|los|las|notre|votre|buyer|nurse|officer|judge|professor"
# Who gives a name in lower case has to say that it is one.
_INTRODUCED = re.compile(
    r"\b(?:name(?:['’]?s| is)|this is|it['’]?s|call me|heiße|heisse|m['’]appelle|me llamo|nombre es)\s+"
    r"([^\W\d_]{2,20}(?:[ -][^\W\d_]{2,20})?)(?=\s+(?:here|from|and|und|et|y)\b|\s*[.,;!\n]|$)"
)


_MOST = 300
"""Candidates of a kind that are looked at: each is held against the others."""
LEAST = 0.3
"""The score from which a candidate is a field's value, and no other thing of the kind."""


@dataclass(frozen=True)
class Found:
    """A candidate in the text: ``start``/``end`` are character offsets."""

    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Wanted:
    """A field to find. ``type`` is ``string``, ``number`` or ``integer``; ``format`` is JSON Schema's."""

    name: str
    description: str = ""
    type: str = "string"
    format: str = ""

    @property
    def words(self) -> str:
        return words(self.name)


def find_all(kind: str, text: str) -> list[Found]:
    """Every candidate of ``kind`` in ``text``, in order."""
    return list(_found(kind, text))


@lru_cache(maxsize=256)
def _found(kind: str, text: str) -> tuple[Found, ...]:
    # Every field of every object of a schema asks again.
    if kind == "money":
        return tuple(Found(kind, text[start:end], start, end) for start, end in islice(amounts(text), _MOST))
    part = "found" if kind == "place" else 0
    matches = islice(_PATTERNS[kind].finditer(text), _MOST)
    if kind == "number":
        matches = (m for m in matches if len(m[0]) <= LONGEST_NUMBER)
    return tuple(Found(kind, m[part].strip(), m.start(part), m.end(part)) for m in matches)


def finder_for(question: str) -> Callable[[str], list[Found]] | None:
    """What finds the thing that ``question`` asks about ("does it mention a city?"); ``None`` if it names no such thing."""
    for kind, pattern in _KIND_WORDS.items():
        if kind not in ("person", "code", "company", "currency") and re.search(rf"\b(?:{pattern})\b", question, re.I):
            return lambda text: find_all(kind, text)
    return None


def kind_of(wanted: Wanted) -> str:
    """What sort of thing a field holds; ``""`` when its name and description do not tell."""
    if wanted.format in ("email", "date", "time", "uri", "url", "idn-email", "date-time"):
        return {"uri": "url", "idn-email": "email", "date-time": "date"}.get(wanted.format, wanted.format)
    if wanted.type in ("number", "integer"):
        return _numeric_kind(wanted)
    # The last word of a name says what it is: an `order date` is a date, a `date code` a code.
    name = re.sub(r"(?<=\w )no$", "number", wanted.words)
    for text in (*name.split()[-1:], name, wanted.description):
        for kind, pattern in _KIND_WORDS.items():
            if re.search(rf"(?:^|\s)(?:{pattern})(?:$|\s|[.,])", text, re.I):
                return kind
    return ""


def _numeric_kind(wanted: Wanted) -> str:
    name = f"{wanted.words} {wanted.description}"
    if re.search(r"percent|pct|\brate\b|growth", name) and not re.search(r"heart|hourly|daily|exchange", name):
        return "percent"
    if wanted.type == "number" and re.search(rf"\b(?:{_KIND_WORDS['money']})\b", name):
        return "money"
    return "number"


class Extractor:
    """Finds the values of several fields in one text, so that two fields do not take the same words."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def possible(self, text: str, wanted: list[Wanted]) -> int:
        """How many of ``wanted`` could at once have a value in ``text``, by its form alone."""
        taken: list[Found] = []
        for field in wanted:
            free = (c for c in self._candidates(text, field) if _value(c, field, text) is not None)
            if one := next((c for c in free if not _overlaps(c, taken)), None):
                taken.append(one)
        return len(taken)

    def fields(self, text: str, wanted: list[Wanted], least: float = LEAST) -> dict[str, Any]:
        """Field name to value for those of ``wanted`` that ``text`` answers with a score of ``least``.

        Dates come as ISO strings where the field's format is a date, otherwise as written.
        """
        scored: list[tuple[float, Wanted, Found]] = []
        for field in wanted:
            for candidate in self._candidates(text, field):
                scored.append((self._score(text, field, candidate), field, candidate))
        taken: list[Found] = []
        values: dict[str, Any] = {}
        for score, field, candidate in sorted(scored, key=lambda s: -s[0]):
            if field.name in values or score < least:
                continue
            shareable = kind_of(field) == "currency"
            if not shareable and _overlaps(candidate, taken):
                continue
            value = _value(candidate, field, text)
            if value is None:
                continue
            values[field.name] = value
            if not shareable:
                taken.append(candidate)
        return values

    def _candidates(self, text: str, field: Wanted) -> list[Found]:
        kind = kind_of(field)
        found: list[Found] = []
        if kind == "currency":
            found = [Found("currency", m.text, m.start, m.end) for m in find_all("money", text)]
        elif kind == "number":
            blocked = (
                find_all("date", text) + find_all("time", text) + find_all("phone", text) + find_all("email", text)
            )
            found = [n for n in find_all("number", text) if not _within(n, blocked) and _in_unit(n, text, field)]
            if field.type == "integer" and not re.search(
                rf"\b(?:{_KIND_WORDS['money']})\b", f"{field.words} {field.description}"
            ):
                # What is counted is not what is paid.
                found = [n for n in found if not _within(n, find_all("money", text))] or found
        elif kind == "money":
            found = find_all("money", text) or self._candidates(text, Wanted(field.name, field.description, "integer"))
            # "Total: 1240.50" is an amount too, where the line says what it is.
            found += [n for n in find_all("number", text) if not _within(n, find_all("date", text) + found)]
        elif kind == "code":
            found = [
                c for c in find_all("code", text) if not _within(c, find_all("date", text) + find_all("phone", text))
            ]
            # A pair of letters before the digits belongs to the code ("LH 455").
            found = [
                c
                for c in found
                if not any(
                    o is not c and o.start <= c.start and c.end <= o.end and len(o.text) > len(c.text) for o in found
                )
            ]
        elif kind == "person":
            people = [p for p in find_all("person", text) if not _within(p, find_all("company", text))]
            people = [_clip(_clip(p, _TITLE), _ROLE) for p in people]
            people = [p for p in people if re.search(r"[ -]", p.text)] or people
            # "to" leads to people as well as to places.
            elsewhere = find_all("place", text)
            found = [p for p in people if not _within(p, elsewhere)] or people
            found = found or [Found("person", m.group(1), m.start(1), m.end(1)) for m in _INTRODUCED.finditer(text)]
        elif kind == "company":
            found = find_all("company", text) or find_all("name", text)
        elif kind == "place":
            found = find_all("place", text)
        elif kind:
            found = find_all(kind, text)
        else:
            label = "|".join(map(re.escape, field.words.split())) or "$"
            found = [_clip(n, label) for n in find_all("name", text) if not _within(n, find_all("date", text))]
            found += find_all("code", text)
        # No name is made of articles and the like alone, as at the beginning of a sentence.
        found = [c for c in found if c.kind not in ("name", "person", "company", "place") or _content_words(c.text)]
        if field.type == "string":
            found = found + [v for v in _labelled(text) if kind in ("", "person", "company", "place", "code")]
        return found

    def _score(self, text: str, field: Wanted, candidate: Found) -> float:
        check()
        key, before, after = _surroundings(text, candidate, numeric=field.type != "string")
        label = _content_words(field.words)
        hints = _content_words(field.description) - label
        # Near words decide; those that follow count less ("18 containers" yes, "18 containers and 4 trucks" less).
        near = sum(max(_near(w, before[::-1]), 0.9 * _near(w, after)) for w in label) / max(1, len(label))
        near += 0.3 * sum(max(_near(w, before[::-1]), 0.9 * _near(w, after)) for w in hints) / max(1, len(hints))
        wanted_words = f"{field.words} {field.description}".strip()
        context = " ".join((*before[-6:], "…", *after[:4]))
        meaning = float(self._embedder.similarity(wanted_words, [context or "…"])[0])
        score = near + 0.8 * max(0.0, meaning) + (0.3 if kind_of(field) == candidate.kind else 0.0)
        if len(before) > 1 and stem(before[-2].lower()) in label and before[-1].lower() in _LEADS_TO_VALUE:
            score += 0.25
        if key:
            alike = float(self._embedder.similarity(field.words, [key.lower()])[0])
            score += 1.2 * alike if candidate.kind == "labelled" else 0.8 * alike
            if set(field.words.split()) & set(key.lower().split()):
                score += 0.3
        # The value of a field is not the field's own name.
        if _content_words(candidate.text) and _content_words(candidate.text) <= label:
            score -= 1.0
        return score


def _in_unit(number: Found, text: str, field: Wanted) -> bool:
    """Whether ``number`` counts what the field is counted in; true for a field that names no span of time."""
    wanted = f"{field.words} {field.description}".lower()
    unit = next((span for span in SPANS if re.search(rf"\b(?:{span})\b", wanted)), None)
    if unit is None:
        return True
    before, after = text[max(0, number.start - 30) : number.start], text[number.end : number.end + 16]
    return bool(re.match(rf"[\s-]*(?:{unit})\b", after, re.I) or re.search(rf"\b(?:{unit})\b", before, re.I))


def _value(candidate: Found, field: Wanted, text: str) -> Any:
    try:
        if kind_of(field) == "currency":
            return to_currency(candidate.text)
        if field.type in ("number", "integer"):
            number = to_number(candidate.text, decimal_mark(text))
            return number if field.type == "number" else int(number) if number == int(number) else None
        if field.format in ("date", "date-time"):
            day = to_date(candidate.text, month_before_day=month_first(text)).isoformat()
            return day if field.format == "date" else f"{day}T00:00:00Z"
        if field.format == "time":
            return dateutil_parser.parse(candidate.text).strftime("%H:%M:%S")
    except (ValueError, OverflowError):
        return None
    found = candidate.text.lstrip("#").strip(" .,;:\"'")
    return f"https://{found}" if field.format in ("uri", "url") and found.startswith("www.") else found


@lru_cache(maxsize=512)
def _content_words(text: str) -> frozenset[str]:
    return frozenset(stem(w) for w in re.findall(r"\w+", text.lower()) if w not in _STOP)


def _near(word: str, tokens: tuple[str, ...]) -> float:
    """1 for the token next to the candidate, falling with the distance; 0 when ``word`` is not there."""
    for distance, token in enumerate(tokens[:14]):
        near = stem(token.lower())
        if near == word or (len(word) > 4 and len(near) > 4 and (near.startswith(word) or word.startswith(near))):
            return math.exp(-distance / 4)
    return 0.0


@lru_cache(maxsize=8192)
def _surroundings(text: str, candidate: Found, *, numeric: bool) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The key of the candidate's line (``Total: 12`` → ``Total``) and the words before and after it in its sentence."""
    line_start = text.rfind("\n", 0, candidate.start) + 1
    line_end = text.find("\n", candidate.end)
    line_end = len(text) if line_end < 0 else line_end
    before = text[line_start : candidate.start]
    after = text[candidate.end : line_end]
    key = ""
    if match := re.match(r"\s*(?:[-*•]\s*)?([^\W\d_][\w /#.\-]{0,40}?)\s*[:：=]\s*$", before):
        key = match.group(1)
    # A sentence's end is a wall: what stands behind it speaks of something else.
    before = re.split(r"(?<=[a-z0-9)])[.!?]\s(?=[A-Z])" + (r"|[,;]\s" if numeric else ""), before)[-1]
    after = re.split(r"[.!?](?:\s|$)|[,;]\s", after)[0]
    return key, tuple(re.findall(r"[\w%]+", before)), tuple(re.findall(r"[\w%]+", after))


def _labelled(text: str) -> list[Found]:
    """The right-hand sides of ``Key: value`` and ``(key)``-free definitions, as candidates of kind ``labelled``."""
    pattern = re.compile(
        r"(?:^|(?<=[.;\n] )|(?<=\n))[ \t]*(?:[-*•]\s*)?[^\W\d_][\w /#.\-]{0,40}?\s*[:：=][ \t]*+((?:(?:"
        + _TITLE
        + r")\. )?[^\n.;:]{1,80}?)(?=[.;]?[^\S\n]*(?:\n|$)|[.;]\s)",
        re.M,
    )
    return [
        Found("labelled", m.group(1).strip(), m.start(1), m.end(1))
        for m in islice(pattern.finditer(text), _MOST)
        if m.group(1).strip()
    ]


def _overlaps(one: Found, others: list[Found]) -> bool:
    return any(one.start < other.end and other.start < one.end for other in others)


def _within(one: Found, others: list[Found]) -> bool:
    return any(o.start <= one.start and one.end <= o.end for o in others)


def _clip(name: Found, leading: str) -> Found:
    """Without a first word that is a role or the field's own name (``Agent Maya Lind``, ``Plan Pro``)."""
    first, _, rest = name.text.partition(" ")
    if rest and re.fullmatch(leading, first.strip("."), re.I):
        return Found(name.kind, rest, name.start + len(first) + 1, name.end)
    return name
