"""Prompts as files: loaded by name, checked, and rendered in a sandbox.

A prompt is a Jinja2 template with YAML front matter, at ``<library>/<name>/v<N>.j2``::

    ---
    description: What the prompt is for.
    variables: {ticket: The customer's message}
    ---
    Answer this ticket: {{ ticket }}

The template sees the variables that it declares and nothing else. Values are data: they are never read as a template.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, TemplateSyntaxError, meta
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.sandbox import SandboxedEnvironment

LIBRARY = Path(__file__).resolve().parents[2] / "include" / "prompts"
"""The course's own prompts."""

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*\n(.*)\Z", re.DOTALL)
# The C loader where PyYAML has it; both read plain data only.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VERSION = re.compile(r"v(\d+)\.j2")


class PromptError(ValueError):
    """A prompt that cannot be loaded or rendered; the text names the prompt and what to do."""


@dataclass(frozen=True)
class Prompt:
    """One version of a prompt; ``variables`` says what each of them is."""

    name: str
    version: int
    description: str
    template: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def render(self, **values: Any) -> str:
        """The prompt's text.

        Raises ``PromptError`` for a variable that is missing or not declared, and for a template that breaks out of
        the sandbox; so nothing incomplete is ever sent to a model.
        """
        where = f"Prompt {self.name}/v{self.version}"
        if missing := sorted(set(self.variables) - values.keys()):
            raise PromptError(f"{where} needs a value for: {', '.join(missing)}.")
        if unknown := sorted(values.keys() - set(self.variables)):
            raise PromptError(
                f"{where} does not declare: {', '.join(unknown)}; its variables are {', '.join(sorted(self.variables))}."
            )
        try:
            return _environment().from_string(self.template).render(**values).strip()
        except UndefinedError as error:
            raise PromptError(f"{where} cannot be rendered: {error}.") from None
        except SecurityError as error:
            raise PromptError(f"{where} does what a template must not do: {error}.") from None


def load(name: str, version: int | None = None, *, library: Path | str = LIBRARY) -> Prompt:
    """The prompt ``name`` in ``version``, the newest by default.

    Raises ``PromptError`` when it does not exist, its front matter is wrong, or its template uses a variable that the
    front matter does not declare.
    """
    folder = Path(library) / name
    versions = {int(m.group(1)): path for path in folder.glob("v*.j2") if (m := _VERSION.fullmatch(path.name))}
    if not versions:
        there = ", ".join(sorted(p.name for p in Path(library).glob("*") if p.is_dir())) or "none"
        raise PromptError(f"There is no prompt {name} in {library}; there are: {there}.")
    chosen = max(versions) if version is None else version
    if chosen not in versions:
        raise PromptError(f"Prompt {name} has no version {chosen}; it has {', '.join(map(str, sorted(versions)))}.")
    return _parse(name, chosen, versions[chosen].read_text(encoding="utf-8"))


def _parse(name: str, version: int, text: str) -> Prompt:
    where = f"Prompt {name}/v{version}"
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise PromptError(f"{where} has no front matter: begin it with a block between two lines of `---`.")
    try:
        head = yaml.load(match.group(1), Loader=_YAML) or {}
        used = meta.find_undeclared_variables(_environment().parse(match.group(2)))
    except yaml.YAMLError as error:
        raise PromptError(f"{where} has front matter that is no YAML: {error}.") from None
    except TemplateSyntaxError as error:
        raise PromptError(
            f"{where} is no Jinja2 template: {error.message} in line {error.lineno} of its text."
        ) from None
    if not isinstance(head, dict):
        raise PromptError(f"{where} has front matter that is no mapping.")
    variables = head.get("variables") or {}
    if undeclared := sorted(used - set(variables)):
        raise PromptError(f"{where} uses {', '.join(undeclared)} without declaring it in its front matter.")
    return Prompt(name, version, head.get("description", ""), match.group(2), variables)


def rendered_once() -> dict[str, str]:
    """``jinja_environment_kwargs`` for a DAG whose prompts are finished texts, so that Airflow renders nothing in them.

    Airflow renders what an ``@task.llm`` function returns as a Jinja2 template, and what it was called with once more. A
    ticket that contains ``{{ var.value.secret }}`` would be filled in, and one with ``{% raw %}`` would fail the task.
    With these delimiters, which nobody can guess, no text is a template. Templates of the DAG's own, such as
    ``{{ params.x }}`` in an operator's argument, are then not rendered either: read ``params`` in a task.
    """
    token = secrets.token_hex(8)
    return {
        "variable_start_string": f"{{{{{token}",
        "block_start_string": f"{{%{token}",
        "comment_start_string": f"{{#{token}",
    }


def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
    )
