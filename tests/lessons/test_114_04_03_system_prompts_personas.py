from __future__ import annotations

import pytest

DAG = "114_04_03_system_prompts_personas"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.4.3", "Define system prompts")
def test_system_prompts_are_files_and_hold_no_question(run):
    assert run.xcoms["list_personas"] == ["persona_accountant", "persona_adviser", "persona_workshop"]
    assert all("Lumen & Oak" in text for text in run.xcoms["write_system_prompt"])
    assert not any("lamp broke" in text for text in run.xcoms["write_system_prompt"])


@pytest.mark.checklist("114.4.3", "Create agent personas")
def test_each_persona_answers_the_same_question_in_its_own_way(run):
    compared = run.xcoms["compare_personas"]
    assert sorted(compared) == ["accountant", "adviser", "workshop"]
    assert len({answer["said"] for answer in compared.values()}) == 3
    assert compared["workshop"]["told"].startswith("You are Ole")


@pytest.mark.checklist("114.4.3", "Context window management")
def test_what_does_not_fit_fails_and_what_was_trimmed_fits(run, run_lesson):
    whole = run.xcoms["send_everything"]
    assert whole["error"] == "context_length_exceeded" and whole["tokens"] > 400
    assert [r["status"] for r in run.requests if "context=400" in r["key"]] == [400, 200]
    trimmed, answered = run.xcoms["trim_history"], run.xcoms["answer_in_window"]
    assert len(trimmed["older"]) + len(trimmed["kept"]) == 26 and trimmed["kept"][-1]["content"].startswith(
        "That makes 240"
    )
    assert sum(trimmed["tokens"].values()) <= 330
    assert answered["answer"] and answered["tokens"] <= 400
    older = [m["content"] for m in trimmed["older"]]
    assert any(content[:30] in answered["summary"] for content in older), "offline, a summary quotes the text"
    tight = run_lesson(DAG, window=260, compressed=200, question="What about {{ macros }} {% raw %}?")
    assert tight.state == "success"
    assert len(tight.xcoms["trim_history"]["kept"]) < len(trimmed["kept"])
    assert (
        tight.xcoms["report_savings"]["compressed"]["similarity"]
        < run.xcoms["report_savings"]["compressed"]["similarity"]
    )


@pytest.mark.checklist("114.4.3", "Prompt compression")
def test_compression_saves_tokens_and_keeps_more_than_cutting_does(run):
    texts, report = run.xcoms["compress_document"], run.xcoms["report_savings"]
    assert report["compressed"]["tokens"] <= 400 and report["whole"]["tokens"] > 1000
    assert report["compressed"]["similarity"] > max(0.85, report["beginning"]["similarity"])
    words = iter(texts["whole"].split())
    assert all(word in words for word in texts["compressed"].split()), "no word is changed"
