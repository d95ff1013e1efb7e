"""What a query is made of, and the query that is made of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp

from keyless.mind.sql.names import Names, column_of, short, table_of
from keyless.mind.sql.tables import Column, Table
from keyless.mind.sql.times import cut
from keyless.mind.text import words

_MORE_THAN_READS = (
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.Create,
    exp.Drop,
    exp.Command,
    exp.Into,
    exp.Lock,
)
SIGNS = {">": exp.GT, "<": exp.LT, ">=": exp.GTE, "<=": exp.LTE, "=": exp.EQ, "<>": exp.NEQ, "LIKE": exp.Like}
"""What compares two parts."""


@dataclass
class Measure:
    """``function`` of a column, or of a table's rows where there is no column; ``COUNT`` may be of different values."""

    function: str
    column: Column | None
    table: str
    distinct: bool = False


@dataclass
class Plan:
    """What the query will be made of."""

    select: list[Column] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    groups: list[tuple[Column, str]] = field(default_factory=list)
    """Each with the unit of time that its values are cut to, or ``""``."""
    where: list[exp.Expression] = field(default_factory=list)
    having: list[tuple[Measure, str, str]] = field(default_factory=list)
    order: list[tuple[Measure | Column, bool]] = field(default_factory=list)
    limit: int | None = None
    distinct: bool = False

    def group_by(self, names: Names, table: Table) -> None:
        """Group by the rows of ``table``."""
        key = names.key(table)
        for column in [*([key] if key else []), *names.label(table)]:
            if (column, "") not in self.groups:
                self.groups.append((column, ""))


def checked(sql: str, tables: list[Table], dialect: str | None = None) -> str | None:
    """``sql`` if it is one query that only reads, with each column named by its table and in it; else ``None``."""
    parsed = sqlglot.parse(sql, read=dialect or "postgres")
    # A backslash may hide the end of a string, where a database other than the one that was named reads it.
    if "\\" in sql or len(parsed) != 1 or not isinstance(parsed[0], exp.Query) or parsed[0].find(*_MORE_THAN_READS):
        return None
    # What sqlglot does not know by name may do anything, as pg_sleep and lo_export do.
    if any(function.name not in ("DATE", "DATETIME") for function in parsed[0].find_all(exp.Anonymous)):
        return None
    known = {(short(t.name), c.name) for t in tables for c in t.columns}
    made = {alias.alias for alias in parsed[0].find_all(exp.Alias)}
    for column in parsed[0].find_all(exp.Column):
        is_known = (column.table, column.name) in known or (not column.table and column.name in made)
        if not is_known and not isinstance(column.this, exp.Star):
            return None
    read = {table.name for table in parsed[0].find_all(exp.Table)}
    return sql if read <= {short(t.name) for t in tables} else None


def compose(plan: Plan, names: Names, dialect: str | None) -> exp.Select | None:
    """The query of a plan; ``None`` where its tables cannot be joined."""
    having = [m for m, _, _ in plan.having]
    entity = names.focus[0] if names.focus else None
    if having and not plan.groups and entity:
        plan.group_by(names, entity)
    measures = [*plan.measures, *having, *(t for t, _ in plan.order if isinstance(t, Measure))]
    used = [m.table for m in measures] + [c.table for c, _ in plan.groups] + [c.table for c in plan.select]
    used += [t.table for t, _ in plan.order if isinstance(t, Column)]
    outer = [c for part in plan.where if not isinstance(part, exp.Not) for c in part.find_all(exp.Column)]
    used += [next((n for n in names.tables if short(n) == c.table), c.table) for c in outer]
    if entity and not measures and not plan.groups:
        used.insert(0, entity.name)
    used = list(dict.fromkeys(used)) or ([entity.name] if entity else [])
    if not used:
        return None
    base = names.tables[used[0]]
    joins = names.joins(base, used[1:])
    if joins is None:
        return None
    fans_out = any(names.points_to(new, old) for old, new, _ in joins)
    query = exp.select().from_(table_of(base))
    for _, new, condition in joins:
        query = query.join(table_of(new), on=condition)
    called: dict[int, str] = {}
    grouped = [cut(column, unit, dialect) for column, unit in plan.groups]
    shown: list[exp.Expression] = [
        exp.alias_(part, unit.replace(" ", "_")) if unit else part
        for part, (_, unit) in zip(grouped, plan.groups, strict=True)
    ]
    for measure in plan.measures:
        part = _aggregate(names, measure, fans_out and measure.table == base.name)
        name = "_".join(
            re.findall(
                r"\w+",
                words(f"{measure.function} {measure.column.name if measure.column else short(measure.table)}"),
            )
        )
        called[id(measure)] = name[:60]
        shown.append(exp.alias_(part, called[id(measure)]))
    if not shown:
        shown = [column_of(c) for c in plan.select] or [
            exp.Star()
            if not joins
            else exp.Column(this=exp.Star(), table=exp.to_identifier(short((entity or base).name)))
        ]
        if plan.distinct or (fans_out and entity is not None):
            query = query.distinct()
    query = query.select(*shown)
    for part in plan.where:
        query = query.where(part)
    if plan.groups and (plan.measures or plan.having):
        query = query.group_by(*grouped)
    for measure, sign, value in plan.having:
        query = query.having(SIGNS[sign](this=_aggregate(names, measure, False), expression=exp.Literal.number(value)))
    for target, down in plan.order:
        by = (
            exp.column(called[id(target)])
            if id(target) in called
            else _aggregate(names, target, False)
            if isinstance(target, Measure)
            else column_of(target)
        )
        query = query.order_by(exp.Ordered(this=by, desc=down, nulls_first=False))
    if not plan.order and plan.groups and plan.groups[0][1]:
        query = query.order_by(exp.column(plan.groups[0][1].replace(" ", "_")))
    return query.limit(plan.limit) if plan.limit else query


def _aggregate(names: Names, measure: Measure, fans_out: bool) -> exp.Expression:
    if measure.column is None:
        key = names.key(names.tables[measure.table]) if fans_out else None
        return exp.Count(this=exp.Distinct(expressions=[column_of(key)])) if key else exp.Count(this=exp.Star())
    if measure.distinct:
        return exp.Count(this=exp.Distinct(expressions=[column_of(measure.column)]))
    return {"SUM": exp.Sum, "AVG": exp.Avg, "MAX": exp.Max, "MIN": exp.Min, "COUNT": exp.Count}[measure.function](
        this=column_of(measure.column)
    )
