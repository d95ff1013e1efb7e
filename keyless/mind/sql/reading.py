"""What a question wants to know: what to compute, for which groups, in which order."""

from __future__ import annotations

import re

from sqlglot import exp

from keyless.mind.sql.filters import Filters
from keyless.mind.sql.language import (
    ADJECTIVES,
    AGGREGATE,
    DOWN,
    EVERY,
    GROUPED,
    NP,
    REVENUE,
    SORTED,
    SUPERLATIVE,
    UNIT,
    adjective_of,
    found_in,
    is_singular,
    many,
)
from keyless.mind.sql.names import MEANT, among, short, stems_of
from keyless.mind.sql.query import Measure, compose
from keyless.mind.sql.tables import Column, Table
from keyless.mind.text import words


class Reader(Filters):
    """Reads all of a question."""

    pending_order: tuple[str, bool, str] | None = None

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
        self._read_qualities()
        self._read_selection()
        if self.pending_order:
            self._apply_pending()
        if (
            not (plan.select or plan.measures or plan.groups or plan.where or plan.order or plan.having)
            and not self.names.focus
        ):
            return None
        if not self.names.mentioned(self.question) and not self._names_a_column():
            return None
        return compose(self.plan, self.names, self.dialect)

    def _read_order(self) -> None:
        for match in found_in(SORTED, self.left):
            down = bool(DOWN.search(self.left))
            target = self._order_target(match.group(1))
            if target:
                self.plan.order.append((target, down))
                self._crossed(match.start(), match.end())
        first = re.search(r"(?i),?\s*\b(\w+est|most|least)\b(?:\s+(\w+))?\s+first\b", self.left)
        if first and (adjective := adjective_of(first.group(1))):
            self._crossed(first.start(), first.end())
            self.pending_order = (*adjective, first.group(2) or "")

    def _order_target(self, phrase: str) -> Measure | Column | None:
        if (found := AGGREGATE.search(phrase)) or re.search(r"(?i)\bcount$", phrase.strip()):
            return self._measure(phrase, found)
        return self.names.column(phrase, keys=True) or self.names.column(phrase, least=MEANT, within=self.names.near())

    def _measure(self, text: str, found: re.Match[str] | None) -> Measure | None:
        """The measure that a phrase names: what is counted, or the column that is added up, averaged and so on."""
        if found is None or (found.lastgroup == "COUNT" and found.end() == len(text) and found.start()):
            noun = re.sub(r"(?i)\bcounts?\b.*$", "", text).strip()
            table = self.names.table(noun)
            column = None if table else self.names.column(noun, keys=True, least=0.5)
            return Measure("COUNT", None, table.name if table else column.table) if table or column else None
        function = str(found.lastgroup)
        rest = text[found.end() :]
        if function == "SUM" and (nested := re.match(r"(?i)(?:the\s+)?(?:number|amount) of\s+", rest)):
            rest = rest[nested.end() :]
        distinct = re.match(r"(?i)\s*(?:the\s+)?(?:distinct|different|unique)\s+", rest)
        rest = rest[distinct.end() :] if distinct else rest
        # "The lowest and the highest fee" are both of the fee.
        rest = (
            re.sub(rf"^(?:[\s,]*(?:and\b\s*)?(?:the\s+)?{AGGREGATE.pattern[4:]})+", "", f" {rest}", flags=re.I)
            if function != "COUNT"
            else rest
        )
        noun = m.group(1).strip() if (m := re.match(rf"\s*{NP}", rest)) else ""
        if function == "COUNT":
            return self._counted(noun, bool(distinct))
        within = self.names.near()
        if not noun and function == "SUM":
            noun = self.left
        column = self.names.column(noun, ("number",)) or self.names.column(
            noun, ("number",), least=MEANT, within=within
        )
        if column is None and function == "SUM" and (table := self.names.table(noun)):
            return Measure("COUNT", None, table.name)
        if column is None:
            numbers = [c for t in within for c in t.columns if c.kind == "number" and not c.is_key]
            column = numbers[0] if len(numbers) == 1 or (numbers and REVENUE.search(noun)) else None
        return Measure(function, column, column.table) if column else None

    def _counted(self, noun: str, distinct: bool) -> Measure | None:
        table = self.names.table(noun) or self.names.table((noun.split() or [""])[0])
        if table and not distinct:
            return Measure("COUNT", None, table.name)
        column = self.names.column(noun, keys=True) or (self.names.column(noun.split()[0], keys=True) if noun else None)
        if column and column.kind == "number" and not column.is_key and not distinct:
            return Measure("SUM", column, column.table)
        if column and (distinct or (column.kind == "text" and not column.is_key)):
            return Measure("COUNT", column, column.table, True)
        base = table or (
            self.names.tables[column.table] if column else self.names.focus[0] if self.names.focus else None
        )
        if (
            base
            and distinct
            and not column
            and (near := self.names.column(noun, least=MEANT, within=self.names.near()))
        ):
            return Measure("COUNT", near, near.table, True)
        return Measure("COUNT", None, base.name) if base else None

    def _read_groups(self) -> None:
        for said, unit in EVERY.items():
            if match := re.search(rf"(?i)\b{said}\b", self.left):
                self._group_by_time(unit)
                self._crossed(match.start(), match.end())
        units = [c for t in self.names.tables.values() for c in t.columns if " per " in words(c.name)]
        for match in found_in(GROUPED, self.left):
            phrase = match.group(1).strip()
            if any(
                re.search(rf"{words(c.name)}\b", self.question, re.I)
                for c in units
                if phrase.split()[0].lower() in words(c.name).split()
            ):
                # "The price per tonne" is a column.
                continue
            unit = re.match(rf"(?i)({UNIT})\b", self.left[match.start(1) :])
            table = self.names.table(phrase)
            if unit and self._group_by_time(unit.group(1).lower()):
                end = match.start(1) + unit.end()
            elif measures := [] if table else self._one_per_column(phrase):
                self.plan.measures += measures
                end = match.end()
            elif column := None if table else (self.names.column(phrase) or self.names.column(phrase.split()[0])):
                self.plan.groups.append((column, ""))
                end = match.end()
            elif table := table or self.names.table(phrase.split()[0]):
                self.plan.group_by(self.names, table)
                end = match.end()
            elif column := self.names.column(phrase, least=0.4, within=self.names.near()):
                self.plan.groups.append((column, ""))
                end = match.end()
            else:
                continue
            self._crossed(match.start(), end)

    def _one_per_column(self, phrase: str) -> list[Measure]:
        """Counts of what several columns hold, where the question spells out their names and ``phrase`` is what they share."""
        named = [
            c
            for t in self.names.focus
            for c in t.columns
            if not c.is_key and re.search(rf"\b{re.escape(c.name)}\b", self.question)
        ]
        shared = [c for c in named if self.names.likeness(stems_of(phrase), c)]
        return [Measure("COUNT", c, c.table) for c in shared] if len(shared) > 1 else []

    def _group_by_time(self, unit: str) -> bool:
        year = self.names.column("year", ("number",), within=self.names.near()) if unit == "year" else None
        column = year or self._first_date(self.names.near(), self._verbs())
        if column:
            self.plan.groups.append((column, "" if year else unit))
        return bool(column)

    def _verbs(self) -> str:
        return " ".join(w for w in re.findall(r"[a-z]+ed\b", self.left))

    def _read_superlatives(self) -> list[tuple[str, bool, int | None, str, int]]:
        """Each superlative: what it measures, its direction, how many are wanted, the noun after it, and where it stands."""
        found = []
        for match in found_in(SUPERLATIVE, self.left):
            if match.group(2):
                measured, up = ADJECTIVES[match.group(3).lower()]
                up = up == (match.group(2).lower() == "most")
                count = many(match.group(1))
                word = match.group(3)
            else:
                word = match.group(5)
                adjective = adjective_of(word)
                count = many(match.group(4)) or many(match.group(6))
                if adjective is None or (word.lower() in ("first", "last") and count is None):
                    continue
                measured, up = adjective
            after = re.match(rf"\s*{NP}", self.left[match.end() :])
            found.append((measured, up, count, after.group(1).strip() if after else "", match.start()))
            self._crossed(match.start(), match.end())
        return found

    def _names_a_column(self) -> bool:
        """Whether the question names any column: a single table alone makes no question one about it."""
        stems = stems_of(self.question)
        plan = self.plan
        if plan.measures and plan.groups:
            return True
        return any(
            self.names.likeness([s], c) > 0 for s in stems for t in self.names.tables.values() for c in t.columns
        )

    def _read_top(self, superlatives: list[tuple[str, bool, int | None, str, int]]) -> bool:
        """ "Top 5 customers by total revenue": order and limit, and what they are of."""
        for _, up, count, noun, at in superlatives:
            by = re.search(
                rf"(?i)\bby\s+((?:the\s+)?(?:(?:number|count|sum|amount|total)\s+of\s+)?(?:the\s+)?(?:total\s+)?){NP}",
                self.left[at:],
            )
            if count is None or by is None:
                continue
            phrase = f"{by.group(1)}{by.group(2)}".strip()
            self._crossed(at + by.start(), at + by.end())
            table = self.names.table(noun)
            target = self._order_target(phrase)
            if target is None and (m := self.names.column(phrase, ("number",), least=MEANT, within=self.names.near())):
                target = m
            if target is None and REVENUE.search(phrase):
                target = self._measure(f"total {phrase}", AGGREGATE.match("total "))
            if target is None and (counted := self.names.table(phrase)):
                target = Measure("COUNT", None, counted.name)
            if target is None:
                continue
            if isinstance(target, Column) and (table is None or target.table != table.name) and target.kind == "number":
                target = Measure("SUM", target, target.table)
            self._entity(noun, target)
            if isinstance(target, Measure):
                self.plan.measures.append(target)
            self.plan.order.append((target, up))
            self.plan.limit = count
            return True
        return False

    def _entity(self, noun: str, target: Measure | Column) -> None:
        """Group by what ``noun`` names, if the target is a measure of it; else its rows are wanted."""
        table = self.names.table(noun)
        if isinstance(target, Measure):
            if table:
                self.plan.group_by(self.names, table)
            elif column := self.names.column(noun, keys=True, least=0.35):
                self.plan.groups.append((column, ""))
        elif table is None and (column := self.names.column(noun, keys=True, least=0.35)):
            self.plan.select.append(column)

    def _read_measures(self) -> None:
        for match in found_in(AGGREGATE, self.left):
            counted = match.lastgroup == "COUNT" and re.match(r"(?i)counts?\b", match.group())
            text = self.left[match.start() :]
            inner = AGGREGATE.match(text)
            if counted and not re.match(rf"(?i)\s*(?:of|the|all|how|distinct|{NP})", text[5:]):
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
            and REVENUE.search(self.left)
        ):
            measure = self._measure(f"total {REVENUE.search(self.left).group()}", AGGREGATE.match("total "))
            self.plan.measures += [measure] if measure else []
        if not self.plan.measures and self.plan.groups:
            column = next(
                (c for w in re.findall(r"[\w-]+", self.left) if (c := self.names.column(w, ("number",)))), None
            )
            table = self.names.focus[0].name if self.names.focus else self.plan.groups[0][0].table
            self.plan.measures.append(Measure("SUM", column, column.table) if column else Measure("COUNT", None, table))

    def _apply_superlatives(self, superlatives: list[tuple[str, bool, int | None, str, int]]) -> None:
        plan = self.plan
        owner = re.match(rf"(?i)(?:which|what|who)\s+(?!is\b|are\b|was\b|were\b){NP}", self.question) or re.search(
            rf"(?i){NP}\s*(?:with|having|that ha[sv]e?)\s+\|", self.left
        )
        entity = re.sub(r"(?i)^(?:show|find|list|give|the|me|get)\s+", "", owner.group(1)).strip() if owner else ""
        if entity and not self.names.table(entity) and not self.names.column(entity, keys=True):
            # "Who earns …": a person, of whom the table that is asked about tells.
            entity = self.names.focus[0].name if self.names.focus else ""
        for measured, up, count, noun, at in superlatives:
            table, counted = self.names.table(entity), self.names.table(noun)
            numeric = None if counted else self.names.column(noun, ("number",)) if noun else None
            if entity and noun:
                target: Column | Measure | None = numeric or (
                    None if counted else self.names.column(noun, ("number",), least=MEANT, within=self.names.near())
                )
                if counted or target is None:
                    base = counted or (self.names.focus[0] if self.names.focus else None)
                    target = Measure("COUNT", None, base.name) if base else None
                if target is None:
                    continue
                if isinstance(target, Column) and (table is None or table.name != target.table):
                    target = plan.measures[0] if plan.measures else Measure("SUM", target, target.table)
                if plan.measures and isinstance(target, Column):
                    target = plan.measures[0]
                self._entity(entity, target)
                if isinstance(target, Measure) and target not in plan.measures:
                    plan.measures.append(target)
                plan.order.append((target, up))
                plan.limit = count or (1 if is_singular(entity) or re.match(r"(?i)who\b", self.question) else None)
                continue
            if numeric and not entity:
                measure = Measure("MAX" if up else "MIN", numeric, numeric.table)
                plan.measures.append(measure)
                continue
            if (
                not noun
                and not entity
                and (
                    other := next((c for w in self.left[at:].split() if (c := self.names.column(w, ("number",)))), None)
                )
            ):
                plan.measures.append(Measure("MAX" if up else "MIN", other, other.table))
                continue
            column = self._dimension(measured, noun, counted or (None if noun else table))
            if column:
                up = up if not (column.kind == "date" and measured == "age") else not up
                plan.order.append((column, up))
                plan.limit = count or (1 if is_singular(noun or entity) else None)

    def _dimension(self, measured: str, noun: str, table: Table | None) -> Column | None:
        """The column that an adjective orders by."""
        within = [table] if table else self.names.near()
        if measured == "date":
            return self._first_date(within, "")
        found = self.names.column(measured, ("number",), least=0.2, within=within) if measured else None
        if measured == "age" and (found is None or "age" not in words(found.name).split()):
            found = self._first_date(within, "birth") or found
        found = found or self.names.column(noun, ("number",), least=MEANT, within=within)
        # "The smallest field": by the number that comes nearest to a size.
        return found or (
            self.names.column(measured or "size", ("number",), least=-1.0, within=[table]) if table else None
        )

    def _apply_pending(self) -> None:
        measured, up, noun = self.pending_order or ("", True, "")
        target: Measure | Column | None = self.plan.measures[0] if self.plan.measures else None
        target = target or self._dimension(
            measured, noun or self.left, self.names.focus[0] if self.names.focus else None
        )
        if target:
            self.plan.order.append((target, up))

    def _read_selection(self) -> None:
        """The columns that the question asks to see."""
        plan = self.plan
        if plan.measures or plan.groups:
            return
        head = re.split(r"\||[?.;]|(?i:\b(?:sorted|ordered|where|whose|who|that|which (?:is|are))\b)", self.left)[0]
        distinct = bool(re.search(r"(?i)\b(?:distinct|different|unique)\b", head))
        stems = stems_of(head)
        for table in self.names.focus or list(self.names.tables.values()):
            for column in table.columns:
                own = stems_of(column.name)
                if (
                    own
                    and all(among(s, stems) for s in own)
                    and column not in plan.select
                    and set(own) - set(stems_of(table.name))
                ):
                    plan.select.append(column)
        if self.names.mentioned(self.question):
            # "Books published in 1990" asks for books: what they are chosen by need not be shown.
            chosen = {(c.table, c.name) for part in plan.where for c in part.find_all(exp.Column)}
            plan.select = [c for c in plan.select if (short(c.table), c.name) not in chosen]
        named = {c: set(stems_of(c.name)) for c in plan.select}
        plan.select = [c for c in plan.select if not any(named[c] < others for others in named.values())]
        asked = re.match(
            rf"(?i)\W*(?:(?:show|list|find|give|get|display|what|which|are|is|were|the|me|all|distinct|different|unique)\s+)*{NP}(of\b)?",
            head,
        )
        noun = asked.group(1).strip() if asked else ""
        if not plan.select and noun and not self.names.mentioned(noun):
            near = self.names.near()
            column = self.names.column(noun, keys=True, within=near) or (
                self.names.column(noun, least=0.4, within=near) if asked and asked.group(2) else None
            )
            if column:
                plan.select.append(column)
                is_entity = not self.names.mentioned(self.question)
                distinct = distinct or (column.kind == "text" and is_entity)
                if column.is_key and is_entity:
                    plan.select.pop()
        plan.distinct = distinct and bool(plan.select)
