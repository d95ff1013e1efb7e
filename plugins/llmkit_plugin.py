"""What Airflow registers of llmkit: the listener that keeps the ledger of model calls."""

from __future__ import annotations

from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from llmkit import ledger


class LedgerListener:
    """Tells the ledger which task runs in this process."""

    @hookimpl
    def on_starting(self, component: Any) -> None:
        # The triggerer runs triggers of many tasks in one process, and is told of none of them.
        ledger.watch()

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        ledger.started(task_instance)

    @hookimpl
    def before_stopping(self, component: Any) -> None:
        # Called for every end of a task, also when it defers, and after its state has been told: nobody waits for this.
        ledger.ended()


class LlmkitPlugin(AirflowPlugin):
    name = "llmkit"
    listeners = [LedgerListener()]  # noqa: RUF012
