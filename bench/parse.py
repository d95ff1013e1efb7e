"""How long a DAG file takes to be read, warm, as in a process that Airflow forks from one with the AI providers imported.

Run as a script with folders of DAG files as arguments; prints one JSON object, file to milliseconds and tasks.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys
import time
from pathlib import Path

EMPTY = '''"""Two empty tasks."""

from airflow.sdk import dag, task


@dag(schedule=None)
def empty_{n}():
    @task
    def first():
        pass

    @task
    def second():
        pass

    first() >> second()


empty_{n}()
'''


def read(path: str) -> None:
    """Run a DAG file as Airflow's importer does: from its bytecode, if that is there."""
    name = f"dag_file_{Path(path).stem}"
    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))  # type: ignore[arg-type]
    sys.modules[name] = module
    loader.exec_module(module)


def tasks_in(path: str) -> int:
    """Read ``path`` once, imports and all: how many tasks its DAGs have. An example may want what is not installed: 0."""
    from airflow.sdk import DAG

    made: list[DAG] = []
    original = DAG.__exit__
    DAG.__exit__ = lambda self, *error: made.append(self) or original(self, *error)  # type: ignore[method-assign]
    try:
        read(path)
    except BaseException:
        return 0
    finally:
        DAG.__exit__ = original  # type: ignore[method-assign]
    return sum(len(dag.tasks) for dag in made)


def main(rounds: int = 15) -> None:
    """Measure the files of the folders given: the best of ``rounds``, all files in turn, so that a busy moment hits all."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "config"))
    import course_preload  # noqa: F401

    files = [str(p) for folder in sys.argv[1:] for p in sorted(Path(folder).glob("*.py")) if p.name != "__init__.py"]
    tasks = {path: count for path in files if (count := tasks_in(path))}
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(rounds):
        for path in best:
            began = time.perf_counter()
            read(path)
            best[path] = min(best[path], (time.perf_counter() - began) * 1000)
    sys.stdout.write("\n" + json.dumps({path: [best[path], tasks[path]] for path in best}) + "\n")


if __name__ == "__main__":
    main()
