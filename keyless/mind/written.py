"""Dates, numbers and amounts as people write them, in the languages whose names Unicode's CLDR gives (read by Babel)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date

from babel import Locale
from babel.core import get_global
from babel.numbers import get_currency_name, get_territory_currencies
from babel.units import format_unit
from price_parser import Price

_LOCALES = [Locale(code) for code in ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "pl", "ru")]
# Elsewhere a month's short name is also a common word: "out" is October, "set" is September.
_ABBREVIATED = [Locale(code) for code in ("en", "de", "fr", "es")]
_MONTHS = {
    name.lower().rstrip("."): number
    for locales, width in ((_ABBREVIATED[::-1], "abbreviated"), (_LOCALES[::-1], "wide"))
    for locale in locales
    for number, name in locale.months["format"][width].items()
} | {"sept": 9}
_ENGLISH_MONTH = "|".join(
    sorted((n.lower() for w in ("wide", "abbreviated") for n in _LOCALES[0].months["format"][w].values()), key=len)[
        ::-1
    ]
)
_MONTH = "|".join(map(re.escape, sorted(_MONTHS, key=len, reverse=True)))
_SCALES = {
    pattern.pattern[2:].lower(): int(size)
    for locale in _ABBREVIATED[::-1]
    for forms in locale.compact_decimal_formats["long"].values()
    for size, pattern in forms.items()
    if pattern.pattern.replace("\xa0", " ").startswith("0 ")
} | {"mio": 10**6}

SPANS = [
    "|".join(
        sorted(
            {
                str(format_unit(n, f"duration-{u}", locale=locale)).split(None, 1)[1]
                for locale in _LOCALES
                for n in (1, 2, 5)
            }
        )
    )
    for u in ("month", "week", "day", "hour", "minute")
]
"""The names of each span of time, as a pattern."""

_CODES = {code for territory in get_global("territory_currencies") for code in get_territory_currencies(territory)}
_FREQUENT = ["INR", "PLN", "DKK", "NOK", "SEK", "MXN", "CHF", "JPY", "GBP", "EUR", "USD"]
"""Whose plain name is meant where others have it too: the later, the sooner."""
_SYMBOLS = {
    sign: code
    for locale in _LOCALES[::-1]
    for code, sign in locale.currency_symbols.items()
    if len(sign) == 1 and code in _CODES
}


def _currency_names() -> dict[str, str]:
    """``swiss francs``, ``franc suisse``, ``francs`` to the code of the currency."""
    full: dict[str, str] = {}
    plain: dict[str, str] = {}
    for locale in _LOCALES[::-1]:
        unit = 0 if locale.language in ("fr", "es", "it", "pt") else -1
        for code in [*sorted(_CODES.difference(_FREQUENT)), *_FREQUENT]:
            for name in (get_currency_name(code, count, locale).lower() for count in (None, 1, 2, 5)):
                full[name] = plain[re.split("[ -]", name)[unit]] = code
    return plain | full


_CURRENCY_NAMES = _currency_names()
_SIGN = f"[{re.escape(''.join(_SYMBOLS))}]"
_AFTER = re.compile(rf"[ \u00a0\u202f]?({_SIGN}|[^\W\d_]{{1,20}}(?:[ -][^\W\d_]{{1,20}}){{0,2}})")
_BEFORE = re.compile(rf"({_SIGN}|\b[^\W\d_]{{3,8}})[ \u00a0\u202f]?$")

_SPACES = r"[ \u00a0\u202f'’]"
NUMBER = re.compile(
    r"(?<![\w.,])[-−]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+(?:,\d+)?|"
    rf"\d{{1,3}}(?:{_SPACES}\d{{3}})+(?:[.,]\d+)?|\d+(?:[.,]\d+)?)(?!\w|[.,]\d|-\w)"
    rf"(?:[ \u00a0]?(?P<scale>{'|'.join(sorted(_SCALES, key=len, reverse=True))})\b)?",
    re.I,
)
LONGEST_NUMBER = 60
"""Characters; what is longer is no number."""
_DECIMAL = re.compile(r"(?<![\w.,])(?:\d+|\d{1,3}(?:[.,]\d{3})+)([.,])\d{1,2}(?!\w|[.,]\d)")
DATE = re.compile(
    r"(?<![\d./-])(?P<year>\d{4})[-/.年](?P<month>\d{1,2})[-/.月](?P<day>\d{1,2})(?!\d)日?"
    rf"|\b(?P<day_of>\d{{1,2}})(?:st|nd|rd|th|er|[.º°])?[ \u00a0]?(?:of |de |d['’])?(?P<named>{_MONTH})\b\.?,?"
    r"(?:(?: del?)? (?P<year_of>\d{4})\b)?"
    rf"|\b(?P<named_first>{_ENGLISH_MONTH})\b\.? (?P<day_after>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<year_after>\d{{4}})\b)?"
    r"|\b(?P<one>\d{1,2})[./-](?P<other>\d{1,2})[./-](?P<year_last>\d{4}|\d{2})\b",
    re.I,
)


def amounts(text: str) -> Iterator[tuple[int, int]]:
    """Where each amount of money stands, its currency with it."""
    for number in NUMBER.finditer(text):
        if near := _currency_at(text, number):
            yield near[1], near[2]


def _currency_at(text: str, number: re.Match[str]) -> tuple[str, int, int] | None:
    """The code of the currency beside ``number``, and where both begin and end."""
    if after := _AFTER.match(text, number.end()):
        said = after.group(1)
        while said:
            if code := _code(said):
                return code, number.start(), after.start(1) + len(said)
            said = re.sub(r"(?:^|[ -])[^ -]*$", "", said)
    before = _BEFORE.search(text[max(0, number.start() - 12) : number.start()])
    if before and (code := _code(before.group(1))):
        return code, number.start() - len(before.group()), number.end()
    return None


def _code(said: str) -> str | None:
    return said if said in _CODES else _SYMBOLS.get(said) or _CURRENCY_NAMES.get(said.lower())


def to_currency(text: str) -> str | None:
    """The ISO 4217 code of the first amount in ``text`` that has a currency."""
    return next((near[0] for number in NUMBER.finditer(text) if (near := _currency_at(text, number))), None)


def decimal_mark(text: str) -> str | None:
    """What most of the numbers in ``text`` have before their decimals; ``None`` where none has any."""
    marks = Counter(_DECIMAL.findall(text)).most_common(1)
    return marks[0][0] if marks else None


def to_number(text: str, mark: str | None = None) -> float:
    """``"EUR 1,240.50"`` as ``1240.5``; thousands and millions are multiplied out. Raises ``ValueError``.

    ``mark`` is what stands before decimals; without it 1.240 and 1,240 are both a thousand and more.
    """
    number = NUMBER.search(text)
    said = number.group() if number else text
    # Of a longer row of digits price-parser takes quadratic time, and no float holds it.
    price = Price.fromstring(said, decimal_separator=mark) if len(said) <= LONGEST_NUMBER else None
    if price is None or price.amount is None:
        raise ValueError(f"no number in {text[:LONGEST_NUMBER]!r}")
    factor = _SCALES[number["scale"].lower()] if number and number["scale"] else 1
    sign = -1 if number and number.group()[0] in "-−" else 1
    return sign * abs(float(price.amount)) * factor


def month_first(text: str) -> bool:
    """Whether 03/04/2025 in ``text`` is 4 March: other dates, or else dollars without euros or pounds, tell."""
    for match in DATE.finditer(text):
        if match["named_first"] or (match["other"] and int(match["other"]) > 12):
            return True
        if match["one"] and int(match["one"]) > 12:
            return False
    currencies = {near[0] for number in NUMBER.finditer(text) if (near := _currency_at(text, number))}
    return currencies == {"USD"} and bool(re.search(r"(?i)\b(?:the|is|on|of|to|for|by|due|total|date)\b", text))


def to_date(text: str, *, month_before_day: bool = False) -> date:
    """A written date; without a year it is this year's. Raises ``ValueError``."""
    match = DATE.search(text)
    if match is None:
        raise ValueError(f"no date in {text!r}")
    year = match["year"] or match["year_of"] or match["year_after"] or match["year_last"] or date.today().year
    year = int(year) + (2000 if int(year) < 70 else 1900 if int(year) < 100 else 0)
    if name := match["named"] or match["named_first"]:
        return date(year, _MONTHS[name.lower().rstrip(".")], int(match["day_of"] or match["day_after"]))
    if match["year"]:
        return date(year, int(match["month"]), int(match["day"]))
    day, month = int(match["one"]), int(match["other"])
    swapped = month > 12 or (month_before_day and "." not in match.group() and day <= 12)
    return date(year, day, month) if swapped else date(year, month, day)
