# The recipes CI runs, one by one; `scripts/test` runs them all and needs no make.

BIN = .venv/bin

.PHONY: setup format lint types test demo lock

setup:
	@scripts/setup dev

format: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/python scripts/readme.py

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/readme.py --check

types: setup
	$(BIN)/mypy

test: setup
	$(BIN)/pytest

demo:
	@scripts/demo

lock:
	@scripts/lock
