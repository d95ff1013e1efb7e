"""``make costs``: the ledger of model calls as a table."""

from __future__ import annotations

import sys

from stack.report import usd
from stack.settings import Settings, StackError
from stack.use import database_in_use


def show(settings: Settings) -> int:
    """Print calls, tokens and list prices by day, lesson and model. Exit status 0; raises ``StackError`` without a ledger."""
    from rich.console import Console
    from rich.table import Table

    if not (settings.pgdata / "PG_VERSION").exists():
        raise StackError("Nothing has been called yet: run a lesson first, such as make lesson DAG=114_01_03.")
    with database_in_use(settings):
        from llmkit import ledger

        rows = ledger.spending("day", "dag_id", "provider", "model")
        total = ledger.spending()[0]
    if not rows:
        raise StackError("Nothing has been called yet: run a lesson first, such as make lesson DAG=114_01_03.")
    table = Table(title="What the calls cost, at list price", show_footer=True)
    for heading, footer in (("day", "all"), ("lesson", ""), ("provider", ""), ("model", "")):
        table.add_column(heading, footer, overflow="fold")
    counts = ("calls", "failed", "input_tokens", "output_tokens", "cached_tokens")
    for name in counts:
        table.add_column(name.removesuffix("_tokens"), str(getattr(total, name)), justify="right")
    table.add_column("cost", usd(total), justify="right")
    last: tuple[object, ...] = ()
    for row in rows:
        # What is as in the line above is left out, as in a bill.
        day, lesson, provider, model = (str(part or "?") for part in row.group)
        shown = ["" if last[:1] == row.group[:1] else day, "" if last[:2] == row.group[:2] else lesson, provider, model]
        table.add_row(*shown, *(str(getattr(row, name)) for name in counts), usd(row))
        last = row.group
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    sys.stdout.write(
        "input, output and cached are tokens. + ?: calls were answered by a model without a known price.\n"
    )
    return 0
