"""``make lesson`` and ``make course``: run lessons as ``airflow dags test`` does, and show what came out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import httpx
import yaml

from stack import processes
from stack.database import Database
from stack.pausing import paused
from stack.settings import REPO, Settings, StackError
from stack.up import check_disk, is_up, prepare

if TYPE_CHECKING:
    from llmkit.ledger import Spending

_SYMBOLS = {"success": "✓", "failed": "✗", "skipped": "–", "up_for_retry": "↻", "upstream_failed": "·", "deferred": "…"}


def outline() -> dict[str, dict[str, Any]]:
    """The curriculum's lessons by dag_id."""
    course = yaml.safe_load((REPO / "include" / "curriculum.yaml").read_text())
    return {lesson["dag_id"]: lesson for section in course["sections"] for lesson in section["lessons"]}


def find(settings: Settings, wanted: str) -> str:
    """The dag_id that ``wanted`` begins. Raises ``StackError`` when none or several do."""
    if not wanted:
        raise StackError("Say which lesson: make lesson DAG=114_01_03")
    there = sorted(path.stem for path in settings.dags.glob("*.py"))
    # 114.1.3, as the outline writes it, is 114_01_03 as files are named.
    if "." in wanted and all(part.isdigit() for part in wanted.split(".")):
        wanted = "_".join(part.zfill(2) if len(part) < 3 else part for part in wanted.split("."))
    matches = [name for name in there if name == wanted] or [name for name in there if name.startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise StackError(f"{wanted} fits several lessons: {', '.join(matches)}.")
    hint = (
        "it is in the outline, but not written yet"
        if any(d.startswith(wanted) for d in outline())
        else "the README's table lists them"
    )
    raise StackError(f"There is no lesson {wanted} ({hint}).")


@contextmanager
def with_database(settings: Settings) -> Iterator[Database]:
    """PostgreSQL for the time of the block, if it did not run before. The environment of this process becomes Airflow's."""
    settings.prepare()
    check_disk(settings)
    database = Database(settings)
    was_running = database.running
    try:
        os.environ.update(settings.environment(database.start()))
        sys.path[:0] = [*os.environ["PYTHONPATH"].split(os.pathsep), os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"]]
        yield database
    finally:
        # An Airflow that was started meanwhile keeps its database.
        if not was_running and not is_up(settings):
            database.stop()


@contextmanager
def running(settings: Settings) -> Iterator[None]:
    """PostgreSQL and keyless for the time of the block; what ran before goes on running after it."""
    server: subprocess.Popen[bytes] | None = None
    was_up = is_up(settings)
    with with_database(settings) as database:
        try:
            # keyless loads its models while Airflow's database is looked after.
            if settings.keyless and not _answers(settings):
                processes.require_free_port(settings.keyless_port, "KEYLESS_PORT", "keyless")
                server = _start_keyless(settings)
            if not was_up:
                prepare(settings, database, {**os.environ, processes.MARK: str(settings.state)})
            if server is not None:
                _wait_for_keyless(settings, server)
            yield
        finally:
            if server is not None:
                server.terminate()
                server.wait(timeout=10)


def _answers(settings: Settings) -> bool:
    try:
        return httpx.get(f"{settings.keyless_url}/health", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _start_keyless(settings: Settings) -> subprocess.Popen[bytes]:
    log = (settings.logs / "keyless.log").open("ab")
    command = [sys.executable, "-m", "keyless", "--port", str(settings.keyless_port)]
    return subprocess.Popen(
        command, cwd=REPO, stdout=log, stderr=log, env={**os.environ, processes.MARK: str(settings.state)}
    )


def _wait_for_keyless(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if _answers(settings):
            return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    server.kill()
    raise StackError(f"keyless did not start; {settings.logs / 'keyless.log'} says why.")


@dataclass
class Outcome:
    """What one run of a lesson came to. ``answers`` holds the return values of its last tasks."""

    dag_id: str
    run_id: str = ""
    state: str = "failed"
    tasks: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    spent: Spending | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def bill(self) -> tuple[str, str, str]:
        """Calls to models, their tokens, and what these cost at list price."""
        spent = self.spent
        if spent is None:
            return "0", "0", "0"
        return str(spent.calls), str(spent.input_tokens + spent.output_tokens), usd(spent)


def usd(spent: Spending) -> str:
    """A sum with as many digits as a small one needs; ``+ ?`` where some calls have no known price."""
    digits = 6 if spent.cost_usd < 1 else 2
    return f"${spent.cost_usd:.{digits}f}" + (" + ?" if spent.unpriced else "")


class Terminal:
    """The reader's terminal, while everything that libraries print goes to a log file (or, with ``verbose``, does not)."""

    def __init__(self, log: Path, *, verbose: bool) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
        self.is_tty = self._out.isatty()
        if not verbose:
            target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            sys.stdout.flush()
            os.dup2(target, 1)
            os.dup2(target, 2)
            os.close(target)

    def say(self, text: str) -> None:
        """One line, at once."""
        self._out.write(text + "\n")
        self._out.flush()

    def failed(self, error: Exception, log: Path) -> None:
        """What the reader can mend is said in its own sentence; anything else is ours, and its traceback goes to the log."""
        if isinstance(error, StackError):
            self.say(str(error))
        else:
            traceback.print_exception(error)
            self.say(f"{type(error).__name__}: {error} (the traceback is in {log})")

    @property
    def file(self) -> TextIO:
        """For libraries that draw by themselves."""
        return self._out


class _Progress:
    """An Airflow listener that says how each task ended."""

    def __init__(self, terminal: Terminal | None) -> None:
        self._terminal = terminal
        self._began: dict[Any, float] = {}

    def _name(self, ti: Any) -> str:
        return ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"

    def started(self, ti: Any) -> None:
        """Note the time."""
        self._began[(ti.task_id, ti.map_index)] = time.monotonic()

    def ended(self, ti: Any, state: str, error: object = None) -> None:
        """Say one line."""
        if self._terminal is None:
            return
        took = time.monotonic() - self._began.get((ti.task_id, ti.map_index), time.monotonic())
        why = (
            f"  {type(error).__name__}: {str(error).splitlines()[0][:140]}"
            if isinstance(error, BaseException) and str(error)
            else ""
        )
        self._terminal.say(f"  {_SYMBOLS.get(state, '?')} {self._name(ti)} {took:.1f} s{why}")


def _listen(progress: _Progress) -> None:
    from airflow.listeners import hookimpl
    from airflow.sdk.listener import get_listener_manager

    class Listener:
        @hookimpl
        def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
            progress.started(task_instance)

        @hookimpl
        def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
            progress.ended(task_instance, "success")

        @hookimpl
        def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
            progress.ended(task_instance, "failed", error)

        @hookimpl
        def on_task_instance_skipped(self, previous_state: Any, task_instance: Any) -> None:
            progress.ended(task_instance, "skipped")

    get_listener_manager().add_listener(Listener())


def execute(settings: Settings, dag_id: str, conf: dict[str, Any] | None = None) -> Outcome:
    """Run one lesson to its end in this process and say what it came to; its own failure is an outcome, not an exception."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.xcom import XComModel
    from airflow.sdk.log import configure_logging
    from airflow.utils.session import create_session

    # A worker masks keys in what a task logs; `dag.test` by itself does not.
    configure_logging()
    outcome = Outcome(dag_id)
    began = time.monotonic()
    bag = DagBag(dag_folder=str(settings.dags / f"{dag_id}.py"), bundle_path=settings.dags, bundle_name="dags-folder")
    if bag.import_errors:
        outcome.error = next(iter(bag.import_errors.values())).strip().splitlines()[-1]
        return outcome
    dag = bag.dags.get(dag_id)
    if dag is None:
        outcome.error = f"{dag_id}.py defines no DAG of that id"
        return outcome
    try:
        with paused(dag_id):
            run = dag.test(run_conf=conf)
    except Exception as error:
        # Params that do not validate, for one, are told before the first task.
        outcome.error = str(error).strip().splitlines()[0]
        return outcome
    outcome.run_id, outcome.state = run.run_id, str(run.state)
    outcome.seconds = time.monotonic() - began
    with create_session() as session:
        for ti in run.get_task_instances(session=session):
            name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
            outcome.tasks[name] = str(ti.state)
        for leaf in dag.leaves:
            rows = session.scalars(
                XComModel.get_many(run_id=run.run_id, dag_ids=dag_id, task_ids=leaf.task_id, key="return_value")
            ).all()
            values = [XComModel.deserialize_value(row) for row in rows]
            if values:
                outcome.answers[leaf.task_id] = values[0] if len(values) == 1 else values
    outcome.spent = _spent(dag_id, run.run_id)
    return outcome


def _spent(dag_id: str, run_id: str) -> Spending | None:
    import psycopg

    from llmkit import ledger

    try:
        (spent,) = ledger.spending(dag_id=dag_id, run_id=run_id)
        return spent
    except psycopg.Error:
        return None


class _Readable(yaml.SafeDumper):
    """YAML whose texts of several lines keep their lines."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    lines = "\n".join(line.rstrip() for line in value.splitlines())
    return dumper.represent_scalar("tag:yaml.org,2002:str", lines, style="|" if "\n" in lines else None)


_Readable.add_representer(str, _text)


def shown(value: Any) -> str:
    """An answer as a reader wants to see it: text as text, data as YAML."""
    if isinstance(value, str):
        return value.strip()
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    try:
        plain = json.loads(json.dumps(value, default=str))
        return yaml.dump(plain, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=110).strip()
    except (TypeError, ValueError):
        return str(value)


def run_one(settings: Settings, wanted: str, *, conf: str | None, verbose: bool) -> int:
    """Exit status 0 when the lesson ended as the outline says. Raises ``StackError`` for params that are no JSON object."""
    dag_id = find(settings, wanted)
    try:
        params = json.loads(conf) if conf else None
    except ValueError as error:
        raise StackError(f'CONF is no JSON ({error}): write it like CONF=\'{{"question": "…"}}\'.') from None
    if params is not None and not isinstance(params, dict):
        raise StackError('CONF must be a JSON object, like CONF=\'{"question": "…"}\'.')
    settings.prepare()
    log = settings.logs / "lesson.log"
    log.write_text("")
    terminal = Terminal(log, verbose=verbose)
    lesson = outline().get(dag_id, {})
    terminal.say(f"{lesson.get('id', dag_id)} {lesson.get('title', '')}".strip())
    try:
        with running(settings):
            _listen(_Progress(terminal))
            outcome = execute(settings, dag_id, params)
    except Exception as error:
        terminal.failed(error, log)
        return 1
    if outcome.error:
        terminal.say(f"It did not run: {outcome.error}")
    for task_id, answer in outcome.answers.items():
        terminal.say(f"\n{task_id}:\n{shown(answer)}")
    expected = lesson.get("outcome", "success")
    as_expected = outcome.state == expected
    verdict = "as expected" if as_expected else f"expected was {expected}"
    calls, tokens, cost = outcome.bill
    terminal.say(
        f"\n{outcome.state} ({verdict}) · {len(outcome.tasks)} tasks · {calls} LLM calls · {tokens} tokens · {cost} · {outcome.seconds:.1f} s"
    )
    if not verbose and not as_expected:
        terminal.say(f"The tasks' logs: {log} (or run it with V=1).")
    return 0 if as_expected else 1


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
    terminal = Terminal(log, verbose=False)
    console = Console(file=terminal.file, width=None if terminal.is_tty else 120)
    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with (
            running(settings),
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
        ok = outcome.state == expected
        good += ok
        mark = "" if ok else " ✗"
        table.add_row(
            outcome.dag_id,
            outcome.state + mark,
            expected,
            str(len(outcome.tasks)),
            *outcome.bill,
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
