"""What ``make examples`` counts: the column of a run, and checks that can fail."""

import json

import pytest

from bench.examples import checks, people, services, verdict, world
from bench.examples.one import Call, Ran, calls_in, errors_in, prompts_in
from stack.settings import StackError


def ran(state="success", **more):
    return Ran("example", state, **more)


@pytest.mark.parametrize(
    ("run", "expected", "column"),
    [
        (ran(), "success", "succeeded"),
        (ran("failed"), "failed", "succeeded"),
        (ran("success"), "failed", "keyless"),
        (ran("failed", errors=["ModuleNotFoundError: No module named 'modal'"]), "success", "want"),
        (ran("failed", errors=["modal.exception.AuthError: Token missing."]), "success", "want"),
        (ran("failed", errors=["Hosted tool 'web_search' is not supported with gpt-5-mini."]), "success", "want"),
        (
            ran("failed", errors=["ValueError: has type 'langchain', but a Pydantic AI hook needs one of"]),
            "success",
            "want",
        ),
        (
            ran(
                "failed",
                errors=["ConnectionError: HTTPSConnectionPool(host='api.github.com', port=443): Max retries exceeded"],
            ),
            "success",
            "want",
        ),
        (
            ran(
                "failed",
                errors=["ConnectionError: HTTPConnectionPool(host='127.0.0.1', port=11400): Max retries exceeded"],
            ),
            "success",
            "keyless",
        ),
        (
            ran("failed", errors=["pydantic_ai.exceptions.UnexpectedModelBehavior: Exceeded maximum retries"]),
            "success",
            "keyless",
        ),
        (
            ran("failed", errors=["ImportError: x.Y was not found in allow list for deserialization imports."]),
            "success",
            "want",
        ),
        (ran("failed", errors=["httpx.ConnectError: [Errno -2] Name or service not known"]), "success", "want"),
        (ran("failed", errors=["httpx.ConnectError: [Errno 111] Connection refused"]), "success", "keyless"),
        (ran("failed"), "success", "keyless"),
        (ran("timeout", errors=["not ended after 60 s"]), "success", "keyless"),
    ],
)
def test_column(run, expected, column):
    assert verdict.column_of(run, expected)[0] == column


def test_a_failure_says_what_keyless_refused():
    run = ran("failed", refused=["400 POST /openai/v1/embeddings"], errors=["BadRequestError: x"])
    assert verdict.column_of(run, "success") == ("keyless", "400 POST /openai/v1/embeddings; BadRequestError: x")


def test_a_missing_folder_is_not_keyless_fault():
    run = ran("failed", errors=["FileNotFoundError: /opt/airflow/data/x"])
    assert verdict.column_of(run, "success", "sudo ln -s") == ("want", "sudo ln -s")
    assert verdict.column_of(run, "success", "")[0] == "keyless"


def test_words_begin_where_words_begin():
    assert checks.lacking("It is 1,024 in London", ("1024", ("Paris", "London"))) == []
    assert checks.lacking("The restaurant", ("rest", "aura")) == ["aura"]


PROMPT = "Summarize the key findings from the Q4 earnings report."


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Earnings rose in the fourth quarter, the report says.", True),
        ("", False),
        ("earnings", False),
        (PROMPT, False),
        ("A text about something else entirely.", False),
        ("Earnings rose a lot in the quarter. " * 6, False),
    ],
)
def test_prose(text, right):
    check = checks.says("task", "earnings")
    assert (check(ran(xcoms={"task": text}, prompts=[PROMPT]), None) == "") is right


def test_a_check_that_breaks_is_not_met():
    assert "KeyError" in verdict.first_wrong((checks.says("other", "word"),), ran(), None)


@pytest.mark.parametrize(
    ("tasks", "right"),
    [
        ({"a": "success", "b": "skipped"}, True),
        ({"a": "skipped", "b": "success"}, False),
        ({"a": "success", "b": "success"}, False),
        ({}, False),
    ],
)
def test_branch(tasks, right):
    assert (checks.branch("a", skipped=("b",))(ran(tasks=tasks), None) == "") is right


def test_tool_calls():
    run = ran(calls=[Call("weather_get_forecast", {"city": "London"})])
    assert checks.called("get_forecast", "London", lambda a: a["city"] == "London")(run, None) == ""
    assert "not Paris" in checks.called("get_forecast", "Paris", lambda a: a["city"] == "Paris")(run, None)
    assert "never called" in checks.called("run_python")(run, None)
    assert checks.never("delete_station")(run, None) == ""
    assert "nobody asked" in checks.never("get_forecast")(run, None)


@pytest.mark.parametrize(
    ("found", "right"),
    [
        ([("Ana", "3.00"), ("Tom", "2.00")], True),
        ([("2.00", "x", "Tom"), ("3.00", "y", "Ana")], True),
        ([("Ana", "3.00")], False),
        ([("Ana", "3.00"), ("Tom", "2.00"), ("Eva", "1.00")], False),
        ([("Ana", "2.00"), ("Tom", "3.00")], False),
        ([], False),
    ],
)
def test_rows(found, right):
    assert checks.same_rows(found, [("Ana", "3.00"), ("Tom", "2.00")]) is right


def test_sql_gives_the_right_rows(monkeypatch):
    def rows(settings, sql, database="shop"):
        if "prose" in sql:
            raise ValueError("syntax error")
        return [("Ana",)] if "right" in sql else [("Tom",)]

    monkeypatch.setattr(checks, "rows", rows)
    check = checks.gives("task", "SELECT right")
    assert check(ran(xcoms={"task": "SELECT right, too"}), None) == ""
    assert "wrong rows" in check(ran(xcoms={"task": "SELECT wrong"}), None)
    assert "no SQL that runs" in check(ran(xcoms={"task": "Here is some prose"}), None)
    assert checks.queried("SELECT right")(ran(calls=[Call("query", {"sql": "SELECT right"})]), None) == ""
    assert "no query" in checks.queried("SELECT right")(ran(calls=[Call("list_tables", {})]), None)
    told = checks.tells("task", "SELECT right")
    assert told(ran(xcoms={"task": "It is Ana."}), None) == ""
    assert "does not tell" in told(ran(xcoms={"task": "It is Anabel."}), None)


def test_calls_and_prompts_of_a_conversation():
    call = {"id": "1", "name": "query", "arguments": {"sql": "SELECT 1"}}
    user = {"role": "user", "text": "How many?"}
    done = {"role": "assistant", "text": "", "tool_calls": [call]}
    log = [
        {"asked": {"messages": [user]}},
        {"asked": {"messages": [user, done, {"role": "tool", "text": "[1]", "tool_call_id": "1"}]}},
        {"asked": None},
    ]
    assert calls_in(log) == [Call("query", {"sql": "SELECT 1"}, "[1]")]
    assert prompts_in(log) == ["How many?"]


def test_errors_of_a_log():
    log = 'x\nTraceback (most recent call last):\n  File "a.py", line 1\n    raise\nValueError: no\nlater: fine\n'
    assert errors_in(log) == ["ValueError: no"]
    assert errors_in("ValueError: only mentioned\n") == []


def test_the_person_approves():
    assert people.choice(["Reject", "Approve"], []) == "Approve"
    assert people.choice(["A", "B"], ["B"]) == "B"
    assert people.shown({"value": 3, "schema": {}}) == 3


def test_only_use_counts_as_use():
    row = verdict.Row("x", "succeeded", "", "", "", True, ran())
    assert row.of_use
    for change in ({"column": "want"}, {"tools": "wrong"}, {"answer": "wrong"}, {"checked": False}):
        assert not verdict.Row(**{**vars(row), **change}).of_use
    assert "1 succeeded" in verdict.table([row]) and "0 failed by keyless" in verdict.table([row])


def test_services_answer_only_what_they_have():
    assert json.loads(services.answer("", "/status")[1])["status"] == "ok"
    assert services.answer("", "/elsewhere")[0] == 404
    assert services.answer("", "/pypi/nothing/json")[0] == 404
    assert "Item 7 Management" in services.answer("www.sec.gov", "/Archives/edgar/data/320193/x/320193.htm")[1]


def test_a_model_is_put_into_the_connection_as_a_reader_would(monkeypatch, settings):
    monkeypatch.setenv("EXAMPLES_PACKAGES", "/x")
    found = world.connections(settings, "/s", "http://s3", "http://api", "google:gemini-2.5-flash")
    assert found["pydanticai_default"]["extra"] == {"model": "google:gemini-2.5-flash"}
    assert found["pydanticai_default"]["host"] == f"{settings.keyless_url}/google"
    assert found["llm_standby"]["extra"]["model"] == "anthropic:claude-sonnet-5"
    with pytest.raises(StackError, match="MODEL=mistral:x"):
        world.connections(settings, "/s", "http://s3", "http://api", "mistral:x")
