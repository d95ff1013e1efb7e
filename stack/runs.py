"""One run of a lesson, in this process, as ``airflow dags test`` does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from stack.parsing import instead_of_all, parsed
from stack.pausing import paused
from stack.settings import Settings
from stack.task_logs import tee

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

    from llmkit.ledger import Spending


@dataclass
class Outcome:
    """What one run of a lesson came to. ``result`` is what its last task concludes, which Airflow keeps as the run's result.

    Without ``run_id`` no run began, and ``error`` says why. ``spent`` is None when the ledger could not be read.
    """

    dag_id: str
    run_id: str = ""
    state: str = "failed"
    tasks: dict[str, str] = field(default_factory=dict)
    result: Any = None
    spent: Spending | None = None
    seconds: float = 0.0
    error: str = ""

    def ended(self, expected: str) -> bool:
        """Whether there was a run, and it ended in the state ``expected``."""
        return bool(self.run_id) and self.state == expected


def execute(
    settings: Settings,
    dag_id: str,
    conf: dict[str, Any] | None = None,
    *,
    bag: DagBag | None = None,
    own_lines: Callable[[str], None] | None = None,
) -> Outcome:
    """Run one lesson to its end in this process and say what it came to; its own failure is an outcome, not an exception.

    ``bag`` has it if it is read already. ``own_lines`` gets what the tasks log themselves.
    """
    from airflow.sdk.log import configure_logging
    from airflow.utils.session import create_session

    # A worker masks keys in what a task logs; `dag.test` by itself does not.
    configure_logging()
    if own_lines:
        tee(own_lines)
    outcome = Outcome(dag_id)
    began = time.monotonic()
    try:
        bag = bag or parsed(settings, dag_id)
        dag = bag.dags[dag_id]
        with paused(settings, dag_id), instead_of_all(bag), _conclusion_of(outcome):
            run = dag.test(run_conf=conf)
    except Exception as error:
        # Params that do not validate, for one, are told before the first task.
        outcome.error = (str(error).strip() or type(error).__name__).splitlines()[0]
        return outcome
    outcome.run_id, outcome.state = run.run_id, str(run.state)
    outcome.seconds = time.monotonic() - began
    with create_session() as session:
        for ti in run.get_task_instances(session=session):
            name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
            outcome.tasks[name] = str(ti.state)
    outcome.spent = _spent(dag_id, run.run_id)
    return outcome


@contextmanager
def _conclusion_of(outcome: Outcome) -> Iterator[None]:
    """Keep the run's result as the task returned it. PostgreSQL, where Airflow stores it, puts a dict's keys in another order."""
    from airflow.sdk.bases.xcom import BaseXCom

    original = BaseXCom.set

    def keep(key: str, value: Any, *, dag_result: bool = False, **more: Any) -> None:
        if dag_result and key == BaseXCom.XCOM_RETURN_KEY:
            outcome.result = value
        original(key, value, dag_result=dag_result, **more)

    with patch.object(BaseXCom, "set", keep):
        yield


def _spent(dag_id: str, run_id: str) -> Spending | None:
    import psycopg

    from llmkit import ledger

    try:
        (spent,) = ledger.spending(dag_id=dag_id, run_id=run_id)
        return spent
    except psycopg.Error:
        return None
