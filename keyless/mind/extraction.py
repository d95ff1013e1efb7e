"""Facts that stand in a text: numbers, amounts, dates, names, codes; each found by its form and by the words around it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from dateutil import parser as dateutil_parser
from price_parser import Price

from keyless.mind.embedder import Embedder
from keyless.mind.text import words
from keyless.mind.workers import check

_MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
_CURRENCIES = {
    "€": "EUR", "euro": "EUR", "$": "USD", "dollar": "USD", "£": "GBP", "pound": "GBP", "¥": "JPY", "yen": "JPY",
    "₹": "INR", "rupee": "INR", "franc": "CHF", "krona": "SEK", "krone": "NOK", "zloty": "PLN",
}  # fmt: skip
_CODES = "EUR|USD|GBP|JPY|CHF|SEK|NOK|DKK|PLN|CZK|INR|CNY|AUD|CAD|NZD|BRL|MXN|ZAR|SGD|HKD|KRW|TRY|AED"
_CURRENCY = rf"(?:\b(?:{_CODES})\b|[€$£¥₹]|\b(?:euros?|dollars?|pounds?|yen|rupees?|francs?|krona|krone|zloty)\b)"
_NUMBER = r"(?<![\w.,])[-−]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\w,])|(?<![\w.,])[-−]?\d{1,3}(?:\.\d{3})+,\d+(?!\w)|(?<![\w.,])[-−]?\d+(?:\.\d+)?(?![\w-])"
_SCALE = r"(?:\s?(?:thousand|million|billion)\b)?"
# No word is longer. Here and below, repetitions that may begin anywhere are bounded or begin at an edge: the time to search
# a text must grow no faster than the text.
_CAP = r"[A-ZÀ-ÖØ-Þ][\w'’À-ÿ]{0,40}"

_PATTERNS: dict[str, re.Pattern[str]] = {
    "email": re.compile(r"(?<![\w.+\-])[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+"),
    "url": re.compile(r"https?://[^\s<>\"')\]]*[^\s<>\"')\].,;:!?]|\bwww\.[^\s<>\"')\]]*[^\s<>\"')\].,;:!?]", re.I),
    "date": re.compile(
        rf"\b\d{{4}}-\d{{2}}-\d{{2}}\b|\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}\.?,?(?: \d{{4}})?\b"
        rf"|\b{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?\b|\b\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}\b",
        re.I,
    ),
    "time": re.compile(r"\b(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?\b(?:\s?[ap]m\b)?|\b(?:1[0-2]|[1-9])\s?[ap]m\b", re.I),
    "phone": re.compile(r"(?<![\w.\-])(?:\+|0)\d[\d\s()/\-]{5,}\d(?!\w)|\(\d{3}\) ?\d{3}-\d{4}|(?<![\w\-])\d{3}-\d{3,4}-\d{4}\b"),
    "money": re.compile(rf"{_CURRENCY}\s?(?:{_NUMBER}|\d[\d,.]*\d){_SCALE}|(?:{_NUMBER}){_SCALE}\s?{_CURRENCY}|(?<!\w)[€$£¥₹]\d[\d,.]*", re.I),
    "percent": re.compile(r"[-−]?(?<!\d)\d+(?:\.\d+)?\s?(?:%|percent\b|per cent\b)", re.I),
    "number": re.compile(_NUMBER + _SCALE, re.I),
    "code": re.compile(r"\b(?=[\w\-]{0,60}\d)[A-Z0-9]{1,40}(?:-[A-Z0-9]{1,40}){1,8}\b|\b[a-z]+-\d+\b|\b[A-Z]{1,4} ?\d{2,}[A-Z0-9]*\b|#\d+|\b\d{3,}\b"),
    "company": re.compile(rf"{_CAP}(?:[ &\-]+{_CAP}){{0,4}},? (?:Inc|Ltd|LLC|GmbH|AG|AS|SA|SAS|BV|NV|AB|Oy|Corp|Co|PLC|plc|Corporation|Limited|Company|Group|Bank|KG|SE|SpA)\b\.?"),
    "person": re.compile(rf"(?<![\w])(?:(?:Mr|Mrs|Ms|Dr|Prof)\.? )?{_CAP}(?: (?:van|von|de|der|da|di|la|el|bin|al)){{0,2}}(?: [A-Z]\.)?[ \-]{_CAP}(?: {_CAP})?"),
    "place": re.compile(rf"(?:(?<=\bin )|(?<=\bfrom )|(?<=\bto )|(?<=\bnear )|(?<=\bvia )|(?<=\bleft )|(?<=\breached )|(?<=\bvisit )|(?<=\bleaving )){_CAP}(?: {_CAP})?"),
    "name": re.compile(rf"{_CAP}(?:[ \-&]{_CAP})*"),
}  # fmt: skip

# The first kind one of whose words stands in the field's name or description, the name being asked first.
_KIND_WORDS: list[tuple[str, str]] = [
    ("email", r"e-?mails?|mail"),
    ("url", r"url|website|link|homepage|web page"),
    ("phone", r"phone|telephone|mobile|fax"),
    ("percent", r"percent(?:age)?|pct"),
    ("currency", r"currency"),
    ("date", r"dates?|deadline|birthday|(?:due|issued|shipped|counted|paid|signed|delivered|created|ordered)(?: on| by)"),
    ("time", r"time of day|clock|start time|end time"),
    ("code", r"ids?|number|no|code|reference|ref|sku|iban|serial|tracking|identifier|ticket|credit note"),
    ("money", r"price|amount|total|cost|fee|salary|rent|fare|budget|subtotal|tax|vat|revenue|deposit|principal|payment"),
    ("company", r"company|supplier|vendor|organi[sz]ation|employer|firm|landlord|merchant|seller|business|manufacturer"),
    ("place", r"city|town|country|place|location|origin|destination|region|state|venue"),
    ("person", r"person|customer|client|candidate|passenger|patient|employee|manager|sender|author|tenant|engineer|agent|"
               r"owner|contact|captain|recipient|signed by|full name|assignee|user|speaker|lawyer|doctor|reviewer|name"),
]  # fmt: skip

_LEADS_TO_VALUE = frozenset(["is", "are", "was", "of", "as", "to", "at", "by", "on", "for", "from"])
_STOP = frozenset(
    [
        "the",
        "a",
        "an",
        "of",
        "for",
        "to",
        "in",
        "on",
        "at",
        "by",
        "with",
        "and",
        "or",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "it",
        "its",
        "this",
        "that",
        "as",
        "from",
        "per",
        "each",
        "any",
        "all",
        "number",
        "no",
        "id",
        "date",
        "name",
        "field",
        "value",
        "text",
        "string",
        "written",
        "given",
        "total",
        "whether",
    ]
)


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
    return tuple(Found(kind, m.group().strip(), m.start(), m.end()) for m in _PATTERNS[kind].finditer(text))


def finder_for(question: str) -> Callable[[str], list[Found]] | None:
    """What finds the thing that ``question`` asks about ("does it mention a city?"); ``None`` if it names no such thing."""
    for kind, pattern in _KIND_WORDS:
        if (
            kind in _PATTERNS
            and kind not in ("person", "code", "company")
            and re.search(rf"\b(?:{pattern})\b", question, re.I)
        ):
            return lambda text: find_all(kind, text)
    return None


def kind_of(wanted: Wanted) -> str:
    """What sort of thing a field holds; ``""`` when its name and description do not tell."""
    if wanted.format in ("email", "date", "time", "uri", "url", "idn-email", "date-time"):
        return {"uri": "url", "idn-email": "email", "date-time": "date"}.get(wanted.format, wanted.format)
    if wanted.type in ("number", "integer"):
        return _numeric_kind(wanted)
    # The last word of a name says what it is: an `order date` is a date, a `date code` a code.
    for text in (*wanted.words.split()[-1:], wanted.words, wanted.description):
        for kind, pattern in _KIND_WORDS:
            if re.search(rf"(?:^|\s)(?:{pattern})(?:$|\s|[.,])", text, re.I):
                return kind
    return ""


def _numeric_kind(wanted: Wanted) -> str:
    name = f"{wanted.words} {wanted.description}"
    if re.search(r"percent|pct|\brate\b|growth", name) and not re.search(r"heart|hourly|daily|exchange", name):
        return "percent"
    if wanted.type == "number" and re.search(rf"\b(?:{dict(_KIND_WORDS)['money']})\b", name):
        return "money"
    return "number"


def to_number(text: str) -> float:
    """``"EUR 1,240.50"`` as ``1240.5``; thousand, million and billion are multiplied out. Raises ``ValueError``."""
    price = Price.fromstring(re.sub(r"\s*(?:%|percent|per cent)", "", text.replace("−", "-")))
    if price.amount is None:
        raise ValueError(f"no number in {text!r}")
    scale = {"thousand": 1e3, "million": 1e6, "billion": 1e9}
    factor = next((f for word, f in scale.items() if word in text.lower()), 1.0)
    sign = -1 if re.match(r"\s*[-−]\s?\d", text) else 1
    return sign * abs(float(price.amount)) * factor


def to_currency(text: str) -> str | None:
    """The ISO 4217 code that an amount is written with."""
    if code := re.search(rf"\b(?:{_CODES})\b", text):
        return code.group()
    lower = text.lower()
    return next((iso for sign, iso in _CURRENCIES.items() if sign in lower), None)


def to_date(text: str) -> date:
    """A written date; without a year it is this year's. Raises ``ValueError``."""
    day_first = not re.match(r"\d{4}-", text)
    return dateutil_parser.parse(re.sub(r"\bof\b", "", text), dayfirst=day_first).date()


class Extractor:
    """Finds the values of several fields in one text, so that two fields do not take the same words."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def fields(self, text: str, wanted: list[Wanted]) -> dict[str, Any]:
        """Field name to value for those of ``wanted`` that ``text`` answers.

        Dates come as ISO strings where the field's format is a date, otherwise as written.
        """
        scored: list[tuple[float, Wanted, Found]] = []
        for field in wanted:
            for candidate in self._candidates(text, field):
                scored.append((self._score(text, field, candidate), field, candidate))
        taken: list[Found] = []
        values: dict[str, Any] = {}
        for score, field, candidate in sorted(scored, key=lambda s: -s[0]):
            if field.name in values or score < 0.3:
                continue
            shareable = kind_of(field) == "currency"
            if not shareable and any(candidate.start < t.end and t.start < candidate.end for t in taken):
                continue
            value = _value(candidate, field)
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
            elsewhere = find_all("company", text) + find_all("place", text)
            found = [_clip(p, _ROLES) for p in find_all("person", text) if not _within(p, elsewhere)]
        elif kind == "company":
            found = find_all("company", text) or find_all("name", text)
        elif kind == "place":
            found = find_all("place", text)
        elif kind:
            found = find_all(kind, text)
        else:
            label = frozenset(field.words.split())
            found = [_clip(n, label) for n in find_all("name", text) if not _within(n, find_all("date", text))]
            found += find_all("code", text)
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
        score = near + 0.8 * meaning + (0.3 if kind_of(field) == candidate.kind else 0.0)
        if len(before) > 1 and _stem(before[-2].lower()) in label and before[-1].lower() in _LEADS_TO_VALUE:
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
    unit = re.search(r"\b(month|week|day|hour|minute)s?\b", f"{field.words} {field.description}".lower())
    if unit is None:
        return True
    near = rf"\b{unit.group(1)}s?\b"
    before, after = text[max(0, number.start - 30) : number.start], text[number.end : number.end + 16]
    return bool(re.match(rf"[\s-]*{near}", after, re.I) or re.search(near, before, re.I))


def _value(candidate: Found, field: Wanted) -> Any:
    try:
        if kind_of(field) == "currency":
            return to_currency(candidate.text)
        if field.type in ("number", "integer"):
            number = to_number(candidate.text)
            return (
                int(number)
                if field.type == "integer" and number == int(number)
                else (None if field.type == "integer" else number)
            )
        if field.format in ("date", "date-time"):
            day = to_date(candidate.text).isoformat()
            return day if field.format == "date" else f"{day}T00:00:00Z"
        if field.format == "time":
            return dateutil_parser.parse(candidate.text).strftime("%H:%M:%S")
    except (ValueError, OverflowError):
        return None
    found = candidate.text.lstrip("#").strip(" .,;:\"'")
    return f"https://{found}" if field.format in ("uri", "url") and found.startswith("www.") else found


@lru_cache(maxsize=512)
def _content_words(text: str) -> frozenset[str]:
    return frozenset(_stem(w) for w in re.findall(r"[a-z0-9]+", text.lower()) if w not in _STOP)


def _stem(word: str) -> str:
    for end in ("ings", "ing", "ied", "ies", "ed", "es", "s", "e"):
        if word.endswith(end) and len(word) - len(end) >= 3:
            return word[: -len(end)]
    return word


def _near(word: str, tokens: tuple[str, ...]) -> float:
    """1 for the token next to the candidate, falling with the distance; 0 when ``word`` is not there."""
    for distance, token in enumerate(tokens[:14]):
        stem = _stem(token.lower())
        if stem == word or (len(word) > 4 and len(stem) > 4 and (stem.startswith(word) or word.startswith(stem))):
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
    if match := re.match(r"\s*(?:[-*•]\s*)?([A-Za-z][\w /#.\-]{0,40}?)\s*[:=]\s*$", before):
        key = match.group(1)
    # A sentence's end is a wall: what stands behind it speaks of something else.
    before = re.split(r"(?<=[a-z0-9)])[.!?]\s(?=[A-Z])" + (r"|[,;]\s" if numeric else ""), before)[-1]
    after = re.split(r"[.!?](?:\s|$)|[,;]\s", after)[0]
    return key, tuple(re.findall(r"[\w%]+", before)), tuple(re.findall(r"[\w%]+", after))


def _labelled(text: str) -> list[Found]:
    """The right-hand sides of ``Key: value`` and ``(key)``-free definitions, as candidates of kind ``labelled``."""
    pattern = re.compile(
        r"(?:^|(?<=[.;\n] )|(?<=\n))[ \t]*(?:[-*•]\s*)?[A-Za-z][\w /#.\-]{0,40}?\s*[:=][ \t]*([^\n.;:]{1,80}?)(?=[.;]?\s*(?:\n|$)|[.;]\s)",
        re.M,
    )
    return [
        Found("labelled", m.group(1).strip(), m.start(1), m.end(1))
        for m in pattern.finditer(text)
        if m.group(1).strip()
    ]


def _within(one: Found, others: list[Found]) -> bool:
    return any(o.start <= one.start and one.end <= o.end for o in others)


def _clip(name: Found, leading: frozenset[str]) -> Found:
    """Without a first word that is a role or the field's own name (``Agent Maya Lind``, ``Plan Pro``)."""
    first, _, rest = name.text.partition(" ")
    if rest and first.lower().strip(".") in leading:
        return Found(name.kind, rest, name.start + len(first) + 1, name.end)
    return name


_ROLES = frozenset(
    [
        "agent",
        "customer",
        "manager",
        "engineer",
        "patient",
        "dear",
        "passenger",
        "author",
        "client",
        "captain",
        "director",
        "supplier",
        "buyer",
        "seller",
        "hi",
        "hello",
        "from",
        "by",
        "name",
        "contact",
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "user",
        "tenant",
        "landlord",
        "owner",
        "nurse",
        "doctor",
        "officer",
        "judge",
        "professor",
    ]
)
