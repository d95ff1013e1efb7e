"""A result as a table: line by line in a task's log, and as Markdown on a page.

A result is data: rows (a list of dicts with the same keys), named facts (a flat dict), or a dict that has both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from tabulate import tabulate

T = TypeVar("T")
LONGEST_CELL, LONGEST_FACT = 72, 200
"""Characters that are shown. What is longer ends in an ellipsis; the result itself keeps all of it."""


def logged(log: logging.Logger, value: T) -> T:
    """Log ``value`` line by line, because a log shows a line break inside a message as it likes; returns ``value``."""
    for line in text(value).splitlines():
        if line:
            log.info("%s", line)
    return value


def text(value: Any) -> str:
    """``value`` for a log or a terminal: rows as aligned columns, facts as ``name: value``."""
    return _shown(value, "presto", lambda name, fact: f"{name}: {fact}")


def markdown(value: Any) -> str:
    """``value`` for a page: rows as a table, facts as a list."""
    return _shown(value, "pipe", lambda name, fact: f"- {name}: {fact}", escape=True)


def _is_rows(value: Any) -> bool:
    """Whether ``value`` is a list of dicts, with at least one."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _shown(value: Any, style: str, fact: Callable[[str, str], str], *, escape: bool = False) -> str:
    if _is_rows(value):
        return _table(value, style, escape=escape)
    if not isinstance(value, dict):
        return cell(value, LONGEST_FACT)
    parts: list[str] = []
    facts: list[str] = []
    for name, inner in value.items():
        if _is_rows(inner):
            if facts:
                parts.append("\n".join(facts))
                facts = []
            parts.append(_table(inner, style, escape=escape))
        else:
            facts.append(fact(name, cell(inner, LONGEST_FACT)))
    if facts:
        parts.append("\n".join(facts))
    return "\n\n".join(parts)


def _table(rows: list[dict[str, Any]], style: str, *, escape: bool) -> str:
    """One table. A column whose values are all numbers stands to the right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    numeric = [all(_is_number(row.get(name)) for row in rows) for name in names]
    cells = [[cell(row.get(name)) for name in names] for row in rows]
    heads = [str(name) for name in names]
    if escape:
        heads, *cells = [[part.replace("|", "\\|") for part in line] for line in (heads, *cells)]
    align = ["right" if number else "left" for number in numeric]
    return tabulate(cells, headers=heads, tablefmt=style, disable_numparse=True, colalign=align)


def cell(value: Any, longest: int = LONGEST_CELL) -> str:
    """One value in one line: yes and no for booleans, a dash for nothing, at most six decimals, no long text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        shown = f"{value:.6f}".rstrip("0").rstrip(".")
        return "0" if shown == "-0" else shown
    if isinstance(value, dict):
        shown = ", ".join(f"{name} {cell(inner)}" for name, inner in value.items())
    elif isinstance(value, list | tuple):
        shown = ", ".join(cell(inner) for inner in value)
    else:
        shown = " ".join(str(value).split())
    if len(shown) > longest:
        return shown[: longest - 1].rstrip() + "…"
    return shown or "–"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
