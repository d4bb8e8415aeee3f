# Daily commands; CI runs the same ones.
BIN = .venv/bin
.PHONY: setup format docs lint test test-all release matrix
PYTHON = python3
PYTHONS = 3.11 3.12 3.13

setup:
	python3 -m venv .venv && $(BIN)/pip install -q -c constraints.txt -e ".[dev]"

format:
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs:
	$(BIN)/sphinx-build -q -E -a -W --keep-going -b html docs build/docs

lint:
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

test:
	$(BIN)/python -m pytest

test-all:
	$(BIN)/python -m pytest -m "not robustness"

# Build wheel and sdist into dist/, and run the smoke test on each in an empty environment.
release:
	.ci/release $(PYTHON)

# Smoke test and fast tests on each Python (a version or a path), and with the oldest and newest dependencies.
matrix:
	.ci/matrix $(PYTHONS)
