from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import pytest

from keyless.mind.thinking import Thinker
from keyless.neutral import Message, Request
from llmkit import prompts
from llmkit.prompts import ab, releases

DAG = "114_04_02_prompt_versioning"
ONE, TWO = prompts.load("sort_ticket", 1), prompts.load("sort_ticket", 2)


@pytest.fixture(scope="module")
def run(running_stack, run_lesson):
    """The first run: nothing is released before it, also on a stack that other runs have used (``make mutants``)."""
    with releases._connected("llm_db") as connection:
        connection.execute("DELETE FROM llm_prompt_releases WHERE prompt = 'sort_ticket'")
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def small(run, run_lesson):
    """Few letters, and few of them for the candidate."""
    return run_lesson(DAG, letters=40, share=0.25)


@pytest.fixture(scope="module")
def kept(small, run_lesson):
    """No roll-back."""
    return run_lesson(DAG, letters=80, keep=True)


@pytest.fixture(scope="module")
def after(kept, run_lesson):
    """The run after the one that kept the winner. It rolls back at its end."""
    return run_lesson(DAG, letters=20)


@pytest.fixture(scope="module")
def mail(settings) -> list[dict]:
    return json.loads((settings.dags.parent / "include" / "data" / "mail.json").read_text())


def letters_of(run) -> dict[str, list[dict]]:
    """The letters of each arm."""
    return {arm["arm"]: arm["letters"] for arm in run.xcoms["assign_arms"]}


def prompts_sent(run) -> list[str]:
    """What the model was asked, in the order in which it was."""
    return [request["asked"]["messages"][0]["text"] for request in run.requests]


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.4.2", "Store prompts externally")
def test_the_code_has_no_prompt_and_the_model_gets_the_files(run, lesson_module):
    assert run.xcoms["release_versions"] == {"production": 1, "candidate": 2}
    with open(lesson_module(DAG).__file__) as lesson:
        assert "Answer with one word" in ONE.template and "Answer with one word" not in lesson.read()
    letters = letters_of(run)
    wanted = [ONE.render(ticket=letter["text"]) for letter in letters["production"]]
    wanted += [TWO.render(ticket=letter["text"]) for letter in letters["candidate"]]
    assert Counter(prompts_sent(run)[:120]) == Counter(wanted), "each arm's letters with the text of its own file"


@pytest.mark.checklist("114.4.2", "Store prompts externally")
def test_the_settings_come_from_the_file(run):
    assert ONE.settings == TWO.settings == {"temperature": 0, "max_tokens": 5}
    assert {(r["asked"]["temperature"], r["asked"]["max_tokens"]) for r in run.requests} == {(0, 5)}


@pytest.mark.checklist("114.4.2", "Version control prompts")
def test_the_history_says_which_text_was_released_by_whom_and_why(run):
    rows = run.result["releases"]
    assert [(row["alias"], row["action"], row["text"]) for row in rows] == [
        ("production", "promote version 1", ONE.digest),
        ("candidate", "promote version 2", TWO.digest),
        ("production", "promote version 2", TWO.digest),
        ("production", "rollback version 1", ONE.digest),
    ]
    assert ONE.digest != TWO.digest
    assert rows[2]["why"].endswith("better than version 1") and rows[3]["why"] == "to show how it is done"
    assert {release.who for release in releases.history("sort_ticket")[:4]} == {"lesson 4.2"}


@pytest.mark.checklist("114.4.2", "Version control prompts")
def test_nothing_is_ever_taken_out_of_the_history(run, after):
    history = releases.history("sort_ticket")
    assert [release.digest for release in history[:4]] == [row["text"] for row in run.result["releases"]]
    assert [(r.alias, r.action, r.version) for r in history[4:]] == [
        ("production", "promote", 2),
        ("production", "rollback", 1),
    ], "a promotion and a roll-back more, and no second release of the candidate"


@pytest.mark.checklist("114.4.2", "A/B testing prompts")
def test_a_customer_meets_one_arm_in_every_run(run, small, mail):
    letters = letters_of(run)
    customers = {arm: {letter["customer"] for letter in letters[arm]} for arm in letters}
    assert not customers["production"] & customers["candidate"]
    assert len(mail) == 200 and len({letter["customer"] for letter in mail[:120]}) < 120, "some wrote twice"
    assert 48 <= len(letters["candidate"]) <= 72, "half of 120, by a hash"
    # A smaller share takes customers from the candidate's arm, and moves none into it.
    fewer = {letter["id"] for letter in letters_of(small)["candidate"]}
    assert fewer < {letter["id"] for letter in letters["candidate"]}
    assert 1 <= len(fewer) <= 16, "a quarter of 40"


@pytest.mark.checklist("114.4.2", "A/B testing prompts")
def test_the_shares_are_counted_against_the_labels(run, embedder):
    assert len(run.requests) == 122, "one call a letter, and two to show what is in production"
    thinker = Thinker(embedder)

    def answer(prompt: str) -> str:
        return thinker.think(Request((Message("user", prompt),)), lambda *_: "").text

    for arm, prompt in zip(run.result["arms"], (ONE, TWO), strict=True):
        letters = letters_of(run)[arm["arm"]]
        # Counted apart from the lesson, with what answers offline.
        right = [answer(prompt.render(ticket=letter["text"])) == letter["team"] for letter in letters]
        assert (arm["version"], arm["letters"]) == (prompt.version, len(letters))
        assert (arm["right"], arm["share"]) == (sum(right), round(sum(right) / len(letters), 2))
    production, candidate = run.result["arms"]
    assert candidate["share"] > production["share"]


@pytest.mark.checklist("114.4.2", "A/B testing prompts")
def test_a_full_stop_is_no_wrong_team_and_no_answer_is_one(lesson_module, monkeypatch):
    module, said = lesson_module(DAG), iter(["Support.\n", None])

    def answer(self, messages, **settings):
        return [SimpleNamespace(message=SimpleNamespace(content=next(said)))]

    monkeypatch.setattr(module.OpenAIHook, "create_chat_completion", answer)
    assert module.sort(TWO, ["It is broken.", "Hello."]) == ["support", ""]


@pytest.mark.checklist("114.4.2", "A/B testing prompts")
def test_the_winner_is_promoted_only_if_the_interval_of_its_lead_is_above_zero(run, small):
    for each in (run, small):
        now, new = each.result["arms"]
        low, high = ab.difference(now["right"], now["letters"], new["right"], new["letters"])
        assert each.result["lead of the candidate"].startswith(f"{low:+.2f} to {high:+.2f}")
        assert each.result["promoted"] == (low > 0)
    assert run.result["promoted"] and not small.result["promoted"]
    now, new = small.result["arms"]
    assert new["share"] > now["share"], "better by the look of it, and not promoted"
    assert small.result["one letter after the experiment"].startswith("version 1:")


@pytest.mark.checklist("114.4.2", "A/B testing prompts")
def test_a_version_does_not_win_against_itself(run, lesson_module, monkeypatch):
    module, promoted = lesson_module(DAG), []
    monkeypatch.setattr(module.releases, "promote", lambda prompt, **said: promoted.append(prompt.version))
    decide = module.prompt_versioning().get_task("promote_winner").python_callable

    def arms(production: int) -> list[dict]:
        return [
            {"version": production, "right": 10, "letters": 60, "share": 0.17},
            {"version": 2, "right": 50, "letters": 60, "share": 0.83},
        ]

    assert decide(arms(2))["promoted"] is False and promoted == [], "a lead between equals is luck"
    assert decide(arms(1))["promoted"] is True and promoted == [2]


@pytest.mark.checklist("114.4.2", "Rollback prompt versions")
def test_a_rollback_is_in_force_at_once(run, lesson_module):
    assert run.xcoms["use_promoted"] == "version 2: accounting"
    assert run.xcoms["use_rolled_back"].startswith("version 1: ") and run.xcoms["roll_back"] == 1
    letter = lesson_module(DAG).LETTER
    assert prompts_sent(run)[-2:] == [TWO.render(ticket=letter), ONE.render(ticket=letter)]


@pytest.mark.checklist("114.4.2", "Rollback prompt versions")
def test_the_next_run_finds_what_the_run_before_left(small, kept, after):
    assert small.xcoms["release_versions"]["production"] == 1, "the first run has rolled back"
    assert kept.xcoms["release_versions"]["production"] == 1
    assert kept.state == "success" and kept.result["promoted"] and kept.xcoms["roll_back"] == 2
    assert kept.result["the same letter at the end"] == "version 2: accounting"
    assert after.xcoms["release_versions"]["production"] == 2, "the winner was kept"
    assert [arm["version"] for arm in after.result["arms"]] == [2, 2] and not after.result["promoted"]
    assert after.xcoms["roll_back"] == 1 and releases.released("sort_ticket").version == 1
