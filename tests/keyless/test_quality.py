"""The offline answers keep the quality that the README states; every structured answer fits its schema."""

from __future__ import annotations

import itertools
import json

import pytest
import schemas
from jsonschema import Draft202012Validator, FormatChecker

from bench import quality
from keyless.mind.decisions import Decider
from keyless.mind.extraction import Extractor
from keyless.mind.filling import Filler
from keyless.mind.tasks import Task
from keyless.neutral import BadRequest

TEXT = """Order A-1001 of 3 May 2025 for Ana Costa in Lisbon: 2 lamps at 49.90 EUR, 1 desk at 399.00 EUR.
- The lamp is red and flickers.
- The desk is fine.
Write to ana@example.com or call +351 21 555 0100. She is very unhappy and wants a refund today."""


@pytest.fixture(scope="module")
def client(http):
    return http


def test_classification(client):
    scores = quality.classification(client)
    total = quality.total_of(scores, "classification")
    assert total.total >= 60 and len(scores) >= 6
    assert total.share >= 0.9, total.wrong
    # States of one thing ("delivered", "delayed") are the hardest for sentence vectors.
    # What a shipment is going through is told by what happened to it: MiniLM gets six of ten.
    lower = {"shipment": 0.6}
    assert all(s.share >= lower.get(s.name, 0.75) for s in scores), [(s.name, s.wrong) for s in scores]


def test_fields(client):
    score = quality.fields(client)
    assert score.total >= 90
    assert score.share >= 0.85, score.wrong


def test_choices(client):
    for score in quality.choices(client):
        assert score.total >= 20 and score.share >= 0.95, score.wrong


def test_tools(client):
    score = quality.tools(client)
    assert score.total >= 40
    assert score.share >= 0.85, score.wrong


def test_sql(client):
    score = quality.sql(client)
    assert score.total >= 150
    assert score.share >= 0.94, score.wrong


@pytest.fixture(scope="module")
def filler(embedder):
    # Whatever the language model says, the answer has to fit: the worst that it could say, in turn.
    sayings = itertools.cycle(
        ["", "A sentence. And another one that", "x" * 5000, "\n\n- a\n- b\n", '{"a": "b"}', "  \u0000 ünï ✨ "]
    )

    def write(prompt: str, max_tokens: int) -> str:
        return next(sayings)

    return lambda text, write=write: Filler(
        Decider(embedder), Extractor(embedder), Task(text, "Fill in the form."), write
    )


def test_300_schemas_are_always_satisfied(filler):
    for seed in range(300):
        schema = schemas.schema(seed)
        text = (TEXT, "", "Hello", TEXT * 3)[seed % 4]
        value = filler(text, *([] if seed % 5 else [None])).fill(schema)
        errors = list(Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(value))
        assert not errors, (seed, errors[0].message, json.dumps(schema), value)


def test_schemas_over_http_are_satisfied_and_repeat(client):
    for seed in range(0, 24, 3):
        schema = schemas.schema(seed)
        first, second = (quality._filled(client, [{"role": "user", "content": TEXT}], schema) for _ in range(2))
        assert Draft202012Validator(schema, format_checker=FormatChecker()).is_valid(first), (seed, first)
        assert first == second


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 5, "maximum": 1}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}, "required": ["a"], "not": {}},
        {
            "$ref": "#/$defs/T",
            "$defs": {"T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}, "required": ["t"]}},
        },
    ],
)
def test_impossible_schemas_are_refused(filler, schema):
    with pytest.raises(BadRequest, match="Invalid schema"):
        filler(TEXT).fill(schema)


@pytest.mark.parametrize("labels", [["yes"], ["no"], ["Yes", "No"], [1, 2, 3], [True, None, "x"]])
def test_odd_enums_are_answered(filler, labels):
    schema = {"type": "object", "properties": {"a": {"enum": labels}}, "required": ["a"]}
    assert filler(TEXT).fill(schema)["a"] in labels
