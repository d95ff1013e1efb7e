"""What a question keeps of the rows: values, numbers, times, and what is missing."""

from __future__ import annotations

import re

from sqlglot import exp

from keyless.mind.sql.language import (
    AGGREGATE,
    CAPITAL,
    COMPARED,
    LACKING,
    MATCHED,
    NEGATION,
    NP,
    NUM,
    QUOTED,
    STOP,
    adjective_of,
    found_in,
    number_of,
)
from keyless.mind.sql.names import (
    MEANT,
    MOST_COMPARED,
    Alike,
    Names,
    among,
    column_of,
    stems_of,
    table_of,
)
from keyless.mind.sql.query import SIGNS, Measure, Plan
from keyless.mind.sql.tables import Column, Table
from keyless.mind.sql.times import DATED, span
from keyless.mind.text import words


class Filters:
    """Takes a question apart. What was understood is crossed out in ``left``, so that nothing is read twice."""

    def __init__(self, question: str, tables: list[Table], dialect: str | None, alike: Alike) -> None:
        self.question = re.sub(r"\s+", " ", question).strip()
        self.left = self.question
        self.names = Names(tables, self.question, alike)
        self.dialect = dialect
        self.plan = Plan()

    def _crossed(self, start: int, end: int) -> None:
        self.left = f"{self.left[:start]}{'|' * (end - start)}{self.left[end:]}"

    def _before(self, at: int, count: int = 4) -> str:
        """The last words before a place, up to what is crossed out."""
        return " ".join(re.split(r"[|,;.?]", self.left[:at])[-1].split()[-count:])

    def _keep(self, column: Column, operator: str, value: exp.Expression) -> None:
        self.plan.where.append(SIGNS[operator](this=column_of(column), expression=value))

    def _read_matches(self) -> None:
        for match in found_in(MATCHED, self.left):
            value = next(filter(None, match.groups()[1:]), "")
            context = self._before(match.start())
            column = self.names.column(context, ("text",), least=MEANT, within=self.names.near())
            if column:
                op = match.group("op").lower()
                form = f"{value}%" if op[0] in "sb" else f"%{value}" if op[0] == "e" else f"%{value}%"
                self._keep(column, "LIKE", exp.Literal.string(form))
                self._crossed(match.start(), match.end())

    def _read_dates(self) -> None:
        for match in found_in(DATED, self.left):
            context = self._before(match.start())
            operator = (match.group("op") or "").lower()
            plain_year = bool(match.group("a")) and bool(re.fullmatch(r"\d{4}", match.group("a")))
            if plain_year and not operator and not context:
                continue
            near = self.names.near()
            years = self.names.column("year", ("number",), within=near) if plain_year else None
            column = self.names.column(context, ("date",), within=near) or self._first_date(near, context)
            if years and (
                column is None
                or column.table not in [t.name for t in self.names.focus[:1]]
                or years.table == column.table
            ):
                self._keep_years(years, operator, match)
            elif column:
                low, high = span(match, operator, self.dialect)
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
                    self.names.column(context, ("date",), least=0.0, within=[table])
                    if context and len(found) > 1 and self._verb(context)
                    else None
                ) or found[0]
        return None

    def _verb(self, context: str) -> bool:
        """Whether the last word before a date says what happened then."""
        last = (context.split() or [""])[-1]
        return self.names.table(last) is None and last.lower().endswith(("ed", "n", "t"))

    def _keep_years(self, column: Column, operator: str, match: re.Match[str]) -> None:
        first, second = match.group("a"), match.group("b")
        if second:
            self._keep(column, ">=", exp.Literal.number(first))
            self._keep(column, "<=", exp.Literal.number(second))
            return
        sign = {"before": "<", "until": "<=", "after": ">", "since": ">="}.get(operator, "=")
        self._keep(column, sign, exp.Literal.number(first))

    def _read_numbers(self) -> None:
        for match in found_in(COMPARED, self.left):
            said = match.group("op").lower()
            low, factor, high = match.group(2), match.group(3), match.group(4)
            before = self._before(match.start())
            after_match = re.match(rf"\s*{NP}", self.left[match.end() :])
            after = after_match.group(1).strip() if after_match else ""
            adjective = adjective_of(m.group(1)) if (m := re.search(r"(?:(?:more|less) )?(\w+) than", said)) else None
            measured = adjective[0] if adjective else ""
            if m and m.group(1) == "expensive":
                measured = "price"
            signs = self._signs(said, adjective, bool(high))
            values = [number_of(low, factor), *([number_of(high, match.group(5))] if high else [])]
            end = match.end()
            target: Column | Measure | None = None
            table = self.names.table(after)
            if table and self.names.focus and table is not self.names.focus[0]:
                target = Measure("COUNT", None, table.name)
                end += after_match.end() if after_match else 0
            elif column := self.names.column(after, ("number",)) if after else None:
                target = column
                end += after_match.end() if after_match else 0
            elif before and (named := AGGREGATE.search(before)) and named.lastgroup != "COUNT":
                column = self.names.column(before[named.end() :], ("number",), least=MEANT)
                target = Measure(str(named.lastgroup), column, column.table) if column else None
            if target is None:
                near = self.names.near()
                target = (
                    (self.names.column(measured, ("number",), least=MEANT, within=near) if measured else None)
                    or self.names.column(before, ("number",), within=near)
                    or self.names.column(f"{before} {after}", ("number",), least=MEANT, within=near)
                    or next((c for t in near for c in t.columns if c.kind == "number" and not c.is_key), None)
                )
            if target is None:
                continue
            for sign, value in zip(signs, values, strict=False):
                if isinstance(target, Measure):
                    self.plan.having.append((target, sign, value))
                else:
                    self._keep(target, sign, exp.Literal.number(value))
            # What was compared is not asked for as well.
            start = match.start() - (
                len(before) + 1 if isinstance(target, Measure) and target.function != "COUNT" else 0
            )
            self._crossed(max(0, start), end)
        for match in re.finditer(
            rf"(?i)([\w-]+(?:\s[\w-]+)?)\s+(?:(?:is|=|of|equals|number)\s+)?{NUM}(?!\s*\w*(?:st|nd|rd|th)\b)",
            self.left,
        ):
            column = self.names.column(match.group(1), ("number",), least=0.9, within=self.names.near())
            if column:
                self._keep(column, "=", exp.Literal.number(number_of(match.group(2), match.group(3))))
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
        for table in self.names.near():
            for column in table.columns:
                hits = []
                for value in column.values:
                    for match in re.finditer(rf"(?i)\b{re.escape(value).replace('_', '[_ -]')}\b", self.left):
                        hits.append((value, bool(NEGATION.search(self.left[: match.start()]))))
                        self._crossed(match.start(), match.end())
                for negated in (False, True):
                    if some := [exp.Literal.string(v) for v, n in hits if n is negated]:
                        self._keep_one_of(column, some, negated)
        for column in (
            c for t in self.names.focus[:1] for c in t.columns if c.kind in ("text", "any") and not c.is_key
        ):
            # "with clay soil": the value stands before its column.
            said = rf"\b(?i:with|having|has|have|of|on|in|list|show|find|the|all) (?:an? |the )?((?!{STOP}\b)[a-z-]{{3,}}) (?i:{re.escape(words(column.name))})\b"
            match = re.search(said, self.left)
            if (
                match
                and not AGGREGATE.match(match.group(1))
                and not match.group(1).endswith("est")
                and not self.names.column(match.group(1))
            ):
                self._keep(column, "=", exp.Literal.string(match.group(1)))
                self._crossed(match.start(), match.end())
        for match in found_in(re.compile(QUOTED), self.left):
            # What is crossed out inside a quotation belongs to it all the same.
            self._read_value(match, self.question[slice(*match.span(match.lastindex or 0))])
        for match in found_in(CAPITAL, self.left):
            name = match.group()
            first = not self.question[: match.start()].strip() or self.question[: match.start()].rstrip()[-1] in ".?!:"
            stems = stems_of(name)
            if (
                first
                or not stems
                or name in ("NULL", "SQL")
                or self.names.mentioned(name)
                or all(any(among(s, stems_of(c.name)) for t in self.names.near() for c in t.columns) for s in stems)
            ):
                continue
            self._read_value(match, name)

    def _keep_one_of(self, column: Column, values: list[exp.Expression], negated: bool) -> None:
        if len(values) == 1:
            self._keep(column, "<>" if negated else "=", values[0])
        else:
            inside = exp.In(this=column_of(column), expressions=values)
            self.plan.where.append(exp.Not(this=inside) if negated else inside)

    def _read_value(self, match: re.Match[str], value: str) -> None:
        context = self._before(match.start(), 3)
        follows = re.match(r"\s+([\w-]+(?: [\w-]+)?)", self.left[match.end() :])
        after = follows.group(1) if follows else ""
        near = self.names.near()
        column = None
        last = (context.split() or [""])[-1]
        # "the product Lamp" and "the city of Porto" name the column; "sold in Porto" does not.
        said = () if last.lower() in ("in", "from", "to", "at", "by", "for", "with") else (context, last)
        for phrase in (after, after.split(" ")[0], *said):
            if phrase and column is None:
                column = self.names.column(phrase, ("text",), least=0.75, within=near)
                table = self.names.table(phrase) if phrase in (after.split(" ")[0], last) else None
                if column is None and table:
                    column = self.names.label(table)[0]
        if column is None:
            column = self._by_meaning(value, context, near)
        if column is None:
            return
        negated = bool(NEGATION.search(self.left[: match.start()]))
        self._keep(column, "<>" if negated else "=", exp.Literal.string(value))
        self._crossed(match.start(), match.end())

    def _by_meaning(self, value: str, context: str, near: list[Table]) -> Column | None:
        """The text column whose name is nearest to a value in its place ("from Portugal"): names of people follow "by"."""
        columns = [c for t in near for c in t.columns if c.kind in ("text", "any") and not c.is_key and not c.values][
            :MOST_COMPARED
        ]
        if not columns:
            return None
        link = (context.split() or [""])[-1].lower()
        if link in ("by", "of", "did", "does", "has") and (
            made := [
                c
                for t in near
                if t not in self.names.focus[:1]
                for c in self.names.label(t)
                if re.search(r"name$", words(c.name))
            ]
        ):
            return made[0]
        # A name says of what it is a name, and not by itself what can be one.
        labels = {c for t in near for c in self.names.label(t) if c.name != "label"}
        scores = self.names.alike(value, [words(c.table if c in labels else c.name) for c in columns])
        phrase = self.names.alike(f"{context} {value}".strip(), [f"{words(c.table)} {words(c.name)}" for c in columns])
        place = 0.15 if link in ("in", "from", "to", "at") else 0.0
        own = {t.name for t in self.names.focus[:1]}
        # A column that the question names has another part in it than to go without saying beside this value.
        named = [
            0.2
            if self.names.likeness(stems_of(self.question), c)
            and all(among(s, stems_of(self.question)) for s in stems_of(c.name))
            else 0.0
            for c in columns
        ]
        totals = [
            s
            + p
            - n
            + (0.1 if c.table in own else 0.0)
            + (
                place
                if re.search(
                    r"city|country|region|state|place|location|address|town|cent(?:er|re)|site|office|zone",
                    words(c.name),
                )
                else 0.0
            )
            for s, p, n, c in zip(scores, phrase, named, columns, strict=True)
        ]
        return columns[max(range(len(columns)), key=lambda i: totals[i])]

    def _read_lacks(self) -> None:
        for match in found_in(LACKING, self.left):
            phrase = match.group(2)
            entity = self.names.focus[:1]
            for said in (phrase, phrase.split(" ")[0]):
                column = self.names.column(said, within=entity, least=0.65, keys=True)
                table = self.names.table(said)
                if column and column.kind == "boolean":
                    self._keep(column, "=", exp.false())
                elif column:
                    self.plan.where.append(exp.Is(this=column_of(column), expression=exp.Null()))
                elif table and entity and table is not entity[0] and (link := self.names.link(table, entity[0])):
                    inner = exp.select("1").from_(table_of(table)).where(link)
                    self.plan.where.append(exp.Not(this=exp.Exists(this=inner)))
                    self.names.focus = [t for t in self.names.focus if t is not table]
                else:
                    continue
                self._crossed(match.start(), match.start(2) + len(said))
                break

    def _read_qualities(self) -> None:
        """Booleans that are named, and an adjective before the table or after "are": the value of a column that tells kinds apart."""
        stems = stems_of(self.left)
        for table in self.names.near():
            for column in table.columns:
                own = [s for s in stems_of(column.name) if s not in stems_of(table.name)]
                for said, holds in ((own, exp.true()), ([f"un{s}" for s in own], exp.false())):
                    if column.kind == "boolean" and own and all(among(s, stems) for s in said):
                        self._keep(column, "=", holds)
                        kept = [w for w in self.left.split() if not any(among(s, said) for s in stems_of(w))]
                        self.left = " ".join(kept)
        for column in (
            c
            for t in self.names.focus[:1]
            for c in t.columns
            if re.match(r"(?:is|are|do|does|did|has|have|can) you\b", words(c.name))
        ):
            # A questionnaire's column that is a question of yes or no.
            own = stems_of(re.sub(r"\([^()]*\)", "", column.name))
            if sum(among(s, stems_of(self.question)) for s in own) * 2 > len(own):
                said = exp.Lower(this=column_of(column))
                self.plan.where.append(exp.Like(this=said, expression=exp.Literal.string("yes%")))
        for table in self.names.focus[:1]:
            kinds = [c for c in table.columns if c.kind in ("text", "any") and not c.is_key and not c.values]
            kinds = [c for c in kinds if not re.search(r"(?:name|title)$", words(c.name))][:MOST_COMPARED]
            kinds = [c for c in kinds if not all(among(s, stems_of(self.question)) for s in stems_of(c.name))]
            name = (stems_of(table.name) or [""])[-1]
            match = re.search(
                rf"(?i)(?:^|\b(?:the|of|all|many|show|list|find|count|which)\s+)((?:(?!{STOP}\b|how\b|many\b|show\b|list\b|find\b|count\b|which\b|what\b|names?\b|number\b|different\b|distinct\b)[a-z]+\s+){{1,2}})(?={name})",
                self.left,
            )
            match = match or re.search(
                r"(?i)\b(?:that|which|who)?\s*(?:are|is|were|was|have been|has been)\s+((?!there\b|in\b|the\b|an?\b|not\b|no\b)[a-z]+ed|[a-z]+ing)\b",
                self.left,
            )
            if (
                not kinds
                or not match
                or adjective_of(match.group(1).split()[-1])
                or AGGREGATE.match(match.group(1))
                or self.names.column(match.group(1))
            ):
                continue
            value = match.group(1).strip()
            scores = self.names.alike(value, [words(c.name) for c in kinds])
            self._keep(kinds[max(range(len(kinds)), key=lambda i: scores[i])], "=", exp.Literal.string(value))
            self._crossed(match.start(1), match.start(1) + len(value))
