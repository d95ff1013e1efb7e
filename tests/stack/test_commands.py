"""The commands on wrong input, each in a process of its own: one sentence, no traceback, nothing lost."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stack import provider
from stack.database import check_disk
from stack.ports import free_port
from stack.settings import REPO, Settings, StackError
from stack.up import commands


def run(*arguments, **environment):
    env = {**os.environ, **{k: str(v) for k, v in environment.items()}}
    return subprocess.run(
        [sys.executable, "-m", "stack", *arguments],
        cwd=REPO,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def told(done, *words):
    """Exit status 1 and one sentence with all of ``words``."""
    assert done.returncode == 1, done
    said = done.stdout.strip().splitlines()[-1:] + done.stderr.strip().splitlines()
    assert len([line for line in said if line]) == 1, said
    assert "Traceback" not in done.stdout + done.stderr
    for word in words:
        assert word in said[-1], said


@pytest.mark.parametrize("port", ["x", "80", "99999"])
def test_a_port_that_is_none(port, tmp_path):
    told(run("up", PORT=port, COURSE_STATE=tmp_path), f"PORT={port}", "1024")


def test_a_taken_port(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told(run("up", PORT=port, COURSE_STATE=tmp_path / "s"), f"Port {port}", "PORT=")
        told(
            run("up", KEYLESS_PORT=port, COURSE_STATE=tmp_path / "s", PORT=free_port()), f"Port {port}", "KEYLESS_PORT="
        )
    assert not (tmp_path / "s" / "pg").exists(), "nothing was started before the check"


def test_a_state_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for command in (["up"], ["env"], ["lesson", "114_01_03"]):
        told(run(*command, COURSE_STATE=tmp_path / "file" / "state"), "cannot be written", "COURSE_STATE")


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path))
    settings = Settings.load()
    monkeypatch.setattr("stack.database.shutil.disk_usage", lambda path: SimpleNamespace(free=50 * 2**20))
    with pytest.raises(StackError, match="Only 50 MB are free"):
        check_disk(settings)


def test_lessons_are_found_by_their_beginning_or_not_at_all(settings):
    from stack.outline import find

    assert find(settings, "114_01_03") == find(settings, "114.1.3") == "114_01_03_basic_llm_task"
    with pytest.raises(StackError, match="fits several"):
        find(settings, "114_01")
    with pytest.raises(StackError, match="not written yet"):
        find(settings, "114_10_05")
    with pytest.raises(StackError, match="There is no lesson nonsense"):
        find(settings, "nonsense")
    with pytest.raises(StackError, match="DAG="):
        find(settings, "")


def test_params_that_are_no_json():
    told(run("lesson", "114_01_03", "--conf", "{max_tokens: 8}"), "CONF")


@pytest.mark.parametrize(
    "conf, words",
    [
        ('{"nope": 1}', ["no param nope", "ticket, max_tokens"]),
        ('{"max_tokens": "8"}', ["max_tokens must be a whole number", '"8" is not', "ticket, max_tokens"]),
        ('{"max_tokens": 8, "ticket": null}', ["ticket must be a text", "null is not"]),
    ],
)
def test_params_that_the_lesson_does_not_take(conf, words, tmp_path):
    """Told before anything starts, so in a fraction of a start's time."""
    state = tmp_path / "state"
    told(run("lesson", "114_01_03", "--conf", conf, COURSE_STATE=state, KEYLESS_PORT=free_port()), "CONF", *words)
    assert not (state / "pg").exists() and not (state / "logs" / "keyless.log").exists(), "nothing was started"


def test_what_a_json_schema_allows_in_words():
    from stack.params import allowed

    assert allowed({"type": ["string", "null"], "enum": ["a", None]}) == 'one of "a", null'
    assert allowed({"type": "number", "exclusiveMinimum": 0, "maximum": 2}) == "a number and more than 0 and at most 2"
    assert allowed({"type": ["null", "boolean"]}) == "null or true or false"
    assert allowed({"not": {}}) == 'as its JSON schema says: {"not": {}}'


def test_clean_asks_and_keeps_without_a_yes(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "x").write_text("mine")
    done = run("clean", COURSE_STATE=state)
    assert done.returncode == 1 and (state / "x").read_text() == "mine"
    assert run("clean", "--yes", COURSE_STATE=state).returncode == 0
    assert not state.exists()


def test_down_without_anything_running(tmp_path):
    done = run("down", COURSE_STATE=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "Nothing was running.")


def test_secrets_are_for_their_owner_alone_and_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path))
    settings = Settings.load()
    settings.prepare()
    first = settings.environment("/x")
    settings.prepare()
    assert settings.environment("/x") == first
    for name in ("fernet", "jwt"):
        assert (tmp_path / "secrets" / name).stat().st_mode & 0o077 == 0


def test_no_process_listens_on_more_than_loopback(settings):
    started = commands(settings)
    assert "--skip-serve-logs" in started["scheduler"] and "--skip-serve-logs" in started["triggerer"]
    assert started["api-server"][started["api-server"].index("--host") + 1] == "127.0.0.1"


def test_without_keyless_there_is_no_keyless(monkeypatch):
    monkeypatch.setenv("KEYLESS", "0")
    assert "keyless" not in commands(Settings.load())


def test_an_old_python_is_told_in_a_sentence(tmp_path):
    fake = tmp_path / "python3"
    fake.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi\n')
    fake.chmod(0o755)
    done = subprocess.run(
        ["make", "-B", "install", f"PYTHON={fake}"],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "MAKEFLAGS": ""},
    )
    assert done.returncode != 0
    assert "3.11, 3.12 or 3.13" in done.stdout and "Python 3.9.2" in done.stdout
    assert Path(REPO / ".venv" / "bin" / "python").exists()


def test_costs_before_the_first_call(tmp_path):
    done = run("costs", COURSE_STATE=tmp_path / "state")
    assert done.returncode == 1 and "Nothing has been called yet" in done.stderr


def test_the_lesson_command_ends_with_the_answer(running_stack, settings):
    done = run("lesson", "114_01_03")
    assert done.returncode == 0, done
    lines = done.stdout.strip().splitlines()
    assert lines[0] == "114.1.3 Basic LLM Task"
    assert [line for line in lines if "A small local model answers" in line] == [lines[1]], "said once"
    assert any(line.strip().startswith("✓ ask_model") for line in lines)
    facts = [
        line.split(": ")[0]
        for line in lines
        if line.startswith(("status: ", "finish_reason: ", "next_step: ", "draft"))
    ]
    assert facts[:3] == ["status", "finish_reason", "next_step"] and "status: ready" in lines, "in the lesson's order"
    assert re.match(r"success \(as expected\) · 4 tasks · 1 LLM calls · \d+ tokens · \$0\.0000\d+ · ", lines[-1])
    assert "[info" not in done.stdout


def test_the_lesson_command_with_params_and_the_tasks_own_lines(running_stack, settings):
    done = run("lesson", "114_01_03", "--verbose", COURSE_CONF='{"max_tokens": 8}')
    assert done.returncode == 0, done
    lines = done.stdout.strip().splitlines()
    assert "status: cut_off" in lines
    own = [line for line in lines if line.startswith("    ")]
    assert any("status: cut_off" in line for line in own), "the lesson's own"
    assert len(own) < 20 and max(map(len, own)) < 210
    for internal in ("::group", "DAG TEST", "next_dagrun", "Task instance", "Filling up the DagBag", "Deprecat"):
        assert internal not in done.stdout, internal
    log = Path(lines[-1].removeprefix("The whole log: ")).read_text()
    assert "::group" in log and "status: cut_off" in log


def test_an_exercise_that_ends_otherwise_is_no_error(running_stack, settings):
    """Without a brace in the message the bad way of 7.4 succeeds too, as the lesson says."""
    done = run("lesson", "114_07_04", "--conf", '{"message": "Where is my lamp?"}')
    assert done.returncode == 0, done
    assert "success (with its own params it ends failed; yours are different)" in done.stdout
    assert "expected was" not in done.stdout


def test_the_course_command_prints_the_table(running_stack, tmp_path):
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "114_01_03_basic_llm_task.py").write_text((REPO / "dags" / "114_01_03_basic_llm_task.py").read_text())
    broken = dags / "114_01_04_ai_sdk_task_decorator.py"
    broken.write_text("from airflow.sdk import dag\nimport nothing_of_that_name\n")
    done = run("course", COURSE_DAGS=dags)
    assert done.returncode == 1, done
    assert "114_01_03_basic_llm_task" in done.stdout and "LLM calls" in done.stdout
    assert "nothing_of_that_name" in done.stdout
    assert "1 of 2 lessons ended as expected" in done.stdout and "$0.0000" in done.stdout


@pytest.mark.parametrize("ended", ["success", "failed"])
def test_the_course_command_s_exit_status(settings, monkeypatch, tmp_path, capfd, ended):
    from stack import course
    from stack.runs import Outcome

    outcome = Outcome("114_01_03_basic_llm_task", "manual__1", state=ended)
    (tmp_path / "114_01_03_basic_llm_task.py").touch()
    monkeypatch.setattr(course, "in_use", lambda *_: nullcontext())
    monkeypatch.setattr(course, "execute", lambda settings, dag_id: outcome)
    stdout, stderr = os.dup(1), os.dup(2)
    try:
        status = course.run_all(replace(settings, dags=tmp_path))
    finally:
        os.dup2(stdout, 1), os.dup2(stderr, 2)
        os.close(stdout), os.close(stderr)
    assert status == (0 if ended == "success" else 1)


def test_a_run_that_never_began_is_not_as_expected():
    """A lesson of section 7 is expected to fail, but not to be unreadable."""
    from stack.lesson import _verdict
    from stack.runs import Outcome

    broken = Outcome("114_07_04_hardcoded_prompts_antipattern", error="No module named 'nothing'")
    failed = Outcome("114_07_04_hardcoded_prompts_antipattern", "manual__1")
    assert [_verdict(broken, "failed", changed=changed)[1] for changed in (False, True)] == [False, False]
    assert _verdict(failed, "failed", changed=False) == ("as expected", True)


def test_an_unreadable_lesson_of_section_7_is_none_of_those_that_ended_as_expected(running_stack, tmp_path):
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "114_07_04_hardcoded_prompts_antipattern.py").write_text("import nothing_of_that_name\n")
    done = run("course", COURSE_DAGS=dags)
    assert done.returncode == 1, done
    assert "failed ✗" in done.stdout and "0 of 1 lessons ended as expected" in done.stdout


def test_an_error_without_words_is_an_outcome_too(running_stack, settings):
    from stack.runs import execute

    class Bag:
        @property
        def dags(self):
            raise TimeoutError

    outcome = execute(settings, "114_01_03_basic_llm_task", bag=Bag())
    assert (outcome.state, outcome.error, outcome.run_id) == ("failed", "TimeoutError", "")


def test_a_bill_that_nobody_could_read_is_not_zero():
    from llmkit.ledger import Spending
    from stack.report import bill

    assert bill(None) == ("–", "–", "–")
    known = {
        "group": (),
        "calls": 2,
        "failed": 0,
        "input_tokens": 10,
        "output_tokens": 5,
        "cached_tokens": 0,
        "seconds": 1.0,
    }
    assert bill(Spending(**known, cost_usd=0.5, unpriced=0)) == ("2", "15", "$0.500000")
    assert bill(Spending(**known, cost_usd=1.5, unpriced=1)) == ("2", "15", "$1.50 + ?")


def test_connections_of_the_reader_are_never_overwritten(running_stack, settings):
    from airflow.models import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from stack.airflow_setup import import_connections

    assert import_connections(settings) == [], "all were imported when the stack started"
    with create_session() as session:
        mine = session.scalar(select(Connection).where(Connection.conn_id == "pydanticai_ollama"))
        mine.host, mine.password = "http://127.0.0.1:11434/v1", "mine-and-mine-alone"
    import_connections(settings)
    with create_session() as session:
        mine = session.scalar(select(Connection).where(Connection.conn_id == "pydanticai_ollama"))
        assert (mine.host, mine.password) == ("http://127.0.0.1:11434/v1", "mine-and-mine-alone")
        session.delete(mine)
    assert import_connections(settings) == ["pydanticai_ollama"]


def test_keyless_moves_and_the_reader_s_own_servers_stay(running_stack, settings):
    from airflow.models import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from stack.airflow_setup import import_connections

    def edit(conn_id, **fields):
        with create_session() as session:
            row = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
            before = row.host, row.extra
            for name, value in fields.items():
                setattr(row, name, value)
            return before

    # Ollama on loopback, with the password that was there; a model server of the reader's own beside it.
    before = edit("pydanticai_ollama", host="http://127.0.0.1:11434/v1")
    moved = replace(settings, keyless_port=free_port())
    try:
        import_connections(moved)
        with create_session() as session:
            rows = {c.conn_id: c for c in session.scalars(select(Connection))}
            assert rows["pydanticai_ollama"].host == "http://127.0.0.1:11434/v1"
            assert rows["cohere_default"].host == f"{moved.keyless_url}/cohere"
            for conn_id in ("google_cloud_default", "aws_default", "pydanticai_vertex_default"):
                assert moved.keyless_url in rows[conn_id].extra and settings.keyless_url not in rows[conn_id].extra
    finally:
        import_connections(settings)
        edit("pydanticai_ollama", host=before[0], extra=before[1])


def test_the_keyfile_is_the_text_that_airflow_s_form_edits(running_stack, settings):
    from stack.airflow_setup import connections

    keyfile = connections(settings)["google_cloud_default"]["extra"]["keyfile_dict"]
    assert isinstance(keyfile, str) and json.loads(keyfile)["token_uri"] == f"{settings.keyless_url}/google/token"


def test_the_service_account_s_key_is_made_once_and_is_nobody_else_s(tmp_path):
    first = replace(Settings.load(), state=tmp_path / "a")
    first.prepare()
    key = first.google_private_key
    first.prepare()
    assert first.google_private_key == key and "PRIVATE KEY" in key.splitlines()[0]
    assert (tmp_path / "a" / "secrets" / "google.pem").stat().st_mode & 0o077 == 0
    other = replace(Settings.load(), state=tmp_path / "b")
    other.prepare()
    assert other.google_private_key != key


def test_addresses_that_only_the_environment_can_carry(tmp_path, monkeypatch):
    settings = replace(Settings.load(), state=tmp_path, keyless_port=12345)
    settings.prepare()
    name = "GOOGLE_VERTEX_BASE_URL"
    monkeypatch.delenv(name, raising=False)
    assert settings.environment("x")[name] == "http://127.0.0.1:12345/google"
    # From an earlier `make env`, when keyless was on another port.
    monkeypatch.setenv(name, "http://127.0.0.1:11400/google")
    assert settings.environment("x")[name] == "http://127.0.0.1:12345/google"
    monkeypatch.setenv(name, "https://us-central1-aiplatform.googleapis.com")
    assert name not in settings.environment("x"), "the reader's own stays"
    monkeypatch.delenv(name)
    assert name not in replace(settings, keyless=False).environment("x")


def test_a_model_that_cannot_be_used_is_told_before_anything_starts(tmp_path):
    (tmp_path / "m.gguf").write_text("no model")
    for command in (["up"], ["lesson", "114_01_03"], ["course"]):
        told(run(*command, MODEL=tmp_path / "m.gguf", COURSE_STATE=tmp_path / "s"), "m.gguf", "GGUF")
    told(run("up", MODEL=tmp_path / "none.gguf", COURSE_STATE=tmp_path / "s"), "cannot be read", "MODEL")
    told(run("up", MODEL="hf:owner/m.gguf", COURSE_STATE=tmp_path / "s"), "names no file")
    told(run("up", MODEL=tmp_path / "m.gguf", KEYLESS="0", COURSE_STATE=tmp_path / "s"), "KEYLESS=0")
    assert not (tmp_path / "s").exists(), "something was started before the check"


def test_a_keyless_with_another_model_is_not_used(running_stack, settings):
    with pytest.raises(StackError, match="runs already with the model smollm2-135m"):
        provider.start(replace(settings, model="/models/other.gguf"))
    assert provider.start(settings) is None, "the same is"
