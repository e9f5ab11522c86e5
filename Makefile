# Everything a newcomer needs: `make demo` shows the whole thing, `make test` proves it.
# No target needs a virtual environment of yours, and none installs or starts a daemon system-wide.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Compiled modules are kept, for compiling takes longer than the unit tests do; but out of the tree.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.pycache
unexport PYTHONDONTWRITEBYTECODE
export PYTHONNOUSERSITE := 1

.PHONY: help demo test check style unit thorough bench faults drills fmt docs lock programs clean lab lab-status lab-down lab-clean lab-programs lab-images

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

# In three streams, for tests mostly wait, each with a lab of its own: hosts, and the RabbitMQ that this Debian has not.
# The files that take longest come first, so that no stream is left alone with one: hosts have few tests and long ones.
test: $(STAMP) programs style thorough lab-images ## everything that must hold: check, then contract, integration, fault and host tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 20 tests/hosts tests/faults tests/integration tests/contract

check: unit style ## formatting, lint, types, unit and architecture tests

style: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: $(STAMP)
	$(BIN)/python -m pytest -q tests/unit tests/architecture

# Every law on a hundred drawn examples or more instead of eight.
thorough: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --hypothesis-profile thorough tests/unit tests/architecture

bench: $(STAMP) programs ## compare speeds by ratios in one run
	$(BIN)/python -m pytest -q -s tests/benchmarks

# NAME=… RELEASE=3.10|4.0 BROKERS=0…5 WORKERS=0…6
LAB := $(BIN)/python -m tests.hosts.lab
named = $(if $(NAME),--name $(NAME))
sized = $(if $(RELEASE),--release $(RELEASE)) $(if $(BROKERS),--brokers $(BROKERS)) $(if $(WORKERS),--workers $(WORKERS))

lab: $(STAMP) lab-programs ## start a lab of hosts that goes on running, three brokers and three workers, with a fleet on it
	@$(LAB) up $(named) $(sized)
	@$(BIN)/python -m tests.hosts.newcomer $(named)

lab-status: $(STAMP) ## show the labs that run, and the images
	@$(LAB) status

lab-down: $(STAMP) ## end the lab
	@$(LAB) down $(named)

lab-clean: $(STAMP) ## remove the images of the lab
	@$(LAB) clean

# A lab needs root; as anybody else its tests are skipped, so nothing is installed for them.
lab-programs: ## install what a lab needs (debootstrap, systemd-nspawn, ip), as root only
	@missing=; for p in debootstrap:debootstrap systemd-nspawn:systemd-container ip:iproute2 ssh:openssh-client; do PATH="$$PATH:/usr/sbin:/sbin" command -v "$${p%%:*}" >/dev/null || missing="$$missing $${p##*:}"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "installing$$missing"; apt-get update -qq && env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; fi

lab-images: $(STAMP) lab-programs ## build the images of the hosts that the tests use
	$(BIN)/python -m tests.hosts

# ONLY="…" chooses by a part of "case / broker version / settings", as `python -m tests.faults --list` shows them.
faults: $(STAMP) programs lab-images ## break everything, ours and plain Celery, and write the table of what was lost
	$(BIN)/python -m tests.faults $(if $(ONLY),--only "$(ONLY)")

drills: $(STAMP) programs lab-images ## rehearse what is rare, and write down what it cost
	$(BIN)/python -m pytest -q tests/drills --write-tables

fmt: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP) ## write the generated reference pages
	$(BIN)/python -m tests.docs write

lock: ## resolve the dependencies again into constraints.txt (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --all-extras --quiet pyproject.toml --output-file constraints.txt

clean: ## remove what the targets above made in this tree
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .pycache .hypothesis
