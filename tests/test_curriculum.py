"""Every item of every lesson that is there is shown by tasks and proved by a test."""

from __future__ import annotations

import checks
import pytest

from stack.settings import REPO

LESSONS = checks.outline(REPO)


@pytest.mark.parametrize("dag_id", checks.present(REPO))
def test_items_are_in_the_doc_and_in_the_tasks(dag_id, dagbag):
    assert checks.checklist_errors(LESSONS[dag_id], dagbag.dags[dag_id]) == []


@pytest.mark.parametrize("dag_id", checks.present(REPO))
def test_items_have_a_test(dag_id):
    lesson = LESSONS[dag_id]
    marked = checks.marked_items(REPO / "tests" / "lessons" / f"test_{dag_id}.py")
    assert marked == {(lesson["id"], item) for item in lesson["checklist"]}


def test_a_missing_mark_is_found(tmp_path):
    file = tmp_path / "test_x.py"
    file.write_text(
        'import pytest\n\n@pytest.mark.checklist("114.1.3", "Pass prompt to model")\ndef test_a(): ...\n\ndef test_b(): ...\n'
    )
    assert checks.marked_items(file) == {("114.1.3", "Pass prompt to model")}
    assert checks.marked_items(tmp_path / "none.py") == set()
