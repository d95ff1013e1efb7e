"""What a provider is to the server: a name, routes, a state of its own, and the words for what all providers have."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from starlette.routing import BaseRoute

from keyless.http.keys import Key
from keyless.neutral import BadRequest


def _no_headers(_: object) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Dialect:
    """How an API words what all of them have: errors, quotas, keys.

    ``name`` is the provider that a key's quotas belong to; ``overloaded`` the status when it has no room or is down.
    ``json_only`` says that the API refuses a JSON body which is not declared as one; ``unsupported_type`` is the status
    that it does so with.
    """

    name: str
    error_body: Callable[[BadRequest], dict[str, Any]]
    error_headers: Callable[[BadRequest], dict[str, str]] = _no_headers
    quota_headers: Callable[[Key], dict[str, str]] = _no_headers
    overloaded: int = 503
    needs_key: bool = True
    json_only: bool = True
    unsupported_type: int = 415


@dataclass(frozen=True)
class Provider:
    """One provider, served below ``/<name>``.

    ``state`` makes what it keeps between requests, when the server starts; ``other_dialects`` are those of routes below
    a path prefix, such as ``/v1/``, that answer in other words than the rest.
    """

    name: str
    dialect: Dialect
    routes: Sequence[BaseRoute]
    state: Callable[[], Any] = dict
    other_dialects: Mapping[str, Dialect] = field(default_factory=dict)

    def dialect_at(self, path: str) -> Dialect:
        """The dialect of ``path``, which begins below the provider's name."""
        found = (dialect for prefix, dialect in self.other_dialects.items() if path.startswith(prefix))
        return next(found, self.dialect)


def discovered(package: ModuleType) -> list[Provider]:
    """The ``PROVIDER`` of each package in ``package``, by name. Raises ``RuntimeError`` for one that exports none."""
    found = []
    for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        module = importlib.import_module(f"{package.__name__}.{name}")
        if not isinstance(getattr(module, "PROVIDER", None), Provider):
            raise RuntimeError(f"{module.__name__} exports no PROVIDER: {module.__file__}")
        found.append(module.PROVIDER)
    return found
