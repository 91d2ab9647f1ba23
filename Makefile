# make demo       the main job, from a fresh clone
# make serve      a service with the default model: OpenAI's protocol, a web page, MCP
# make test       the tests that are not slow, from a fresh clone
# make test-fast  those of reading a document: no models, tasks, benchmark, training or command line; for while you work
# make test-all   all tests; CI runs these
# make browser    installs Debian's Chromium, which the tests of the page need
# make check      format, lint, types, floors
# make bench      the figures in LOG.md
# make cluster    an environment with verl, for memagent train --engine verl
# make test-cluster  the tests of the verl plug-in, on the CPU

PYTHON ?= python3
BIN := .venv/bin
DEV := .venv/dev
POLICIES := packages/memagent-qwen2.5-coder-0.5b packages/memagent-smollm2-135m

.PHONY: demo serve test test-fast test-all browser check resolve cluster test-cluster bench clean

demo: .venv/run
	$(BIN)/memagent demo
	@echo
	@echo 'Now ask about a text of your own:'
	@echo "  $(BIN)/memagent ask 'What does \"Licensor\" mean?' LICENSE"

serve: .venv/serve
	$(BIN)/memagent serve

# Two workers, because half of the tests wait for a process or a server. A file's tests share what they start.
# With more threads each, two workers on two cores would only wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

test: .venv/models
	$(PYTEST) -m "not slow"

test-fast: $(DEV)
	$(PYTEST) -m "not slow and not engine" $(addprefix tests/,core readers runs evidence documents rl test_agent.py)

test-all: .venv/models
	$(PYTEST)

browser:
	command -v chromium >/dev/null || { apt-get update && apt-get install --yes chromium; }

check: $(DEV) resolve
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_floors.py

# Checks that the lowest patch release of each Python in pyproject.toml can install the pins of constraints.txt.
resolve: $(DEV)
	@for python in 3.11.0 3.12.0 3.13.0 3.14.0; do \
	    $(BIN)/uv pip compile --quiet --no-header --all-extras --constraint constraints.txt --only-binary :all: \
	        --python-version $$python --output-file .venv/resolved-$$python.txt pyproject.toml >/dev/null || exit 1; \
	    echo "resolved for Python $$python"; \
	done

# The environment of verl, which needs other versions than memagent's own. It has no sampler for GPUs: see docs/cluster.md.
cluster: .venv-cluster/made

.venv-cluster/made: pyproject.toml constraints-cluster.txt
	rm -rf .venv-cluster
	$(PYTHON) -m venv .venv-cluster
	.venv-cluster/bin/pip install --quiet --constraint constraints-cluster.txt torch 'verl==0.9.1' \
	    TransferQueue pyzmq msgspec cachetools fastapi uvicorn tensorboard pytest pytest-timeout
	.venv-cluster/bin/pip install --quiet --constraint constraints-cluster.txt --editable .
	touch $@

test-cluster: .venv-cluster/made
	cd tests/cluster && VERL_PLATFORM=cpu VERL_USE_EXTERNAL_MODULES=cpu_platform,verl_cpu,failing_rewards PYTHONPATH=. OMP_NUM_THREADS=1 \
	    RAY_AUTH_MODE=disabled ../../.venv-cluster/bin/pytest -o filterwarnings= .

bench: .venv/models
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv .venv-cluster .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A .venv of another Python is rebuilt. A .venv whose installation failed is removed, or it would hide the reason next time.
.venv/run: pyproject.toml constraints.txt $(addsuffix /pyproject.toml,$(POLICIES))
	@[ "$$($(BIN)/python --version 2>&1)" = "$$($(PYTHON) --version 2>&1)" ] || rm -rf .venv
	@$(PYTHON) -m venv .venv
	$(call install,--editable . $(addprefix --editable ./,$(POLICIES)))
	@touch $@

.venv/serve: .venv/run
	$(call install,--editable '.[serve]')
	@touch $@

$(DEV): .venv/run
	$(call install,--editable '.[dev]')
	@touch $@

# The weights that tests and benchmarks read with. Tests whose model is missing are skipped.
.venv/models: $(DEV)
	@$(BIN)/memagent models pull smollm2-135m >/dev/null
	@$(BIN)/memagent models pull qwen2.5-coder-0.5b >/dev/null
	@touch $@

define install
@echo "Installing $(1)"
@$(BIN)/pip install --constraint constraints.txt $(1) >.venv/pip.log 2>&1 || { \
    tail -n 25 .venv/pip.log; echo "pip could not install memagent for $$($(PYTHON) --version); its reason is above."; \
    rm -rf .venv; exit 1; } >&2
endef
