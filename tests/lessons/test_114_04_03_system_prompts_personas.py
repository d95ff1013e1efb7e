from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from llmkit import prompts, tokens

DAG = "114_04_03_system_prompts_personas"
PERSONAS = ["persona_accountant", "persona_adviser", "persona_workshop"]
LONG = (
    "We have two rooms of 30 square metres, 6 people, 12 screens, an old oak floor and a budget that must not be more. "
    "Which desk should we order first, and why not {{ macros }} or {% raw %}?"
)


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    """Every field of the form has another value."""
    return run_lesson(DAG, question=LONG, window=300, lease=400)


@pytest.fixture(scope="module")
def data(settings):
    return settings.dags.parent / "include" / "data"


def small_window(run) -> list[dict]:
    """What the model with the small window was sent: the refused call and the answered one."""
    return [request for request in run.requests if "context=400" in (request["key"] or "")]


def persona_calls(run) -> list[dict]:
    """What the personas were asked."""
    systems = [prompts.load(name).render(shop="Lumen & Oak") for name in PERSONAS]
    return [
        r["asked"] for r in run.requests if (r.get("asked") or {}).get("messages") and r["asked"]["system"] in systems
    ]


def _said(asked: dict) -> list[tuple[str, str]]:
    return [(message["role"], message["text"]) for message in asked["messages"]]


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.4.3", "Define system prompts")
def test_system_prompts_are_files_and_hold_no_question(run):
    systems = [prompts.load(name).render(shop="Lumen & Oak") for name in PERSONAS]
    assert [each["system"] for each in run.xcoms["write_system_prompts"]] == systems
    assert sorted(asked["system"] for asked in persona_calls(run)) == sorted(systems), (
        "each is sent as a system message"
    )
    settings = [(asked["temperature"], asked["max_tokens"]) for asked in persona_calls(run)]
    assert settings == [(0, 40)] * 3, "and with the settings of its file"


@pytest.mark.checklist("114.4.3", "Create agent personas")
def test_each_persona_is_asked_the_same_question(run, other):
    question = "Which desk should we order first, and why?"
    assert [_said(asked) for asked in persona_calls(run)] == [[("user", question)]] * 3
    assert [_said(asked) for asked in persona_calls(other)] == [[("user", LONG)]] * 3, (
        "and the question of the form as it is"
    )
    rows = run.result["personas"]
    assert [name in row["who"] for name, row in zip(("Ines", "Mara", "Ole"), rows, strict=True)] == [True] * 3
    assert [row["said"] for row in rows] == [text[:60] for text in run.xcoms["ask_persona"]]
    assert len({row["said"] for row in rows}) == 3
    assert [row["limit"] for row in rows] == [40, 40, 40]


@pytest.mark.checklist("114.4.3", "Context window management")
def test_the_whole_conversation_is_refused_and_the_trimmed_one_answered(run, data):
    conversation = [(m["role"], m["content"]) for m in json.loads((data / "conversation.json").read_text())]
    whole, trimmed = small_window(run)
    question = ("user", "Which desk should we order first, and why?")
    assert (whole["status"], trimmed["status"]) == (400, 200)
    assert _said(whole["asked"]) == [*conversation, question]
    kept = len(run.xcoms["trim_history"]["kept"])
    assert 0 < kept < 26 and _said(trimmed["asked"]) == [*conversation[-kept:], question], "the newest ones, in order"
    assert trimmed["asked"]["max_tokens"] == 40
    assert run.result["sent whole"] == "context_length_exceeded"
    assert run.result["tokens"] == trimmed["prompt_tokens"] + trimmed["completion_tokens"] <= 400


@pytest.mark.checklist("114.4.3", "Context window management")
def test_what_was_left_out_is_sent_as_a_note(run):
    older, note = run.xcoms["trim_history"]["older"], run.xcoms["summarize_older"]
    [summarized] = [r for r in run.requests if "<conversation>" in str((r.get("asked") or {}).get("messages"))]
    assert all(message["content"] in _said(summarized["asked"])[0][1] for message in older)
    assert any("9,000 euros" in message["content"] for message in older), "the budget is in what was left out"
    assert note["budget_eur"] == run.result["noted budget"] == 9000 and len(note["summary"]) > 20
    system = small_window(run)[1]["asked"]["system"]
    assert system.startswith("You are Mara") and "budget is 9000 EUR" in system
    assert f"Earlier in this conversation: {note['summary'][:40]}" in system


@pytest.mark.checklist("114.4.3", "Context window management")
def test_prompt_and_type_ask_for_a_note_of_one_length(lesson_module):
    described = lesson_module(DAG).Note.model_fields["summary"].description
    for asked in (prompts.load("summarize_conversation").render(messages=[]), described):
        assert re.findall(r"(\w+) sentences", asked) == ["two"]


@pytest.mark.checklist("114.4.3", "Context window management")
def test_a_budget_that_nobody_named_is_not_in_the_note(lesson_module, monkeypatch):
    module, sent = lesson_module(DAG), []

    def create(**asked):
        sent.append(asked["messages"])
        answer = SimpleNamespace(message=SimpleNamespace(content="The corner desk."))
        return SimpleNamespace(choices=[answer], usage=SimpleNamespace(total_tokens=9))

    client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    monkeypatch.setattr(module.OpenAIHook, "conn", client)
    answer = module.system_prompts_personas().get_task("answer_in_window").python_callable
    trimmed = {"system": "You are Mara.", "older": [], "kept": [], "question": "Which desk?"}
    answer(trimmed, {"budget_eur": None, "summary": "They talked about desks."})
    assert sent[-1][0]["content"] == "You are Mara.\n\nEarlier in this conversation: They talked about desks."


@pytest.mark.checklist("114.4.3", "Context window management")
@pytest.mark.parametrize(("which", "window"), [("run", 330), ("other", 300)])
def test_question_note_and_answer_are_in_the_budget(which, window, request):
    done = request.getfixturevalue(which)
    trimmed = done.xcoms["trim_history"]
    cost = lambda text: tokens.count(text).tokens + tokens.PER_MESSAGE  # noqa: E731
    used = cost(f"{trimmed['system']}\n{trimmed['question']}") + tokens.PER_MESSAGE + 40 + 90
    used += sum(cost(message["content"]) for message in trimmed["kept"])
    assert used <= window < used + cost(trimmed["older"][-1]["content"]), "as many messages as fit, and no more"
    asked = small_window(done)[1]["asked"]
    sent = [asked["system"], *(message["text"] for message in asked["messages"])]
    assert sum(cost(text) for text in sent) + asked["max_tokens"] <= window


@pytest.mark.checklist("114.4.3", "Prompt compression")
def test_the_same_questions_are_asked_of_every_text(run, data):
    texts = run.xcoms["shorten_lease"]
    assert texts["whole"] == (data / "leases" / "lease.md").read_text()
    read = [r["asked"] for r in run.requests if "<lease>" in str((r.get("asked") or {}).get("messages"))]
    sent = [_said(asked)[0][1] for asked in read]
    assert sorted(sent) == sorted(prompts.load("read_terms").render(lease=text) for text in texts.values())
    for asked in read:
        assert {"rent", "deposit", "notice", "floor_load"} <= set(asked["tools"][0]["parameters"]["properties"])


@pytest.mark.checklist("114.4.3", "Prompt compression")
def test_facts_tell_what_likeness_does_not(run):
    rows = {row["of"].split(",")[0]: row for row in run.result["leases"]}
    asked = {name: (row["rent"], row["deposit"], row["notice"]) for name, row in rows.items()}
    assert list(rows) == ["whole", "beginning", "by meaning", "by questions"]
    assert asked["whole"] == asked["by questions"] == (2400, 7200, 6)
    assert asked["by meaning"][0] != 2400 and asked["by meaning"][1] != 7200
    assert rows["by meaning"]["likeness"] > rows["by questions"]["likeness"] + 0.05, "more alike, and worse"
    assert rows["whole"]["likeness"] == 1 and rows["whole"]["floor_load"] == 750
    assert all(row["floor_load"] != 750 for name, row in rows.items() if name != "whole"), "nobody asked for it"


@pytest.mark.checklist("114.4.3", "Prompt compression")
def test_a_text_is_compressed_to_the_tokens_of_the_form_and_no_word_is_changed(run, other):
    for done, most in ((run, 200), (other, 400)):
        texts = done.xcoms["shorten_lease"]
        for name in ("beginning", "by meaning", "by questions"):
            assert most * 0.75 <= tokens.count(texts[name]).tokens <= most, name
            words = iter(texts["whole"].split())
            assert all(word in words for word in texts[name].split()), "the author's words in the author's order"
        assert texts["whole"].startswith(texts["beginning"])
    rows = {row["of"].split(",")[0]: row for row in other.result["leases"]}
    assert (rows["beginning"]["rent"], rows["beginning"]["deposit"]) == (2400, 7200)
    assert rows["by meaning"]["rent"] == 310, "the advance for heating"


def test_the_shop_has_one_price_for_a_desk(data):
    spoken = (data / "conversation.json").read_text()
    assert "A Fjord standing desk costs 399 euros" in spoken and "890" not in spoken and "820" not in spoken
