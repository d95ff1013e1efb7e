"""Which tables and columns a phrase names: by the stems of its words, else by meaning. It knows how tables are joined, too."""

from __future__ import annotations

import re
from collections.abc import Callable

import snowballstemmer
from sqlglot import exp
from sqlglot.dialects import MySQL, Redshift

from keyless.mind.sql.tables import Column, Table
from keyless.mind.text import words

Alike = Callable[[str, list[str]], list[float]]
"""Cosine similarities of a text to each of others, as ``Decider.alike`` gives them."""
LIKELY, MEANT = 0.6, 0.28
"""Likeness of names from which a column is the one that a phrase names, and of meanings where a column has to be found."""
MOST_COMPARED = 100
"""Columns whose meaning is compared."""

_RESERVED = Redshift.Generator.RESERVED_KEYWORDS & MySQL.Generator.RESERVED_KEYWORDS | {"user"}
"""Words that mean something else in most databases, unless they are quoted."""

_STEMS = snowballstemmer.stemmer("english")

_EMPTY = re.compile(
    r"(?:a|an|the|of|in|on|at|to|for|from|by|with|and|or|is|are|was|were|be|been|do|does|did|has|have|had|that|which|who|whose|what|"
    r"this|these|those|there|their|its|it|me|us|i|we|you|all|any|each|every|per|show|list|find|give|get|display|return|how|many|much|please|s|no|not)"
)
"""Words that name nothing."""


def stems_of(text: str) -> list[str]:
    """The stems of the words in ``text`` that name something, in their order."""
    return _STEMS.stemWords([w for w in re.findall(r"[^\W_]+", words(text)) if not _EMPTY.fullmatch(w)])


def same(one: str, other: str) -> bool:
    """Whether two stems are of the same word: some differ in a letter at their end (diagnosis, diagnoses)."""
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) > 4 and len(long) - len(short) == 1 and long.startswith(short))


def among(stem: str, stems: list[str]) -> bool:
    """Whether a stem is the same as one of others."""
    return any(same(stem, other) for other in stems)


def short(table: str) -> str:
    """A table's name without the schema that it is in."""
    return table.rpartition(".")[2]


def quoted(name: str) -> bool:
    """Whether a name has to be quoted to stay what it is."""
    return name in _RESERVED or not re.fullmatch(r"[a-z_][a-z0-9_]*", name)


def column_of(column: Column) -> exp.Column:
    """The column as SQL, with its table."""
    return exp.column(
        column.name,
        table=exp.to_identifier(short(column.table), quoted=quoted(short(column.table))),
        quoted=quoted(column.name),
    )


def table_of(table: Table) -> exp.Table:
    """The table as SQL."""
    schema, _, name = table.name.rpartition(".")
    return exp.table_(exp.to_identifier(name, quoted=quoted(name)), db=schema or None)


class Names:
    """The tables of a prompt, and those in ``focus`` that the question is about, the first of them most."""

    def __init__(self, tables: list[Table], question: str, alike: Alike) -> None:
        self.tables = {t.name: t for t in tables}
        self.alike = alike
        self.focus: list[Table] = []
        self.focus = self.mentioned(question) or self.described(stems_of(question))

    def mentioned(self, text: str) -> list[Table]:
        """The tables that ``text`` names, in its order."""
        stems = stems_of(text)
        found = []
        for table in self.tables.values():
            own = stems_of(short(table.name))
            places = [i for i, stem in enumerate(stems) if own and same(stem, own[-1])]
            if places and all(among(stem, stems) for stem in own):
                found.append((places[0], table))
        return [table for _, table in sorted(found, key=lambda f: f[0])]

    def described(self, stems: list[str]) -> list[Table]:
        """The tables whose columns a question names where it names no table: the one with the most of them first."""
        named = {
            n: sum(max((self.likeness([s], c) for c in t.columns), default=0) > 0 for s in set(stems))
            for n, t in self.tables.items()
        }
        return sorted((t for n, t in self.tables.items() if named[n]), key=lambda t: -named[t.name])[:1] or (
            list(self.tables.values()) if len(self.tables) == 1 else []
        )

    def table(self, phrase: str) -> Table | None:
        """The table that a phrase is about: the last that it names, as the head of a noun phrase is its last word."""
        stems = stems_of(phrase)
        named = self.mentioned(phrase)
        own = stems_of(named[-1].name)[-1] if named else ""
        return named[-1] if named and stems and same(stems[-1], own) else None

    def likeness(self, stems: list[str], column: Column) -> float:
        """How far the stems of a phrase and of a column's name are the same; 1 where they are."""
        own = stems_of(column.name) or [column.name.lower()]
        table = stems_of(column.table)
        hits = sum(among(stem, own) for stem in stems)
        if not hits:
            return 0.0
        said = sum(among(s, own) or among(s, table) for s in stems) / len(stems)
        covered = sum(among(s, stems) for s in own) / len(own)
        # "customer name" names the name of customers, where the table is a part of the phrase.
        if column.kind == "number" and own and not among(own[-1], stems) and len(own) > 1 and said < 1:
            # Units are no unit price: what is measured stands last.
            return 0.5 * said
        return 0.6 * said + 0.4 * max(covered, 1.0 if said == 1 and hits == len(own) else 0.0)

    def column(
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
        stems = stems_of(phrase)
        if not candidates or not stems:
            return None
        names = [t.name for t in self.focus]

        def favour(column: Column) -> float:
            return 0.1 / (1 + names.index(column.table)) if column.table in names else 0.0

        said = phrase.lower()
        # Rate and rating have one stem.
        literal = [0.15 if re.search(rf"\b{re.escape(words(c.name))}\b", said) else 0.0 for c in candidates]
        scores = [
            self.likeness(stems, c) + favour(c) * 0.9 + exact for c, exact in zip(candidates, literal, strict=True)
        ]
        best = max(range(len(candidates)), key=lambda i: scores[i])
        if scores[best] >= max(least, 0.45):
            return candidates[best]
        if least >= LIKELY:
            return None
        candidates = candidates[:MOST_COMPARED]
        near = self.alike(phrase, [words(c.name) for c in candidates])
        meant = [n + favour(c) for n, c in zip(near, candidates, strict=True)]
        best = max(range(len(candidates)), key=lambda i: meant[i])
        return candidates[best] if meant[best] >= least else None

    def near(self) -> list[Table]:
        """The tables that the question names, and those they are linked with; all where it names none."""
        names = {t.name for t in self.focus}
        linked = {there for t in self.focus for there, _ in t.links.values()}
        linked |= {t.name for t in self.tables.values() if any(there in names for there, _ in t.links.values())}
        return [*self.focus, *(t for t in self.tables.values() if t.name in linked - names)] or list(
            self.tables.values()
        )

    def label(self, table: Table) -> list[Column]:
        """The columns by which people know a row of ``table``."""
        texts = [c for c in table.columns if c.kind in ("text", "any") and not c.is_key]
        named = [c for c in texts if re.search(r"(?:name|title|label)$", words(c.name))]
        if len(named) > 1 and (
            own := [c for c in named if re.search(r"^(?:first|last|full)\b|^(?:sur)?name$|^title$", words(c.name))]
        ):
            named = own
        return named or texts[:1] or table.columns[:1]

    def key(self, table: Table) -> Column | None:
        """The column that tells rows of ``table`` apart."""
        keys = [c for c in table.columns if c.is_key and c.name not in table.links]
        return next((c for c in keys if c.name.lower() == "id"), keys[0] if keys else None)

    def link(self, one: Table, other: Table) -> exp.Expression | None:
        """The condition that joins two tables: a foreign key, else a key of the same name."""
        for here, there in ((one, other), (other, one)):
            for name, (target, column) in here.links.items():
                if target == there.name:
                    pair = Column(here.name, name, "any"), Column(there.name, column, "any")
                    return exp.EQ(this=column_of(pair[0]), expression=column_of(pair[1]))
        for column in one.columns:
            if (
                column.is_key
                and column.name.lower() != "id"
                and (same := next((c for c in other.columns if c.name.lower() == column.name.lower()), None))
            ):
                return exp.EQ(this=column_of(column), expression=column_of(same))
        return None

    def points_to(self, one: Table, other: Table) -> bool:
        """Whether many rows of ``one`` belong to one of ``other``."""
        if any(target == other.name for target, _ in one.links.values()):
            return True
        key = self.key(other)
        return bool(
            key
            and key.name.lower() != "id"
            and any(c.name.lower() == key.name.lower() for c in one.columns)
            and self.key(one) != key
        )

    def joins(self, base: Table, wanted: list[str]) -> list[tuple[Table, Table, exp.Expression]] | None:
        """The shortest ways from ``base`` to the other tables; ``None`` where one cannot be reached."""
        came: dict[str, tuple[Table, exp.Expression]] = {}
        queue = [base]
        for here in queue:
            for there in sorted(self.tables.values(), key=lambda t: not self.points_to(here, t)):
                if there is not base and there.name not in came and (condition := self.link(here, there)):
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
