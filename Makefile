# The same words by hand and in CI. VENV=.venv and PYTHON=(the first python3 from 3.11 on) may be set.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
VENV ?= .venv
SECONDS ?= 600
export VENV PYTHON
BIN := $(VENV)/bin
CODE := daemon tests $(wildcard bench)
PROSE := daemon docs config systemd scripts Makefile Dockerfile $(wildcard *.md)   # tests misspell on purpose
SEEDS ?= 100
FIRST_SEED ?= 0
JOBS ?= 1
DECIDING := */reviver/model/*,*/reviver/core/*,*/reviver/supervisor/*,*/reviver/recovery/*,*/reviver/incidents/*

help: ## these lines
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile | expand -t 14

demo: $(VENV)/.demo ## a private PostgreSQL and Redis, broken and recovered before your eyes (DEMO_ARGS=...)
	$(BIN)/reviver demo $(DEMO_ARGS)

test: lint packages ## everything that CI runs: lint, types, layers, spelling, all tests, coverage
	$(BIN)/pytest -m 'not systemd and not docker' -n 2 --cov --cov-report= $(TEST_ARGS)
	$(BIN)/coverage report --skip-covered --fail-under=95 --include='$(DECIDING)'
	$(BIN)/pytest -m 'systemd or docker' -n 2 --dist loadfile $(TEST_ARGS)

lint: $(VENV)/.dev ## ruff, mypy, the rooms' layers, spelling
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell --skip '*/__pycache__' $(PROSE)

fmt: $(VENV)/.dev ## formats the code and repairs what ruff can repair
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

bench: $(VENV)/.dev ## the benchmarks, or some: BENCH_ARGS="cost revive lateness detection"
	scripts/packages bench
	$(BIN)/python -m bench $(BENCH_ARGS)

fuzz: $(VENV)/.dev ## the fuzzing, with new cases, for about SECONDS=600 seconds (docs/fuzzing.md)
	FUZZ_SECONDS=$(SECONDS) $(BIN)/pytest -n 2 tests/fuzz $(TEST_ARGS)

simulate: $(VENV)/.dev ## whole lives of the daemon against its promises (SEEDS=100 FIRST_SEED=0 JOBS=1)
	PYTHONPATH=tests $(BIN)/python -m simulation --seeds $(SEEDS) --first-seed $(FIRST_SEED) --jobs $(JOBS)

planted: $(VENV)/.dev ## bugs planted in a copy of the daemon, and which of them the simulation finds (SEEDS=100)
	PYTHONPATH=tests $(BIN)/python -m simulation.planted --seeds $(SEEDS) $(PLANTED_ARGS)

crashpoints: $(VENV)/.dev ## kills the daemon at every line that acts or remembers; an hour (CRASH_ARGS=...)
	PYTHONPATH=tests $(BIN)/python -m crash $(CRASH_ARGS)
	PYTHONPATH=tests $(BIN)/python -m crash --bugs --stride 29

mutate: $(VENV)/.dev ## what the tests notice of small changes to the code, of all or of some: MUTATE_ARGS="core recovery/run.py"
	PYTHONPATH=tests nice -n 15 $(BIN)/python -m mutation $(MUTATE_ARGS)

clean: ## removes what the other targets made
	rm -rf $(VENV) dist build .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .mutation

packages:
	scripts/packages

$(VENV)/.demo: pyproject.toml requirements/dev.txt
	scripts/venv demo
	touch $@

$(VENV)/.dev: pyproject.toml requirements/dev.txt
	scripts/venv dev
	touch $@

.DEFAULT_GOAL := help
.PHONY: help demo test lint fmt bench fuzz simulate planted crashpoints mutate clean packages
