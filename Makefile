# Daily commands; CI runs the same ones.
BIN = .venv/bin
.PHONY: setup format lint test test-all

setup:
	python3 -m venv .venv && $(BIN)/pip install -q -c constraints.txt -e ".[dev]"

format:
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint:
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

test:
	$(BIN)/python -m pytest

test-all:
	$(BIN)/python -m pytest -m "not robustness"
