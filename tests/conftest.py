"""One stack for the whole test run: a state folder and ports of its own, PostgreSQL and keyless started when first needed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port

pytest.register_assert_rewrite("shapes")
REPO = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported, because Airflow reads its settings when it is imported."""
    state = Path(tempfile.mkdtemp(prefix="course-test-", dir="/tmp"))
    state.chmod(0o755)
    config.course_state = state  # type: ignore[attr-defined]
    os.environ.update(
        COURSE_STATE=str(state),
        PORT=str(free_port()),
        KEYLESS_PORT=str(free_port()),
        KEYLESS="1",
        AIRFLOW_HOME=str(state / "airflow"),
    )
    os.environ.pop("COURSE_DAGS", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The state goes with the run."""
    shutil.rmtree(config.course_state, ignore_errors=True)  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def settings():
    """The settings of the test run's own stack."""
    from stack.settings import Settings

    return Settings.load()


@pytest.fixture(scope="session")
def running_stack(request, settings) -> Iterator[None]:
    """PostgreSQL with Airflow's tables, and keyless; this process has Airflow's environment."""
    from stack.lessons import running

    with running(settings):
        # Airflow's loggers keep the streams that they find when it is imported: they shall be the process' own, so that a
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
    from keyless.embedder import Embedder

    return Embedder()


@pytest.fixture(scope="session")
def dagbag(running_stack, settings):
    """All lessons, parsed once."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(settings.dags), bundle_path=settings.dags, bundle_name="dags-folder")


def pytest_terminal_summary(terminalreporter, exitstatus, config) -> None:
    """How much of the course is there."""
    import checks

    lessons, items = checks.coverage(REPO)
    terminalreporter.write_line(f"Course: {lessons} of 50 lessons, {items} of 200 checklist items have a test.")
