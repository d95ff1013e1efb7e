from __future__ import annotations

import json
from types import SimpleNamespace
from unittest.mock import patch

import pytest

DAG = "114_03_03_google_vertex_ai"
QUESTION = "May I return the Lyra lamp? I do not like it."
GEMINI = ("sort_question", "sort_follow_up")


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    return run_lesson(DAG, question="How much is a Fjord desk in oak?", model="gemini-2.5-pro", budget=1000)


def calls(run, action: str = "") -> list[dict]:
    """What was sent to models, in order."""
    return [r for r in run.requests if "/models/" in r["path"] and r["path"].endswith(action)]


def actions(run) -> list[str]:
    return sorted(r["path"].rsplit(":", 1)[1] for r in calls(run))


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.3.3", "Configure Vertex AI connection")
def test_the_kind_of_credentials_is_told_and_the_project_is_used(run):
    assert run.xcoms["check_credentials"] == {"kind": "service account by keyfile_dict", "project": "keyless-course"}
    assert run.result["credentials"] == "service account by keyfile_dict"
    assert {r["path"].split("/projects/")[1].split("/")[0] for r in calls(run)} == {"keyless-course"}
    assert "PRIVATE KEY" not in str(run.xcoms) + run.log


@pytest.mark.checklist("114.3.3", "Configure Vertex AI connection")
def test_without_a_key_it_says_that_the_worker_s_own_identity_signs(lesson_module):
    from airflow.providers.google.cloud.hooks.gen_ai import GenAIGenerativeModelHook
    from airflow.sdk import Connection

    check = lesson_module(DAG).google_vertex_ai().get_task("check_credentials").python_callable
    bare = Connection(conn_id="google_cloud_default", conn_type="google_cloud_platform", extra="{}")
    with (
        patch.object(GenAIGenerativeModelHook, "get_connection", lambda self, conn_id: bare),
        patch.object(GenAIGenerativeModelHook, "get_credentials_and_project_id", lambda self: (None, "workers")),
    ):
        assert check() == {"kind": "the worker's own identity (no key stored)", "project": "workers"}
        for name in "key_path", "key_secret_name":
            bare.extra = json.dumps({name: "/keys/google.json"})
            assert check()["kind"] == f"service account by {name}"


@pytest.mark.checklist("114.3.3", "PaLM and Gemini models")
@pytest.mark.parametrize(
    ("old", "new"),
    [("text-bison@002", "gemini-2.5-flash"), ("chat-bison-32k", "gemini-2.5-flash"), ("text-unicorn@001", "gemini-2.5-pro")],
)  # fmt: skip
def test_a_palm_name_is_refused_with_its_successor(lesson_module, old, new):
    from airflow.sdk.exceptions import AirflowFailException

    choose = lesson_module(DAG).google_vertex_ai().get_task("choose_model").python_callable
    with pytest.raises(AirflowFailException, match=f"{old} is a PaLM model and no longer served: use {new}"):
        choose(params={"model": old})


@pytest.mark.checklist("114.3.3", "PaLM and Gemini models")
def test_after_a_palm_name_nothing_is_sent(run_lesson):
    old = run_lesson(DAG, model="text-bison@002")
    assert old.state == "failed" and calls(old) == []
    assert [old.tasks[t] for t in ("choose_model", "sort_question")] == ["failed", "upstream_failed"]
    assert old.log.count("is a PaLM model and no longer served: use gemini-2.5-flash") == 1, "it is not tried again"


@pytest.mark.checklist("114.3.3", "PaLM and Gemini models")
def test_the_model_of_the_form_is_asked_and_gets_room_for_its_thinking(run, other):
    for done, model, thinking in ((run, "gemini-2.5-flash", 0), (other, "gemini-2.5-pro", 128)):
        asked = calls(done, ":generateContent")
        assert [r["model"] for r in asked] == [model, model]
        assert {r["model"] for r in calls(done, ":countTokens")} == {model}
        assert done.result["model"] == model
        for request in asked:
            sent = request["body"]["generationConfig"]
            assert sent["thinkingConfig"] == {"thinking_budget": thinking}
            assert request["asked"]["max_tokens"] == sent["maxOutputTokens"] == 16 + thinking


@pytest.mark.checklist("114.3.3", "Text and chat completions")
def test_the_chat_holds_all_turns_and_both_answers_are_used(run, other):
    assert actions(run) == ["countTokens", "generateContent", "generateContent", "predict"]
    first, second = (r["asked"] for r in calls(run, ":generateContent"))
    turns = [
        ("user", QUESTION),
        ("assistant", "support"),
        ("user", "Thank you. And may I pay the invoice in two parts?"),
    ]
    assert [(m["role"], m["text"]) for m in second["messages"]] == turns
    assert [(m["role"], m["text"]) for m in first["messages"]] == turns[:1]
    for asked in (first, second):
        assert "- accounting: invoices, payments and refunds" in asked["system"] and asked["temperature"] == 0
    rows = run.result["chat"]
    assert [(r["said"], r["team"]) for r in rows] == [(QUESTION, "support"), (turns[2][1], "accounting")]
    assert [r["stopped"] for r in rows] == ["STOP", "STOP"]
    assert [r["prompt tokens"] for r in rows] == [r["prompt_tokens"] for r in calls(run, ":generateContent")]
    assert [r["team"] for r in other.result["chat"]] == ["sales", "accounting"], "another question, another team"


@pytest.mark.checklist("114.3.3", "Text and chat completions")
def test_what_is_sent_is_counted_before_the_call(run, run_lesson):
    (counted,) = calls(run, ":countTokens")
    first = calls(run, ":generateContent")[0]
    assert counted["id"] < first["id"]
    assert [counted["asked"][part] for part in ("system", "messages")] == [
        first["asked"][p] for p in ("system", "messages")
    ]
    assert run.result["tokens counted before"] == first["prompt_tokens"]
    small = run_lesson(DAG, budget=first["prompt_tokens"] - 1)
    assert small.state == "failed" and "generateContent" not in actions(small)
    said = f"The prompt has {first['prompt_tokens']} tokens, and the budget is {first['prompt_tokens'] - 1}."
    assert small.log.count(said) == 1, "it is not tried again"


def reply(finish: str, thought: int, text: str = "") -> dict:
    """What Gemini answers when it stops for ``finish`` after so many tokens of thinking."""
    content = {"role": "model", **({"parts": [{"text": text}]} if text else {})}
    usage = {"prompt_token_count": 91, "thoughts_token_count": thought, "total_token_count": 91 + thought}
    return {"candidates": [{"content": content, "finish_reason": finish}], "usage_metadata": usage}


@pytest.mark.checklist("114.3.3", "Text and chat completions")
def test_an_answer_without_a_text_fails_once_and_says_why(run_dag, settings):
    from google.genai.models import Models
    from google.genai.types import GenerateContentResponse

    asked = []

    def answer(self, **sent):
        asked.append(sent)
        return GenerateContentResponse.model_validate(reply("MAX_TOKENS", 8))

    with patch.object(Models, "generate_content", answer):
        run = run_dag(settings.dags, DAG, budget=150)
    assert run.state == "failed" and len(asked) == 1, "no retry, and no chat about nothing"
    assert "gemini-2.5-flash gave no text: MAX_TOKENS after 8 tokens of thinking." in run.log
    assert [run.tasks[t] for t in GEMINI] == ["failed", "upstream_failed"]


@pytest.mark.checklist("114.3.3", "Text and chat completions")
def test_a_blocked_prompt_and_a_cut_text_are_told(lesson_module):
    from airflow.providers.google.cloud.hooks.gen_ai import GenAIGenerativeModelHook as Hook
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowFailException
    from google.genai.types import GenerateContentResponse

    where = {"project_id": "p", "location": "us-central1", "model": "gemini-2.5-flash"}
    operator = lesson_module(DAG).GeminiOperator(task_id="ask", contents=["Hello."], **where)
    blocked = {"prompt_feedback": {"block_reason": "SAFETY"}, "usage_metadata": {"prompt_token_count": 2}}
    answers = [GenerateContentResponse.model_validate(a) for a in (blocked, reply("MAX_TOKENS", 3, "supp"))]
    client = SimpleNamespace(models=SimpleNamespace(generate_content=lambda **sent: answers.pop(0)))
    bare = Connection(conn_id="google_cloud_default", conn_type="google_cloud_platform", extra="{}")
    with (
        patch.object(Hook, "get_connection", lambda self, conn_id: bare),
        patch.object(Hook, "get_genai_client", lambda self, *where: client),
    ):
        with pytest.raises(AirflowFailException, match="gave no text: BLOCKED_PROMPT"):
            operator.execute({})
        cut = operator.execute({})
    assert cut == {"team": "supp", "prompt tokens": 91, "thinking tokens": 3, "stopped": "MAX_TOKENS"}


@pytest.mark.checklist("114.3.3", "Embeddings with Vertex")
def test_one_call_embeds_question_and_faq_and_the_nearest_entry_is_the_reply(run, other, run_lesson, settings):
    (embedded,) = calls(run, ":predict")
    assert embedded["model"] == "text-embedding-005"
    entries = json.loads((settings.dags.parent / "include" / "data" / "faq.json").read_text())
    assert embedded["asked"]["texts"] == [QUESTION, *(f"{each['question']} {each['answer']}" for each in entries)]
    assert run.result["nearest FAQ entry"] == "Within 30 days, unused, in its box. We pay the postage."
    assert 0.4 < run.result["score"] < 1
    assert len(str(run.xcoms["find_entry"])) < 200, "no vectors"
    late = run_lesson(DAG, question="When will my desk arrive?", budget=5)
    assert late.xcoms["find_entry"]["reply"].startswith("Five working days")
    assert other.result["score"] < late.xcoms["find_entry"]["score"], "no entry is about prices"
