"""Whether a reply has just the fields that an SDK's own types have: nothing unknown, nothing required left out."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import botocore
from pydantic import BaseModel


def unknown(value: Any, where: str = "") -> list[str]:
    """The fields in a parsed reply that the SDK's types do not know; they are kept as extras by all these SDKs."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        aliases = {f.alias for f in fields.values()}
        found = [f"{where}.{name}" for name in value.model_extra or {} if name not in aliases]
        for name in fields:
            found += unknown(getattr(value, name, None), f"{where}.{name}")
        return found
    if isinstance(value, list | tuple):
        return [f for i, item in enumerate(value) for f in unknown(item, f"{where}[{i}]")]
    return []


def valid(value: BaseModel) -> None:
    """Raises when a required field is missing or has a wrong type; the SDKs construct replies without checking them."""
    assert unknown(value) == []
    type(value).model_validate(value.model_dump(mode="python", by_alias=True, exclude_unset=True))


@cache
def _bedrock() -> dict[str, Any]:
    (path,) = Path(botocore.__file__).parent.glob("data/bedrock-runtime/*/service-2.json.gz")
    return json.loads(gzip.decompress(path.read_bytes()))["shapes"]


def fits_bedrock(value: Any, shape: str, where: str = "") -> list[str]:
    """What in a raw reply is not as botocore's service model says of ``shape``: unknown, missing, of a wrong type."""
    spec = _bedrock()[shape]
    kind = spec["type"]
    if spec.get("document"):
        return []
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{where} is no object"]
        members = {n: m for n, m in spec["members"].items() if "location" not in m}
        faults = [f"{where}.{n} is unknown" for n in value if n not in members]
        faults += [f"{where}.{n} is missing" for n in spec.get("required", ()) if n in members and n not in value]
        for name in value.keys() & members.keys():
            faults += fits_bedrock(value[name], members[name]["shape"], f"{where}.{name}")
        return faults
    if kind == "list":
        return [f for i, v in enumerate(value) for f in fits_bedrock(v, spec["member"]["shape"], f"{where}[{i}]")]
    allowed = {
        "string": str,
        "blob": str,
        "integer": int,
        "long": int,
        "float": float,
        "double": float,
        "boolean": bool,
    }
    return [] if kind not in allowed or isinstance(value, allowed[kind]) else [f"{where} is no {kind}"]
