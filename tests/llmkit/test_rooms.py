"""How llmkit's modules know one another, and what importing them costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

KIT = Path(__file__).resolve().parents[2] / "plugins" / "llmkit"
MODULES = sorted(KIT.rglob("*.py"))
HEAVY = {"psycopg", "sqlalchemy", "openai", "httpx", "httpx2", "numpy", "pydantic_ai", "genai_prices", "re2", "redis"}


def private_names(source: str) -> set[str]:
    """Names with an underscore that ``source`` takes from other modules of llmkit."""
    tree = ast.parse(source)
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("llmkit")]
    names = {alias.asname or alias.name for node in imports for alias in node.names}
    taken = {alias.name for node in imports for alias in node.names if alias.name.startswith("_")}
    return taken | {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id in names and node.attr.startswith("_")
    }


def test_no_module_uses_another_s_private_names():
    assert private_names("from llmkit.ledger import spool, _x\nspool._folder()") == {"_x", "spool._folder"}
    assert {path.name: found for path in MODULES if (found := private_names(path.read_text()))} == {}
    assert len(MODULES) > 20


def test_what_a_dag_file_imports_is_cheap():
    """These are imported while a DAG file is parsed."""
    names = ["prompts", "prompts.releases", "prompts.ab", "limits", "routing", "tokens", "storage", "guardrails.injection", "guardrails.pii", "guardrails.output", "course.engine_bench", "course.side_by_side"]  # fmt: skip
    script = f"import sys; {'; '.join(f'import llmkit.{n}' for n in names)}; print({HEAVY!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=KIT.parent, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr
