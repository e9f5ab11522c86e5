# Everything a newcomer needs: `make demo` shows the whole thing, `make test` proves it.
# No target needs a virtual environment of yours, and none installs or starts a daemon system-wide.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
export PYTHONDONTWRITEBYTECODE := 1
export PYTHONNOUSERSITE := 1

.PHONY: help demo test check unit bench fmt docs lock programs clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# `python3 -m venv` needs ensurepip, which Debian packs apart.
$(STAMP): pyproject.toml constraints.txt
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends python3-venv; }
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# Clients are installed (rsync, and what unpacks Debian's packages); daemons are only ever unpacked into a cache.
programs: ## install the client programs that are missing (rsync, ssh client)
	@missing=; for p in rsync:rsync ssh:openssh-client; do command -v "$${p%%:*}" >/dev/null || missing="$$missing $${p##*:}"; done; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; fi

demo: $(STAMP) programs ## run the whole job end to end on a private RabbitMQ, SMTP sink and Prometheus
	$(BIN)/fleet demo

test: $(STAMP) programs check ## everything that must hold: check, then contract, integration and host tests
	$(BIN)/python -m pytest tests/contract tests/integration tests/hosts

check: $(STAMP) unit ## formatting, lint, types, unit and architecture tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: $(STAMP)
	$(BIN)/python -m pytest -q tests/unit tests/architecture

bench: $(STAMP) programs ## compare speeds by ratios in one run
	$(BIN)/python -m pytest -q -s tests/benchmarks

fmt: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP) ## write the generated reference pages
	$(BIN)/python -m tests.docs write

lock: ## resolve the dependencies again into constraints.txt (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --all-extras --quiet pyproject.toml --output-file constraints.txt

clean: ## remove what the targets above made in this tree
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
