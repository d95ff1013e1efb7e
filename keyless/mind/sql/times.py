"""Points and spans of time: as questions write them, and as SQL dialects do."""

from __future__ import annotations

import re
from datetime import date, timedelta

import sqlglot
from dateutil import parser as dates
from sqlglot import exp

from keyless.mind.sql.names import column_of
from keyless.mind.sql.tables import Column

_MONTHS = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
_DAY = rf"(?:\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}} {_MONTHS},? \d{{4}}|{_MONTHS} \d{{1,2}},? \d{{4}}|{_MONTHS},? \d{{4}}|q[1-4] ?\d{{4}}|(?:19|20)\d\d)"
DATED = re.compile(
    rf"(?i)\b(?:(?P<op>before|until|after|since|in|during|on|for|of|from|between)\s+)?(?:the (?:year|month of)\s+|(?:year|month)\s+)?(?P<a>{_DAY})\b(?![.,]?\d)"
    rf"(?:\s+(?:and|to|until|till|through)\s+(?P<b>{_DAY})\b)?"
    rf"|\b(?:(?:in|over|during|from|for|within|of) )?(?:the )?(?P<rel>last|past|previous|this|current)\s+(?P<n>\d{{1,4}}\s+)?(?P<unit>hour|day|week|month|quarter|year)s?\b(?:['’]s?)?"
    r"|\b(?P<near>today|yesterday)\b"
)


def span(
    match: re.Match[str], operator: str, dialect: str | None
) -> tuple[exp.Expression | None, exp.Expression | None]:
    """From when and until when, the end not included."""
    if match.group("near"):
        back = 1 if match.group("near").lower() == "yesterday" else 0
        return _ago(back, "day", dialect=dialect), _ago(back - 1, "day", dialect=dialect)
    if unit := (match.group("unit") or "").lower():
        if match.group("n"):
            return _ago(int(match.group("n")), unit, dialect=dialect), None
        this = match.group("rel").lower() in ("this", "current")
        return _ago(0 if this else 1, unit, whole=True, dialect=dialect), None if this else _ago(
            0, unit, whole=True, dialect=dialect
        )
    start, end = _bounds(match.group("a"))
    if match.group("b"):
        end = _bounds(match.group("b"))[1]
    low, high = exp.Literal.string(start), exp.Literal.string(end)
    if operator == "before":
        return None, exp.Literal.string(start)
    if operator == "until":
        return None, high
    if operator == "after":
        return high, None
    return (low, None) if operator == "since" or (operator == "from" and not match.group("b")) else (low, high)


def _ago(count: int, unit: str, *, dialect: str | None, whole: bool = False) -> exp.Expression:
    """The day that many units ago; with ``whole`` the first day of that unit."""
    if unit == "quarter" and not whole:
        count, unit = 3 * count, "month"
    if dialect == "sqlite":
        steps = (
            {"week": ["'weekday 0'", "'-6 days'"], "month": ["'start of month'"], "year": ["'start of year'"]}.get(
                unit, []
            )
            if whole
            else []
        )
        if unit == "quarter":
            steps = ["'start of month'", "'-' || ((STRFTIME('%m', 'now') - 1) % 3) || ' months'"]
            count, unit = 3 * count, "month"
        size, unit = (7 * count, "day") if unit == "week" else (count, unit)
        moved = [f"'{-size:+d} {unit}s'"] if size else []
        name = "DATETIME" if unit == "hour" else "DATE"
        return sqlglot.parse_one(f"{name}({', '.join([repr('now'), *steps, *moved])})", read="sqlite")
    start = (
        f"DATE_TRUNC('{unit}', CURRENT_DATE)" if whole else "CURRENT_TIMESTAMP" if unit == "hour" else "CURRENT_DATE"
    )
    size, unit = (3 * count, "month") if unit == "quarter" else (count, unit)
    moved_by = (
        f" {'-' if size > 0 else '+'} INTERVAL '{abs(size)} {unit}{'s' if abs(size) != 1 else ''}'" if size else ""
    )
    return sqlglot.parse_one(f"{start}{moved_by}", read="postgres")


def cut(column: Column, unit: str, dialect: str | None) -> exp.Expression:
    """A column, or the unit of time that its values lie in."""
    if not unit:
        return column_of(column)
    name = column_of(column).sql("postgres")
    if dialect == "sqlite":
        form = {"hour": "%Y-%m-%d %H", "day": "%Y-%m-%d", "week": "%Y-%W", "month": "%Y-%m", "year": "%Y"}.get(
            unit, "%w"
        )
        text = f"STRFTIME('{form}', {name})"
        if unit == "quarter":
            text = f"STRFTIME('%Y', {name}) || '-Q' || ((STRFTIME('%m', {name}) + 2) / 3)"
        return sqlglot.parse_one(text, read="sqlite")
    if unit in ("day of week", "weekday", "year"):
        return sqlglot.parse_one(f"EXTRACT({'YEAR' if unit == 'year' else 'DOW'} FROM {name})", read="postgres")
    return sqlglot.parse_one(f"DATE_TRUNC('{unit}', {name})", read="postgres")


def _bounds(said: str) -> tuple[str, str]:
    """The first day of a day, month, quarter or year that is written out, and the first day after it."""
    said = said.lower()
    if re.fullmatch(r"\d{4}", said):
        return f"{said}-01-01", f"{int(said) + 1}-01-01"
    try:
        if quarter := re.fullmatch(r"q([1-4]) ?(\d{4})", said):
            start = date(int(quarter.group(2)), 3 * int(quarter.group(1)) - 2, 1)
            after = start.replace(day=28) + timedelta(days=70)
            return str(start), str(after.replace(day=1))
        day = dates.parse(said, default=dates.parse("2000-01-01")).date()
        if re.fullmatch(rf"{_MONTHS},? \d{{4}}", said):
            return str(day), str((day.replace(day=28) + timedelta(days=7)).replace(day=1))
        return str(day), str(day + timedelta(days=1))
    except (ValueError, OverflowError):
        return said, said
