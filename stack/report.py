"""Results as a reader wants to see them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from llmkit.ledger import Spending


def bill(spent: Spending | None) -> tuple[str, str, str]:
    """Calls to models, their tokens, and what these cost at list price."""
    if spent is None:
        return "0", "0", "0"
    return str(spent.calls), str(spent.input_tokens + spent.output_tokens), usd(spent)


def usd(spent: Spending) -> str:
    """A sum with as many digits as a small one needs; ``+ ?`` where some calls have no known price."""
    digits = 6 if spent.cost_usd < 1 else 2
    return f"${spent.cost_usd:.{digits}f}" + (" + ?" if spent.unpriced else "")


class _Readable(yaml.SafeDumper):
    """YAML whose texts of several lines keep their lines."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    lines = "\n".join(line.rstrip() for line in value.splitlines())
    return dumper.represent_scalar("tag:yaml.org,2002:str", lines, style="|" if "\n" in lines else None)


_Readable.add_representer(str, _text)


def shown(value: Any) -> str:
    """An answer as a reader wants to see it: text as text, data as YAML."""
    if isinstance(value, str):
        return value.strip()
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    try:
        plain = json.loads(json.dumps(value, default=str))
        return yaml.dump(plain, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=110).strip()
    except (TypeError, ValueError):
        return str(value)
