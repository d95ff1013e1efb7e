"""What every lesson must satisfy, as functions that return what is wrong: an empty list is a pass.

They read a lesson's source and, where they need its graph, the parsed DAG; they can be taken to any other course.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

MAX_LINES, MIN_LINES = 160, 60
HARDCODES = "114_07_04_hardcoded_prompts_antipattern"
"""The lesson whose bad way has its prompts in the code."""


def outline(repo: Path) -> dict[str, dict[str, Any]]:
    """The curriculum's lessons by dag_id."""
    course = yaml.safe_load((repo / "include" / "curriculum.yaml").read_text())
    return {lesson["dag_id"]: lesson for section in course["sections"] for lesson in section["lessons"]}


def present(repo: Path) -> list[str]:
    """dag_ids of the lesson files that are there."""
    return sorted(path.stem for path in (repo / "dags").glob("*.py"))


def marked_items(test_file: Path) -> set[tuple[str, str]]:
    """The (lesson id, item) pairs that the tests of a file carry as ``@pytest.mark.checklist``."""
    if not test_file.exists():
        return set()
    found = set()
    for node in ast.walk(ast.parse(test_file.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.checklist":
                    found.add(tuple(ast.literal_eval(argument) for argument in mark.args))
    return found


def coverage(repo: Path) -> tuple[int, int]:
    """Lessons that are there, and checklist items that a test carries."""
    lessons = outline(repo)
    items = 0
    for dag_id in present(repo):
        wanted = (
            {(lessons[dag_id]["id"], item) for item in lessons[dag_id]["checklist"]} if dag_id in lessons else set()
        )
        items += len(wanted & marked_items(repo / "tests" / "lessons" / f"test_{dag_id}.py"))
    return len(present(repo)), items


def doc_table(doc: str) -> dict[str, list[str]]:
    """Checklist item to task ids, from the lesson's table."""
    rows = re.findall(r"^\| (?!Checklist item|-)([^|]+?) \| ([^|]+?) \|$", doc, re.MULTILINE)
    return {item: re.findall(r"`([^`]+)`", tasks) for item, tasks in rows}


def checklist_errors(lesson: dict[str, Any], dag: Any) -> list[str]:
    """Every item is in the doc's table with tasks that exist, one of which says it in its docstring's first line."""
    errors = []
    table = doc_table(dag.doc_md or "")
    for item in lesson["checklist"]:
        tasks = table.get(item)
        if not tasks:
            errors.append(f"the doc's table has no row for {item!r}")
            continue
        missing = [task for task in tasks if task not in dag.task_ids]
        if missing:
            errors.append(f"{item!r}: the table names tasks that do not exist: {', '.join(missing)}")
            continue
        said = [first_line(dag.get_task(task)) for task in tasks]
        if not any(line.startswith(f"{item}:") for line in said):
            errors.append(f"{item!r}: none of its tasks' docstrings begins with it")
    errors += [
        f"the table names {item!r}, which the outline does not have"
        for item in table
        if item not in lesson["checklist"]
    ]
    return errors


def first_line(task: Any) -> str:
    """The first line of a task's page in the UI."""
    # Airflow shows a TaskFlow docstring on the task's page, though not (in 3.3) that of a mapped task.
    doc = getattr(getattr(task, "python_callable", None), "__doc__", "") if task.is_mapped else task.doc_md
    return (doc or "").strip().split("\n", 1)[0]


def metadata_errors(lesson: dict[str, Any], dag: Any) -> list[str]:
    """Id, tags, title, docs and retries are what the outline and the house ask for."""
    errors = []
    if set(dag.tags) != set(lesson["tags"]):
        errors.append(f"tags are {sorted(dag.tags)}, the outline has {sorted(lesson['tags'])}")
    doc = (dag.doc_md or "").strip()
    if not doc.startswith(f"# {lesson['id']} {lesson['title']}"):
        errors.append(f"the doc does not begin with '# {lesson['id']} {lesson['title']}'")
    errors += [f"the doc has no part '{part}'" for part in ("**Try it**", "**In production**") if part not in doc]
    if not dag.default_args.get("retries"):
        errors.append("default_args has no retries")
    for name in dag.params:
        param = dag.params.get_param(name)
        if not param.schema.get("title"):
            errors.append(f"the param {name} has no title")
        if dag.params[name] == "":
            # The form's button stays grey until something is written there.
            errors.append(f"the param {name} is empty: allow null and let that be its default")
    errors += [
        f"the task id {task} is no verb and object"
        for task in dag.task_ids
        if re.search(r"(?:task|step)_?\d|^op\d", task)
    ]
    return errors


def form_errors(path: Path) -> list[str]:
    """Length, order of the parts, prose share, no ``print``, no ``time.sleep``, no bare ``except``, no prompt in the file."""
    source = path.read_text()
    tree = ast.parse(source)
    lines = source.count("\n")
    errors = []
    if not MIN_LINES <= lines <= MAX_LINES:
        errors.append(f"{lines} lines, not {MIN_LINES} to {MAX_LINES}")
    if ast.get_docstring(tree) is None:
        return [*errors, "no docstring on top"]
    prose = prose_share(source, tree)
    if not 0.2 <= prose <= 0.45:
        errors.append(f"{prose:.0%} of it is prose, not 20 to 45 %")
    kinds = [_kind(node) for node in tree.body[1:]]
    order = {"import": 0, "constant": 1, "type": 1, "function": 1, "dag": 2, "call": 3}
    ranks = [order[kind] for kind in kinds]
    if ranks != sorted(ranks):
        errors.append(f"the parts are not in order (imports, constants and types, the DAG, its call): {kinds}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "time.sleep", "sleep"):
            errors.append(f"line {node.lineno}: {ast.unparse(node.func)}()")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            errors.append(f"line {node.lineno}: bare except")
    if path.stem != HARDCODES:
        errors += [
            f"line {n}: a text longer than a line; prompts belong into include/prompts" for n in long_texts(tree)
        ]
    return errors


def long_texts(tree: ast.Module) -> list[int]:
    """Lines where a text begins that is longer than one: a prompt, most likely. Docs, help texts and queries are none."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None
    }
    helps = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg in ("description", "doc_md", "title", "body", "subject")
        for part in ast.walk(node.value)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        long = node.end_lineno != node.lineno or len(text) > 120
        query = text.lstrip().upper().startswith(("SELECT", "INSERT", "CREATE", "UPDATE", "DELETE", "WITH"))
        if long and not query and id(node) not in docs | helps:
            found.append(node.lineno)
    return sorted(set(found))


def prose_share(source: str, tree: ast.Module) -> float:
    """Lines of docstrings and comments over all lines that are not empty."""
    prose = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            text = node.body[0]
            prose += sum(1 for line in source.splitlines()[text.lineno - 1 : text.end_lineno] if line.strip())
    prose += sum(1 for line in source.splitlines() if line.strip().startswith("#") and not line.startswith("# 114"))
    return prose / max(1, sum(1 for line in source.splitlines() if line.strip()))


def _kind(node: ast.stmt) -> str:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "import"
    if isinstance(node, ast.FunctionDef):
        return "dag" if any(ast.unparse(d).startswith("dag") for d in node.decorator_list) else "function"
    if isinstance(node, ast.ClassDef):
        return "type"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return "call"
    return "constant"


_GUARD = """
import runpy, sys
watched = {"socket.connect", "socket.getaddrinfo", "sqlite3.connect", "subprocess.Popen", "os.system"}
watching = ""
def hook(event, args):
    if watching and event in watched:
        sys.stderr.write(f"PARSE-TIME {watching} {event} {args[:2]!r}\\n")
sys.addaudithook(hook)
for path in sys.argv[1:]:
    for watching in ("", path):  # the first time, libraries that are imported look at the platform they run on
        runpy.run_path(path, run_name="lesson")
    watching = ""
"""


def parse_time_errors(*paths: Path) -> dict[str, list[str]]:
    """No connection, database or process is opened while a file is read; checked by running the files under an audit hook.

    What is wrong, by file name; a file that cannot be read stops the others.
    """
    command = [sys.executable, "-c", _GUARD, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    errors: dict[str, list[str]] = {}
    for path, call in re.findall(r"^PARSE-TIME (\S+) (.*)$", done.stderr, re.MULTILINE):
        errors.setdefault(Path(path).name, []).append(f"while parsing: {call}")
    if done.returncode:
        errors.setdefault("", []).append(done.stderr.strip().splitlines()[-1])
    return errors
