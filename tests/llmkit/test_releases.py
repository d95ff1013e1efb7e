"""Which version of a prompt is used: aliases, their history, and A/B assignment."""

from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmkit import prompts
from llmkit.prompts import ab, lint, releases

TEXT = "---\ndescription: Greets\nvariables: {{name: Who}}\n---\n{} {{{{ name }}}}!\n"


@pytest.fixture
def library(tmp_path):
    """A library with a prompt that no other test has released, in three versions."""
    name = f"greet_{tmp_path.name}_{id(tmp_path)}"
    (tmp_path / name).mkdir()
    for number, word in enumerate(["Hello", "Hi", "Hey"], 1):
        (tmp_path / name / f"v{number}.j2").write_text(TEXT.format(word))
    return tmp_path, prompts.versions(name, library=tmp_path)


def test_promotion_and_rollback_are_recorded(running_stack, library):
    folder, (one, two, three) = library
    name = one.name
    with pytest.raises(prompts.PromptError, match="no production version yet"):
        releases.released(name, library=folder)
    assert releases.promote(one, who="ana", why="first")
    assert releases.promote(two, who="bo", why="shorter", score=0.9)
    assert not releases.promote(two, who="bo", why="again"), "a retry promotes once"
    assert releases.released(name, library=folder) == two
    assert releases.promote(three, "candidate", who="ana", why="to try")
    assert releases.released(name, "candidate", library=folder) == three
    back = releases.rollback(two, who="ana", why="complaints")
    assert (back.version, back.action, back.why) == (1, "rollback", "complaints")
    assert releases.rollback(two, who="ana", why="complaints").version == 1, "a retry takes back no more"
    assert releases.released(name, library=folder) == one
    with pytest.raises(prompts.PromptError, match="no production version"):
        releases.rollback(one, who="ana", why="one too many")
    # Forward again, and back to where it was.
    releases.promote(three, who="bo", why="better")
    assert releases.rollback(three, who="bo", why="not better").version == 1
    lines = [(r.alias, r.action, r.version, r.who, r.score) for r in releases.history(name)]
    assert lines == [
        ("production", "promote", 1, "ana", None),
        ("production", "promote", 2, "bo", 0.9),
        ("candidate", "promote", 3, "ana", None),
        ("production", "rollback", 1, "ana", None),
        ("production", "promote", 3, "bo", None),
        ("production", "rollback", 1, "bo", None),
    ]
    assert [r.at for r in releases.history(name)] == sorted(r.at for r in releases.history(name))


def test_a_version_that_was_edited_after_its_release_is_noticed(running_stack, library):
    folder, (one, *_) = library
    releases.promote(one, who="ana", why="first")
    (folder / one.name / "v1.j2").write_text(TEXT.format("Bye"))
    with pytest.raises(prompts.PromptError, match=f"no version with the digest {one.digest}"):
        releases.released(one.name, library=folder)


def test_many_at_once_promote_one_after_the_other(running_stack, library):
    _, versions = library
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda n: releases.promote(versions[n % 2], who=str(n), why="race"), range(12)))
    lines = [r.version for r in releases.history(versions[0].name)]
    assert lines and all(a != b for a, b in itertools.pairwise(lines))


def test_the_digest_is_that_of_the_text_and_its_parts(tmp_path):
    (tmp_path / "_base").mkdir(), (tmp_path / "ask").mkdir()
    base, child = tmp_path / "_base" / "v1.j2", tmp_path / "ask" / "v1.j2"
    base.write_text("---\ndescription: Base\n---\nHouse rules.\n{% block task %}{% endblock %}\n")
    child.write_text(
        "---\ndescription: Asks\nvariables: {x: What}\n---\n{% extends '_base/v1.j2' %}\n{% block task %}Do {{ x }}.{% endblock %}\n"
    )
    first = prompts.load("ask", library=tmp_path)
    assert first.render(x="it") == "House rules.\nDo it."
    assert (
        prompts.load("ask", library=tmp_path).digest
        == first.digest
        == prompts.load("ask", digest=first.digest, library=tmp_path).digest
    )
    base.write_text(base.read_text().replace("House", "Our"))
    assert prompts.load("ask", library=tmp_path).digest != first.digest
    child.write_text(child.read_text().replace("_base/v1.j2", "../../etc/passwd"))
    with pytest.raises(prompts.PromptError, match="takes in"):
        prompts.load("ask", library=tmp_path)
    child.write_text(child.read_text().replace("'../../etc/passwd'", "x"))
    with pytest.raises(prompts.PromptError, match="computed"):
        prompts.load("ask", library=tmp_path)
    assert prompts.names(tmp_path) == ["ask"], "a part is no prompt of its own"


def test_macros_types_settings_and_output(tmp_path):
    (tmp_path / "_forms").mkdir(), (tmp_path / "ask").mkdir()
    (tmp_path / "_forms" / "v1.j2").write_text(
        "---\ndescription: Macros\n---\n{% macro bullets(items) %}{% for i in items %}- {{ i }}\n{% endfor %}{% endmacro %}"
    )
    (tmp_path / "ask" / "v1.j2").write_text(
        "---\ndescription: Asks\nvariables:\n  facts: {type: array, items: {type: string}, minItems: 1, description: What is known}\n"
        "settings: {temperature: 0, max_tokens: 20}\noutput: {type: object}\n---\n"
        "{% import '_forms/v1.j2' as forms %}\nKnown:\n{{ forms.bullets(facts) }}"
    )
    prompt = prompts.load("ask", library=tmp_path)
    assert prompt.render(facts=["a", "b"]) == "Known:\n- a\n- b"
    assert prompt.settings == {"temperature": 0, "max_tokens": 20} and prompt.output == {"type": "object"}
    for wrong, says in (("a", "not of type 'array'"), ([], "facts"), ([1], "not of type 'string'")):
        with pytest.raises(prompts.PromptError, match=says):
            prompt.render(facts=wrong)


def test_the_lint_finds_what_is_wrong(tmp_path):
    def write(name, text, version=1):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"v{version}.j2").write_text(text)

    assert lint.problems() == [], "the course's own are clean"
    good = "---\ndescription: Greets\nvariables: {name: Who}\n---\nHello {{ name }}\n"
    write("good", good)
    assert lint.problems(tmp_path) == []
    write("unused", good.replace("{name: Who}", "{name: Who, age: How old}"))
    write("undeclared", good.replace("{name: Who}", "{}"))
    write("undescribed", good.replace("name: Who", "name: ").replace("description: Greets", "description:"))
    write("long", good + "and so on " * 400)
    write("gap", good, version=1), write("gap", good, version=3)
    write("typo", good.replace("description:", "descripton:"))
    (tmp_path / "good" / "V2.jinja").write_text("x")
    found = "\n".join(lint.problems(tmp_path))
    for says in (
        "unused/v1 declares age and does not use it",
        "undeclared/v1 uses name without declaring it",
        "undescribed/v1 has no description",
        "undescribed/v1: nobody says what name is",
        "long/v1 is 1205 tokens long",
        "gap has the versions [1, 3]",
        "typo/v1 has descripton in its front matter",
        "good/V2.jinja is no version",
    ):
        assert says in found, found
    assert found.count("\n") == 7, found


# --- A/B ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights", [{"production": 0.9, "candidate": 0.1}, {"a": 1, "b": 1}, {"a": 5, "b": 3, "c": 2, "off": 0}]
)
@pytest.mark.parametrize("name", ["ticket-{}", "{}", "customer{}@example.com"])
def test_shares_are_those_of_the_weights_and_nobody_moves(weights, name):
    items = [name.format(n) for n in range(10_000)]
    arms = {item: ab.assign(item, weights, experiment="greeting") for item in items}
    shares = Counter(arms.values())
    for arm, weight in weights.items():
        assert abs(shares[arm] / 10_000 - weight / sum(weights.values())) <= 0.01
    assert all(
        ab.assign(item, dict(reversed(weights.items())), experiment="greeting") == arm for item, arm in arms.items()
    )


def test_a_new_weight_moves_only_those_who_must():
    items = [f"ticket-{n}" for n in range(5000)]
    before = [ab.assign(item, {"production": 9, "candidate": 1}, experiment="x") for item in items]
    after = [ab.assign(item, {"production": 9, "candidate": 3}, experiment="x") for item in items]
    assert {(b, a) for b, a in zip(before, after, strict=True) if b != a} == {("production", "candidate")}
    other = [ab.assign(item, {"production": 9, "candidate": 1}, experiment="y") for item in items]
    both = sum(b == o == "candidate" for b, o in zip(before, other, strict=True))
    assert both < 100, "another experiment divides the items anew: 1 % of them are in both"


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": -1, "b": 2}, {"a": float("nan")}, {"a": float("inf")}])
def test_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="weights"):
        ab.assign("x", weights, experiment="e")


def test_the_interval_of_a_difference_is_newcombe_s():
    # Newcombe (1998), table II, (a): 56 of 70 against 48 of 80.
    low, high = ab.difference(48, 80, 56, 70)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    # (h): 10 of 10 against 0 of 10.
    low, high = ab.difference(0, 10, 10, 10)
    assert (round(low, 4), round(high, 4)) == (0.6075, 1.0)
    assert ab.difference(0, 0, 3, 5) == ab.difference(3, 5, 0, 0) == (-1.0, 1.0), "an arm without answers tells nothing"
    assert ab.difference(5, 10, 5, 10)[0] == -ab.difference(5, 10, 5, 10)[1], "equal arms: as likely worse as better"
