"""One line for each task that ends."""

from __future__ import annotations

import time
from typing import Any

from stack.terminal import Terminal

_SYMBOLS = {"success": "✓", "failed": "✗", "skipped": "–", "up_for_retry": "↻", "upstream_failed": "·", "deferred": "…"}


class Progress:
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


def listen(progress: Progress) -> None:
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
