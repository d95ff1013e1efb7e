"""``POST /v1/systemone``: questions about a state and their answers with probabilities, as pydantic-ai and Ollama's client speak it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyless.http import bodies, faults
from keyless.http.connection import while_connected
from keyless.http.context import answerer, is_in_batch, key_of, note_asked, note_usage
from keyless.http.provider import Dialect
from keyless.mind.judging import Question
from keyless.neutral import BadRequest, ContextOverflow, Usage

MOST_QUESTIONS, MOST_ANSWERS = 100, 200
Content = str | dict[str, Any] | list[Any]


class Choice(bodies.Loose):
    type: Literal["choice"]
    instructions: Content
    criteria: dict[str, Content | None] = Field(min_length=1, max_length=MOST_ANSWERS)


class Noul(bodies.Loose):
    type: Literal["noul"]
    instructions: Content
    criteria: dict[Literal["true", "false"], Content | None] | None = None


class Score(bodies.Loose):
    type: Literal["score"]
    instructions: Content
    criteria: list[Content] = Field(min_length=1, max_length=MOST_ANSWERS)


class SystemOneRequest(bodies.Loose):
    model: str = Field(min_length=1)
    state: Content
    questions: dict[str, Annotated[Choice | Noul | Score, Field(discriminator="type")]] = Field(
        min_length=1, max_length=MOST_QUESTIONS
    )


def _error_body(error: BadRequest) -> dict[str, Any]:
    return {"error": {"message": str(error), "type": error.kind, "param": error.param}}


DIALECT = Dialect("systemone", _error_body, needs_key=False)


def _text(content: Content | None) -> str:
    return content if isinstance(content, str) else "" if content is None else json.dumps(content, ensure_ascii=False)


def _question(asked: Choice | Noul | Score) -> Question:
    if isinstance(asked, Choice):
        answers = {label: _text(meaning) for label, meaning in asked.criteria.items()}
    elif isinstance(asked, Score):
        answers = {str(level): _text(meaning) for level, meaning in enumerate(asked.criteria)}
    else:
        meanings = asked.criteria or {}
        answers = {"yes": _text(meanings.get("true")), "no": _text(meanings.get("false"))}
    return Question(_text(asked.instructions), answers)


def _answer(asked: Choice | Noul | Score, probabilities: list[float]) -> dict[str, Any]:
    if isinstance(asked, Noul):
        return {"type": "noul", "noul": probabilities[0]}
    names = list(asked.criteria) if isinstance(asked, Choice) else [str(level) for level in range(len(asked.criteria))]
    spread = dict(zip(names, probabilities, strict=True))
    best = max(spread, key=spread.__getitem__)
    common = {"probabilities": spread, "confidence": spread[best]}
    if isinstance(asked, Choice):
        return {"type": "choice", "choice": best, **common}
    expected = sum(level * p for level, p in enumerate(probabilities))
    legend = {str(level): _text(meaning) for level, meaning in enumerate(asked.criteria)}
    return {"type": "score", "score": expected, "legend": legend, **common}


async def answered(request: Request) -> Response:
    """The answers to a request's questions, under the key's quotas and faults. Raises ``BadRequest``."""
    body = await bodies.read(request, SystemOneRequest)
    model, key = answerer(request), key_of(request)
    state = _text(body.state)
    questions = {name: _question(asked) for name, asked in body.questions.items()}
    note_asked(request, {"state": state, "questions": {n: q.instructions for n, q in questions.items()}})
    limit = min(model.context_tokens, key.directives.context or model.context_tokens)
    if len(state) > 64 * limit:
        raise ContextOverflow(len(state) // 4, limit, param="state")
    asked = json.dumps([[q.instructions, q.answers] for q in questions.values()], ensure_ascii=False)
    tokens = await model.count_text(f"{state}\n{asked}")
    if tokens >= limit:
        raise ContextOverflow(tokens, limit, param="state")
    claim = faults.Claim(None if is_in_batch(request) else key.tokens, tokens)
    used = 0
    try:
        probabilities = await while_connected(request, model.decide(state, questions))
        used = tokens
    finally:
        claim.settle(used)
    answers = {name: _answer(question, probabilities[name]) for name, question in body.questions.items()}
    # A decision model answers each question in one step.
    usage = Usage(tokens, len(answers))
    note_usage(request, usage)
    counts = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
    return JSONResponse({"model": body.model, "answers": answers, "usage": counts})
