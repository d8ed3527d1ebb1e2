# Everything runs in .venv, made from requirements.lock; nothing else is needed but Python 3.11, 3.12 or 3.13.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait for Kafka and for time-outs, so two at a time fit on two cores; each worker has a Kafka of its own.
WORKERS := 2
CHAOS := tests/chaos
STAMP := $(VENV)/.installed

.PHONY: help setup demo test interleavings chaos chaos-takeover bench-smoke check format protos lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## makes .venv with everything that the other targets need

$(STAMP): requirements.lock pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh $(VENV)
	@touch $@

demo: $(STAMP) ## starts a real Kafka and both systems, sends two plans through (ARGS="--keep" leaves it running)
	@$(BIN)/linkspan demo $(ARGS)

test: $(STAMP) ## the whole test suite but what needs Docker (ARGS="-k name" narrows it)
	$(BIN)/python -m pytest -m "not docker and not chaos" -n $(WORKERS) --dist loadfile $(ARGS)

interleavings: $(STAMP) ## 100,000 random steps of the partition's state machine, with crashes at each
	LINKSPAN_STEPS=100000 $(BIN)/python -m pytest tests/property/test_partition_state.py $(ARGS)

chaos: $(STAMP) ## breaks everything at random, then looks at what arrived (CHAOS=tests/chaos/test_… narrows it; CHAOS_SECONDS=600 CHAOS_MESSAGES=50000 CHAOS_SEED=1)
	$(BIN)/python -m pytest -m chaos -s $(CHAOS) $(ARGS)

chaos-takeover: $(STAMP) ## stops owners of partitions at each step and write; CHAOS_SEED and CHAOS_REPEATS choose
	$(BIN)/python -m pytest -m chaos -s tests/chaos/test_takeover.py $(ARGS)

bench-smoke: $(STAMP) ## about a minute: intake and delivery side by side with FastAPI and Faust programs
	@$(BIN)/python -m bench.smoke

check: $(STAMP) ## lint, types, layers, schemas, protos
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/linkspan schemas check
	sh scripts/protos.sh check $(BIN)

format: $(STAMP) ## formats and mends what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

protos: $(STAMP) ## generates services/linkspan/control/v1 from protos/
	sh scripts/protos.sh services $(BIN)

lock: $(STAMP) ## resolves requirements.lock anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock

clean: ## removes .venv and everything made beside it
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist .linkspan
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
