# What each command does is in CONTRIBUTING.md. PYTHON=… picks the interpreter, ARGS=… is passed on.
BIN := .venv/bin
ARGS ?=
# Tests wait more than they compute; each file stays in one process, with what it has started.
TESTS_AT_ONCE ?= 2

.PHONY: setup setup-dev demo test test-vm conformance coverage-page lint check fix serve bench lock wheel

setup:
	@sh tools/bootstrap.sh $(PYTHON)

setup-dev:
	@sh tools/bootstrap.sh --dev $(PYTHON)

demo: setup
	@$(BIN)/sanderling demo $(ARGS)

test: setup-dev
	@$(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile $(ARGS)

test-vm: setup-dev
	@$(BIN)/python -m tests.vm $(ARGS)

conformance: setup-dev
	@$(BIN)/python -m tests.conformance $(ARGS)

coverage-page: setup-dev
	@$(BIN)/python -m tests.coverage

lint: setup-dev
	@$(BIN)/python tools/lint.py

check: lint test

fix: setup-dev
	@$(BIN)/ruff format src tests tools bench $(ARGS)
	@$(BIN)/ruff check --fix src tests tools bench $(ARGS)

serve: setup
	@$(BIN)/sanderling serve $(ARGS)

bench: setup-dev
	@$(BIN)/python -m bench $(ARGS)

lock: setup-dev
	@$(BIN)/python tools/lock.py $(ARGS)

wheel: setup-dev
	@$(BIN)/uv build --wheel $(ARGS)
