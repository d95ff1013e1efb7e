"""The UI says who answers and where to begin: on the home page, and on each lesson's page."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from stack.outline import outline
from stack.settings import REPO

SCRIPT = """
import json, sys
sys.argv = ["airflow", "api-server"]
from airflow import settings
from airflow.api_fastapi.core_api.routes.ui.config import DASHBOARD_UIALERTS
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder="dags/114_01_01_ai_sdk_overview.py", bundle_path="dags", bundle_name="dags-folder")
page = bag.dags["114_01_01_ai_sdk_overview"].doc_md
print("SAID", json.dumps([[alert.text for alert in DASHBOARD_UIALERTS], page]))
"""


@pytest.mark.parametrize("keyless", ["1", "0"])
def test_the_home_page_and_the_lesson_s_page_say_who_answers(running_stack, keyless):
    environment = {**os.environ, "KEYLESS": keyless}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=REPO, env=environment, capture_output=True, text=True, check=False
    )
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("SAID")]
    banners, page = json.loads(said.removeprefix("SAID"))
    together = " ".join(banners)
    # With a key of the reader's own no small model answers, and nothing says so.
    assert ("small model on this machine answers" in together) == (keyless == "1")
    assert ("Any model name is accepted" in together) == (keyless == "1")
    assert ("(/connections)" in together) == (keyless == "1")
    assert page.count("small model on this machine answers") == (1 if keyless == "1" else 0)
    # In the file a link to another lesson is that file's name; on the page it leads to the other page.
    assert "[1.2 AI SDK Configuration](/dags/114_01_02_ai_sdk_configuration)" in page and ".py)" not in page
    assert "/dags/114_01_01_ai_sdk_overview" in together and "section 7" in together and "red on purpose" in together


def test_what_the_banner_says_of_the_lessons_is_true():
    assert next(iter(outline())) == "114_01_01_ai_sdk_overview"
    assert {d for d, lesson in outline().items() if lesson["outcome"] == "failed"} == {
        d for d in outline() if d.startswith("114_07_")
    }


def test_processes_and_shells_know_whether_keyless_answers(settings):
    from dataclasses import replace

    assert settings.environment("x")["KEYLESS"] == "1"
    assert replace(settings, keyless=False).environment("x")["KEYLESS"] == "0"


def test_the_page_of_a_mapped_task_is_its_docstring_or_its_own_text_and_never_none_s():
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import dag, task

    sys.path.insert(0, str(REPO / "config"))
    try:
        import course_notes
    finally:
        sys.path.remove(str(REPO / "config"))

    @dag(schedule=None)
    def some() -> None:
        @task
        def ask(word: str) -> str:
            """What it asks."""
            return word

        ask.expand(word=["a"])
        BashOperator.partial(task_id="silent").expand(bash_command=["true"])
        BashOperator.partial(task_id="told", doc_md="Its own text.").expand(bash_command=["true"])

    made = some()
    course_notes.document(made)
    assert {task_id: made.get_task(task_id).doc_md for task_id in ("ask", "silent", "told")} == {
        "ask": "What it asks.",
        "silent": None,
        "told": "Its own text.",
    }
    assert "doc_md" not in made.get_task("silent").partial_kwargs, "from 3.13 on even None has a docstring"
