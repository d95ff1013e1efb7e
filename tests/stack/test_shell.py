"""What ``airflow dags test`` prints: the tasks' own lines and no housekeeping; and no key of a URL in any log."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from stack.settings import REPO

DAG = '''"""One task with something to say."""

import logging
import sys

from airflow.sdk import dag, task


@dag(dag_id="it_speaks", doc_md=__doc__)
def it_speaks():
    @task
    def speak():
        import httpx2

        logging.getLogger(__name__).info("a line of the task's own logger")
        logging.getLogger(__name__).warning("a warning of the task")
        sys.stdout.write("a line on the standard output\\n")
        httpx2.get("{url}?key=very-secret&page=1")
        return "what it returned"

    @task
    def fail(text):
        raise ValueError("why it failed")

    fail(speak())


it_speaks()
'''
NOISE = ("next_dagrun", "graphviz", "GitWildMatch", "Pushing xcom", "Filling up", "Bulk-writing", "Task instance state")


@pytest.fixture
def server():
    """An HTTP server that answers everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/models"
        server.shutdown()


def test_dags_test_shows_the_tasks_own_lines_and_no_key(running_stack, server, tmp_path):
    (tmp_path / "it_speaks.py").write_text(DAG.replace("{url}", server))
    environment = {**os.environ, "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path)}
    environment.pop("AIRFLOW__LOGGING__NAMESPACE_LEVELS", None)
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", "it_speaks"],
        cwd=REPO,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    for own in (
        "a line of the task's own logger",
        "a warning of the task",
        "a line on the standard output",
        "Returned value was: what it returned",
        "why it failed",
        "DagRun Finished",
    ):
        assert own in said, said
    assert not [word for word in NOISE if word in said], said
    lines = [line for line in said.splitlines() if "HTTP Request" in line]
    assert [line for line in lines if f"{server}?key=***&page=1" in line] and "very-secret" not in said, lines
