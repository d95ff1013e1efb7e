"""``make outputs`` and the comparison of a run with what its lesson's page shows."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from llmkit import tables
from stack import outputs

PAGE = f'"""\n# A lesson\n\n{outputs.HEADING}\n\n**In production**: nothing.\n"""\n'
RESULT = {
    "rows": [{"way": "bad", "calls": 3, "usd": 0.01}, {"way": "good", "calls": 2, "usd": None}],
    "verdict": "Yes.",
}


def test_a_result_is_written_and_written_anew():
    block = tables.markdown(RESULT)
    once = outputs.with_block(PAGE, block)
    assert "| bad " in once and "- verdict: Yes.\n\n**In production**" in once
    assert outputs.written(once) == block and outputs.with_block(once, block) == once
    again = outputs.with_block(once, "- verdict: No.")
    assert outputs.written(again) == "- verdict: No." and "| bad " not in again


def test_a_result_cannot_end_the_docstring():
    source = outputs.with_block(PAGE, '- text: """; import os\\n')
    compile(source, "lesson", "exec")
    assert source.count('"""') == 2


def test_what_is_written_has_the_shape_of_the_result_it_was_written_from():
    """Backslashes and quotes are escaped in the source, and a row's label may have them."""
    block = tables.markdown([{"ask": "a|b", "answer": 1}, {"ask": r"C:\new", "answer": 2}])
    source = outputs.with_block(PAGE, block)
    assert outputs.written(source) == block
    assert outputs.shape(outputs.written(source)) == outputs.shape(block)
    import ast

    assert r"C:\new" in ast.get_docstring(ast.parse(source)), "the page shows one backslash"


def test_a_page_without_the_part_is_an_error():
    with pytest.raises(ValueError, match="has no line"):
        outputs.with_block('"""Nothing."""', "- verdict: Yes.")
    assert outputs.written('"""Nothing."""') is None


def test_other_numbers_have_the_same_shape_and_other_columns_rows_or_kinds_do_not():
    shape = outputs.shape(tables.markdown(RESULT))
    row, other = RESULT["rows"]
    same = {"rows": [{**row, "calls": 77, "usd": 0.2}, other], "verdict": "Certainly not."}
    assert outputs.shape(tables.markdown(same)) == shape
    for different in (
        {"rows": [row], "verdict": "Yes."},
        {"rows": [row, {**other, "way": "best"}], "verdict": "Yes."},
        {"rows": [row, {**other, "usd": 0.1}], "verdict": "Yes."},
        {"rows": [{**row, "new": 1}, other], "verdict": "Yes."},
        {"rows": [row, other]},
        {"rows": [row, other], "verdict": 3},
    ):
        assert outputs.shape(tables.markdown(different)) != shape


@pytest.mark.parametrize(
    ("state", "result", "answers", "written"),
    [
        ("failed", RESULT, True, True),
        ("success", RESULT, True, False),
        ("failed", None, True, False),
        ("failed", RESULT, False, False),
    ],
)
def test_a_page_is_written_only_by_a_run_that_ended_as_the_outline_says_and_had_answers(
    tmp_path, monkeypatch, state, result, answers, written
):
    page = tmp_path / "lesson.py"
    page.write_text(PAGE)
    settings = SimpleNamespace(dags=tmp_path, state=tmp_path / ".state", keyless_url="http://127.0.0.1:11400")
    monkeypatch.setattr("stack.outputs.outline", lambda: {"lesson": {"outcome": "failed"}})
    run = SimpleNamespace(state=state, result=result, error=None, seconds=1.0, run_id="manual__1")
    monkeypatch.setattr("stack.runs.execute", lambda settings, dag_id: run)
    monkeypatch.setattr("stack.provider.answers", lambda settings: answers)
    said: list[str] = []
    assert outputs._write(settings, "lesson", said.append) is written
    assert (page.read_text() != PAGE) is written and said[0][0] == ("✓" if written else "✗")


def test_a_path_with_the_run_s_id_is_the_same_in_every_run(tmp_path, monkeypatch):
    page, state = tmp_path / "lesson.py", tmp_path / ".state"
    settings = SimpleNamespace(dags=tmp_path, state=state, keyless_url="http://127.0.0.1:11400")
    monkeypatch.setattr("stack.outputs.outline", lambda: {})
    monkeypatch.setattr("stack.provider.answers", lambda settings: True)
    pages = []
    for second in (48, 49):
        run_id = f"manual__2026-11-25T07:18:{second}.676479+00:00"
        picture = f"file://{state}/storage/lesson/manual__2026-11-25T07_18_{second}.676479_00_00/mockup.png"
        result = {"picture": picture, "files": [{"what": "copy", "path": f"{picture}.txt"}], "answer": "a/b"}
        run = SimpleNamespace(state="success", result=result, error=None, seconds=1.0, run_id=run_id)
        monkeypatch.setattr("stack.runs.execute", lambda settings, dag_id, run=run: run)
        page.write_text(PAGE)
        assert outputs._write(settings, "lesson", print)
        pages.append(outputs.written(page.read_text()))
    assert pages[0] == pages[1]
    assert "- picture: …/mockup.png" in pages[0] and "| …/mockup.png.txt" in pages[0] and "- answer: a/b" in pages[0]


def test_what_keeps_the_command_from_its_work_is_told(tmp_path, monkeypatch, capfd):
    """Its standard error goes to a log by then."""
    from stack.settings import StackError

    def none(settings, say):
        raise StackError("No disk is left.")

    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("stack.use.in_use", none)
    environment = dict(os.environ)
    stdout, stderr = os.dup(1), os.dup(2)
    try:
        assert outputs.main(["114_01_03"]) == 1
    finally:
        os.dup2(stdout, 1), os.dup2(stderr, 2)
        os.close(stdout), os.close(stderr)
        os.environ.update(environment)
    assert capfd.readouterr().out == "No disk is left.\n"
