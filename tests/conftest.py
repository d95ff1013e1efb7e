"""One stack for the whole test run: a state folder and ports of its own, PostgreSQL and keyless started when first needed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest

from stack.ports import free_port

pytest_plugins = ["sdk_clients"]
pytest.register_assert_rewrite("shapes")
REPO = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``make test ARGS=--all-lessons`` takes some minutes more."""
    parser.addoption("--all-lessons", action="store_true", help="run every lesson with the processes of make up too")
    parser.addoption("--dags", help="a folder of lessons to test in place of dags/")
    parser.addoption("--item", help="only tests that carry this item of the outline")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported, because Airflow reads its settings when it is imported."""
    state = _shared_state() or Path(tempfile.mkdtemp(prefix="course-test-", dir="/tmp"))
    state.chmod(0o755)
    config.course_state = state  # type: ignore[attr-defined]
    if not _shared_state():
        os.environ.update(PORT=str(free_port()), KEYLESS_PORT=str(free_port()))
    os.environ.update(
        COURSE_STATE=str(state),
        KEYLESS="1",
        # So that tests can see what the model was told, and with which settings.
        KEYLESS_KEEP_BODIES="1",
        AIRFLOW_HOME=str(state / "airflow"),
    )
    os.environ.pop("COURSE_DAGS", None)
    os.environ.pop("MODEL", None)
    if folder := config.getoption("--dags"):
        os.environ["COURSE_DAGS"] = folder
    if hasattr(config, "workerinput"):
        # One of several processes of pytest-xdist: they share the cores.
        os.environ["KEYLESS_THREADS"] = "1"


def pytest_unconfigure(config: pytest.Config) -> None:
    """The state goes with the run."""
    if not _shared_state():
        shutil.rmtree(config.course_state, ignore_errors=True)  # type: ignore[attr-defined]


def _shared_state() -> Path | None:
    """The state folder of a stack that runs already and goes on running (``make mutants``)."""
    folder = os.environ.get("COURSE_TEST_STATE")
    return Path(folder) if folder else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """``--item``: only the tests of one item."""
    if wanted := config.getoption("--item"):
        chosen = [item for item in items if any(wanted in mark.args[1:] for mark in item.iter_markers("checklist"))]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


@pytest.fixture(scope="session")
def settings():
    """The settings of the test run's own stack."""
    from stack.settings import Settings

    return Settings.load()


@pytest.fixture(scope="session")
def running_stack(request, settings) -> Iterator[None]:
    """PostgreSQL with Airflow's tables, and keyless; this process has Airflow's environment."""
    from stack.use import in_use

    with in_use(settings):
        # Airflow's loggers keep the streams that they find when it is imported: these must be the process' own, so that a
        # test can read what a task logged.
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            import airflow.sdk  # noqa: F401
        yield


@pytest.fixture(scope="session")
def keyless_url(running_stack, settings) -> str:
    """Where keyless answers."""
    return settings.keyless_url


@pytest.fixture(scope="session")
def embedder():
    """The sentence model, loaded once."""
    from keyless.mind.embedder import Embedder

    return Embedder()


@pytest.fixture(scope="session")
def dagbag(running_stack, settings):
    """All lessons, parsed once."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(settings.dags), bundle_path=settings.dags, bundle_name="dags-folder")


@dataclass
class Run:
    """A finished run: task states, XComs by task (mapped ones as lists), what keyless received, and all that was logged.

    Each of ``requests`` has in ``asked`` what the model was told, in one form for all providers: ``system``, ``messages``,
    ``tools``, ``schema``, ``temperature``, ``max_tokens``, ``seed`` and the other settings; ``texts`` where it embeds.
    """

    state: str
    tasks: dict[str, str]
    xcoms: dict[str, Any]
    requests: list[dict[str, Any]]
    log: str
    error: str = ""
    run_id: str = ""
    result: Any = None
    """What the lesson concludes: the run's result."""


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


@contextmanager
def _bundle(folder: Path):
    """``folder`` as the place of DAG files that Airflow knows; the test run's own is the course's."""
    name = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    os.environ[name] = json.dumps([{"name": "dags-folder", "classpath": local, "kwargs": {"path": str(folder)}}])
    try:
        yield
    finally:
        del os.environ[name]


def _requests(settings, **params) -> list[dict[str, Any]]:
    url = f"{settings.keyless_url}/_keyless/requests"
    return httpx.get(url, params=params, timeout=10, trust_env=False).json()["requests"]


@pytest.fixture(scope="session")
def run_dag(request, running_stack, settings, tmp_path_factory):
    """``run_dag(folder, dag_id, **params)`` runs a DAG like ``airflow dags test``; the same call is run once."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.sdk import timezone
    from airflow.utils.session import create_session
    from sqlalchemy import select

    # Retries happen; nobody waits for their delay.
    at_once = patch.object(TaskInstance, "next_retry_datetime", lambda ti: timezone.utcnow() - timedelta(seconds=1))

    from stack import runs

    @cache
    def run(folder: Path, dag_id: str, conf: str) -> Run:
        log = tmp_path_factory.mktemp("log") / "log.txt"
        last = _requests(settings, limit=1)
        with capture.global_and_fixture_disabled(), _bundle(folder), at_once, _captured(log):
            outcome = runs.execute(replace(settings, dags=folder), dag_id, json.loads(conf) or None)
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
        requests = _requests(settings, after=last[-1]["id"] if last else 0, limit=20_000)
        return Run(
            outcome.state,
            outcome.tasks,
            xcoms,
            requests,
            log.read_text(errors="replace"),
            outcome.error,
            outcome.run_id,
            outcome.result,
        )

    return lambda folder, dag_id, **params: run(folder, dag_id, json.dumps(params))


def pytest_terminal_summary(terminalreporter, exitstatus, config) -> None:
    """How much of the course is there."""
    import checks

    lessons, items = checks.coverage(REPO)
    terminalreporter.write_line(f"Course: {lessons} of 50 lessons, {items} of 200 checklist items have a test.")
