"""What `make` itself does with its arguments, before any of our code runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from stack.settings import REPO

_AWKS = [awk for awk in ("awk", "gawk", "mawk", "original-awk", "busybox") if shutil.which(awk)]


def make(*arguments, **environment):
    # As from a reader's shell, also when `make test` is what runs this.
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    env = {**{k: v for k, v in os.environ.items() if k not in outer}, **environment}
    return subprocess.run(
        ["make", *arguments], cwd=REPO, env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("awk", _AWKS)
def test_make_alone_lists_every_target(awk, tmp_path):
    called = tmp_path / "awk"
    called.write_text(f'#!/bin/sh\nexec {shutil.which(awk)} {"awk" if awk == "busybox" else ""} "$@"\n')
    called.chmod(0o755)
    done = make(PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stderr) == (0, "")
    (targets,) = re.findall(r"^\.PHONY: (.*)$", (REPO / "Makefile").read_text(), re.MULTILINE)
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["make", t] for t in targets.split()]
    assert all(len(line) > len("make export    ") for line in lines), "each with its sentence"
    assert 'eval "$(make -s env)"' in done.stdout


@pytest.mark.parametrize(
    "conf",
    [
        {"q": "it's $HOME"},
        {"q": '$(HOME) ${HOME} $$ `id` \\ " # % ; & | é'},
        {"q": "$(shell echo ran > /dev/stderr)"},
        {"q": "an open $("},
    ],
)
@pytest.mark.parametrize("given_by", ["argument", "environment"])
def test_conf_arrives_verbatim(conf, given_by, tmp_path):
    text = json.dumps(conf, ensure_ascii=False)
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nprintf "CONF=%s\\n" "$COURSE_CONF"\n')
    program.chmod(0o755)
    arguments = [f"CONF={text}"] if given_by == "argument" else []
    environment = {"CONF": text} if given_by == "environment" else {}
    done = make("-s", "lesson", "DAG=114_01_03", "V=1", f"RUN={program}", *arguments, **environment)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.splitlines() == ["lesson", "114_01_03", "-v", f"CONF={text}"]


def test_the_examples_model_is_not_taken_for_keyless_own():
    """`make up MODEL=` names a file for keyless, `make examples MODEL=` the model that an example asks for."""
    done = make("-n", "examples", "DAG=llm_sql", "MODEL=openai:gpt-5-mini")
    assert (done.returncode, done.stderr) == (0, "")
    (command,) = [line for line in done.stdout.splitlines() if "bench.examples" in line]
    program = 'import os; print(*(os.environ[n] for n in ("MODEL", "EXAMPLE_DAG", "EXAMPLE_MODEL")), sep=",")'
    said = subprocess.run(
        command.replace(".venv/bin/python -m bench.examples", f"python3 -c '{program}'"),
        shell=True,
        env={**os.environ, "MODEL": "openai:gpt-5-mini"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == ",llm_sql,openai:gpt-5-mini"
