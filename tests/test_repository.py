"""The rooms stay apart, the generated files are fresh, and nothing secret is committed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from stack import docs, screenshot
from stack.settings import REPO

ROOMS = ("keyless", "stack", "bench", "plugins")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter with the contracts of ``pyproject.toml``, over the packages in ``folder``."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "plugins")])}
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_rooms_are_apart():
    done = lint_imports(REPO)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("keyless/mind/tasks.py", "import airflow", "keyless knows neither"),
        ("keyless/mind/tasks.py", "import starlette", "knows no HTTP server"),
        ("keyless/mind/tasks.py", "from keyless.http import bodies", "keyless: the process"),
        ("keyless/http/paging.py", "from keyless.providers.openai import errors", "Only discovery"),
        ("keyless/app.py", "from keyless.providers import openai", "Only discovery"),
        ("keyless/providers/cohere/chat.py", "from keyless.providers.openai import errors", "do not know one another"),
        ("keyless/providers/cohere/chat.py", "from keyless.mind import engine", "through its face"),
        ("plugins/llmkit/similarity.py", "import keyless", "llmkit is used without"),
        ("stack/costs.py", "import bench", "runs without the benchmarks"),
    ],
)
def test_a_door_in_a_wrong_wall_is_found(tmp_path, file, line, contract):
    for room in ROOMS:
        shutil.copytree(REPO / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    changed = tmp_path / file
    changed.write_text(f"{changed.read_text()}\n{line}\n")
    done = lint_imports(tmp_path)
    broken = [name for name in done.stdout.split("Broken contracts")[-1].splitlines() if contract in name]
    assert done.returncode == 1 and broken, done.stdout + done.stderr


def test_lessons_reach_keyless_over_http_alone():
    """``dags/`` is no package that import-linter could read."""
    for path in (REPO / "dags").glob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
        assert not names & {"keyless", "stack", "bench"}, path


def test_requirements_are_the_locked_ones():
    assert (REPO / "requirements.txt").read_text() == docs.requirements(), "run `make export`"


def test_the_readme_s_tables_are_fresh():
    readme = (REPO / "README.md").read_text()
    assert docs.with_tables(readme) == readme, "run `make export`"
    assert docs.lesson_table() in readme and docs.directive_table() in readme
    first = readme.split("You clone it")[0]
    assert docs.opening() in first and re.search(r"(\d+) runnable", first).group(1) == str(len(screenshot.lessons()))


def test_the_readme_s_picture_shows_the_lessons_that_are_there():
    with Image.open(screenshot.PICTURE) as picture:
        shown = picture.text.get(screenshot.LESSONS, "").split()
    assert shown == screenshot.lessons(), "run `make screenshot` beside a running `make up`"
    assert screenshot.PICTURE.stat().st_size < 250_000


def test_the_lock_file_fits_the_project():
    uv = next((p for p in (REPO / ".uv/bin/uv",) if p.exists()), "uv")
    try:
        done = subprocess.run(
            [uv, "lock", "--check", "--offline"], cwd=REPO, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("no uv on this machine")
    if "offline" in done.stderr.lower() or "network" in done.stderr.lower():
        pytest.skip("uv has no cache to check the lock file with")
    assert done.returncode == 0, done.stderr


def test_ruff_is_content():
    for command in (["check", "."], ["format", "--check", "."]):
        done = subprocess.run(
            [Path(sys.executable).parent / "ruff", *command], cwd=REPO, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_airflow_does_not_run_llmkit_s_modules_as_plugins(tmp_path):
    """Airflow runs every file below plugins/ that is not ignored as a module named by its stem."""
    script = "import sys, airflow.plugins_manager as p; p.ensure_plugins_loaded(); print({'library', 'tokens', 'http_tap'} & set(sys.modules))"

    def loaded(plugins: Path) -> str:
        env = {**os.environ, "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins), "AIRFLOW_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
        return done.stdout.strip().splitlines()[-1]

    assert loaded(REPO / "plugins") == "set()"
    without = tmp_path / "plugins"
    shutil.copytree(REPO / "plugins", without)
    (without / ".airflowignore").unlink()
    assert loaded(without) != "set()", "the guard is what keeps them out"


def test_no_module_of_ours_hides_another_package():
    ours = {p.stem for p in (REPO / "plugins" / "llmkit").rglob("*.py")} - {"__init__"}
    assert not ours & (
        sys.stdlib_module_names | {"openai", "anthropic", "cohere", "ollama", "google", "boto3", "jinja2"}
    )


def test_no_key_is_committed():
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout.split()
    secret = re.compile(r"sk-[A-Za-z0-9]{20,}|sk-ant-|AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY")
    for name in tracked:
        if name.endswith((".png", ".lock")) or name == "tests/test_repository.py":
            continue
        assert not secret.search((REPO / name).read_text(errors="replace")), name
