"""Read by every Airflow process before it starts its work.

Airflow forks a process for each DAG file that it parses and for each task that it runs, and each would import the AI
providers anew (together 3 s of CPU). Imported here, before the fork, they are there already in all of them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import course_logs
import course_notes

if TYPE_CHECKING:
    from airflow.sdk import DAG

course_logs.mask_keys_in_urls()

if {"dag-processor", "scheduler"} & set(sys.argv):
    import course_preload  # noqa: F401

if "api-server" in sys.argv:
    from airflow.api_fastapi.common.types import UIAlert

    DASHBOARD_UIALERTS = [UIAlert(text=text, category="info") for text in course_notes.banners()]

if sys.argv[1:3] == ["dags", "test"]:
    import atexit
    from contextlib import ExitStack

    from airflow.sdk.log import configure_logging

    from stack.pausing import paused
    from stack.settings import Settings

    course_logs.quiet_housekeeping()
    # A worker masks keys in what a task logs; `airflow dags test` by itself does not.
    configure_logging()
    # `make up` may be running: its scheduler must not run the tested tasks a second time.
    until_exit = ExitStack()
    atexit.register(until_exit.close)
    for argument in sys.argv[3:4]:
        until_exit.enter_context(paused(Settings.load(), argument))


def dag_policy(dag: DAG) -> None:
    """Airflow calls this for every DAG that it reads."""
    course_notes.document(dag)
