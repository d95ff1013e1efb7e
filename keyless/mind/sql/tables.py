"""The tables that a prompt describes: ``CREATE TABLE``, JSON, or a table's name with its columns in plain text."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import sqlglot
from sqlglot import exp

from keyless.mind.text import words

_MOST_CHARACTERS, _MOST_BLOCKS, _MOST_COLUMNS = 60_000, 100, 2_000
_TYPE = (
    r"(?:(?:big|small|tiny|medium|u)?int(?:eger)?\d*|(?:big|small)?serial|dec(?:imal)?\w*|num(?:ber|eric)|float\d*|double(?: precision)?|real|"
    r"money|(?:long|medium|tiny)?text|(?:n?var)?char(?:acter)?(?: varying)?\d*|(?:large_)?(?:str(?:ing)?|utf8)\w*|uuid|bool(?:ean)?|bit|"
    r"date(?:time)?\d*|time(?:stamp)?(?:tz|_ntz|_ltz)?|interval|jsonb?|blob|bytea|enum|array|categor(?:y|ical)|object)"
)
_NAME = r"(?:\"[^\"\n]{1,200}\"|`[^`\n]{1,200}`|\[[^\]\n]{1,200}\]|[A-Za-z_][\w.]{0,100})"
_TYPED = re.compile(
    rf"(?i)^[\s\-*•|]{{0,20}}({_NAME}|[^:\n\t|]{{1,200}}?(?=:))[\s:(|]{{1,200}}({_TYPE})(?![\w?])([^\n]*)$"
)
_BARE = re.compile(rf"^[\s\-*•]{{0,20}}({_NAME})\s*(?:\(([^()\n]*)\))?\s*(?:[-–—:][^\n]*)?$")
_HEADING = re.compile(
    rf"(?i)^[\s\-*•#]{{0,20}}table\b(?: name)?[ \t]*[:=]?[ \t]*({_NAME})[ \t]*(?:[:(,\-–—][ \t]*([^\n]*))?$"
)
_OPENED = re.compile(rf"^[\s\-*•#]{{0,20}}({_NAME})[ \t]*(?:\((.*)\)\W*|:[ \t]*(.*))$")
_COLUMNS = re.compile(r"(?i)^[\s\-*•]{0,20}(?:\w+ ){0,2}(?:columns|fields)\b[^:\n]{0,80}:[ \t]*([^\n]*)$")
_REFERENCE = re.compile(
    r"(?i)\b(?:references|fk to|foreign key to|refers to|->|→)\s*[`\"]?(\w+)[`\"]?(?:\s*[.(]\s*[`\"]?(\w+))?"
)
_LINK = re.compile(r"(?i)\b(\w+)\.(\w+)\s*(?:->|→|=|references|refers to|joins)\s*(\w+)\.(\w+)")
_VALUES = re.compile(r"(?i)\b(\w+)\b[^\n'.,]{0,40}?((?:'[^'\n]{1,60}'(?:,? (?:or|and) |[,|/] ?)){1,50}'[^'\n]{1,60}')")
_INLINE = re.compile(rf"\b([A-Za-z_]\w{{0,60}})\((\s*\w+(?: {_TYPE})?(?:\s*,\s*\w+(?: {_TYPE})?){{1,200}}\s*)\)", re.I)
_VALUE = re.compile(r"'([^'\n]{1,60})'")


@dataclass(frozen=True)
class Column:
    """A column. ``kind`` is number, date, boolean, text, or any where nothing tells; ``values`` are those that the description names."""

    table: str
    name: str
    kind: str
    values: tuple[str, ...] = ()

    @property
    def is_key(self) -> bool:
        """Whether it names rows rather than says something about them."""
        return bool(re.search(r"(?:^|[ _])(?:id|uuid|pk|fk|key|no|nr)$", words(self.name)))


@dataclass
class Table:
    """A table, and which of its columns point to which other table's column."""

    name: str
    columns: list[Column] = field(default_factory=list)
    links: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, name: str, kind: str, rest: str = "") -> None:
        """Take in a column of which ``rest`` says more; a second one of that name is left out."""
        name = name.strip().strip('`"[]').strip()
        if not name or len(self.columns) >= _MOST_COLUMNS or any(c.name.lower() == name.lower() for c in self.columns):
            return
        self.columns.append(Column(self.name, name, _kind(kind, name), tuple(_VALUE.findall(rest))))
        if found := _REFERENCE.search(rest):
            self.links[name] = (found.group(1), found.group(2) or "id")


def tables_in(material: str) -> list[Table]:
    """The tables that ``material`` describes with their columns, in its order; empty where it describes none."""
    material = material[:_MOST_CHARACTERS]
    found: dict[str, Table] = {}
    for table in itertools.chain(_created(material), _in_json(material), _in_text(material), _in_sentences(material)):
        if table.columns and table.name.lower() not in found:
            found[table.name.lower()] = table
    for here, column, there, other in _LINK.findall(material):
        if here.lower() in found:
            found[here.lower()].links[column] = (there, other)
    listed = {name.lower(): tuple(_VALUE.findall(values)) for name, values in _VALUES.findall(material)}
    for table in found.values():
        table.columns = [replace(c, values=c.values or listed.get(c.name.lower(), ())) for c in table.columns]
        _complete_links(table, found)
    return list(found.values())


def _complete_links(table: Table, known: dict[str, Table]) -> None:
    """Keep the links that lead somewhere, and add those that names tell: ``customer_id`` is the ``id`` of ``customers``."""
    links = {}
    for column in table.columns:
        there, other = table.links.get(column.name, ("", ""))
        target = known.get(there.lower().rpartition(".")[2]) or known.get(there.lower())
        if target is None and column.is_key and (stem := re.sub(r"_?(?:id|uuid|fk|key)$", "", column.name.lower())):
            target = next((t for n, t in known.items() if t is not table and _names(n, stem)), None)
            same = next((c.name for c in target.columns if c.name.lower() == column.name.lower()), "") if target else ""
            other = same or "id"
        if target is None and column is not table.columns[0] and words(column.name) not in ("id", "name", "title"):
            # What stands first in another table names its rows, whatever it is called.
            target = next(
                (t for t in known.values() if t is not table and t.columns[0].name.lower() == column.name.lower()), None
            )
            other = column.name
        match = next((c.name for c in target.columns if c.name.lower() == other.lower()), None) if target else None
        if target is not None and match:
            links[column.name] = (target.name, match)
    table.links = links


def _names(table: str, stem: str) -> bool:
    """Whether a table's name is the plural of ``stem``, or ends with it (``dim_customer``)."""
    last = table.rpartition(".")[2]
    forms = (stem, f"{stem}s", f"{stem}es", f"{stem[:-1]}ies" if stem.endswith("y") else stem, f"dim_{stem}")
    return last in forms or words(last).endswith(tuple(f" {form}" for form in forms))


def _kind(declared: str, name: str) -> str:
    declared = declared.lower()
    plain = words(name)
    if re.search(r"bool|bit\b", declared) or (not declared and re.match(r"(?:is|has) ", plain)):
        return "boolean"
    if re.search(r"date|time(?!d)|timestamp", declared) or (
        not declared and re.search(r"\b(?:date|at|on|time)$", plain)
    ):
        return "date"
    if re.search(r"int|serial|dec|num|float|double|real|money", declared) and "interval" not in declared:
        return "number"
    if not declared and re.search(
        r"\b(?:id|amount|price|total|quantity|count|cost|salary|age|year|number|score|rating)$", plain
    ):
        return "number"
    # SQLite and CSV files keep dates as text.
    return "date" if re.search(r"(?:^| )(?:date|timestamp)$|\bat$", plain) else "text" if declared else "any"


def _created(material: str) -> Iterator[Table]:
    starts = list(itertools.islice(re.finditer(r"(?i)\bcreate\s+(?:\w+\s+)?table\b", material), _MOST_BLOCKS))
    for start, following in itertools.zip_longest(starts, starts[1:]):
        body = _balanced(material[start.start() : following.start() if following else len(material)])
        try:
            made = sqlglot.parse_one(body, read="postgres")
        except (sqlglot.ParseError, sqlglot.TokenError, RecursionError):
            continue
        schema = made.this
        if not isinstance(made, exp.Create) or not isinstance(schema, exp.Schema):
            continue
        table = Table(schema.this.sql("postgres").replace('"', ""))
        for part in schema.expressions:
            if isinstance(part, exp.ColumnDef):
                table.add(part.name, part.kind.sql() if part.kind else "", part.sql("postgres"))
        for key in schema.find_all(exp.ForeignKey):
            reference = key.args["reference"].this
            columns = zip(key.expressions, reference.expressions, strict=False)
            table.links |= {c.name: (reference.this.name, other.name) for c, other in columns}
        yield table


def _balanced(text: str) -> str:
    """``text`` up to where its first bracket is closed."""
    depth = 0
    for mark in re.finditer(r"'[^'\n]*'|[()]", text):
        depth += {"(": 1, ")": -1}.get(mark.group(), 0)
        if depth == 0 and mark.group() == ")":
            return text[: mark.end()]
    return text


def _in_json(material: str) -> Iterator[Table]:
    decoder = json.JSONDecoder()
    end = 0
    for match in itertools.islice(re.finditer(r"[\[{]", material), _MOST_BLOCKS):
        if match.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(material, match.start())
        except (ValueError, RecursionError):
            continue
        above = material[: match.start()].rstrip().rpartition("\n")[2]
        heading = _HEADING.match(above.rstrip(" :")) or re.match(rf"\W*({_NAME})\s*:?$", above)
        yield from _walk(value, heading.group(1).strip('`"') if heading else "", 0)


def _walk(value: Any, name: str, depth: int) -> Iterator[Table]:
    """Tables in parsed JSON: objects with ``columns``, names with lists or objects of columns, rows of an information schema."""
    if depth > 6:
        return
    if isinstance(value, list):
        rows = [row for row in value if isinstance(row, dict) and "table_name" in row and "column_name" in row]
        for table_name, group in itertools.groupby(rows, key=lambda row: str(row["table_name"])):
            table = Table(table_name)
            for row in group:
                table.add(str(row["column_name"]), str(row.get("data_type", row.get("type", ""))))
            yield table
        for part in value if not rows else []:
            yield from _walk(part, "", depth + 1)
    elif isinstance(value, dict):
        own = str(value.get("table_name") or value.get("table") or value.get("name") or name)
        if own and "columns" in value:
            table = Table(own)
            _json_columns(table, value["columns"])
            yield table
            return
        for key, part in value.items():
            if (isinstance(part, dict) and part and all(isinstance(v, str) for v in part.values()) and depth < 3) or (
                isinstance(part, list) and part and all(isinstance(v, str) for v in part)
            ):
                table = Table(key)
                _json_columns(table, part)
                yield table
            elif isinstance(part, dict | list):
                if (
                    isinstance(part, list)
                    and part
                    and all(isinstance(v, dict) and "name" in v and "columns" not in v for v in part)
                ):
                    part = {"columns": part, "name": key}
                yield from _walk(part, key, depth + 1)


def _json_columns(table: Table, columns: Any) -> None:
    if isinstance(columns, dict):
        columns = [
            {"name": name, **(more if isinstance(more, dict) else {"type": more})} for name, more in columns.items()
        ]
    for column in columns if isinstance(columns, list) else []:
        if isinstance(column, dict):
            rest = f"{column.get('description', '')} {column.get('references', '') and 'references ' + str(column['references'])}"
            named = column.get("name") or column.get("column_name") or column.get("column")
            table.add(str(named or ""), str(column.get("type") or column.get("data_type") or ""), rest)
        elif isinstance(column, str):
            _read_item(table, column)


def _in_text(material: str) -> Iterator[Table]:
    table: Table | None = None
    listing = False
    for line in material.splitlines():
        line = line[:4_000]
        if heading := _HEADING.match(line):
            if table is not None:
                yield table
            table, listing = Table(heading.group(1).strip('`"')), False
            if heading.group(2):
                _read_list(table, _COLUMNS.sub(r"\1", heading.group(2)).rstrip(") "))
        elif table is not None and (columns := _COLUMNS.match(line)):
            listing = True
            _read_list(table, columns.group(1))
        elif table is not None and (typed := _TYPED.match(line)) and "," not in typed.group(1):
            table.add(typed.group(1), typed.group(2), typed.group(3))
        elif table is not None and listing and (bare := _BARE.match(line)) and len(line) < 200:
            table.add(bare.group(1), "", line)
        elif (opened := _OPENED.match(line)) and not re.match(r"(?i)^\W*(?:rules?|note|question|example)\b", line):
            fresh = Table(opened.group(1).strip('`"'))
            _read_list(fresh, opened.group(2) or opened.group(3) or "")
            if len(fresh.columns) > 1 or (fresh.columns and opened.group(2)):
                if table is not None:
                    yield table
                table, listing = fresh, False
        elif not line.strip():
            listing = False
    if table is not None:
        yield table


def _in_sentences(material: str) -> Iterator[Table]:
    """``orders(id, total)`` in the middle of a sentence that speaks of tables."""
    if re.search(r"(?i)\b(?:tables?|schema|database)\b", material):
        for match in itertools.islice(_INLINE.finditer(material), _MOST_BLOCKS):
            table = Table(match.group(1))
            _read_list(table, match.group(2))
            yield table


def _read_list(table: Table, text: str) -> None:
    """Columns between commas; none where one of them is neither a plain name nor has a type."""
    items = [item for item in re.split(r",(?![^()\[]*\))", text) if item.strip()]
    if all(_TYPED.match(item) or _BARE.match(item) for item in items):
        for item in items:
            _read_item(table, item)


def _read_item(table: Table, item: str) -> None:
    if typed := _TYPED.match(item):
        table.add(typed.group(1), typed.group(2), typed.group(3))
    elif bare := _BARE.match(item):
        table.add(bare.group(1), "", item)
