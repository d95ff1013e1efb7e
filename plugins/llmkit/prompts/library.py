"""Prompts as files: loaded by name, checked, and rendered in a sandbox.

A prompt is a Jinja2 template with YAML front matter, at ``<library>/<name>/v<N>.j2``::

    ---
    description: What the prompt is for.
    variables:
      ticket: The customer's message
      facts: {type: array, items: {type: string}, description: What is known}
    settings: {temperature: 0, max_tokens: 80}
    output: {type: object, properties: {team: {type: string}}, required: [team]}
    ---
    {% extends "_house/v1.j2" %}
    {% block task %}Answer this ticket: {{ ticket }}{% endblock %}

A variable's type is a JSON Schema, or only a description, which means a string. The template sees the variables that it
declares and nothing else; values are data and never read as a template. ``settings`` and ``output`` (a JSON Schema) go to
the model's call. Templates in folders that begin with ``_`` are there to be extended, included or imported by others.

A version is identified by its digest: the hash of its text and of every template that it is made of. Two prompts with the
same digest render the same, whatever their files are called.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jinja2 import FunctionLoader, StrictUndefined, TemplateNotFound, TemplateSyntaxError, meta, nodes
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

LIBRARY = Path(__file__).resolve().parents[3] / "include" / "prompts"
"""The course's own prompts."""

_FRONT_MATTER = re.compile(r"\A---[ \t\r]*\n(.*?)\n---[ \t\r]*\n(.*)\Z", re.DOTALL)
# The C loader where PyYAML has it; both read plain data only.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VERSION = re.compile(r"v(\d+)\.j2")
_KEYS = {"description", "variables", "settings", "output"}


class PromptError(ValueError):
    """A prompt that cannot be loaded or rendered; the text names the prompt and what to do."""


@dataclass(frozen=True)
class Prompt:
    """One version of a prompt.

    ``variables`` has a JSON Schema for each of them, ``settings`` the model's settings, ``output`` the JSON Schema of the
    answer. ``unused`` are variables that are declared and not used.
    """

    name: str
    version: int
    description: str
    template: str
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] | None = None
    digest: str = ""
    unused: frozenset[str] = frozenset()
    library: Path = LIBRARY

    def render(self, **values: Any) -> str:
        """The prompt's text.

        Raises ``PromptError`` for a variable that is missing, not declared or of another type, and for a template that
        breaks out of the sandbox; so nothing incomplete is ever sent to a model.
        """
        where = f"Prompt {self.name}/v{self.version}"
        if missing := sorted(set(self.variables) - values.keys()):
            raise PromptError(f"{where} needs a value for: {', '.join(missing)}.")
        if unknown := sorted(values.keys() - set(self.variables)):
            raise PromptError(
                f"{where} does not declare: {', '.join(unknown)}; its variables are {', '.join(sorted(self.variables))}."
            )
        for name, schema in self.variables.items():
            if wrong := _mismatch(values[name], schema):
                raise PromptError(f"{where} cannot take this value for {name}: {wrong}.")
        try:
            return _environment(self.library).from_string(self.template).render(**values).strip()
        except UndefinedError as error:
            raise PromptError(f"{where} cannot be rendered: {error}.") from None
        except SecurityError as error:
            raise PromptError(f"{where} does what a template must not do: {error}.") from None


def load(name: str, version: int | None = None, *, digest: str | None = None, library: Path | str = LIBRARY) -> Prompt:
    """The prompt ``name`` in ``version``, or with ``digest``; the newest by default.

    Raises ``PromptError`` when it does not exist, its front matter is wrong, or its template uses a variable that the
    front matter does not declare.
    """
    files = _files(name, Path(library))
    if digest is not None:
        for number in sorted(files, reverse=True):
            if (prompt := _parse(name, number, Path(library))).digest == digest:
                return prompt
        raise PromptError(
            f"Prompt {name} has no version with the digest {digest}: its file was changed or removed after it was used. "
            "Bring that text back from version control, or promote a version that is there."
        )
    chosen = max(files) if version is None else version
    if type(chosen) is not int or chosen not in files:
        raise PromptError(f"Prompt {name} has no version {chosen}; it has {', '.join(map(str, sorted(files)))}.")
    return _parse(name, chosen, Path(library))


def versions(name: str, *, library: Path | str = LIBRARY) -> list[Prompt]:
    """All versions of ``name``, oldest first. Raises ``PromptError``."""
    return [_parse(name, number, Path(library)) for number in sorted(_files(name, Path(library)))]


def names(library: Path | str = LIBRARY) -> list[str]:
    """The prompts of a library, without the templates that are only parts of others."""
    return sorted(p.name for p in Path(library).glob("*") if p.is_dir() and not p.name.startswith("_"))


def _files(name: str, library: Path) -> dict[int, Path]:
    # Names come from forms and settings too: one like ../../secrets is no name of a prompt.
    paths = (library / name).glob("v*.j2") if name in names(library) else ()
    found = {
        int(m.group(1)): path for path in paths if (m := _VERSION.fullmatch(path.name)) and _is_inside(path, library)
    }
    if not found:
        raise PromptError(f"There is no prompt {name} in {library}; there are: {', '.join(names(library)) or 'none'}.")
    return found


def _parse(name: str, version: int, library: Path) -> Prompt:
    where = f"Prompt {name}/v{version}"
    head, template, text = _split(where, library / name / f"v{version}.j2")
    parts, used = _parts(where, template, library)
    variables = _variables(where, head.get("variables") or {})
    if undeclared := sorted(used - set(variables)):
        raise PromptError(f"{where} uses {', '.join(undeclared)} without declaring it in its front matter.")
    digest = hashlib.sha256("\0".join([text, *(parts[part] for part in sorted(parts))]).encode()).hexdigest()[:12]
    return Prompt(
        name,
        version,
        head.get("description", ""),
        template,
        variables,
        head.get("settings") or {},
        head.get("output"),
        digest,
        frozenset(set(variables) - used),
        library,
    )


def _split(where: str, path: Path) -> tuple[dict[str, Any], str, str]:
    """Front matter, template, and the whole text of a file."""
    text = path.read_text(encoding="utf-8")
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise PromptError(f"{where} has no front matter: begin it with a block between two lines of `---`.")
    try:
        head = yaml.load(match.group(1), Loader=_YAML) or {}
    except yaml.YAMLError as error:
        raise PromptError(f"{where} has front matter that is no YAML: {error}.") from None
    if not isinstance(head, dict):
        raise PromptError(f"{where} has front matter that is no mapping.")
    if unknown := sorted(set(map(str, head)) - _KEYS):
        raise PromptError(
            f"{where} has {', '.join(unknown)} in its front matter, which knows only {', '.join(sorted(_KEYS))}."
        )
    return head, match.group(2), text


def _variables(where: str, declared: Any) -> dict[str, Mapping[str, Any]]:
    if not isinstance(declared, dict):
        raise PromptError(f"{where} needs a mapping of variables, each with its description or JSON Schema.")
    return {
        name: schema if isinstance(schema, dict) else {"type": "string", "description": schema or ""}
        for name, schema in declared.items()
    }


def _parts(where: str, template: str, library: Path) -> tuple[dict[str, str], set[str]]:
    """The texts of the templates that ``template`` is made of, by name, and the variables that all of them use."""
    texts: dict[str, str] = {}
    used: set[str] = set()
    todo = [template]
    environment = _environment(library)
    while todo:
        try:
            tree = environment.parse(todo.pop())
        except TemplateSyntaxError as error:
            raise PromptError(
                f"{where} is no Jinja2 template: {error.message} in line {error.lineno} of its text."
            ) from None
        used |= meta.find_undeclared_variables(tree) - _imported(tree)
        for part in meta.find_referenced_templates(tree):
            if part is None:
                raise PromptError(f"{where} takes in a template whose name is computed: write its name out.")
            if part not in texts:
                try:
                    texts[part] = environment.loader.get_source(environment, part)[0]  # type: ignore[union-attr]
                except TemplateNotFound:
                    raise PromptError(f"{where} takes in {part}, which is not in {library}.") from None
                todo.append(texts[part])
    return texts, used


def _imported(tree: nodes.Template) -> set[str]:
    """Names that a template takes from others, which its blocks see too."""
    whole = {node.target for node in tree.find_all(nodes.Import)}
    single = {name for node in tree.find_all(nodes.FromImport) for name in node.names}
    return whole | {name[1] if isinstance(name, tuple) else name for name in single}


def _mismatch(value: Any, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with ``value``, in words; ``None`` if nothing is."""
    from jsonschema import Draft202012Validator

    error = next(iter(Draft202012Validator(schema).iter_errors(value)), None)
    return error and error.message


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


def _is_inside(path: Path, library: Path) -> bool:
    """Whether ``path`` is a file of the library, also when links are followed."""
    try:
        return path.is_file() and path.resolve().is_relative_to(library.resolve())
    except ValueError:  # a NUL in the name
        return False


def _environment(library: Path) -> ImmutableSandboxedEnvironment:
    def source(name: str) -> str | None:
        path = library / name
        return _split(f"Prompt {name}", path)[1] if _is_inside(path, library) else None

    return ImmutableSandboxedEnvironment(
        loader=FunctionLoader(source), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
