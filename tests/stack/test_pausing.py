"""A test pauses its lesson for as long as it runs, also when it is killed; what the reader paused stays paused."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from sqlalchemy import update

from stack.settings import REPO

DAG, OTHER = "114_01_03_basic_llm_task", "114_01_04_ai_sdk_task_decorator"


@pytest.fixture
def pause(dagbag):
    """Sets or reads whether a lesson is paused; both are registered, and not paused, before and after."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(dagbag, "dags-folder", None)

    def pause(dag_id, value=None):
        with create_session() as session:
            if value is not None:
                session.execute(update(DagModel).where(DagModel.dag_id == dag_id).values(is_paused=value))
            return session.get(DagModel, dag_id).is_paused

    for dag_id in (DAG, OTHER):
        pause(dag_id, False)
    yield pause
    for dag_id in (DAG, OTHER):
        pause(dag_id, False)


def a_killed_test(dag_id):
    """A process that pauses ``dag_id`` as a test of it does, and gets no chance to say goodbye."""
    script = f"""
import time
from stack.pausing import paused
with paused({dag_id!r}):
    print("paused", flush=True)
    time.sleep(120)
"""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=REPO, stdout=subprocess.PIPE, text=True)
    while "paused" not in process.stdout.readline():
        assert process.poll() is None
    return process


def setup():
    from stack import airflow_setup

    airflow_setup.main()


def test_what_the_reader_paused_stays_paused(pause):
    pause(DAG, True)
    setup()
    assert pause(DAG) is True
    from stack.pausing import paused

    with paused(DAG):
        assert pause(DAG) is True
    assert pause(DAG) is True, "a test in between changes nothing"


def test_what_a_killed_test_left_paused_is_mended_by_the_next_start(pause):
    pause(OTHER, True)
    process = a_killed_test(DAG)
    assert pause(DAG) is True
    setup()
    assert pause(DAG) is True, "the test still runs"
    process.send_signal(signal.SIGKILL)
    process.wait()
    setup()
    assert pause(DAG) is False
    assert pause(OTHER) is True, "that was the reader"
    pause(DAG, True)
    setup()
    assert pause(DAG) is True, "from now on it is the reader who paused it"


def test_the_next_test_mends_it_too_and_the_last_of_two_unpauses(pause):
    from stack.pausing import paused

    process = a_killed_test(DAG)
    process.kill()
    process.wait()
    with paused(DAG):
        with paused(DAG):
            assert pause(DAG) is True
        assert pause(DAG) is True, "the other one still runs"
    assert pause(DAG) is False


def test_a_lesson_is_registered_unpaused(pause):
    from airflow.models.dag import DagModel

    assert DagModel.__table__.c.is_paused.default.arg is False
