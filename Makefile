# Two commands for newcomers: `make demo` and `make test`. Python 3.11 to 3.13 and the package index is all they need.
# Versions come from constraints.txt. PIP_ARGS is passed to pip (another index, a proxy).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
COVERING := tests/unit/scheduler tests/unit/api tests/api tests/properties/test_dispatcher.py tests/unit/service/test_rerank.py tests/faults/test_redis.py
INPUTS := pyproject.toml constraints.txt scripts/environment hatch_build.py $(addprefix src/shortlist/engine/native/cpu/,kernels.c tiles.h)

# One more than the cores of a small machine: many tests wait for servers that they start.
TESTERS := -n 3 --dist loadfile

# All that runs in the main environment: what `make test` runs, and what is marked `full`, with more examples of each property.
EVERYTHING := -m "not clients and not vllm" --hypothesis-profile full

# Most of the time vLLM starts, on one core: what brings servers down and up runs beside what asks those that are up.
# Where vLLM cannot be installed, that is no failure, but for CI=true.
TEST_VLLM = $(BIN)/python -m pytest -m vllm $(PYTEST_ARGS)
VLLM_SKIPPED := WARNING: vLLM cannot be installed here, so NOTHING of it was tested (see benchmarks/.environments/vllm.log)

.PHONY: help demo test test-full test-core test-clients test-vllm check format bench coverage soak scorecard clean

help:  ## Show what can be made.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: .venv/.demo  ## Serve the bundled model, show a first ranking, and go on until Ctrl-C.
	@exec $(BIN)/shortlist demo

test: .venv/.dev  ## Run the tests.
	@$(BIN)/python -m pytest $(TESTERS) $(PYTEST_ARGS)

test-full: .venv/.dev  ## Run the tests, those too that are slow and rarely fail, and write docs/test-full.md.
	@$(BIN)/python -m pytest $(TESTERS) $(EVERYTHING) --full-report docs/test-full.md $(PYTEST_ARGS)

test-core: .venv/.dev  ## Run the tests that need the core only, without torch, under another Python: make test-core PYTHON=python3.12
	@scripts/test-core $(or $(PYTHON),$(abspath $(BIN))/python) -n 2 -q

test-clients: .venv/.dev  ## Run real clients against real servers. CLIENTS_ARGS='--clients-table docs/clients.md' writes what came of it.
	-@PYTHON=$(abspath $(BIN))/python tests/clients/environment all
	@$(BIN)/python -m pytest -m clients tests/clients $(CLIENTS_ARGS)

test-vllm: .venv/.dev  ## Run the tests that need a real vLLM; installs its CPU build (2.5 GB) if it is not there. Takes minutes.
	@PYTHON=$(abspath $(BIN))/python benchmarks/peers/environment vllm || { echo "$(VLLM_SKIPPED)" >&2; [ "$${CI:-}" != true ]; exit; }; \
	mkdir -p build; trap 'kill $$managed 2>/dev/null || true' EXIT; failed=0; \
	$(TEST_VLLM) tests/vllm/test_managed.py >build/test-vllm.log 2>&1 & managed=$$!; \
	$(TEST_VLLM) --ignore tests/vllm/test_managed.py || failed=1; \
	wait $$managed || failed=1; cat build/test-vllm.log; exit $$failed

check: .venv/.dev  ## Check format, lint, types and import contracts.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.dev  ## Put the code into its one format.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: .venv/.dev  ## Compare engines on this machine, and write docs/benchmarks.md. Takes an hour and a quiet machine.
	@benchmarks/compare $(BENCH_ARGS)

coverage: .venv/.dev  ## Test that every branch of the scheduler, the errors and the keys is tested.
	@$(BIN)/coverage run -m pytest -q $(COVERING)
	@$(BIN)/coverage report

soak: .venv/.dev  ## Twenty minutes of mixed traffic, hang-ups and errors included: memory, files and tasks must stay flat.
	@SOAK_SECONDS=1200 $(BIN)/python -m pytest tests/soak -s $(PYTEST_ARGS)

scorecard: .venv/.dev  ## Run the tests, and write what they say of reliability into docs/reliability.md.
	@$(BIN)/python -m pytest $(TESTERS) $(EVERYTHING) --scorecard docs/reliability.md $(PYTEST_ARGS)

clean:  ## Remove the environment and every cache.
	@rm -rf .venv .coverage tests/clients/.environments tests/.environments .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist

.venv/.demo: $(INPUTS)
	@scripts/environment demo,ui $(PIP_ARGS)
	@touch $@

.venv/.dev: $(INPUTS)
	@scripts/environment all --group dev $(PIP_ARGS)
	@touch .venv/.demo $@
