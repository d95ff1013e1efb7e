"""The params that a reader gives a lesson as ``CONF``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stack.settings import StackError

if TYPE_CHECKING:
    from airflow.sdk import DAG

_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters long",
    "maxLength": "at most {} characters long",
    "minItems": "at least {} items long",
    "maxItems": "at most {} items long",
    "pattern": "like the pattern {}",
    "format": "a {}",
}
_TYPES = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def parsed(conf: str | None) -> dict[str, Any] | None:
    """The JSON object in ``conf``; ``None`` when there is none. Raises ``StackError`` for anything else."""
    if not conf:
        return None
    try:
        params = json.loads(conf)
    except ValueError as error:
        raise StackError(f'CONF is no JSON ({error}): write it like CONF=\'{{"question": "…"}}\'.') from None
    if not isinstance(params, dict):
        raise StackError('CONF must be a JSON object, like CONF=\'{"question": "…"}\'.')
    return params


def check(dag: DAG, params: dict[str, Any]) -> None:
    """Raises ``StackError`` for a name that the lesson does not have, and for a value that it does not allow."""
    from airflow.sdk.exceptions import ParamValidationError

    known = ", ".join(dag.params) or "none at all"
    for name, value in params.items():
        if name not in dag.params:
            raise StackError(f"CONF: this lesson has no param {name}; its params are {known}.")
        param = dag.params.get_param(name)
        try:
            param.resolve(value)
        except ParamValidationError:
            said = json.dumps(value, ensure_ascii=False)
            raise StackError(
                f"CONF: {name} must be {allowed(param.schema)}, and {said} is not (this lesson's params: {known})."
            ) from None


def allowed(schema: dict[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    types = schema.get("type", [])
    words = [" or ".join(_TYPES.get(t, f"of type {t}") for t in ([types] if isinstance(types, str) else types))]
    words += [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]
    return " and ".join(filter(None, words)) or f"as its JSON schema says: {json.dumps(schema)}"
