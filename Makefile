# Daily commands; CI runs the same ones.
BIN = .venv/bin
.PHONY: setup format docs lint test test-all

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
