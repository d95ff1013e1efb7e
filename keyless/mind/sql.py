"""A question about tables as one SQL query that only reads: columns by likeness, what to count, keep, group and order by the question's words.

Nothing here knows what the tables are about. Words are matched with names by their stems, and by meaning where no stem fits.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

import snowballstemmer
import sqlglot
from dateutil import parser as dates
from sqlglot import exp

from keyless.mind.tables import Column, Table, tables_in
from keyless.mind.text import words

Alike = Callable[[str, list[str]], list[float]]
"""Cosine similarities of a text to each of others, as ``Decider.alike`` gives them."""

_LONG, _MOST_COMPARED, _MOST_FOUND = 1_500, 100, 12
"""Characters of a question that are read, columns whose meaning is compared, and places where one kind of words is looked for."""
LIKELY, _MEANT = 0.6, 0.28
"""Likeness of names from which a column is the one that a phrase names, and of meanings where a column has to be found."""
_STEMS = snowballstemmer.stemmer("english")
_EMPTY = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "from",
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
        "do",
        "does",
        "did",
        "has",
        "have",
        "had",
        "that",
        "which",
        "who",
        "whose",
        "what",
        "this",
        "these",
        "those",
        "there",
        "their",
        "its",
        "it",
        "me",
        "us",
        "i",
        "we",
        "you",
        "all",
        "any",
        "each",
        "every",
        "per",
        "show",
        "list",
        "find",
        "give",
        "get",
        "display",
        "return",
        "how",
        "many",
        "much",
        "please",
        "s",
        "no",
        "not",
    ]
)
_STOP = (
    r"(?:per|by|for|each|every|in|of|with|without|where|that|which|whose|who|from|since|before|after|over|under|above|below|between|during|than|"
    r"and|or|to|on|at|ordered|sorted|grouped|having|is|are|was|were|has|have|had|did|do|does|the|an?|all|their|its|there)"
)
_NP = rf"(?:(?:the|an?|all|their|its)\s+)?((?:(?!{_STOP}\b)[\w-]+(?:['’]s)?\s*){{1,5}})"
_NUMBER_WORDS = {
    w: n for n, w in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], 1)
}
_COUNTED = rf"(\d{{1,4}}|{'|'.join(_NUMBER_WORDS)})"
_NUM = r"(-?\d+(?:,\d{3})*(?:\.\d+)?)\s*(%|k\b)?"
_QUOTED = r"(?:'([^'\n]+)'|\"([^\"\n]+)\"|“([^”\n]+)”|‘([^’\n]+)’)"

# What an adjective measures, and whether more of it is more. It is the language's own stock, not that of a trade.
_ADJECTIVES = {
    **dict.fromkeys(("high", "large", "big", "great", "top", "good", "strong"), ("", True)),
    **dict.fromkeys(("low", "small", "few", "bad", "weak"), ("", False)),
    **dict.fromkeys(("expensive", "pricey", "costly", "dear"), ("price", True)), "cheap": ("price", False),
    "heavy": ("weight", True), "light": ("weight", False), "long": ("length", True), "short": ("length", False),
    "tall": ("height", True), "fast": ("speed", True), "slow": ("speed", False), "old": ("age", True), "young": ("age", False),
    **dict.fromkeys(("late", "new", "recent"), ("date", True)), "early": ("date", False),
}  # fmt: skip
_IRREGULAR = {
    "best": "good",
    "better": "good",
    "worst": "bad",
    "worse": "bad",
    "least": "few",
    "most": "high",
    "latest": "late",
}
_SUPERLATIVE = re.compile(
    rf"(?i)\b(?:(?:the|with)\s+)*(?:{_COUNTED}\s+)?(most|least)\s+({'|'.join(a for a in _ADJECTIVES if len(a) > 5)})(?:ly)?\b"
    rf"|\b(?:the\s+)?(?:{_COUNTED}\s+)?(most|least|fewest|best|worst|top|bottom|first|last|maximum|max|minimum|min|[a-z]{{3,9}}est)\b(?:\s+{_COUNTED}\b)?"
)
_COMPARED = re.compile(
    r"(?i)(?P<op>\b(?:(?:more|greater|higher|larger|bigger|less|fewer|lower|smaller) than(?: or equal to)?|over|above|exceed(?:s|ing)?|at least|no less than|under|"
    r"below|at most|no more than|up to|exactly|equal(?:s| to)|between|[a-z]{3,9}er than|more expensive than|less expensive than)\b|>=|<=|<>|!=|[<>=])"
    rf"\s*(?:[$€£]\s*)?{_NUM}(?:\s*(?:and|to|-)\s*(?:[$€£]\s*)?{_NUM})?"
)
_AGGREGATE = re.compile(
    r"(?i)\b(?:(?P<COUNT>how many|(?:total )?numbers? of|counts? of|count(?= the| all| how)|count\b)|(?P<AVG>average|mean|avg)|"
    r"(?P<SUM>total|sum of|sum|overall|combined|how much)|(?P<MAX>maximum|max)|(?P<MIN>minimum|min))\b\s*(?:of\s+)?"
)
_REVENUE = re.compile(r"(?i)\b(?:revenue|turnover|sales|spend(?:ing)?|spent|earnings|income)\b")
_UNIT = r"(?:hour|day of week|weekday|day|week|month|quarter|year)"
_GROUPED = re.compile(
    rf"(?i)\b(?:grouped by|broken down by|for each|for every|in each|of each|by each|per|by|each|every|across)\s+{_NP}"
)
_EVERY = {
    "hourly": "hour",
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "quarterly": "quarter",
    "yearly": "year",
    "annual": "year",
}
_SORTED = re.compile(
    rf"(?i)\b(?:(?:sort|order|rank)ed|(?:sort|order|rank)(?: (?:them|it|the results?|results?))?) by\s+{_NP}"
)
_DOWN = re.compile(r"(?i)\b(?:descending|desc|decreasing|from (?:high|larg|new|lat)\w+ to \w+|z to a|z-a)\b")
_UP = re.compile(r"(?i)\b(?:ascending|asc|increasing|alphabetical(?:ly)?|from (?:low|small|old|earl)\w+ to \w+)\b")
_MATCHED = re.compile(
    r"\b(?P<op>(?i:(?:start|begin)(?:s|ning|ing)? with|end(?:s|ing)? (?:with|in)|contain(?:s|ing)?|includ(?:es|ing)|like))\s+"
    rf"(?:the (?:word|text|letters?) )?(?:{_QUOTED}|([A-Z][\w.@-]*))"
)
_LACKING = re.compile(
    r"(?i)\b(?:without|with no|ha(?:ve|s|ving) no|lack(?:s|ing)?|missing|never|(?:do|does|did|has|have|is|are|was|were)(?: not|n['’]t)|not)\b"
    r"((?:\s+(?:an?|any|been|yet|have|had|the|placed|made)\b)*)\s+([\w-]+(?:\s(?!(?:and|or|in|by|per|since|for)\b)[\w-]+)?)"
)
_NEGATION = re.compile(
    r"(?i)\b(?:not|except(?: for)?|excluding|other than|outside(?: of)?|isn['’]t|aren['’]t|but)(?:\s+(?:in|from|the|those))*\s*$"
)
_CAPITAL = re.compile(
    r"(?<![\w'\"])(?:[A-Z][\w'’&.-]*\w|[A-Z])(?:\s+(?:[A-Z][\w'’&.-]*\w|of|de|da|von|van))*(?<! of)(?<! de)(?<! da)(?<! van)(?<! von)"
)
_WRITES = re.compile(
    r"(?i)^\W*(?:please\s+|can you\s+|could you\s+)?(?:delete|drop|insert|update|truncate|alter|remove|create|rename)\b"
)
_MONTHS = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
_DAY = rf"(?:\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}} {_MONTHS},? \d{{4}}|{_MONTHS} \d{{1,2}},? \d{{4}}|{_MONTHS},? \d{{4}}|q[1-4] ?\d{{4}}|(?:19|20)\d\d)"
_DATED = re.compile(
    rf"(?i)\b(?:(?P<op>before|until|after|since|in|during|on|for|of|from|between)\s+)?(?:the (?:year|month of)\s+|(?:year|month)\s+)?(?P<a>{_DAY})\b(?![.,]?\d)"
    rf"(?:\s+(?:and|to|until|till|through)\s+(?P<b>{_DAY})\b)?"
    rf"|\b(?:(?:in|over|during|from|for|within|of) )?(?:the )?(?P<rel>last|past|previous|this|current)\s+(?P<n>\d{{1,4}}\s+)?(?P<unit>hour|day|week|month|quarter|year)s?\b(?:['’]s?)?"
    r"|\b(?P<near>today|yesterday)\b"
)


@dataclass
class _Measure:
    """``function`` of a column, or of a table's rows where there is no column; ``COUNT`` may be of different values."""

    function: str
    column: Column | None
    table: str
    distinct: bool = False


@dataclass
class _Plan:
    """What the query will be made of."""

    select: list[Column] = field(default_factory=list)
    measures: list[_Measure] = field(default_factory=list)
    groups: list[tuple[Column, str]] = field(default_factory=list)
    """Each with the unit of time that its values are cut to, or ``""``."""
    where: list[exp.Expression] = field(default_factory=list)
    having: list[tuple[_Measure, str, str]] = field(default_factory=list)
    order: list[tuple[_Measure | Column, bool]] = field(default_factory=list)
    limit: int | None = None
    distinct: bool = False


def statement(question: str, material: str, dialect: str | None = None, *, alike: Alike) -> str | None:
    """A ``SELECT`` for ``question`` over the tables that ``material`` describes; ``None`` where it describes none or nothing fits.

    ``dialect`` is sqlglot's name of one; without it the one that ``material`` names, else what PostgreSQL and DataFusion read.
    """
    tables = tables_in(material)
    if not tables or _WRITES.match(question):
        return None
    dialect = dialect or _dialect_of(material)
    try:
        query = _Reader(question[:_LONG], tables, dialect, alike).query()
        return None if query is None else checked(query.sql(dialect or "postgres"), tables, dialect)
    except (sqlglot.errors.SqlglotError, RecursionError):
        return None


def checked(sql: str, tables: list[Table], dialect: str | None = None) -> str | None:
    """``sql`` if it is one query that only reads, with each column named by its table and in it; else ``None``."""
    parsed = sqlglot.parse(sql, read=dialect or "postgres")
    if len(parsed) != 1 or not isinstance(parsed[0], exp.Query):
        return None
    known = {(_short(t.name), c.name) for t in tables for c in t.columns}
    made = {alias.alias for alias in parsed[0].find_all(exp.Alias)}
    for column in parsed[0].find_all(exp.Column):
        is_known = (column.table, column.name) in known or (not column.table and column.name in made)
        if not is_known and not isinstance(column.this, exp.Star):
            return None
    read = {table.name for table in parsed[0].find_all(exp.Table)}
    return sql if read <= {_short(t.name) for t in tables} else None


def _found(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """The first places where ``pattern`` matches: no question has more, and each takes its time."""
    return itertools.islice(pattern.finditer(text), _MOST_FOUND)


def _dialect_of(material: str) -> str | None:
    named = re.search(
        r"(?i)\b(sqlite|postgres(?=ql\b|\b)|mysql|mariadb|duckdb|snowflake|bigquery|redshift|trino|oracle|tsql)",
        material,
    )
    return {"mariadb": "mysql"}.get(named.group(1).lower(), named.group(1).lower()) if named else None


def _stems(text: str) -> list[str]:
    return _STEMS.stemWords([w for w in re.findall(r"[^\W_]+", words(text)) if w not in _EMPTY])


def _same(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) > 4 and len(long) - len(short) == 1 and long.startswith(short))


def _among(stem: str, stems: list[str]) -> bool:
    return any(_same(stem, other) for other in stems)


def _adjective(word: str) -> tuple[str, bool] | None:
    """What a superlative or comparative measures, and whether it wants more of it."""
    word = word.lower()
    if word in ("maximum", "max", "top", "most", "first"):
        return "", True
    if word in ("minimum", "min", "bottom", "least", "last"):
        return "", False
    root = _IRREGULAR.get(word) or re.sub(r"(?:est|er)$", "", word)
    forms = (root, word, f"{root}e", re.sub(r"i$", "y", root), re.sub(r"(.)\1$", r"\1", root))
    return next((_ADJECTIVES[f] for f in forms if f in _ADJECTIVES), None)


def _many(said: str | None) -> int | None:
    return None if not said else _NUMBER_WORDS.get(said.lower()) or int(said)


def _is_singular(noun: str) -> bool:
    last = (noun.split() or [""])[-1].lower().removesuffix("'s").removesuffix("’s")
    return not last.endswith("s") or last.endswith(("ss", "us", "is"))


class _Reader:
    """Takes a question apart. What was understood is crossed out in ``left``, so that nothing is read twice."""

    def __init__(self, question: str, tables: list[Table], dialect: str | None, alike: Alike) -> None:
        self.question = re.sub(r"\s+", " ", question).strip()
        self.left = self.question
        self.tables = {t.name: t for t in tables}
        self.dialect = dialect
        self.alike = alike
        self.plan = _Plan()
        self.focus: list[Table] = []
        self.focus = self._mentioned(self.question) or self._described(_stems(self.question))

    # --- names ------------------------------------------------------------------------------------

    def _mentioned(self, text: str) -> list[Table]:
        """The tables that ``text`` names, in its order."""
        stems = _stems(text)
        found = []
        for table in self.tables.values():
            own = _stems(table.name.rpartition(".")[2])
            places = [i for i, stem in enumerate(stems) if own and _same(stem, own[-1])]
            if places and all(_among(stem, stems) for stem in own):
                found.append((places[0], table))
        return [table for _, table in sorted(found, key=lambda f: f[0])]

    def _described(self, stems: list[str]) -> list[Table]:
        """The tables whose columns a question names where it names no table: the one with the most of them first."""
        named = {
            n: sum(max((self._likeness([s], c) for c in t.columns), default=0) > 0 for s in set(stems))
            for n, t in self.tables.items()
        }
        return sorted((t for n, t in self.tables.items() if named[n]), key=lambda t: -named[t.name])[:1] or (
            list(self.tables.values()) if len(self.tables) == 1 else []
        )

    def _table(self, phrase: str) -> Table | None:
        """The table that a phrase is about: the last that it names, as the head of a noun phrase is its last word."""
        stems = _stems(phrase)
        named = self._mentioned(phrase)
        own = _stems(named[-1].name)[-1] if named else ""
        return named[-1] if named and stems and _same(stems[-1], own) else None

    def _likeness(self, stems: list[str], column: Column) -> float:
        """How far the stems of a phrase and of a column's name are the same; 1 where they are."""
        own = _stems(column.name) or [column.name.lower()]
        table = _stems(column.table)
        hits = sum(_among(stem, own) for stem in stems)
        if not hits:
            return 0.0
        said = sum(_among(s, own) or _among(s, table) for s in stems) / len(stems)
        covered = sum(_among(s, stems) for s in own) / len(own)
        # "customer name" names the name of customers, where the table is a part of the phrase.
        if column.kind == "number" and own and not _among(own[-1], stems) and len(own) > 1 and said < 1:
            # Units are no unit price: what is measured stands last.
            return 0.5 * said
        return 0.6 * said + 0.4 * max(covered, 1.0 if said == 1 and hits == len(own) else 0.0)

    def _column(
        self,
        phrase: str,
        kinds: tuple[str, ...] = (),
        *,
        least: float = LIKELY,
        keys: bool = False,
        within: list[Table] | None = None,
    ) -> Column | None:
        """The column that ``phrase`` names best, by stems, else with a lower ``least`` by meaning."""
        candidates = [
            c
            for t in (within if within is not None else self.tables.values())
            for c in t.columns
            if (not kinds or c.kind in (*kinds, "any")) and (keys or not c.is_key)
        ]
        stems = _stems(phrase)
        if not candidates or not stems:
            return None
        names = [t.name for t in self.focus]

        def favour(column: Column) -> float:
            return 0.1 / (1 + names.index(column.table)) if column.table in names else 0.0

        scores = [self._likeness(stems, c) + favour(c) * 0.9 for c in candidates]
        best = max(range(len(candidates)), key=lambda i: scores[i])
        if scores[best] >= max(least, 0.45):
            return candidates[best]
        if least >= LIKELY:
            return None
        candidates = candidates[:_MOST_COMPARED]
        near = self.alike(phrase, [words(c.name) for c in candidates])
        meant = [n + favour(c) for n, c in zip(near, candidates, strict=True)]
        best = max(range(len(candidates)), key=lambda i: meant[i])
        return candidates[best] if meant[best] >= least else None

    def _label(self, table: Table) -> list[Column]:
        """The columns by which people know a row of ``table``."""
        texts = [c for c in table.columns if c.kind in ("text", "any") and not c.is_key]
        named = [c for c in texts if re.search(r"\b(?:name|title|label)$", words(c.name))]
        if len(named) > 1 and (
            own := [c for c in named if re.search(r"^(?:first|last|full)\b|^(?:name|title)$", words(c.name))]
        ):
            named = own
        return named or texts[:1] or table.columns[:1]

    def _key(self, table: Table) -> Column | None:
        """The column that tells rows of ``table`` apart."""
        keys = [c for c in table.columns if c.is_key and c.name not in table.links]
        return next((c for c in keys if c.name.lower() == "id"), keys[0] if keys else None)

    def _crossed(self, start: int, end: int) -> None:
        self.left = f"{self.left[:start]}{'|' * (end - start)}{self.left[end:]}"

    def _before(self, at: int, count: int = 4) -> str:
        """The last words before a place, up to what is crossed out."""
        return " ".join(re.split(r"[|,;.?]", self.left[:at])[-1].split()[-count:])

    # --- what to keep -----------------------------------------------------------------------------

    def _keep(self, column: Column, operator: str, value: exp.Expression) -> None:
        classes = {">": exp.GT, "<": exp.LT, ">=": exp.GTE, "<=": exp.LTE, "=": exp.EQ, "<>": exp.NEQ, "LIKE": exp.Like}
        self.plan.where.append(classes[operator](this=_of(column), expression=value))

    def _read_matches(self) -> None:
        for match in _found(_MATCHED, self.left):
            value = next(filter(None, match.groups()[1:]), "")
            context = self._before(match.start())
            column = self._column(context, ("text",), least=_MEANT, within=self._near())
            if column:
                op = match.group("op").lower()
                form = f"{value}%" if op[0] in "sb" else f"%{value}" if op[0] == "e" else f"%{value}%"
                self._keep(column, "LIKE", exp.Literal.string(form))
                self._crossed(match.start(), match.end())

    def _near(self) -> list[Table]:
        """The tables that the question names, and those they are linked with; all where it names none."""
        names = {t.name for t in self.focus}
        linked = {there for t in self.focus for there, _ in t.links.values()}
        linked |= {t.name for t in self.tables.values() if any(there in names for there, _ in t.links.values())}
        return [*self.focus, *(t for t in self.tables.values() if t.name in linked - names)] or list(
            self.tables.values()
        )

    def _read_dates(self) -> None:
        for match in _found(_DATED, self.left):
            context = self._before(match.start())
            operator = (match.group("op") or "").lower()
            plain_year = bool(match.group("a")) and bool(re.fullmatch(r"\d{4}", match.group("a")))
            if plain_year and not operator and not context:
                continue
            near = self._near()
            years = self._column("year", ("number",), within=near) if plain_year else None
            column = self._column(context, ("date",), within=near) or self._first_date(near, context)
            if years and (
                column is None or column.table not in [t.name for t in self.focus[:1]] or years.table == column.table
            ):
                self._keep_years(years, operator, match)
            elif column:
                low, high = self._span(match, operator)
                for sign, bound in ((">=", low), ("<", high)):
                    if bound is not None:
                        self._keep(column, sign, bound)
            else:
                continue
            self._crossed(match.start(), match.end())

    def _first_date(self, near: list[Table], context: str) -> Column | None:
        """The date that is meant by nothing but a date: that of the first table that has one, by meaning where it has several."""
        for table in near:
            if found := [c for c in table.columns if c.kind == "date"]:
                return (
                    self._column(context, ("date",), least=0.0, within=[table])
                    if context and len(found) > 1 and self._verb(context)
                    else None
                ) or found[0]
        return None

    def _verb(self, context: str) -> bool:
        """Whether the last word before a date says what happened then."""
        last = (context.split() or [""])[-1]
        return self._table(last) is None and last.lower().endswith(("ed", "n", "t"))

    def _keep_years(self, column: Column, operator: str, match: re.Match[str]) -> None:
        first, second = match.group("a"), match.group("b")
        if second:
            self._keep(column, ">=", exp.Literal.number(first))
            self._keep(column, "<=", exp.Literal.number(second))
            return
        sign = {"before": "<", "until": "<=", "after": ">", "since": ">="}.get(operator, "=")
        self._keep(column, sign, exp.Literal.number(first))

    def _span(self, match: re.Match[str], operator: str) -> tuple[exp.Expression | None, exp.Expression | None]:
        """From when and until when, the end not included."""
        if match.group("near"):
            back = 1 if match.group("near").lower() == "yesterday" else 0
            return self._ago(back, "day"), self._ago(back - 1, "day")
        if unit := (match.group("unit") or "").lower():
            if match.group("n"):
                return self._ago(int(match.group("n")), unit), None
            this = match.group("rel").lower() in ("this", "current")
            return self._ago(0 if this else 1, unit, whole=True), None if this else self._ago(0, unit, whole=True)
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

    def _ago(self, count: int, unit: str, *, whole: bool = False) -> exp.Expression:
        """The day that many units ago; with ``whole`` the first day of that unit."""
        if unit == "quarter" and not whole:
            count, unit = 3 * count, "month"
        if self.dialect == "sqlite":
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
            f"DATE_TRUNC('{unit}', CURRENT_DATE)"
            if whole
            else "CURRENT_TIMESTAMP"
            if unit == "hour"
            else "CURRENT_DATE"
        )
        size, unit = (3 * count, "month") if unit == "quarter" else (count, unit)
        moved_by = (
            f" {'-' if size > 0 else '+'} INTERVAL '{abs(size)} {unit}{'s' if abs(size) != 1 else ''}'" if size else ""
        )
        return sqlglot.parse_one(f"{start}{moved_by}", read="postgres")

    def _read_numbers(self) -> None:
        for match in _found(_COMPARED, self.left):
            said = match.group("op").lower()
            low, factor, high = match.group(2), match.group(3), match.group(4)
            before = self._before(match.start())
            after_match = re.match(rf"\s*{_NP}", self.left[match.end() :])
            after = after_match.group(1).strip() if after_match else ""
            adjective = _adjective(m.group(1)) if (m := re.search(r"(?:(?:more|less) )?(\w+) than", said)) else None
            measured = adjective[0] if adjective else ""
            if m and m.group(1) == "expensive":
                measured = "price"
            signs = self._signs(said, adjective, bool(high))
            values = [_number(low, factor), *([_number(high, match.group(5))] if high else [])]
            end = match.end()
            target: Column | _Measure | None = None
            table = self._table(after)
            if table and self.focus and table is not self.focus[0]:
                target = _Measure("COUNT", None, table.name)
                end += after_match.end() if after_match else 0
            elif column := self._column(after, ("number",)) if after else None:
                target = column
                end += after_match.end() if after_match else 0
            elif before and (named := _AGGREGATE.search(before)) and named.lastgroup != "COUNT":
                column = self._column(before[named.end() :], ("number",), least=_MEANT)
                target = _Measure(str(named.lastgroup), column, column.table) if column else None
            if target is None:
                near = self._near()
                target = (
                    (self._column(measured, ("number",), least=_MEANT, within=near) if measured else None)
                    or self._column(before, ("number",), within=near)
                    or self._column(f"{before} {after}", ("number",), least=_MEANT, within=near)
                    or next((c for t in near for c in t.columns if c.kind == "number" and not c.is_key), None)
                )
            if target is None:
                continue
            for sign, value in zip(signs, values, strict=False):
                if isinstance(target, _Measure):
                    self.plan.having.append((target, sign, value))
                else:
                    self._keep(target, sign, exp.Literal.number(value))
            # What was compared is not asked for as well.
            start = match.start() - (
                len(before) + 1 if isinstance(target, _Measure) and target.function != "COUNT" else 0
            )
            self._crossed(max(0, start), end)
        for match in re.finditer(
            rf"(?i)([\w-]+(?:\s[\w-]+)?)\s+(?:(?:is|=|of|equals|number)\s+)?{_NUM}(?!\s*\w*(?:st|nd|rd|th)\b)",
            self.left,
        ):
            column = self._column(match.group(1), ("number",), least=0.9, within=self._near())
            if column:
                self._keep(column, "=", exp.Literal.number(_number(match.group(2), match.group(3))))
                self._crossed(match.start(), match.end())

    @staticmethod
    def _signs(said: str, adjective: tuple[str, bool] | None, between: bool) -> list[str]:
        if between and said == "between":
            return [">=", "<="]
        fixed = {
            ">=": ">=",
            "<=": "<=",
            "<>": "<>",
            "!=": "<>",
            "<": "<",
            ">": ">",
            "=": "=",
            "at least": ">=",
            "no less than": ">=",
            "at most": "<=",
            "no more than": "<=",
            "up to": "<=",
        }
        if said in fixed:
            return [fixed[said]]
        if said.startswith(("equal", "exactly")):
            return ["="]
        more = said.startswith(("more", "over", "above", "exceed", "great")) or (
            adjective is not None and adjective[1] and not said.startswith("less")
        )
        return [(">" if more else "<") + ("=" if "or equal" in said else "")]

    def _read_values(self) -> None:
        """Values that the schema names, then quoted ones and names."""
        for table in self._near():
            for column in table.columns:
                hits = []
                for value in column.values:
                    for match in re.finditer(rf"(?i)\b{re.escape(value).replace('_', '[_ -]')}\b", self.left):
                        hits.append((value, bool(_NEGATION.search(self.left[: match.start()]))))
                        self._crossed(match.start(), match.end())
                for negated in (False, True):
                    if some := [exp.Literal.string(v) for v, n in hits if n is negated]:
                        self._keep_one_of(column, some, negated)
        for match in _found(re.compile(_QUOTED), self.left):
            self._read_value(match, next(filter(None, match.groups())))
        for match in _found(_CAPITAL, self.left):
            name = match.group()
            first = not self.question[: match.start()].strip() or self.question[: match.start()].rstrip()[-1] in ".?!:"
            stems = _stems(name)
            if (
                first
                or not stems
                or name in ("NULL", "SQL")
                or self._mentioned(name)
                or all(any(_among(s, _stems(c.name)) for t in self._near() for c in t.columns) for s in stems)
            ):
                continue
            self._read_value(match, name)

    def _keep_one_of(self, column: Column, values: list[exp.Expression], negated: bool) -> None:
        if len(values) == 1:
            self._keep(column, "<>" if negated else "=", values[0])
        else:
            inside = exp.In(this=_of(column), expressions=values)
            self.plan.where.append(exp.Not(this=inside) if negated else inside)

    def _read_value(self, match: re.Match[str], value: str) -> None:
        context = self._before(match.start(), 3)
        follows = re.match(r"\s+([\w-]+(?: [\w-]+)?)", self.left[match.end() :])
        after = follows.group(1) if follows else ""
        near = self._near()
        column = None
        last = (context.split() or [""])[-1]
        # "the product Lamp" and "the city of Porto" name the column; "sold in Porto" does not.
        said = () if last.lower() in ("in", "from", "to", "at", "by", "for", "with") else (context, last)
        for phrase in (after, after.split(" ")[0], *said):
            if phrase and column is None:
                column = self._column(phrase, ("text",), least=0.75, within=near)
                table = self._table(phrase) if phrase == after.split(" ")[0] else None
                if column is None and table:
                    column = self._label(table)[0]
        if column is None:
            column = self._by_meaning(value, context, near)
        if column is None:
            return
        negated = bool(_NEGATION.search(self.left[: match.start()]))
        self._keep(column, "<>" if negated else "=", exp.Literal.string(value))
        self._crossed(match.start(), match.end())

    def _by_meaning(self, value: str, context: str, near: list[Table]) -> Column | None:
        """The text column whose name is nearest to a value in its place ("from Portugal"): names of people follow "by"."""
        columns = [c for t in near for c in t.columns if c.kind in ("text", "any") and not c.is_key and not c.values][
            :_MOST_COMPARED
        ]
        if not columns:
            return None
        link = (context.split() or [""])[-1].lower()
        if link == "by" and (
            made := [c for t in near if t not in self.focus[:1] for c in self._label(t) if c.kind == "text"]
        ):
            return made[0]
        scores = self.alike(value, [f"{words(c.name)}" for c in columns])
        phrase = self.alike(f"{context} {value}".strip(), [f"{words(c.table)} {words(c.name)}" for c in columns])
        place = 0.15 if link in ("in", "from", "to", "at") else 0.0
        own = {t.name for t in self.focus[:1]}
        # A column that the question names has another part in it than to go without saying beside this value.
        named = [
            0.2
            if self._likeness(_stems(self.question), c)
            and all(_among(s, _stems(self.question)) for s in _stems(c.name))
            else 0.0
            for c in columns
        ]
        totals = [
            s
            + p
            - n
            + (0.1 if c.table in own else 0.0)
            + (place if re.search(r"city|country|region|state|place|location|address|town", words(c.name)) else 0.0)
            for s, p, n, c in zip(scores, phrase, named, columns, strict=True)
        ]
        return columns[max(range(len(columns)), key=lambda i: totals[i])]

    def _read_lacks(self) -> None:
        for match in _found(_LACKING, self.left):
            phrase = match.group(2)
            entity = self.focus[:1]
            for said in (phrase, phrase.split(" ")[0]):
                column = self._column(said, within=entity, least=0.65, keys=True)
                table = self._table(said)
                if column and column.kind == "boolean":
                    self._keep(column, "=", exp.false())
                elif column:
                    self.plan.where.append(exp.Is(this=_of(column), expression=exp.Null()))
                elif table and entity and table is not entity[0] and (link := self._link(table, entity[0])):
                    inner = exp.select("1").from_(_table(table)).where(link)
                    self.plan.where.append(exp.Not(this=exp.Exists(this=inner)))
                    self.focus = [t for t in self.focus if t is not table]
                else:
                    continue
                self._crossed(match.start(), match.start(2) + len(said))
                break

    def _read_qualities(self) -> None:
        """Booleans that are named, and an adjective before the table or after "are": the value of a column that tells kinds apart."""
        stems = _stems(self.left)
        for table in self._near():
            for column in table.columns:
                own = [s for s in _stems(column.name) if s not in _stems(table.name)]
                if column.kind == "boolean" and own and all(_among(s, stems) for s in own):
                    self._keep(column, "=", exp.true())
                    self.left = " ".join(w for w in self.left.split() if not any(_among(s, own) for s in _stems(w)))
        for column in (
            c
            for t in self.focus[:1]
            for c in t.columns
            if re.match(r"(?:is|are|do|does|did|has|have|can) you\b", words(c.name))
        ):
            # A questionnaire's column that is a question of yes or no.
            own = _stems(re.sub(r"\([^()]*\)", "", column.name))
            if sum(_among(s, _stems(self.question)) for s in own) * 2 > len(own):
                self.plan.where.append(
                    sqlglot.parse_one(f"LOWER({_of(column).sql('postgres')}) LIKE 'yes%'", read="postgres")
                )
        for table in self.focus[:1]:
            kinds = [
                c
                for c in table.columns
                if c.kind == "text"
                and re.search(
                    r"status|state|type|categor|kind|genre|class|gender|level|specialt|segment|tier|group",
                    words(c.name),
                )
            ]
            name = _STEMS.stemWord(words(table.name).split()[-1])
            match = re.search(
                rf"(?i)(?:^|\b(?:the|of|all|many|show|list|find|count|which)\s+)((?:(?!{_STOP}\b|how\b|many\b|show\b|list\b|find\b|count\b|which\b|what\b|names?\b|number\b|different\b|distinct\b)[a-z]+\s+){{1,2}})(?={name})",
                self.left,
            )
            match = match or re.search(
                r"(?i)\b(?:that|which|who)?\s*(?:are|is|were|was|have been|has been)\s+((?!there\b|in\b|the\b|an?\b|not\b|no\b)[a-z]+ed|[a-z]+ing)\b",
                self.left,
            )
            if (
                not kinds
                or not match
                or _adjective(match.group(1).split()[-1])
                or _AGGREGATE.match(match.group(1))
                or self._column(match.group(1))
            ):
                continue
            value = match.group(1).strip()
            scores = self.alike(value, [words(c.name) for c in kinds])
            self._keep(kinds[max(range(len(kinds)), key=lambda i: scores[i])], "=", exp.Literal.string(value))
            self._crossed(match.start(1), match.start(1) + len(value))

    # --- what to compute --------------------------------------------------------------------------

    def _read_order(self) -> None:
        for match in _found(_SORTED, self.left):
            down = bool(_DOWN.search(self.left))
            target = self._order_target(match.group(1))
            if target:
                self.plan.order.append((target, down))
                self._crossed(match.start(), match.end())
        first = re.search(r"(?i),?\s*\b(\w+est)\b(?:\s+(\w+))?\s+first\b", self.left)
        if first and (adjective := _adjective(first.group(1))):
            self._crossed(first.start(), first.end())
            self.pending_order = (*adjective, first.group(2) or "")

    def _order_target(self, phrase: str) -> _Measure | Column | None:
        if (found := _AGGREGATE.search(phrase)) or re.search(r"(?i)\bcount$", phrase.strip()):
            return self._measure(phrase, found)
        return self._column(phrase, keys=True) or self._column(phrase, least=_MEANT, within=self._near())

    pending_order: tuple[str, bool, str] | None = None

    def _measure(self, text: str, found: re.Match[str] | None) -> _Measure | None:
        """The measure that a phrase names: what is counted, or the column that is added up, averaged and so on."""
        if found is None or (found.lastgroup == "COUNT" and found.end() == len(text) and found.start()):
            noun = re.sub(r"(?i)\bcounts?\b.*$", "", text).strip()
            table = self._table(noun)
            column = None if table else self._column(noun, keys=True, least=0.5)
            return _Measure("COUNT", None, table.name if table else column.table) if table or column else None
        function = str(found.lastgroup)
        rest = text[found.end() :]
        if function == "SUM" and (nested := re.match(r"(?i)(?:the\s+)?(?:number|amount) of\s+", rest)):
            rest = rest[nested.end() :]
        distinct = re.match(r"(?i)\s*(?:the\s+)?(?:distinct|different|unique)\s+", rest)
        rest = rest[distinct.end() :] if distinct else rest
        # "The lowest and the highest fee" are both of the fee.
        rest = (
            re.sub(rf"^(?:[\s,]*(?:and\b\s*)?(?:the\s+)?{_AGGREGATE.pattern[4:]})+", "", f" {rest}", flags=re.I)
            if function != "COUNT"
            else rest
        )
        noun = m.group(1).strip() if (m := re.match(rf"\s*{_NP}", rest)) else ""
        if function == "COUNT":
            return self._counted(noun, bool(distinct))
        within = self._near()
        if not noun and function == "SUM":
            noun = self.left
        column = self._column(noun, ("number",)) or self._column(noun, ("number",), least=_MEANT, within=within)
        if column is None and function == "SUM" and (table := self._table(noun)):
            return _Measure("COUNT", None, table.name)
        if column is None:
            numbers = [c for t in within for c in t.columns if c.kind == "number" and not c.is_key]
            column = numbers[0] if len(numbers) == 1 or (numbers and _REVENUE.search(noun)) else None
        return _Measure(function, column, column.table) if column else None

    def _counted(self, noun: str, distinct: bool) -> _Measure | None:
        table = self._table(noun) or self._table((noun.split() or [""])[0])
        if table and not distinct:
            return _Measure("COUNT", None, table.name)
        column = self._column(noun, keys=True) or (self._column(noun.split()[0], keys=True) if noun else None)
        if column and column.kind == "number" and not column.is_key and not distinct:
            return _Measure("SUM", column, column.table)
        if column and (distinct or (column.kind == "text" and not column.is_key)):
            return _Measure("COUNT", column, column.table, True)
        base = table or (self.tables[column.table] if column else self.focus[0] if self.focus else None)
        if base and distinct and not column and (near := self._column(noun, least=_MEANT, within=self._near())):
            return _Measure("COUNT", near, near.table, True)
        return _Measure("COUNT", None, base.name) if base else None

    def _read_groups(self) -> None:
        for said, unit in _EVERY.items():
            if match := re.search(rf"(?i)\b{said}\b", self.left):
                self._group_by_time(unit)
                self._crossed(match.start(), match.end())
        for match in _found(_GROUPED, self.left):
            phrase = match.group(1).strip()
            unit = re.match(rf"(?i)({_UNIT})\b", self.left[match.start(1) :])
            table = self._table(phrase)
            if unit and self._group_by_time(unit.group(1).lower()):
                end = match.start(1) + unit.end()
            elif measures := [] if table else self._one_per_column(phrase):
                self.plan.measures += measures
                end = match.end()
            elif column := None if table else (self._column(phrase) or self._column(phrase.split()[0])):
                self.plan.groups.append((column, ""))
                end = match.end()
            elif table := table or self._table(phrase.split()[0]):
                self._group_by_table(table)
                end = match.end()
            elif column := self._column(phrase, least=0.4, within=self._near()):
                self.plan.groups.append((column, ""))
                end = match.end()
            else:
                continue
            self._crossed(match.start(), end)

    def _one_per_column(self, phrase: str) -> list[_Measure]:
        """Counts of what several columns hold, where the question spells out their names and ``phrase`` is what they share."""
        named = [
            c
            for t in self.focus
            for c in t.columns
            if not c.is_key and re.search(rf"\b{re.escape(c.name)}\b", self.question)
        ]
        shared = [c for c in named if self._likeness(_stems(phrase), c)]
        return [_Measure("COUNT", c, c.table) for c in shared] if len(shared) > 1 else []

    def _group_by_table(self, table: Table) -> None:
        key = self._key(table)
        for column in [*([key] if key else []), *self._label(table)]:
            if (column, "") not in self.plan.groups:
                self.plan.groups.append((column, ""))

    def _group_by_time(self, unit: str) -> bool:
        year = self._column("year", ("number",), within=self._near()) if unit == "year" else None
        column = year or self._first_date(self._near(), self._verbs())
        if column:
            self.plan.groups.append((column, "" if year else unit))
        return bool(column)

    def _verbs(self) -> str:
        return " ".join(w for w in re.findall(r"[a-z]+ed\b", self.left))

    def _read_superlatives(self) -> list[tuple[str, bool, int | None, str, int]]:
        """Each superlative: what it measures, its direction, how many are wanted, the noun after it, and where it stands."""
        found = []
        for match in _found(_SUPERLATIVE, self.left):
            if match.group(2):
                measured, up = _ADJECTIVES[match.group(3).lower()]
                up = up == (match.group(2).lower() == "most")
                count = _many(match.group(1))
                word = match.group(3)
            else:
                word = match.group(5)
                adjective = _adjective(word)
                count = _many(match.group(4)) or _many(match.group(6))
                if adjective is None or (word.lower() in ("first", "last") and count is None):
                    continue
                measured, up = adjective
            after = re.match(rf"\s*{_NP}", self.left[match.end() :])
            found.append((measured, up, count, after.group(1).strip() if after else "", match.start()))
            self._crossed(match.start(), match.end())
        return found

    def query(self) -> exp.Select | None:
        """The query, or ``None`` where nothing in the question fits the tables."""
        for read in (
            self._read_matches,
            self._read_dates,
            self._read_numbers,
            self._read_values,
            self._read_lacks,
            self._read_order,
        ):
            read()
        plan = self.plan
        superlatives = self._read_superlatives()
        top = self._read_top(superlatives)
        if not top:
            self._read_groups()
        self._read_measures()
        if superlatives and not top:
            self._apply_superlatives(superlatives)
        if (not plan.measures and not plan.order) or (plan.measures and plan.measures[0].function == "COUNT"):
            self._read_qualities()
        self._read_selection()
        if self.pending_order:
            self._apply_pending()
        if (
            not (plan.select or plan.measures or plan.groups or plan.where or plan.order or plan.having)
            and not self.focus
        ):
            return None
        if not self._mentioned(self.question) and not self._names_a_column():
            return None
        return self._compose()

    def _names_a_column(self) -> bool:
        """Whether the question names any column: a single table alone makes no question one about it."""
        stems = _stems(self.question)
        plan = self.plan
        if plan.measures and plan.groups:
            return True
        return any(self._likeness([s], c) > 0 for s in stems for t in self.tables.values() for c in t.columns)

    def _read_top(self, superlatives: list[tuple[str, bool, int | None, str, int]]) -> bool:
        """ "Top 5 customers by total revenue": order and limit, and what they are of."""
        for _, up, count, noun, at in superlatives:
            by = re.search(
                rf"(?i)\bby\s+((?:the\s+)?(?:(?:number|count|sum|amount|total)\s+of\s+)?(?:the\s+)?(?:total\s+)?){_NP}",
                self.left[at:],
            )
            if count is None or by is None:
                continue
            phrase = f"{by.group(1)}{by.group(2)}".strip()
            self._crossed(at + by.start(), at + by.end())
            table = self._table(noun)
            target = self._order_target(phrase)
            if target is None and (m := self._column(phrase, ("number",), least=_MEANT, within=self._near())):
                target = m
            if target is None and _REVENUE.search(phrase):
                target = self._measure(f"total {phrase}", _AGGREGATE.match("total "))
            if target is None and (counted := self._table(phrase)):
                target = _Measure("COUNT", None, counted.name)
            if target is None:
                continue
            if isinstance(target, Column) and (table is None or target.table != table.name) and target.kind == "number":
                target = _Measure("SUM", target, target.table)
            self._entity(noun, target)
            if isinstance(target, _Measure):
                self.plan.measures.append(target)
            self.plan.order.append((target, up))
            self.plan.limit = count
            return True
        return False

    def _entity(self, noun: str, target: _Measure | Column) -> None:
        """Group by what ``noun`` names, if the target is a measure of it; else its rows are wanted."""
        table = self._table(noun)
        if isinstance(target, _Measure):
            if table:
                self._group_by_table(table)
            elif column := self._column(noun, keys=True, least=0.35):
                self.plan.groups.append((column, ""))
        elif table is None and (column := self._column(noun, keys=True, least=0.35)):
            self.plan.select.append(column)

    def _read_measures(self) -> None:
        for match in _found(_AGGREGATE, self.left):
            counted = match.lastgroup == "COUNT" and re.match(r"(?i)counts?\b", match.group())
            text = self.left[match.start() :]
            inner = _AGGREGATE.match(text)
            if counted and not re.match(rf"(?i)\s*(?:of|the|all|how|distinct|{_NP})", text[5:]):
                text, inner = self._before(match.end(), 2), None
            if (
                match.lastgroup == "COUNT"
                and self.plan.measures
                and self.plan.measures[-1].function in ("SUM", "COUNT")
            ):
                continue
            measure = self._measure(text, inner)
            if measure and measure not in self.plan.measures:
                self.plan.measures.append(measure)
        if (
            not self.plan.measures
            and (self.plan.groups or re.match(r"(?i)what (?:were|was|is|are)\b", self.question))
            and _REVENUE.search(self.left)
        ):
            measure = self._measure(f"total {_REVENUE.search(self.left).group()}", _AGGREGATE.match("total "))
            self.plan.measures += [measure] if measure else []
        if not self.plan.measures and self.plan.groups:
            column = next((c for w in re.findall(r"[\w-]+", self.left) if (c := self._column(w, ("number",)))), None)
            table = self.focus[0].name if self.focus else self.plan.groups[0][0].table
            self.plan.measures.append(
                _Measure("SUM", column, column.table) if column else _Measure("COUNT", None, table)
            )

    def _apply_superlatives(self, superlatives: list[tuple[str, bool, int | None, str, int]]) -> None:
        plan = self.plan
        owner = re.match(rf"(?i)(?:which|what|who)\s+(?!is\b|are\b|was\b|were\b){_NP}", self.question) or re.search(
            rf"(?i){_NP}\s*(?:with|having|that ha[sv]e?)\s+\|", self.left
        )
        entity = re.sub(r"(?i)^(?:show|find|list|give|the|me|get)\s+", "", owner.group(1)).strip() if owner else ""
        if entity and not self._table(entity) and not self._column(entity, keys=True):
            # "Who earns …": a person, of whom the table that is asked about tells.
            entity = self.focus[0].name if self.focus else ""
        for measured, up, count, noun, at in superlatives:
            table, counted = self._table(entity), self._table(noun)
            numeric = None if counted else self._column(noun, ("number",)) if noun else None
            if entity and noun and (counted or numeric or not self._table(noun)):
                target: Column | _Measure | None = numeric or (
                    None if counted else self._column(noun, ("number",), least=_MEANT, within=self._near())
                )
                if counted or target is None:
                    base = counted or (self.focus[0] if self.focus else None)
                    target = _Measure("COUNT", None, base.name) if base else None
                if target is None:
                    continue
                if isinstance(target, Column) and (table is None or table.name != target.table):
                    target = plan.measures[0] if plan.measures else _Measure("SUM", target, target.table)
                if plan.measures and isinstance(target, Column):
                    target = plan.measures[0]
                self._entity(entity, target)
                if isinstance(target, _Measure) and target not in plan.measures:
                    plan.measures.append(target)
                plan.order.append((target, up))
                plan.limit = count or (1 if _is_singular(entity) or re.match(r"(?i)who\b", self.question) else None)
                continue
            if numeric and not entity:
                measure = _Measure("MAX" if up else "MIN", numeric, numeric.table)
                plan.measures.append(measure)
                continue
            if (
                not noun
                and not entity
                and (other := next((c for w in self.left[at:].split() if (c := self._column(w, ("number",)))), None))
            ):
                plan.measures.append(_Measure("MAX" if up else "MIN", other, other.table))
                continue
            column = self._dimension(measured, noun, counted)
            if column:
                up = up if not (column.kind == "date" and measured == "age") else not up
                plan.order.append((column, up))
                plan.limit = count or (1 if _is_singular(noun) else None)

    def _dimension(self, measured: str, noun: str, table: Table | None) -> Column | None:
        """The column that an adjective orders by."""
        within = [table] if table else self._near()
        if measured == "date":
            return self._first_date(within, "")
        found = self._column(measured, ("number",), least=0.2, within=within) if measured else None
        if measured == "age" and (found is None or "age" not in words(found.name).split()):
            found = self._first_date(within, "birth") or found
        return found or self._column(noun, ("number",), least=_MEANT, within=within)

    def _apply_pending(self) -> None:
        measured, up, noun = self.pending_order or ("", True, "")
        target: _Measure | Column | None = self.plan.measures[0] if self.plan.measures else None
        target = target or self._dimension(measured, noun or self.left, self.focus[0] if self.focus else None)
        if target:
            self.plan.order.append((target, up))

    def _read_selection(self) -> None:
        """The columns that the question asks to see."""
        plan = self.plan
        if plan.measures or plan.groups:
            return
        head = re.split(r"\||[?.;]|(?i:\b(?:sorted|ordered|where|whose|who|that|which (?:is|are))\b)", self.left)[0]
        distinct = bool(re.search(r"(?i)\b(?:distinct|different|unique)\b", head))
        stems = [s for s in _stems(head)]
        for table in self.focus or list(self.tables.values()):
            for column in table.columns:
                own = _stems(column.name)
                if (
                    own
                    and all(_among(s, stems) for s in own)
                    and column not in plan.select
                    and set(own) - set(_stems(table.name))
                ):
                    plan.select.append(column)
        if self._mentioned(self.question):
            # "Books published in 1990" asks for books: what they are chosen by need not be shown.
            chosen = {(c.table, c.name) for part in plan.where for c in part.find_all(exp.Column)}
            plan.select = [c for c in plan.select if (_short(c.table), c.name) not in chosen]
        named = {c: set(_stems(c.name)) for c in plan.select}
        plan.select = [c for c in plan.select if not any(named[c] < others for others in named.values())]
        asked = re.match(
            rf"(?i)\W*(?:(?:show|list|find|give|get|display|what|which|are|is|were|the|me|all|distinct|different|unique)\s+)*{_NP}(of\b)?",
            head,
        )
        noun = asked.group(1).strip() if asked else ""
        if not plan.select and noun and not self._mentioned(noun):
            near = self._near()
            column = self._column(noun, keys=True, within=near) or (
                self._column(noun, least=0.4, within=near) if asked and asked.group(2) else None
            )
            if column:
                plan.select.append(column)
                is_entity = not self._mentioned(self.question)
                distinct = distinct or (column.kind == "text" and is_entity)
                if column.is_key and is_entity:
                    plan.select.pop()
        plan.distinct = distinct and bool(plan.select)

    # --- the query --------------------------------------------------------------------------------

    def _link(self, one: Table, other: Table) -> exp.Expression | None:
        """The condition that joins two tables: a foreign key, else a key of the same name."""
        for here, there in ((one, other), (other, one)):
            for name, (target, column) in here.links.items():
                if target == there.name:
                    return exp.EQ(
                        this=exp.column(name, table=_short(here.name), quoted=_quoted(name)),
                        expression=exp.column(column, table=_short(there.name), quoted=_quoted(column)),
                    )
        for column in one.columns:
            if (
                column.is_key
                and column.name.lower() != "id"
                and (same := next((c for c in other.columns if c.name.lower() == column.name.lower()), None))
            ):
                return exp.EQ(this=_of(column), expression=_of(same))
        return None

    def _points_to(self, one: Table, other: Table) -> bool:
        """Whether many rows of ``one`` belong to one of ``other``."""
        if any(target == other.name for target, _ in one.links.values()):
            return True
        key = self._key(other)
        return bool(
            key
            and key.name.lower() != "id"
            and any(c.name.lower() == key.name.lower() for c in one.columns)
            and self._key(one) != key
        )

    def _compose(self) -> exp.Select | None:
        plan = self.plan
        having = [m for m, _, _ in plan.having]
        entity = self.focus[0] if self.focus else None
        if having and not plan.groups and entity:
            self._group_by_table(entity)
        measures = [*plan.measures, *having, *(t for t, _ in plan.order if isinstance(t, _Measure))]
        used = [m.table for m in measures] + [c.table for c, _ in plan.groups] + [c.table for c in plan.select]
        used += [t.table for t, _ in plan.order if isinstance(t, Column)]
        outer = [c for part in plan.where if not isinstance(part, exp.Not) for c in part.find_all(exp.Column)]
        used += [next((n for n in self.tables if _short(n) == c.table), c.table) for c in outer]
        if entity and not measures and not plan.groups:
            used.insert(0, entity.name)
        used = list(dict.fromkeys(used)) or ([entity.name] if entity else [])
        if not used:
            return None
        base = self.tables[used[0]]
        joins = self._joins(base, used[1:])
        if joins is None:
            return None
        fans_out = any(self._points_to(new, old) for old, new, _ in joins)
        query = exp.select().from_(_table(base))
        for _, new, condition in joins:
            query = query.join(_table(new), on=condition)
        names: dict[int, str] = {}
        cut = [self._cut(column, unit) for column, unit in plan.groups]
        shown: list[exp.Expression] = [
            exp.alias_(part, unit.replace(" ", "_")) if unit else part
            for part, (_, unit) in zip(cut, plan.groups, strict=True)
        ]
        for measure in plan.measures:
            part = self._aggregate(measure, fans_out and measure.table == base.name)
            name = "_".join(
                re.findall(
                    r"\w+",
                    words(
                        f"{measure.function} {measure.column.name if measure.column else measure.table.rpartition('.')[2]}"
                    ),
                )
            )
            names[id(measure)] = name[:60]
            shown.append(exp.alias_(part, names[id(measure)]))
        if not shown:
            shown = [_of(c) for c in plan.select] or [
                exp.Star()
                if not joins
                else exp.Column(this=exp.Star(), table=exp.to_identifier(_short((entity or base).name)))
            ]
            if plan.distinct or (fans_out and entity is not None):
                query = query.distinct()
        query = query.select(*shown)
        for part in plan.where:
            query = query.where(part)
        if plan.groups and (plan.measures or plan.having):
            query = query.group_by(*cut)
        for measure, sign, value in plan.having:
            query = query.having(
                sqlglot.parse_one(f"{self._aggregate(measure, False).sql('postgres')} {sign} {value}", read="postgres")
            )
        for target, down in plan.order:
            by = (
                exp.column(names[id(target)])
                if id(target) in names
                else self._aggregate(target, False)
                if isinstance(target, _Measure)
                else _of(target)
            )
            query = query.order_by(exp.Ordered(this=by, desc=down, nulls_first=False))
        if not plan.order and plan.groups and plan.groups[0][1]:
            query = query.order_by(exp.column(plan.groups[0][1].replace(" ", "_")))
        return query.limit(plan.limit) if plan.limit else query

    def _joins(self, base: Table, wanted: list[str]) -> list[tuple[Table, Table, exp.Expression]] | None:
        """The shortest ways from ``base`` to the other tables; ``None`` where one cannot be reached."""
        came: dict[str, tuple[Table, exp.Expression]] = {}
        queue = [base]
        for here in queue:
            for there in sorted(self.tables.values(), key=lambda t: not self._points_to(here, t)):
                if there is not base and there.name not in came and (condition := self._link(here, there)):
                    came[there.name] = (here, condition)
                    queue.append(there)
        joins: list[tuple[Table, Table, exp.Expression]] = []
        joined = {base.name}

        def reach(name: str) -> bool:
            if name in joined:
                return True
            if name not in came:
                return False
            before, condition = came[name]
            reach(before.name)
            joins.append((before, self.tables[name], condition))
            joined.add(name)
            return True

        return joins if all(reach(name) for name in wanted) else None

    def _aggregate(self, measure: _Measure, fans_out: bool) -> exp.Expression:
        if measure.column is None:
            key = self._key(self.tables[measure.table]) if fans_out else None
            return exp.Count(this=exp.Distinct(expressions=[_of(key)])) if key else exp.Count(this=exp.Star())
        if measure.distinct:
            return exp.Count(this=exp.Distinct(expressions=[_of(measure.column)]))
        return {"SUM": exp.Sum, "AVG": exp.Avg, "MAX": exp.Max, "MIN": exp.Min, "COUNT": exp.Count}[measure.function](
            this=_of(measure.column)
        )

    def _cut(self, column: Column, unit: str) -> exp.Expression:
        """A column, or the unit of time that its values lie in."""
        if not unit:
            return _of(column)
        name = _of(column).sql("postgres")
        if self.dialect == "sqlite":
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


def _short(table: str) -> str:
    return table.rpartition(".")[2]


def _quoted(name: str) -> bool:
    return not re.fullmatch(r"[a-z_][a-z0-9_]*", name)


def _of(column: Column) -> exp.Column:
    return exp.column(
        column.name,
        table=exp.to_identifier(_short(column.table), quoted=_quoted(_short(column.table))),
        quoted=_quoted(column.name),
    )


def _table(table: Table) -> exp.Table:
    schema, _, name = table.name.rpartition(".")
    return exp.table_(exp.to_identifier(name, quoted=_quoted(name)), db=schema or None)


def _number(said: str, factor: str | None) -> str:
    number = said.replace(",", "")
    return f"{number}000" if factor == "k" else number


def _bounds(said: str) -> tuple[str, str]:
    """The first day of a day, month, quarter or year that is written out, and the first day after it."""
    said = said.lower()
    if re.fullmatch(r"\d{4}", said):
        return f"{said}-01-01", f"{int(said) + 1}-01-01"
    if quarter := re.fullmatch(r"q([1-4]) ?(\d{4})", said):
        start = date(int(quarter.group(2)), 3 * int(quarter.group(1)) - 2, 1)
        after = start.replace(day=28) + timedelta(days=70)
        return str(start), str(after.replace(day=1))
    try:
        day = dates.parse(said, default=dates.parse("2000-01-01")).date()
    except (ValueError, OverflowError):
        return said, said
    if re.fullmatch(rf"{_MONTHS},? \d{{4}}", said):
        return str(day), str((day.replace(day=28) + timedelta(days=7)).replace(day=1))
    return str(day), str(day + timedelta(days=1))
