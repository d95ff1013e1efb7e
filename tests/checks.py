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

MAX_CODE, MAX_DOC, MAX_TASKS = 120, 60, 10
PARTS = (
    "**Try it**",
    "**You should see** (offline):",
    "**SDK or own code?**",
    "**In production**",
)
"""The parts of a lesson's page after its table, in their order."""
EXPECTED_TO_FAIL = "This run is expected to end *failed*."
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
    """Checklist item to task ids, from the lesson's table, which stands before what to try."""
    table = doc.split(PARTS[0])[0]
    rows = re.findall(r"^\| (?!Checklist item|-)([^|]+?) \| ([^|]+?) \|$", table, re.MULTILINE)
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
    return (task.doc_md or "").strip().split("\n", 1)[0]


def metadata_errors(lesson: dict[str, Any], dag: Any) -> list[str]:
    """Id, tags, titles, retries, result and form are what the outline and the house ask for."""
    errors = []
    if set(dag.tags) != set(lesson["tags"]):
        errors.append(f"tags are {sorted(dag.tags)}, the outline has {sorted(lesson['tags'])}")
    name = f"{lesson['id']} · {lesson['title']}"
    if lesson["outcome"] == "failed":
        name += " (fails on purpose)"
    if dag.dag_display_name != name:
        errors.append(f"dag_display_name is {dag.dag_display_name!r}, not {name!r}")
    if not (dag.doc_md or "").strip().startswith(f"# {lesson['id']} {lesson['title']}\n"):
        errors.append(f"the doc does not begin with '# {lesson['id']} {lesson['title']}'")
    if not dag.default_args.get("retries"):
        errors.append("default_args has no retries")
    if len([task for task in dag.tasks if task.returns_dag_result]) != 1:
        errors.append("the @dag function does not return its conclusion")
    if len(dag.tasks) > MAX_TASKS:
        errors.append(f"{len(dag.tasks)} tasks, more than {MAX_TASKS}")
    for name in dag.params:
        param = dag.params.get_param(name)
        if not param.schema.get("title") or not param.description:
            errors.append(f"the param {name} needs a title and a description")
        if dag.params[name] == "":
            # The form's button stays grey until something is written there.
            errors.append(f"the param {name} is empty: allow null and let that be its default")
    errors += [
        f"the task id {task} is no verb and object"
        for task in dag.task_ids
        if re.search(r"(?:task|step)_?\d|^op\d", task)
    ]
    return errors


def page_errors(path: Path, lessons: dict[str, dict[str, Any]]) -> list[str]:
    """The parts of a lesson's page stand in their order, it says when a run must fail, and its links lead to lessons."""
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    there = [dag_id for dag_id in lessons if (path.parent / f"{dag_id}.py").exists()]
    errors = []
    begins = [doc.find(f"\n{part}") for part in PARTS]
    errors += [f"the page has no part {part}" for part, at in zip(PARTS, begins, strict=True) if at < 0]
    if not errors and begins != sorted(begins):
        errors.append(f"the parts are not in the order {', '.join(PARTS)}")
    if (at := doc.find(PARTS[1])) >= 0 and doc[at + len(PARTS[1]) :].lstrip().startswith("**"):
        errors.append("the page shows no result: run `make outputs`")
    if lessons[path.stem]["outcome"] == "failed" and not doc.split("\n\n", 2)[1].startswith(EXPECTED_TO_FAIL):
        errors.append(f"the page's first line is not {EXPECTED_TO_FAIL!r}")
    links = re.findall(r"(?:\*\*(Builds on|Next)\*\* )?\[([^\]]+)\]\((114_\w+)\.py\)", doc)
    for kind, text, target in links:
        if target not in there:
            errors.append(f"the link {text!r} leads to {target}.py, which is not there")
        elif kind and text != (wanted := f"{lessons[target]['id'].removeprefix('114.')} {lessons[target]['title']}"):
            errors.append(f"the link to {target}.py says {text!r}, not {wanted!r}")
    ends = {kind: target for kind, _, target in links if kind}
    place = there.index(path.stem)
    if place and "Builds on" not in ends:
        errors.append("the page does not end with what the lesson builds on")
    if (on := ends.get("Builds on")) in there and there.index(on) >= place:
        errors.append(f"the page builds on {on}, which comes later")
    following = there[place + 1] if place + 1 < len(there) else None
    if ends.get("Next") != following:
        errors.append(f"Next is {ends.get('Next')}, and the next lesson is {following}")
    return errors


def form_errors(path: Path) -> list[str]:
    """Length, order of the parts, and what a lesson's source does without.

    That is ``print``, ``time.sleep``, a bare ``except``, a prompt in the file, a default spelled out, a comprehension in a
    comprehension.
    """
    source = path.read_text()
    tree = ast.parse(source)
    if ast.get_docstring(tree) is None:
        return ["no docstring on top"]
    doc = tree.body[0].end_lineno or 0
    code = source.count("\n") - doc
    errors = []
    if code > MAX_CODE:
        errors.append(f"{code} lines below the docstring, more than {MAX_CODE}")
    if doc > MAX_DOC:
        errors.append(f"{doc} lines in the docstring, more than {MAX_DOC}")
    kinds = [_kind(node) for node in tree.body[1:]]
    order = {"import": 0, "constant": 1, "type": 1, "function": 1, "dag": 2, "call": 3}
    ranks = [order[kind] for kind in kinds]
    if ranks != sorted(ranks):
        errors.append(f"the parts are not in order (imports, constants and types, the DAG, its call): {kinds}")
    comprehensions = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "time.sleep", "sleep"):
            errors.append(f"line {node.lineno}: {ast.unparse(node.func)}()")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            errors.append(f"line {node.lineno}: bare except")
        if isinstance(node, ast.keyword) and ast.unparse(node) in ("schedule=None", "catchup=False", "strict=False"):
            errors.append(f"line {node.value.lineno}: {ast.unparse(node)} is the default, or hides a mistake")
        if isinstance(node, comprehensions) and (
            len(node.generators) > 1 or any(isinstance(n, comprehensions) for n in ast.walk(node) if n is not node)
        ):
            errors.append(f"line {node.lineno}: a comprehension in a comprehension")
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
        # In capitals: "Select one of the teams" is the beginning of a prompt.
        query = re.match(r"\s*(?:SELECT|INSERT|CREATE|UPDATE|DELETE|WITH)\b", text)
        if long and not query and id(node) not in docs | helps:
            found.append(node.lineno)
    return sorted(set(found))


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
        silent = f"the process that read the files ended with status {done.returncode}"
        errors.setdefault("", []).append((done.stderr.strip() or silent).splitlines()[-1])
    return errors
