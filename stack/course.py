"""``make course``: run every lesson and print the table."""

from __future__ import annotations

from stack.outline import outline
from stack.provider import who_answers
from stack.report import bill
from stack.runs import Outcome, execute
from stack.settings import Settings, StackError
from stack.terminal import Terminal
from stack.use import in_use


def run_all(settings: Settings) -> int:
    """Run every lesson there is and print the table. Exit status 0 when all ended as the outline says."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table

    dag_ids = sorted(path.stem for path in settings.dags.glob("*.py"))
    if not dag_ids:
        raise StackError(f"There are no lessons in {settings.dags}.")
    settings.prepare()
    log = settings.logs / "course.log"
    log.write_text("")
    lessons = outline()
    terminal = Terminal(log)
    console = Console(file=terminal.file, width=None if terminal.is_tty else 120)
    terminal.say(who_answers(settings))
    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with (
            in_use(settings, terminal.say),
            Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as progress,
        ):
            bar = progress.add_task("course", total=len(dag_ids))
            for dag_id in dag_ids:
                progress.update(bar, description=dag_id)
                outcomes.append(execute(settings, dag_id))
                progress.advance(bar)
    except Exception as error:
        terminal.failed(error, log)
        return 1
    table = Table(title="The course")
    for heading in ("lesson", "outcome", "expected", "tasks", "LLM calls", "tokens", "cost", "seconds"):
        table.add_column(heading, justify="left" if heading in ("lesson", "outcome", "expected") else "right")
    good = 0
    for outcome in outcomes:
        expected = lessons.get(outcome.dag_id, {}).get("outcome", "success")
        ok = outcome.ended(expected)
        good += ok
        mark = "" if ok else " ✗"
        table.add_row(
            outcome.dag_id,
            outcome.state + mark,
            expected,
            str(len(outcome.tasks)),
            *bill(outcome.spent),
            f"{outcome.seconds:.1f}",
        )
    console.print(table)
    if settings.keyless:
        terminal.say(
            "cost is what these tokens cost at the models' list prices (+ ?: not all have one); keyless costs nothing."
        )
    for outcome in outcomes:
        if outcome.error:
            console.print(f"{outcome.dag_id}: {outcome.error}", markup=False)
    terminal.say(
        f"{good} of {len(outcomes)} lessons ended as expected ({len(outcomes)} of {len(lessons)} of the course are there)."
    )
    if good < len(outcomes):
        terminal.say(f"The tasks' logs: {log}")
    return 0 if good == len(outcomes) else 1
