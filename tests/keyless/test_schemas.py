"""Schemas are hostile input: patterns in linear time, no address opened, odd names and values answered."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyless.mind.decisions import Decider
from keyless.mind.embedder import Embedder
from keyless.mind.extraction import Extractor
from keyless.mind.filling import Filler
from keyless.mind.schemas import Pattern, Validator
from keyless.mind.tasks import Task
from keyless.mind.tools import Planner
from keyless.neutral import BadRequest, Tool

REPO = Path(__file__).resolve().parents[2]
BACKTRACKS = ["^(a+)+$", "^(a|a)*$", "(.*)*x", r"^(\w+\s?)*$", "(x+x+)+y"]
HOSTILE = "a" * 3000 + "! " + "x" * 3000 + " " + "a b " * 1000


@pytest.fixture(scope="module")
def fill(embedder):
    def filled(schema, text="", write=lambda prompt, most: "A sentence."):
        return Filler(Decider(embedder), Extractor(embedder), Task(text, "Fill in the form."), write).fill(schema)

    return filled


def an_object(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


def hostile_schemas():
    """Each pattern in every place where a schema can have one."""
    for pattern in BACKTRACKS:
        yield an_object(code={"type": "string", "pattern": pattern})
        yield {
            **an_object(**{"a" * 60 + "!": {"type": "string"}}),
            "patternProperties": {pattern: {}},
            "additionalProperties": False,
        }
        yield {**an_object(code={"type": "string"}), "propertyNames": {"pattern": f"({pattern})|code"}}
        yield {"type": "object", "patternProperties": {pattern: {"type": "string"}}, "additionalProperties": {}}


def fill_hostile_schemas():
    """Run in a process of its own: Python's ``re`` lets nobody else in while it tries."""
    embedder = Embedder()
    task = Task(HOSTILE + "\n" + "a" * 30 + ": x", "Fill in the form.")
    for schema in hostile_schemas():
        value = Filler(Decider(embedder), Extractor(embedder), task, lambda prompt, most: "A sentence.").fill(schema)
        assert Validator(schema).accepts(value)
        sys.stdout.write("filled\n")


def test_patterns_that_backtrack_are_answered():
    script = "import test_schemas; test_schemas.fill_hostile_schemas()"
    folders = os.pathsep.join([str(REPO), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("filled") == 4 * len(BACKTRACKS)


@pytest.mark.parametrize("pattern", ["(?=a)b", "(?<!a)b", r"(a)\1", "(a{1000}){1000}", "a{2,1}", "("])
def test_what_cannot_be_linear_is_refused(http, pattern):
    schema = {"name": "x", "schema": an_object(code={"type": "string", "pattern": pattern})}
    body = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Invent a code."}],
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    reply = http.post("/openai/v1/chat/completions", json=body, headers={"authorization": "Bearer any"})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error" and error["param"] == "response_format"
    assert json.dumps(pattern)[1:-1] in error["message"] and "linear time" in error["message"]


@pytest.mark.parametrize("pattern", [r"^[A-Z]{3}-\d{4}$", r"^(yes|no)$", r"\d+\.\d{2}", "^((a*)*)*b$", r"^\p{L}+$"])
def test_made_strings_match_and_stay_short(pattern):
    made = Pattern(pattern).example(0)
    assert made == "" if r"\p" in pattern else Pattern(pattern).found_in(made)
    assert len(made) < 10_000 and made == Pattern(pattern).example(0)


def test_a_pattern_s_match_in_the_text_is_taken(fill):
    schema = an_object(code={"type": "string", "pattern": r"^[A-Z]{3}-\d{4}$"})
    assert fill(schema, "The part XKJ-2044, please, not xkj-1.") == {"code": "XKJ-2044"}


def test_no_address_is_opened():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        with pytest.raises(BadRequest, match="Invalid schema"):
            Validator({"$ref": address})
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("name", ["_", "__", "-", "", " ", "_id_", "a_"])
@pytest.mark.parametrize("kind", ["string", "number", "integer", "boolean", "array", "object"])
def test_odd_names_are_answered(fill, name, kind):
    schema = an_object(**{name: {"type": kind}})
    assert Validator(schema).accepts(fill(schema, "Order 12 of 3 May for Ana Costa."))


def test_a_time_needs_no_offset(fill):
    schema = an_object(start_time={"type": "string", "format": "time"})
    assert fill(schema, "We start at 14:30 sharp.") == {"start_time": "14:30:00"}


def test_an_address_gets_its_scheme(fill):
    schema = an_object(website={"type": "string", "format": "uri"})
    assert fill(schema, "See www.example.org/lamps for more.") == {"website": "https://www.example.org/lamps"}


def test_false_is_an_answer_and_no_gap(embedder):
    """A part of a question that answers "no" is not overruled by the whole of it."""
    tool = Tool(
        "set_alarm", "Set the alarm", an_object(urgent={"type": "boolean", "description": "whether it is urgent"})
    )
    values = iter([{"urgent": False}, {"urgent": True}])
    planner = Planner(Decider(embedder), lambda tool, text: next(values))
    assert planner._arguments(tool, "Set the alarm.", "Set the alarm. Is it urgent?", []) == ([{"urgent": False}], [])


@pytest.mark.parametrize("gap", ["unknown", 0, 0.0])
def test_a_gap_is_filled_from_the_whole_question(embedder, gap):
    values = iter([{"price": gap}, {"price": 12}])
    planner = Planner(Decider(embedder), lambda tool, text: next(values))
    tool = Tool("find", "Find", an_object(price={"type": "number"}))
    assert planner._arguments(tool, "Find it", "Find it for 12", []) == ([{"price": 12}], [])


def odd_schemas():
    """Keywords with the values that break programs."""
    numbers = st.sampled_from([0, -1, 1, 0.5, 10**9, 10**400, 1e308, -(10**18)])
    patterns = st.sampled_from(["", "[^\\s\\S]", "^[^\\s\\S]$", "(a{60}){60}", "\\p{L}", "$^", "(?i)x", "(?=a)"])
    leaf = st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "number", "integer", "boolean", "null", "array", "object", ["null", "string"], "x"]),
            "enum": st.lists(st.sampled_from(["a", 1, None, True, 1.5, [], {}]), max_size=3),
            "const": st.sampled_from(["", 0, None, [1]]),
            "pattern": patterns,
            "format": st.sampled_from(["email", "date", "time", "uri", "uuid", "nothing"]),
            **{
                name: numbers
                for name in ("minimum", "maximum", "exclusiveMinimum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems")
            },
            "uniqueItems": st.booleans(),
            "$ref": st.sampled_from(["#", "#/nowhere", "#/properties/a"]),
        },
    )  # fmt: skip
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.fixed_dictionaries({"type": st.just("array"), "items": inner, "minItems": st.integers(0, 3)}),
            st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
            st.builds(an_object, a=inner, _=inner),
        ),
        max_leaves=4,
    )


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(odd_schemas())
def test_every_schema_is_answered_or_refused(fill, schema):
    try:
        value = fill(schema, "Order 12 of 3 May for Ana Costa, 49.90 EUR.")
    except BadRequest as error:
        assert error.param == "response_format"
    else:
        assert Validator(schema).accepts(value)


@pytest.mark.parametrize(
    "part",
    [{"enum": []}, {"type": "integer", "minimum": 10**400}, {"type": "string", "minLength": 10**9},
     {"type": "array", "items": {"type": "string"}, "minItems": 10**7}],
)  # fmt: skip
def test_what_no_answer_can_hold_is_refused(fill, part):
    with pytest.raises(BadRequest, match="Invalid schema"):
        fill(an_object(a=part))


def test_a_tool_s_schema_is_named_as_such(http):
    tool = {"name": "find", "parameters": an_object(code={"type": "string", "pattern": "(?=a)b"})}
    body = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Find it."}],
        "tools": [{"type": "function", "function": tool}],
        "tool_choice": "required",
    }
    reply = http.post("/openai/v1/chat/completions", json=body, headers={"authorization": "Bearer any"})
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "tools"
