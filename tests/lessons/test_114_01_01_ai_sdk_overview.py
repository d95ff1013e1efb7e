from __future__ import annotations

from importlib.metadata import version

import pytest

DAG = "114_01_01_ai_sdk_overview"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.1.1", "Understand Airflow AI SDK purpose")
def test_the_same_question_gives_text_by_hand_and_data_with_the_sdk(run):
    both = run.xcoms["purpose.compare_both"]
    assert isinstance(both["by hand"], str) and both["by hand"].strip()
    assert both["with the SDK"] == {"team": "support", "urgent": True}
    assert both["usable as it is"] == "support"


@pytest.mark.checklist("114.1.1", "Install AI SDK package")
def test_installed_versions_are_the_real_ones(run):
    installed = run.xcoms["check_installation"]
    assert installed["apache-airflow-providers-common-ai"] == version("apache-airflow-providers-common-ai")


def test_a_missing_package_fails_clearly_and_stops_the_rest(run_lesson):
    run = run_lesson(DAG, packages=["apache-airflow-providers-nope"])
    assert run.state == "failed"
    assert run.tasks["check_installation"] == "failed"
    assert run.tasks["purpose.ask_by_hand"] == "upstream_failed"
    assert "pip install apache-airflow-providers-nope" in run.log
    assert run.requests == [], "nothing may be asked when the SDK is not there"


@pytest.mark.checklist("114.1.1", "Core abstractions (models, prompts)")
def test_model_prompt_and_typed_output_meet_on_one_question(run):
    model = run.xcoms["abstractions.resolve_model"]
    assert model == {"model": "gpt-4o-mini", "provider": "openai", "class": "OpenAIChatModel"}
    assert "standing desk arrived with a broken motor" in run.xcoms["abstractions.render_prompt"]
    assert run.xcoms["abstractions.answer_typed"]["team"] in ("support", "sales", "accounting")
    assert len([r for r in run.requests if r["path"] == "/v1/chat/completions"]) == 3


@pytest.mark.checklist("114.1.1", "Supported LLM providers")
def test_providers_come_from_the_installed_provider(run):
    from airflow.providers.common.ai.get_provider_info import get_provider_info

    table = run.xcoms["list_providers"]
    for connection in get_provider_info()["connection-types"]:
        assert f"`{connection['connection-type']}`" in table
    assert table.startswith("| connection type | hook |") and "anthropic" in table and "bedrock" in table
