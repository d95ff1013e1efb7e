"""What an answer or a tool call must be: each check is given a run and says what is wrong, or ""."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from bench.examples.one import Ran
from stack.settings import Settings

Check = Callable[[Ran, Settings], str]
Words = str | tuple[str, ...]


def text_of(value: Any) -> str:
    """A result as a reader sees it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def plain(text: str) -> str:
    """Lower case, without digits' commas, with single blanks."""
    return re.sub(r"\s+", " ", re.sub(r"(?<=\d),(?=\d{3})", "", text.lower())).strip()


def result(ran: Ran, task: str) -> Any:
    """What a task returned. Raises ``KeyError`` when it returned nothing."""
    return ran.xcoms[task]


def lacking(text: str, words: tuple[Words, ...]) -> list[str]:
    """Which of ``words`` do not stand in a text; of a tuple one is enough. A word begins where one begins in the text."""
    said = plain(text)

    def there(word: str) -> bool:
        return re.search(rf"(?<!\w){re.escape(plain(word))}", said) is not None

    return [
        w if isinstance(w, str) else "/".join(w)
        for w in words
        if not any(map(there, (w,) if isinstance(w, str) else w))
    ]


def echoed(text: str, prompts: list[str]) -> bool:
    """Whether a text is nothing but what was asked, or most of it."""
    said = plain(text)
    return any(said == plain(p) or (said in plain(p) and len(said) > 0.8 * len(plain(p))) for p in prompts)


def rambles(text: str) -> bool:
    """Whether a sentence comes again and again."""
    sentences = [s for s in map(plain, re.split(r"[.!?\n]+", text)) if len(s) > 20]
    return len(sentences) > 2 and len(set(sentences)) <= 0.67 * len(sentences)


def says(task: str, *words: Words, least: int = 3) -> Check:
    """The task's text has these words, is no echo of the prompt, does not repeat itself and is at least so many words long."""

    def check(ran: Ran, settings: Settings) -> str:
        values = result(ran, task)
        for value in values if isinstance(values, list) and values and isinstance(values[0], str) else [values]:
            text = text_of(value)
            if len(text.split()) < least:
                return f"{task} is too short: {text!r}"
            if isinstance(value, str) and echoed(text, ran.prompts):
                return f"{task} echoes the prompt: {text[:80]!r}"
            if isinstance(value, str) and rambles(text):
                return f"{task} repeats itself: {text[:80]!r}"
            if missing := lacking(text, words):
                return f"{task} does not say {', '.join(missing)}: {text[:120]!r}"
        return ""

    return check


def silent(task: str, *words: str) -> Check:
    """The task's text has none of these words."""

    def check(ran: Ran, settings: Settings) -> str:
        text = text_of(result(ran, task))
        there = [w for w in words if not lacking(text, (w,))]
        return f"{task} says {', '.join(there)}: {text[:120]!r}" if there else ""

    return check


def sentences(task: str, most: int) -> Check:
    """No more sentences than asked for."""

    def check(ran: Ran, settings: Settings) -> str:
        text = text_of(result(ran, task))
        count = len([s for s in re.split(r"[.!?]+(?:\s|$)", text) if s.strip()])
        return f"{task} has {count} sentences, not {most}: {text[:120]!r}" if count > most else ""

    return check


def equals(task: str, value: Any) -> Check:
    """The task returned exactly this."""

    def check(ran: Ran, settings: Settings) -> str:
        found = result(ran, task)
        return "" if found == value else f"{task} is {text_of(found)[:120]}, not {value!r}"

    return check


def holds(task: str, what: str, test: Callable[[Any], bool]) -> Check:
    """``test`` is met by what the task returned."""

    def check(ran: Ran, settings: Settings) -> str:
        found = result(ran, task)
        return "" if test(found) else f"{task} is not {what}: {text_of(found)[:160]}"

    return check


def branch(*run: str, skipped: tuple[str, ...]) -> Check:
    """These tasks ran, and those were skipped."""

    def check(ran: Ran, settings: Settings) -> str:
        ended = {t: ran.tasks.get(t) for t in (*run, *skipped)}
        right = all(ended[t] == "success" for t in run) and all(ended[t] == "skipped" for t in skipped)
        took = [t for t, state in ended.items() if state == "success"]
        return "" if right else f"the branch taken is {took}, not {list(run)}"

    return check


def called(name: str, what: str = "", test: Callable[[dict[str, Any]], bool] = lambda arguments: True) -> Check:
    """A tool whose name ends so was called, with arguments that meet ``test``, and did not answer with an error."""

    def check(ran: Ran, settings: Settings) -> str:
        calls = [c for c in ran.calls if c.name.endswith(name)]
        if not calls:
            return f"{name} was never called (called: {[c.name for c in ran.calls]})"
        if not any(test(c.arguments) for c in calls):
            return f"{name} was called with {text_of([c.arguments for c in calls])[:160]}, not {what}"
        return ""

    return check


def never(*names: str) -> Check:
    """None of these tools was called."""

    def check(ran: Ran, settings: Settings) -> str:
        wrong = [c.name for c in ran.calls if c.name.endswith(names)]
        return f"called though nobody asked for it: {wrong}" if wrong else ""

    return check


def rows(settings: Settings, sql: str, database: str = "shop") -> list[tuple[str, ...]]:
    """What a query gives, as plain texts."""
    from stack.database import connected

    with connected(settings, database) as connection:
        connection.read_only = True
        return [tuple(_value(v) for v in row) for row in connection.execute(sql).fetchall()]


def _value(value: Any) -> str:
    try:
        return f"{float(value):.2f}"
    except (TypeError, ValueError):
        return str(value)


def same_rows(found: list[tuple[str, ...]], right: list[tuple[str, ...]]) -> bool:
    """Whether each right row has one with all of its values, and there are no others; in any order of rows and columns."""
    left = [list(row) for row in found]
    for row in right:
        match = next((have for have in left if all(v in have for v in row)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def gives(task: str, *references: str) -> Check:
    """The SQL that the task returned gives the rows of one of these queries."""

    def check(ran: Ran, settings: Settings) -> str:
        sql = text_of(result(ran, task))
        return _compare(sql, references, settings)

    return check


def each_gives(task: str, *references: str) -> Check:
    """The same for the SQL of a mapped task, one query for each."""

    def check(ran: Ran, settings: Settings) -> str:
        queries = result(ran, task)
        if len(queries) != len(references):
            return f"{len(queries)} queries, not {len(references)}"
        return next((w for q, r in zip(queries, references, strict=True) if (w := _compare(q, (r,), settings))), "")

    return check


def _compare(sql: str, references: tuple[str, ...], settings: Settings) -> str:
    try:
        found = rows(settings, sql)
    except Exception as error:
        return f"no SQL that runs ({str(error).splitlines()[0]}): {sql[:120]!r}"
    right = any(found and same_rows(found, rows(settings, reference)) for reference in references)
    return "" if right else f"wrong rows {found[:3]} from {sql[:160]!r}"


def queried(*references: str) -> Check:
    """A call of a ``query`` tool carried SQL that gives the rows of one of these queries."""

    def check(ran: Ran, settings: Settings) -> str:
        asked = [
            str(c.arguments.get("sql") or c.arguments.get("query") or "") for c in ran.calls if c.name.endswith("query")
        ]
        if not asked:
            return f"no query was run (called: {[c.name for c in ran.calls]})"
        wrong = [_compare(sql, references, settings) for sql in asked]
        return "" if "" in wrong else wrong[-1]

    return check


def tells(task: str, reference: str, columns: tuple[int, ...] = (0,), least: int | None = None) -> Check:
    """The task's text names what the query gives in these columns: all rows, or ``least`` of them."""

    def check(ran: Ran, settings: Settings) -> str:
        text = plain(text_of(result(ran, task)))
        wanted = [row[c] for row in rows(settings, reference) for c in columns]
        numbers = {w: re.sub(r"\.?0+$", "", w) if "." in w else w for w in wanted}
        missing = [w for w in wanted if not re.search(rf"(?<![\w.]){re.escape(plain(numbers[w]))}(?!\w)", text)]
        enough = not missing if least is None else len(wanted) - len(missing) >= least
        return "" if wanted and enough else f"{task} does not tell {missing[:4]}: {text[:120]!r}"

    return check


def sql_uses(task: str, tables: set[str], columns: set[str], wanted: set[str]) -> Check:
    """The task's SQL reads these tables and no column beyond ``columns``, and uses all that are ``wanted``."""

    def check(ran: Ran, settings: Settings) -> str:
        from sqlglot import exp, parse_one

        sql = text_of(result(ran, task))
        try:
            tree = parse_one(sql, dialect="postgres")
        except Exception as error:
            return f"no SQL ({str(error).splitlines()[0]}): {sql[:120]!r}"
        if not isinstance(tree, exp.Query):
            return f"no query: {sql[:120]!r}"
        read = {t.name for t in tree.find_all(exp.Table)}
        used = {c.name for c in tree.find_all(exp.Column)} - {a.alias for a in tree.find_all(exp.Alias)}
        if not tables <= read:
            return f"reads {sorted(read)}, not {sorted(tables)}: {sql[:120]!r}"
        if used - columns:
            return f"there is no column {sorted(used - columns)}: {sql[:120]!r}"
        return f"does not use {sorted(wanted - used)}: {sql[:160]!r}" if wanted - used else ""

    return check
