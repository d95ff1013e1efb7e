from __future__ import annotations

import re
from contextlib import suppress
from types import SimpleNamespace

import pytest

from llmkit import prompts

DAG = "114_07_02_unbounded_tokens_antipattern"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def poor(run_lesson):
    """The same with both fields of the form changed: a small cap, and short parts."""
    return run_lesson(DAG, cap=600, longest=150)


@pytest.fixture(scope="module")
def parts(settings) -> list[str]:
    lease = settings.dags.parent / "include" / "data" / "leases" / "lease_with_annexes.md"
    return lease.read_text().split("\n## ")[1:]


def turns(request) -> list[str]:
    return [message["text"] for message in request["asked"]["messages"]]


def used(requests) -> int:
    return sum((r["prompt_tokens"] or 0) + (r["completion_tokens"] or 0) for r in requests)


def of_bad_way(run) -> list[dict]:
    """Calls without a limit for the answer."""
    return [r for r in run.requests if r["key"] == "keyless:context=1500" and not (r["asked"] or {}).get("max_tokens")]


def of_good_way(run) -> list[dict]:
    """The calls of ``label_parts`` begin with the first part, and so do those of ``measure_limits``, which are fewer."""
    alone = [r for r in run.requests if r["key"] == "keyless:context=1500" and (r["asked"] or {}).get("max_tokens")]
    firsts = [n for n, r in enumerate(alone) if turns(r)[-1] == run.xcoms["split_lease"][0]["prompt"]]
    runs = [alone[a:b] for a, b in zip(firsts, [*firsts[1:], len(alone)], strict=True)]
    return max(runs, key=len)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "failed"
    failed = {task: state for task, state in run.tasks.items() if state != "success"}
    assert failed == {"bad_way.label_in_one_chat": "failed", "bad_way.publish_labels": "upstream_failed"}


@pytest.mark.checklist("114.7.2", "Cost overruns")
def test_the_bad_way_pays_more_for_the_same_parts_and_keeps_nothing(run):
    found = run.xcoms["compare_ways"]
    bad, good = found["ways"]
    assert set(bad) == {"way", "calls", "refused", "tokens", "usd", "seconds", "lost"}
    assert (bad["calls"], bad["tokens"]) == (len(of_bad_way(run)), used(of_bad_way(run)))
    assert (good["calls"], good["tokens"]) == (19, used(of_good_way(run)))
    assert (bad["lost"], bad["refused"]) == ("19 of 19 labels", 2) and (good["lost"], good["refused"]) == (
        "0 of 19 labels",
        0,
    )
    assert bad["tokens"] > 2 * good["tokens"] and bad["usd"] > 2 * good["usd"] > 0
    assert found["verdict"].startswith(
        f"The bad way paid {bad['tokens']} tokens and lost {bad['lost']}. "
        f"The good way paid {good['tokens']} tokens and lost {good['lost']}. "
    )


@pytest.mark.checklist("114.7.2", "Cost overruns")
def test_each_call_of_a_chat_pays_for_all_before_it_and_the_retry_pays_again(run, parts):
    paid = [r["prompt_tokens"] for r in of_bad_way(run) if r["status"] == 200]
    once = paid[: len(paid) // 2]
    assert len(once) >= 8 and once == sorted(once) == paid[len(once) :], "both tries, call by call"
    assert once[-1] > 5 * once[0]
    said = [line for line in run.log.splitlines() if "bad_way.label_in_one_chat failed with BadRequestError" in line]
    usd = run.xcoms["compare_ways"]["ways"][0]["usd"]
    assert len(said) == 1 and f"(2 refused) cost {usd:.6f} USD, and all labels were lost." in said[0]
    # The same question about the same parts, whole.
    question = prompts.load("sort_lease_part")
    last = turns(of_bad_way(run)[len(once) - 1])
    assert last[0::2] == [question.render(part=part) for part in parts[: len(once)]]


@pytest.mark.checklist("114.7.2", "Context overflow")
def test_the_chat_grows_until_the_provider_refuses_it(run):
    refused = [r for r in run.requests if r["status"] != 200]
    assert [r["status"] for r in refused] == [400, 400], "once in each try; the SDK does not repeat it"
    assert "maximum context length is 1500 tokens" in run.log
    answered = [turns(r) for r in of_bad_way(run) if r["status"] == 200]
    first_try = answered[: len(answered) // 2]
    assert [len(said) for said in first_try] == [2 * n + 1 for n in range(len(first_try))]


@pytest.mark.checklist("114.7.2", "Token budgeting")
def test_each_call_stays_below_what_was_counted_for_it(run):
    calls, sent = run.xcoms["split_lease"], of_good_way(run)
    assert len(run.xcoms["good_way.label_parts"]) == len(calls) == len(sent) == 19
    for call, request in zip(calls, sent, strict=True):
        assert turns(request) == [call["prompt"]], "each part alone"
        assert used([request]) <= call["most"] and request["asked"]["max_tokens"] == 5


@pytest.mark.checklist("114.7.2", "Token budgeting")
def test_the_run_fails_before_a_call_that_could_pass_the_cap(poor):
    assert poor.tasks["good_way.label_parts"] == "failed" and "good_way.label_parts" not in poor.xcoms
    good = poor.xcoms["compare_ways"]["ways"][1]
    following = poor.xcoms["split_lease"][good["calls"]]
    assert 0 < good["tokens"] <= 600 < good["tokens"] + following["most"]
    assert f"{good['tokens']} of 600 tokens are spent, and the next call may take {following['most']}." in poor.log
    assert good["lost"] == "19 of 19 labels", "part of the work is no success"
    assert good["calls"] == len(of_good_way(poor)), "the cap is not tried a second time"


@pytest.mark.checklist("114.7.2", "Token budgeting")
@pytest.mark.parametrize(("paid", "calls"), [(5900, 1), (5901, 0)])
def test_what_earlier_tries_paid_counts_against_the_cap(dagbag, monkeypatch, paid, calls):
    from airflow.providers.openai.hooks.openai import OpenAIHook
    from airflow.sdk.exceptions import AirflowFailException

    sent = []

    def answer(**asked):
        sent.append(asked)
        message = SimpleNamespace(content="money")
        return SimpleNamespace(usage=SimpleNamespace(total_tokens=50), choices=[SimpleNamespace(message=message)])

    client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=answer)))
    monkeypatch.setattr(OpenAIHook, "conn", client)
    monkeypatch.setattr("llmkit.course.side_by_side.rows", lambda *_, **__: [{"tokens": paid}])
    label_parts = dagbag.dags[DAG].get_task("good_way.label_parts").python_callable
    with suppress(AirflowFailException):
        label_parts([{"prompt": "The rent is due.", "most": 100}], {"cap": 6000})
    assert len(sent) == calls


@pytest.mark.checklist("114.7.2", "Token budgeting")
def test_limits_that_are_checked_after_an_answer_are_passed_by_a_call(run):
    in_tokens, in_usd, counted = run.xcoms["compare_ways"]["limits"]
    most = max(call["most"] for call in run.xcoms["split_lease"])
    assert in_tokens["limit"] == "tokens, by usage_limits" and in_usd["limit"] == "USD, by usage_limits"
    assert 400 == in_tokens["allowed"] < in_tokens["paid"] <= 400 + most, "by the last call, and no further"
    assert 0.00006 == in_usd["allowed"] < in_usd["paid"] <= 0.00006 + most * 0.15e-6 + 5 * 0.6e-6
    assert counted["allowed"] == 400 and 400 - most < counted["paid"] <= 400
    # What keyless received under the SDK's key is what was paid there.
    by_sdk = [r for r in run.requests if r["key"] != "keyless:context=1500"]
    first = [turns(r)[-1] for r in by_sdk].index(run.xcoms["split_lease"][0]["prompt"], 1)
    assert used(by_sdk[:first]) == in_tokens["paid"]
    usd = sum(r["prompt_tokens"] * 0.15e-6 + r["completion_tokens"] * 0.6e-6 for r in by_sdk[first:])
    assert usd == pytest.approx(in_usd["paid"])


@pytest.mark.checklist("114.7.2", "Content truncation")
def test_parts_are_cut_behind_a_sentence_and_what_is_missing_is_said(run, poor, parts):
    question = prompts.load("sort_lease_part")
    cuts = []
    for done in (run, poor):
        calls = done.xcoms["split_lease"]
        cut = [(call, part) for call, part in zip(calls, parts, strict=True) if call["unread"]]
        for call, part in cut:
            text = re.search(r"<part>\n(.*)\n</part>", call["prompt"], re.DOTALL)[1]
            assert part.startswith(text) and len(text) < len(part) and re.search(r"[.:;!?)]$", text), text[-30:]
            assert call["whole"] == question.render(part=part)
        cuts.append(len(cut))
        unread = sum(call["unread"] for call in calls)
        assert done.xcoms["compare_ways"]["verdict"].endswith(f" Of the long parts, {unread} tokens stay unread.")
    assert 1 <= cuts[0] < cuts[1] < 19, "shorter parts, more cuts"
    # A cut has a price: what stands in the last annex is never read.
    last = run.xcoms["split_lease"][-1]
    assert "a notice period of 3 months" in last["whole"] and "a notice period of 3 months" not in last["prompt"]
    # What was cut is what was sent.
    assert {turns(r)[0] for r in of_good_way(run)} == {call["prompt"] for call in run.xcoms["split_lease"]}
