"""Runs a lesson once for all tests that look at the run."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Run:
    """A finished run: task states, XComs by task (mapped ones as lists), what keyless received, and all that was logged."""

    state: str
    tasks: dict[str, str]
    xcoms: dict[str, Any]
    requests: list[dict[str, Any]]
    log: str
    error: str = ""
    dag: Any = field(default=None, repr=False)


@contextmanager
def _captured(path: Path):
    """Everything that this process writes to its standard streams, by any library, in a file."""
    saved = os.dup(1), os.dup(2)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(target, 1), os.dup2(target, 2)
    try:
        yield
    finally:
        os.dup2(saved[0], 1), os.dup2(saved[1], 2)
        for descriptor in (*saved, target):
            os.close(descriptor)


@pytest.fixture(scope="session")
def run_lesson(request, running_stack, settings, tmp_path_factory):
    """``run_lesson(dag_id, **params)`` runs a lesson like ``airflow dags test``; the same call is run once."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from stack import lessons

    @cache
    def run(dag_id: str, conf: str) -> Run:
        log = tmp_path_factory.mktemp("log") / "log.txt"
        last = lessons._last_request(settings)
        with capture.global_and_fixture_disabled(), _captured(log):
            outcome = lessons.execute(settings, dag_id, json.loads(conf) or None)
        xcoms: dict[str, Any] = {}
        with create_session() as session:
            rows = session.scalars(
                select(XComModel)
                .where(XComModel.dag_id == dag_id, XComModel.run_id == outcome.run_id, XComModel.key == "return_value")
                .order_by(XComModel.map_index)
            )
            for row in rows:
                value = XComModel.deserialize_value(row)
                if row.map_index < 0:
                    xcoms[row.task_id] = value
                else:
                    xcoms.setdefault(row.task_id, []).append(value)
        requests = lessons._requests_after(settings, last)
        return Run(outcome.state, outcome.tasks, xcoms, requests, log.read_text(errors="replace"), outcome.error)

    return lambda dag_id, **params: run(dag_id, json.dumps(params))
