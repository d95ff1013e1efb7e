from __future__ import annotations

import json
from importlib.metadata import version

import pytest
from llmock.scenarios import Reply

DAG = "114_01_01_ai_sdk_overview"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def missing(run_lesson):
    return run_lesson(DAG, packages=["pydantic-ai-slim", "apache-airflow-providers-nope"])


@pytest.fixture(scope="module")
def other(run_lesson):
    return run_lesson(DAG, question="What does the {{ 6 * 7 }} Lyra reading lamp cost?", packages=["pydantic-ai-slim"])


def sent(run) -> list[dict]:
    """What the model was told by hand and with the SDK, in this order."""
    asked = [request["asked"] for request in run.requests]
    return sorted(asked, key=lambda one: bool(one["tools"]))


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.1.1", "Understand Airflow AI SDK purpose")
def test_the_same_prompt_gives_text_by_hand_and_data_with_the_sdk(run):
    result = run.xcoms["show_purpose"]
    assert result["with_sdk"] == {"team": "support", "urgent": True}
    by_hand = run.xcoms["ask_by_hand"]
    assert isinstance(by_hand, str) and " ".join(by_hand.split()).startswith(result["by_hand"].removesuffix(" …"))
    assert result["by_hand_is_valid"] is False, "the offline model does not write this JSON"
    for asked in sent(run):
        assert run.xcoms["write_prompt"] in asked["messages"][-1]["text"], "both ways send the rendered prompt"


@pytest.mark.checklist("114.1.1", "Understand Airflow AI SDK purpose")
def test_a_valid_answer_by_hand_counts_as_valid(settings, llmock, run_dag, monkeypatch):
    connection = {"conn_type": "openai", "host": llmock.base_url(), "password": "any"}
    monkeypatch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", json.dumps(connection))
    llmock.add(Reply(text='{"team": "sales", "urgent": false}'))
    run = run_dag(settings.dags, DAG, question="How much is a desk?")
    assert run.xcoms["show_purpose"]["by_hand_is_valid"] is True


@pytest.mark.checklist("114.1.1", "Understand Airflow AI SDK purpose")
def test_every_decorator_of_the_package_is_named(run):
    from airflow.providers.common.ai.get_provider_info import get_provider_info

    result = run.xcoms["show_purpose"]
    named = {fact for fact in result if fact.startswith("@task.")}
    assert named == {f"@task.{entry['name']}" for entry in get_provider_info()["task-decorators"]}
    assert named >= {f"@task.{name}" for name in ("agent", "llm_branch", "llm_sql", "llm_batch", "llm_file_analysis")}
    assert max(len(result[name]) for name in named) <= 60


@pytest.mark.checklist("114.1.1", "Install AI SDK package")
def test_installed_versions_are_the_real_ones(run, other):
    packages = ["apache-airflow-providers-common-ai", "apache-airflow-providers-openai", "pydantic-ai-slim"]
    assert run.xcoms["check_installation"] == {package: version(package) for package in packages}
    assert other.xcoms["check_installation"] == {"pydantic-ai-slim": version("pydantic-ai-slim")}


@pytest.mark.checklist("114.1.1", "Install AI SDK package")
def test_a_missing_package_fails_once_and_stops_the_rest(missing):
    assert missing.state == "failed"
    assert missing.tasks["check_installation"] == "failed"
    assert missing.tasks["ask_by_hand"] == "upstream_failed"
    assert missing.log.count("Run: pip install apache-airflow-providers-nope") == 1, "it is not tried again"
    assert missing.requests == [], "nothing may be asked when the SDK is not there"


@pytest.mark.checklist("114.1.1", "Core abstractions (models, prompts)")
def test_model_prompt_and_output_type_meet_in_one_request(run, other):
    assert {request["model"] for request in run.requests} == {"gpt-4o-mini"}
    assert "standing desk arrived with a broken motor" in run.xcoms["write_prompt"]
    for done in (run, other):
        by_hand, with_sdk = sent(done)
        assert not by_hand["tools"] and by_hand["max_tokens"] == 40
        prompt = done.xcoms["write_prompt"]
        assert prompt.startswith("You sort the mail of Lumen & Oak")
        assert by_hand["messages"][-1]["text"].startswith(prompt)
        assert by_hand["messages"][-1]["text"].endswith(
            "Answer as JSON with the keys team (support, sales or accounting) and urgent."
        ), "by hand the model is told the teams too"
        assert [message["text"] for message in with_sdk["messages"]] == [prompt], "the type asks for the format"
        asked_for = with_sdk["tools"][0]["parameters"]["properties"]
        assert set(asked_for) == {"team", "urgent"}
        assert asked_for["team"]["enum"] == ["support", "sales", "accounting"]
    assert "{{ 6 * 7 }} Lyra reading lamp" in sent(other)[0]["messages"][-1]["text"]
    assert "{{ 6 * 7 }} Lyra reading lamp" in sent(other)[1]["messages"][-1]["text"], "a question is no template"


@pytest.mark.checklist("114.1.1", "Supported LLM providers")
def test_providers_come_from_the_installed_package(run):
    from airflow.providers.common.ai.get_provider_info import get_provider_info

    listed = run.xcoms["list_providers"]
    assert listed["connection_types"] == [c["connection-type"] for c in get_provider_info()["connection-types"]]
    assert {"openai", "anthropic", "google", "bedrock", "cohere"} <= set(listed["model_prefixes"])
    assert not any(":" in prefix for prefix in listed["model_prefixes"])
    assert run.xcoms["show_purpose"]["model_prefixes"] == len(set(listed["model_prefixes"])) > 5
