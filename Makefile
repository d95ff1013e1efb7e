# The course in one command each. `make` alone lists them.
PYTHON ?= python3
export PORT KEYLESS_PORT KEYLESS MODEL COURSE_STATE COURSE_HOSTS
UV = $(shell command -v uv || echo .uv/bin/uv)
RUN = .venv/bin/python -m stack

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {gsub("[$$][$$]", "$$", $$2); printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.installed ## Everything the course needs, into .venv

.venv/.installed: uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { echo "The course needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true): run make PYTHON=<path of one>."; exit 1; }
	@command -v uv >/dev/null || [ -x .uv/bin/uv ] || { $(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv; } || { echo "No uv and no venv to install it into: install uv, or Python's venv module (Debian: apt install python3-venv)."; exit 1; }
	@# Compiled once here, or every process would compile what it imports at every start.
	@echo "Installing the course's packages into .venv (2.6 GB on disk; a few minutes, once) …" >&2
	@$(UV) sync --frozen --quiet --compile-bytecode --python $(PYTHON) && touch $@

up: install ## Start Airflow, keyless and PostgreSQL; Ctrl-C stops them (PORT=…, KEYLESS_PORT=…, KEYLESS=0, MODEL=… for a model of your own)
	@exec $(RUN) up

down: install ## Stop what is running
	@$(RUN) down

clean: install ## Delete all runs, connections and vectors, after asking
	@$(RUN) clean

env: install ## Exports for your shell: eval "$$(make -s env)"
	@$(RUN) env

# CONF goes through the environment, unexpanded: an apostrophe or a $ in it means nothing to make or to the shell.
unexport CONF
lesson: export COURSE_CONF := $(value CONF)
lesson: install ## Run one lesson: make lesson DAG=114_01_03 [CONF='{"max_tokens": 8}'] [V=1]
	@$(RUN) lesson "$(DAG)" $(if $(V),-v)

course: install ## Run every lesson and print the table
	@$(RUN) course

costs: install ## What the lessons' calls to models cost, by day, lesson and model
	@$(RUN) costs

test: install ## All tests (ARGS='-n 0 tests/llmkit': those alone, in one process)
	@.venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

mutants: install ## Break each promise of a lesson and see a test go red (DAG=114_01_03: that lesson alone)
	@PYTHONPATH=.:plugins .venv/bin/python tests/mutants.py $(DAG)

lint: install ## ruff, the rooms, the prompts and the lock file
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && $(UV) lock --check --quiet
	@PYTHONPATH=.:plugins .venv/bin/lint-imports --no-cache --no-logo
	@cd plugins && ../.venv/bin/python -m llmkit.prompts.lint

bench: install ## Ratios and quality figures (ARGS=stack adds start-up and idle cost)
	@.venv/bin/python -m bench $(ARGS)

examples: install ## Airflow's own AI examples against keyless: which run, and is the answer of use (DAG=…, MODEL=openai:gpt-5-mini)
	@MODEL= EXAMPLE_DAG="$(DAG)" EXAMPLE_MODEL="$(MODEL)" .venv/bin/python -m bench.examples

export: install ## Write requirements.txt and the README's generated parts anew
	@.venv/bin/python -m stack.docs

outputs: install ## Write what a run concludes into its lesson's page (DAG=114_01_03: that lesson alone)
	@.venv/bin/python -m stack.outputs $(DAG)

screenshot: install ## Write docs/ui.png anew, from a running make up
	@.venv/bin/python -m stack.screenshot

.PHONY: help install up down clean env lesson course costs test mutants lint bench examples export outputs screenshot
