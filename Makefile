# `make help` explains itself: every target's purpose stands after its `##`.
PYTHON ?= python3
PORT ?= 8000
VAR ?= ./var
ARGS ?=
HUB_SUITE ?=
MLFLOW_SUITE ?=
BIN := .venv/bin

# Modules are compiled when they are first imported; where that is not kept, each program takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo run test test-long lint format bench bench-transfer bench-scale bench-inspection bench-training hub-suite-is-named hub-conformance mlflow-suite-is-named mlflow-conformance clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: pyproject.toml constraints.txt scripts/install.py
	@$(PYTHON) scripts/install.py

.venv/.installed-dev: .venv/.installed
	@$(PYTHON) scripts/install.py dev

install: .venv/.installed ## Make .venv and install everything into it

demo: install ## The whole loop on real pictures, then the dashboard until Ctrl-C (ARGS=--exit to stop after the story)
	@$(BIN)/python -m steelyard_demo $(ARGS)

run: install ## An empty installation for real use: make run PORT=8000 VAR=./var
	@STEELYARD_VAR="$(VAR)" exec $(BIN)/python manage.py serve --port $(PORT)

test: .venv/.installed-dev ## Every test but the long ones; those that need a missing service are skipped with one line, or fail with REQUIRE_SERVICES=1
	@$(BIN)/python -m tests.support.on_postgresql
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

test-long: .venv/.installed-dev ## What takes minutes: trainings through killed workers, cut networks and racing controllers
	@$(BIN)/python -m pytest -m long $(ARGS)

lint: .venv/.installed-dev ## Style, types and the import law
	@! git ls-files | grep -E '(^|/)platform/__init__\.py$$' || (echo "platform/__init__.py shadows the standard library: remove it" && exit 1)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/codespell $$(git ls-files '*.py' '*.md' '*.html' '*.css')
	@$(BIN)/djlint --quiet --lint templates
	@$(BIN)/lint-imports
	@$(BIN)/mypy contracts broker platform workers sdk edge demo tests benchmarks scripts manage.py
	@$(BIN)/python manage.py makemigrations --check --dry-run

format: .venv/.installed-dev ## Let the formatter and the safe fixes run
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: .venv/.installed-dev ## What a commit costs: three files onto a hundred thousand
	@$(BIN)/python -m benchmarks.commit_cost

bench-transfer: .venv/.installed-dev ## Pushing and pulling weights beside MLflow, DVC and git-lfs (ARGS="--rounds 1 --megabytes 100" for a quick look)
	@$(BIN)/python -m benchmarks.transfer $(ARGS)

bench-inspection: .venv/.installed-dev ## Looking into 1 GB of weights, and comparing two versions that share 98% (ARGS="--megabytes 200")
	@$(BIN)/python -m benchmarks.inspection $(ARGS)

bench-training: .venv/.installed-dev ## A training beside a plain loop in torch, the wait for its first step and for a resumed one (ARGS="--pictures 500 --rounds 1")
	@$(BIN)/python -m benchmarks.training $(ARGS)

bench-scale: .venv/.installed-dev ## Lists, searches and pages over 100,000 versions beside MLflow's registry, on PostgreSQL
	@$(BIN)/python -m benchmarks.scale $(ARGS)

hub-suite-is-named:
	@test -n "$(HUB_SUITE)" || (echo "Name a checkout of huggingface_hub: make hub-conformance HUB_SUITE=/path/to/huggingface_hub" && exit 1)

hub-conformance: hub-suite-is-named install ## The Hub client's own tests against this Steelyard: make hub-conformance HUB_SUITE=/path/to/huggingface_hub
	@$(BIN)/python -m tests.conformance.hub "$(HUB_SUITE)" $(ARGS)

mlflow-suite-is-named:
	@test -n "$(MLFLOW_SUITE)" || (echo "Name a checkout of mlflow: make mlflow-conformance MLFLOW_SUITE=/path/to/mlflow" && exit 1)

mlflow-conformance: mlflow-suite-is-named install ## MLflow's own REST tests against this Steelyard: make mlflow-conformance MLFLOW_SUITE=/path/to/mlflow
	@$(BIN)/python -m tests.conformance.mlflow "$(MLFLOW_SUITE)" $(ARGS)

clean: ## Remove the environments and what the demo wrote; an installation of yours stays
	rm -rf .venv var/demo var/screenshots var/environments
