from __future__ import annotations

import json

import pytest

DAG = "114_07_03_no_validation_antipattern"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def rows(table, run_ids):
    import psycopg

    from llmkit.database import conninfo

    with psycopg.connect(conninfo("llm_db")) as connection:
        found = connection.execute(f"SELECT ticket, answer FROM {table} WHERE ticket = ANY(%s)", [run_ids]).fetchall()
    return dict(found)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "failed"
    failed = {task for task, state in run.tasks.items() if state != "success"}
    assert failed == {"bad_way.write_rows", "bad_way.report_teams"}


@pytest.mark.checklist("114.7.3", "Malformed outputs")
def test_answers_are_spoiled_in_more_than_one_way(run):
    malformed = run.xcoms["list_malformed"]
    assert 4 <= len(malformed) <= 10, "three of ten, and four of ten, some both"
    for answer in malformed:
        with pytest.raises(ValueError, match=r"."):
            json.loads(answer)
    assert any(answer.startswith("Sure!") for answer in malformed)
    assert any(answer.count("{") > answer.count("}") for answer in malformed)


@pytest.mark.checklist("114.7.3", "Downstream failures")
def test_the_database_refuses_all_rows_for_the_sake_of_one(run):
    assert "invalid input syntax for type json" in run.log
    ids = [answer["id"] for answer in run.xcoms["ask_model"]]
    assert rows("lesson_tickets_bad", ids) == {} and len(ids) == 12


@pytest.mark.checklist("114.7.3", "Schema validation")
def test_only_what_fits_is_written(run):
    found = run.xcoms["good_way.check_answers"]
    good = {each["id"]: each["ticket"] for each in found if each["ticket"]}
    assert rows("lesson_tickets_good", list(good)) == good and len(good) == run.xcoms["good_way.write_rows"] >= 8
    for ticket in good.values():
        assert ticket["team"] in ("support", "sales", "accounting") and isinstance(ticket["urgent"], bool)
        assert len(ticket["summary"]) >= 5
    # What was repaired is about the ticket that it was asked about.
    texts = {answer["id"]: answer["prompt"] for answer in run.xcoms["ask_model"]}
    assert all(ticket["summary"].rstrip(".?! ") in texts[name] for name, ticket in good.items())


@pytest.mark.checklist("114.7.3", "Output parsing")
def test_an_answer_is_read_leniently_repaired_once_or_set_aside(run):
    found = run.xcoms["good_way.check_answers"]
    how = [each["how"] for each in found]
    assert "parsed leniently" in how and "repaired" in how and "quarantine" in how, how
    aside = run.xcoms["good_way.show_quarantine"]
    assert [each["item"] for each in aside] == sorted(each["id"] for each in found if each["how"] == "quarantine")
    assert all(each["errors"] and each["answer"] for each in aside)
    # One call a ticket, and one more for each that could not be read.
    assert len(run.requests) == 12 + how.count("repaired") + how.count("quarantine")


def test_a_model_that_is_never_right_fills_the_quarantine_and_nothing_else(run_lesson, settings, monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_OPENAI_MALFORMED",
        json.dumps(
            {"conn_type": "openai", "password": "keyless:truncate", "host": f"{settings.keyless_url}/openai/v1"}
        ),
    )
    hopeless = run_lesson(DAG, tickets=4)
    assert hopeless.state == "failed" and hopeless.xcoms["good_way.write_rows"] == 0
    assert len(hopeless.xcoms["good_way.show_quarantine"]) == 4
