from __future__ import annotations

import ast
from collections import Counter

import checks
import pytest

from llmkit import prompts

DAG = "114_07_04_hardcoded_prompts_antipattern"
BRACE = "The discount {SPRING-10} was not taken off my invoice."
FILLED = "Did {shop} send the invoice for my lamp?"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def changed(run_lesson):
    """The same with both fields of the form changed: a brace that breaks nothing, and the older prompt."""
    return run_lesson(DAG, message=FILLED, version=1)


def texts(run) -> list[str]:
    """What the model was asked, call by call."""
    return [message["text"] for request in run.requests for message in request["asked"]["messages"]]


def by_template(run, version: int, messages: list[str]) -> int:
    """How many calls had exactly the text of this version of the file, for these messages."""
    prompt = prompts.load("sort_ticket", version)
    wanted = {prompt.render(ticket=message) for message in messages}
    return sum(text in wanted for text in texts(run))


def sorted_messages(run) -> list[str]:
    return [answer["message"] for answer in run.xcoms["bad_way.sort_mail"]]


def test_it_ends_as_the_outline_says(run):
    assert run.state == "failed"
    failed = {task for task, state in run.tasks.items() if state != "success"}
    assert failed == {"bad_way.sort_phone", "bad_way.call_back"}


def test_the_conclusion_counts_calls_cost_and_loss_of_identical_work(run):
    found = run.xcoms["compare_ways"]
    bad, good = found["ways"]
    assert set(bad) == {"way", "calls", "tokens", "usd", "seconds", "lost"}
    # 17 messages by three channels; the phone pays for 16 of them in both of its tries, and keeps none.
    assert (bad["calls"], good["calls"]) == (17 * 2 + 16 * 2, 17 * 3) and len(run.requests) == 66 + 51
    assert (bad["lost"], good["lost"]) == ("17 of 51 answers", "0 of 51 answers")
    spent = sum(r["prompt_tokens"] + r["completion_tokens"] for r in run.requests)
    assert bad["tokens"] + good["tokens"] == spent
    assert good["usd"] > bad["usd"] > 0, "three times the longer prompt costs more than the bad way's two tries"
    assert found["verdict"] == (
        f"The bad way paid {bad['usd']:.6f} USD and lost 17 of 51 answers. "
        f"The good way paid {good['usd']:.6f} USD and lost 0 of 51 answers."
    )
    settings = {(r["asked"]["temperature"], r["asked"]["max_tokens"]) for r in run.requests}
    assert settings == {(0, 5)}, "both ways ask with the same settings"


@pytest.mark.checklist("114.7.4", "Difficult iteration")
def test_one_copy_was_improved_and_the_others_were_not(run):
    messages = sorted_messages(run)
    assert len(messages) == 17 and messages[-1] == BRACE
    # The improved copy is word for word version 2 of the file, the older one is version 1: only the place differs.
    assert by_template(run, 2, messages) == 17 + 3 * 17
    assert by_template(run, 1, messages) == 17
    mail, chat = run.xcoms["bad_way.sort_mail"], run.xcoms["bad_way.sort_chat"]
    apart = sum(one["team"] != other["team"] for one, other in zip(mail, chat, strict=True))
    assert 0 < apart < 17
    assert run.xcoms["compare_ways"]["bad_way: messages that went to two teams"] == f"{apart} of 17"


@pytest.mark.checklist("114.7.4", "Difficult iteration")
def test_a_brace_breaks_the_copy_that_is_formatted_and_the_log_ends_in_what_that_cost(run, changed):
    phone = [text for text in texts(run) if text.startswith("Sort this message to Lumen & Oak.")]
    assert Counter(Counter(phone).values()) == {2: 16}, "16 messages, each paid in both tries"
    said = [line for line in run.log.splitlines() if "bad_way.sort_phone failed with KeyError" in line]
    assert len(said) == 1 and " 32 calls cost 0." in said[0] and "USD, and the phone's answers were lost." in said[0]
    assert run.log.index(said[0]) > run.log.rindex("Traceback"), "below the stack"
    # Without such a brace nothing breaks, until somebody writes one. Another one changes what the customer wrote.
    assert changed.state == "success" and len(changed.xcoms["bad_way.sort_phone"]) == 17
    filled = [text for text in texts(changed) if "Did Lumen & Oak send the invoice" in text]
    assert len(filled) == 1 and texts(changed)[-1].count(FILLED) == 1, "the good way sends it as it is"
    facts = changed.xcoms["compare_ways"]
    assert facts["ways"][0]["lost"] == "0 of 51 answers"
    assert not facts["bad_way: messages that went to two teams"].startswith("0 "), "its channels still disagree"


@pytest.mark.checklist("114.7.4", "No versioning")
def test_only_an_answer_that_carries_its_digest_can_be_traced_to_its_text(run, dagbag):
    found = run.xcoms["trace_answers"]
    assert len(found["bad_way"]["answers"]) == 34 and found["bad_way"]["texts"] == []
    # Each text that was found is the one that was sent.
    traced = found["good_way"]["texts"]
    assert len(found["good_way"]["answers"]) == len(traced) == 51
    assert not Counter(traced) - Counter(texts(run)) and BRACE in traced[-1]
    facts = run.xcoms["compare_ways"]
    assert facts["bad_way: answers whose prompt is known"] == "0 of 34"
    assert facts["good_way: answers whose prompt is known"] == "51 of 51"
    # A digest that no file has, because its file was edited, leads nowhere.
    trace = dagbag.dags[DAG].get_task("trace_answers").python_callable
    answers = run.xcoms["good_way.sort_channel"][0][:3]
    edited = [{**answers[0], "digest": "0123456789ab"}, *answers[1:]]
    assert len(trace([None], [edited])["good_way"]["texts"]) == 2


@pytest.mark.checklist("114.7.4", "External prompt storage")
def test_another_version_of_the_file_changes_all_channels_at_once(run, changed):
    newer, older = prompts.load("sort_ticket", 2), prompts.load("sort_ticket", 1)
    for done, prompt in ((run, newer), (changed, older)):
        assert done.xcoms["good_way.load_prompt"] == prompt.digest
        for channel in done.xcoms["good_way.sort_channel"]:
            assert {(answer["version"], answer["digest"]) for answer in channel} == {(prompt.version, prompt.digest)}
    messages = sorted_messages(changed)
    assert messages[-1] == FILLED
    assert (by_template(changed, 1, messages), by_template(changed, 2, messages)) == (17 + 3 * 17, 17)
    teams = [[a["team"] for a in done.xcoms["good_way.sort_channel"][0]] for done in (run, changed)]
    assert teams[0][:16] != teams[1][:16], "the same 16 tickets"
    assert len(changed.xcoms["trace_answers"]["good_way"]["texts"]) == 51


@pytest.mark.checklist("114.7.4", "External prompt storage")
def test_the_check_for_prompts_in_the_code_finds_this_lesson_s(settings):
    tree = ast.parse((settings.dags / f"{DAG}.py").read_text())
    assert len(checks.long_texts(tree)) == 1, "the copy of several lines; the other two are as long as a line of code"


@pytest.mark.checklist("114.7.4", "Prompt templating")
def test_one_template_serves_all_channels_and_takes_braces_as_they_are(run, changed):
    channels = run.xcoms["good_way.sort_channel"]
    assert [channel[0]["channel"] for channel in channels] == ["mail", "chat", "phone"]
    for channel in channels:
        assert [answer["message"] for answer in channel] == sorted_messages(run)
        assert [answer["team"] for answer in channel] == [answer["team"] for answer in channels[0]]
    for done in (run, changed):
        assert done.xcoms["compare_ways"]["good_way: messages that went to two teams"] == "0 of 17"
    wanted = prompts.load("sort_ticket", 2).render(ticket=BRACE)
    assert texts(run).count(wanted) == 3 + 1, "three channels, and the improved copy"
