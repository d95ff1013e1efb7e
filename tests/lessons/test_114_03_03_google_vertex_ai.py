from __future__ import annotations

import pytest

DAG = "114_03_03_google_vertex_ai"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def calls(run) -> list[str]:
    return [r["path"].rsplit(":", 1)[1] for r in run.requests if r["provider"] == "google" and "/models/" in r["path"]]


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.3.3", "Configure Vertex AI connection")
def test_the_kind_of_credentials_is_told(run):
    found = run.xcoms["check_credentials"]
    assert found["kind"] == "service account by keyfile_dict" and found["project"] == "keyless-course"
    assert found["account"].endswith("iam.gserviceaccount.com")
    assert "PRIVATE KEY" not in str(run.xcoms) + run.log


@pytest.mark.checklist("114.3.3", "PaLM and Gemini models")
def test_a_palm_name_is_refused_with_its_successor(run, run_lesson):
    explained = sorted(run.xcoms["explain_name"])
    assert [line.partition("use ")[2] for line in explained[:1] + explained[2:]] == [
        "gemini-2.5-flash", "gemini-2.5-flash", "text-embedding-005",
    ]  # fmt: skip
    old = run_lesson(DAG, model="text-bison@002")
    assert (
        old.state == "failed"
        and "text-bison@002 is a PaLM model and no longer served: use gemini-2.5-flash." in old.log
    )
    assert calls(old) == [], "nothing was called"
    assert [old.tasks[t] for t in ("choose_model", "answer_question")] == ["failed", "upstream_failed"]


@pytest.mark.checklist("114.3.3", "Text and chat completions")
def test_tokens_are_counted_before_the_calls(run, run_lesson, dagbag):
    assert calls(run) == ["predict", "countTokens", "generateContent", "generateContent"]
    assert run.xcoms["answer_question"].strip() and run.xcoms["continue_chat"].strip()
    asked, continued = [r for r in run.requests if r["path"].endswith(":generateContent")]
    assert continued["prompt_tokens"] > asked["prompt_tokens"] + 5, "the chat holds the turns before"
    counted = run.xcoms["fit_budget"]
    assert counted == asked["prompt_tokens"]
    small = run_lesson(DAG, budget=5)
    assert small.state == "failed" and "and the budget is 5" in small.log
    assert "generateContent" not in calls(small)


@pytest.mark.checklist("114.3.3", "Embeddings with Vertex")
def test_the_entry_is_found_by_meaning(run, run_lesson):
    assert run.xcoms["find_entry"]["entry"] == "Can I send a lamp back?"
    assert len(str(run.xcoms["find_entry"])) < 500, "no vectors"
    other = run_lesson(DAG, question="When will my desk arrive?")
    assert other.xcoms["find_entry"]["entry"] == "How long does delivery take?"
