# Two commands for newcomers: `make demo` and `make test`. They need Python 3.11 to 3.13 and the package index.
# Versions come from constraints.txt. PIP_ARGS is passed to pip (another index, a proxy).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
COVERING := tests/unit/scheduler tests/unit/api tests/api tests/properties/test_dispatcher.py tests/unit/service/test_rerank.py tests/unit/service/test_restart.py tests/unit/service/test_unload.py tests/faults/test_dying.py tests/faults/test_redis.py
INPUTS := pyproject.toml constraints.txt scripts/environment hatch_build.py $(addprefix src/shortlist/engine/native/cpu/,kernels.c tiles.h)

# Two more workers than a small machine has cores: many tests wait for servers that they start. In alphabetical order, tests/unit
# comes last: xdist's own order has the files with the fewest tests last, and those are the longest.
TESTERS := -n 4 --dist loadfile --no-loadscope-reorder

# All tests of the main environment: those of `make test` and those marked `full`, with more examples per property.
EVERYTHING := -m "not clients and not vllm and not image" --hypothesis-profile full

JOB_TESTS := tests/faults/test_jobs.py tests/unit/jobs tests/api/test_jobs.py tests/deploy/test_jobs_behind_nginx.py

# Starting vLLM takes most of the time, on one core: tests that restart servers run in parallel with those that use running servers.
# A failed installation of vLLM is an error only with CI=true.
VLLM_TESTS := vllm and not full
TEST_VLLM = $(BIN)/python -m pytest -m "$(VLLM_TESTS)" --durations 12 $(PYTEST_ARGS)
VLLM_SKIPPED := WARNING: vLLM cannot be installed here, so NOTHING of it was tested (see benchmarks/.environments/vllm.log)

.PHONY: help demo test test-others test-full test-core test-clients test-vllm test-image check format bench coverage soak soak-hostile soak-jobs job-failures scorecard release-check clean

help:  ## Show the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: .venv/.demo  ## Serve the bundled model, show a first ranking, and run until Ctrl-C.
	@exec $(BIN)/shortlist demo

test: .venv/.dev  ## Run the tests.
	@$(BIN)/python -m pytest $(TESTERS) $(PYTEST_ARGS)

test-others: .venv/.dev  ## Run the tests that `make coverage` does not run.
	@$(BIN)/python -m pytest $(TESTERS) $(addprefix --ignore=,$(COVERING)) $(PYTEST_ARGS)

test-full: .venv/.dev  ## Run the tests, including the slow ones, and write docs/test-full.md.
	@$(BIN)/python -m pytest $(TESTERS) $(EVERYTHING) --full-report docs/test-full.md $(PYTEST_ARGS)

test-core: .venv/.dev  ## Run the tests of the core, without torch, with another Python: make test-core PYTHON=python3.12
	@scripts/test-core $(or $(PYTHON),$(abspath $(BIN))/python) -n 2 -q

test-clients: .venv/.dev  ## Run real clients against real servers. CLIENTS_ARGS='--clients-table docs/clients.md' writes the results.
	-@PYTHON=$(abspath $(BIN))/python tests/clients/environment all
	@$(BIN)/python -m pytest -m clients tests/clients $(CLIENTS_ARGS)

test-vllm: .venv/.dev  ## Run the tests that need a real vLLM; installs its CPU build (2.5 GB) if it is missing. VLLM_TESTS=vllm runs the slow ones, too.
	@PYTHON=$(abspath $(BIN))/python benchmarks/peers/environment vllm || { echo "$(VLLM_SKIPPED)" >&2; [ "$${CI:-}" != true ]; exit; }; \
	mkdir -p build; trap 'kill $$managed 2>/dev/null || true' EXIT; failed=0; \
	$(TEST_VLLM) tests/vllm/test_managed.py >build/test-vllm.log 2>&1 & managed=$$!; \
	$(TEST_VLLM) --ignore tests/vllm/test_managed.py || failed=1; \
	wait $$managed || failed=1; cat build/test-vllm.log; exit $$failed

test-image: .venv/.dev  ## Build the container images of deploy/docker and run them; needs root, buildah and debootstrap.
	@$(BIN)/python -m pytest -m image -s tests/deploy/test_image.py $(PYTEST_ARGS)

check: .venv/.dev  ## Check format, lint, types and import contracts.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.dev  ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: .venv/.dev  ## Compare engines on this machine, and write docs/benchmarks.md. Takes an hour and a quiet machine.
	@benchmarks/compare $(BENCH_ARGS)

coverage: .venv/.dev  ## Require full branch coverage of the scheduler, the errors and the keys.
	@$(BIN)/coverage run -m pytest -q $(COVERING)
	@$(BIN)/coverage report

soak: .venv/.dev  ## Twenty minutes of mixed traffic, disconnects and errors included: memory, files and tasks must not grow.
	@SOAK_SECONDS=1200 $(BIN)/python -m pytest tests/soak -s $(PYTEST_ARGS)

soak-hostile: .venv/.dev  ## Twenty minutes of expensive bodies at every route; prints what they cost, for docs/reliability.md.
	@HOSTILE_SECONDS=1200 $(BIN)/python -m pytest -m "" tests/soak/test_hostile.py -s $(PYTEST_ARGS)

soak-jobs: .venv/.dev  ## Kill servers, workers and Redis 200 times while jobs are accepted: every one must end once, with its answer.
	@JOB_KILLS=200 $(BIN)/python -m pytest -s tests/faults/test_jobs.py -k random_kills $(PYTEST_ARGS)

job-failures: .venv/.dev  ## Run the tests of durable jobs, and write what they survive into docs/jobs.md and docs/jobs.zh-CN.md.
	@$(BIN)/python -m pytest -q $(JOB_TESTS) --job-failures $(PYTEST_ARGS)

scorecard: .venv/.dev  ## Run the tests, and write the reliability results into docs/reliability.md.
	@$(BIN)/python -m pytest $(TESTERS) $(EVERYTHING) --scorecard docs/reliability.md $(PYTEST_ARGS)

release-check: .venv/.dev  ## Build wheel and sdist, serve the demo model from the wheel alone, write dist/ with hashes and an SBOM. TAG=v1.2.3 checks the tag.
	@$(BIN)/python scripts/release_check.py $(addprefix --tag=,$(TAG)) $(PIP_ARGS)

clean:  ## Remove the environment and every cache.
	@rm -rf .venv .coverage tests/clients/.environments tests/.environments .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist

.venv/.demo: $(INPUTS)
	@scripts/environment demo,ui $(PIP_ARGS)
	@touch $@

.venv/.dev: $(INPUTS)
	@scripts/environment all --group dev $(PIP_ARGS)
	@touch .venv/.demo $@
