# Everything runs in .venv, made from requirements.lock; nothing else is needed but Python 3.11, 3.12 or 3.13.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait for Kafka and for time-outs, so three at a time fit on two cores; each worker has a Kafka of its own.
WORKERS := 3
CHAOS := tests/chaos
STAMP := $(VENV)/.installed
IMAGE := linkspan
TAG := dev

.PHONY: help setup demo test thorough incidents compose-test interleavings chaos chaos-takeover chart-test cluster-test bench-smoke image fuzz sbom audit check format observe protos lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## makes .venv with everything that the other targets need

$(STAMP): requirements.lock pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh $(VENV)
	@touch $@

demo: $(STAMP) ## starts a real Kafka and both systems, sends two plans through (ARGS="--keep" leaves it running)
	@$(BIN)/linkspan demo $(ARGS)

# In the order of the names, end to end first: the files with the fewest tests take the longest, and would come last.
test: $(STAMP) ## the test suite but what needs Docker or takes minutes (ARGS="-k name" narrows it)
	$(BIN)/python -m pytest -m "not docker and not compose and not chaos and not incident and not chart and not cluster and not thorough" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

thorough: $(STAMP) ## kills and takeovers, the archive, MirrorMaker, encryption at rest, TLS everywhere, two versions side by side (30 minutes)
	$(BIN)/python -m pytest -m thorough -n $(WORKERS) --dist loadfile tests/integration $(ARGS)

incidents: $(STAMP) ## follows the runbooks word by word, an alert in Prometheus and a plan in Jaeger (16 minutes)
	$(BIN)/python -m pytest -m incident tests/e2e -rs $(ARGS)

compose-test: $(STAMP) ## docker-compose.yml for real: a plan, an upgrade and a lost broker under load (6 minutes and a build)
	$(BIN)/python -m pytest -m compose -s tests/compose $(ARGS)

interleavings: $(STAMP) ## 100,000 random steps of the partition's state machine, with crashes at each
	LINKSPAN_STEPS=100000 $(BIN)/python -m pytest tests/property/test_partition_state.py tests/property/test_replay_state.py tests/property/test_ledger_property.py $(ARGS)

chaos: $(STAMP) ## breaks everything at random, then looks at what arrived (CHAOS=tests/chaos/test_… narrows it; CHAOS_SECONDS=600 CHAOS_MESSAGES=50000 CHAOS_SEED=1)
	$(BIN)/python -m pytest -m chaos -s $(CHAOS) $(ARGS)

chaos-takeover: $(STAMP) ## stops owners of partitions at each step and write; CHAOS_SEED and CHAOS_REPEATS choose
	$(BIN)/python -m pytest -m chaos -s tests/chaos/test_takeover.py $(ARGS)

chart-test: $(STAMP) ## renders and judges the Helm chart; needs what `bash tests/chart/tools.sh` brings
	$(BIN)/python -m pytest -m chart tests/chart -n 2 $(ARGS)

cluster-test: $(STAMP) ## the chart on a real Kubernetes and on fake nodes (needs root, Docker, LINKSPAN_SHARED; ARGS="-k fake")
	$(BIN)/python -m pytest -m cluster tests/chart -rsP -s $(ARGS)

bench-smoke: $(STAMP) ## about a minute: intake and delivery side by side with FastAPI and Faust programs
	@$(BIN)/python -m bench.smoke

fuzz: $(STAMP) ## the fuzzing tests of make test for longer (FUZZ_SECONDS for each, 60)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(BIN)/python -m pytest -m fuzz -n $(WORKERS) tests/hostile $(ARGS)

sbom: $(STAMP) ## writes build/supply/linkspan.cdx.json: every package, its version and hashes (CycloneDX)
	@PYTHON=$(BIN)/python sh scripts/supply.sh sbom build/supply

audit: $(STAMP) ## looks for advisories against the packages of requirements.lock, says so where they cannot be had
	@PYTHON=$(BIN)/python sh scripts/supply.sh audit build/supply

image: ## builds the container image $(IMAGE):$(TAG) (IMAGE=… TAG=…; PIP_INDEX_URL and the like reach the build)
	@IMAGE="$(IMAGE)" TAG="$(TAG)" sh scripts/image.sh $(ARGS)

check: $(STAMP) ## lint, types, layers, schemas, protos
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/linkspan schemas check
	sh scripts/protos.sh check $(BIN)

format: $(STAMP) ## formats and mends what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

observe: $(STAMP) ## writes docs/metrics.md, alerts, dashboards and what the chart has of them anew
	$(BIN)/linkspan metrics > docs/metrics.md
	$(BIN)/linkspan alerts > deploy/prometheus/linkspan.rules.yml
	$(BIN)/linkspan dashboards deploy/grafana
	$(BIN)/python scripts/chart.py

protos: $(STAMP) ## generates services/linkspan/control/v1 from protos/
	sh scripts/protos.sh services $(BIN)

# The image's locks hold the same versions as the one that everything is tested with.
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links
lock: $(STAMP) ## resolves requirements.lock anew, and what of it goes into the image
	$(LOCK) --python-version 3.11 --all-extras --group dev pyproject.toml -o requirements.lock
	$(LOCK) --python-version 3.13 --extra plans --extra insight --constraint requirements.lock pyproject.toml -o requirements-runtime.lock
	$(LOCK) --python-version 3.13 --group pyproject.toml:build --constraint requirements.lock -o requirements-build.lock

clean: ## removes .venv and everything made beside it
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist .linkspan
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
