# The first run of any target sets up what it needs; see scripts/setup.
#   make rehearsal                 a whole release 5.0 -> 5.1 in the rehearsal cluster
#   make rehearsal FAULT=errors    a bad one, taken back by itself (errors, latency, agents, crash)
#   make rehearsal PROVIDER=haproxy   through another edge (gateway_api, nginx_ingress, openshift_route, service)
#   make test                      every check and test
#   make cluster / cluster-down    the rehearsal cluster, to try things in
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON_IN := $(VENV)/bin/python
export PATH := $(abspath $(VENV))/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/build/collections

FAULT ?=
PROVIDER ?= istio
NAME ?= rehearsal
# Options handed on, e.g. make rehearsal OPTIONS="-e release_green_replicas=4".
OPTIONS ?=

.PHONY: help setup rehearsal cluster cluster-down status test lint sanity docs-lint package pytest unit integration molecule other-core bench bench-gates bench-kill lock clean

help:
	@sed -n 's/^#   //p' Makefile

# Every target comes through here; it is over in a moment when nothing changed.
$(VENV)/.ready: requirements/dev.lock scripts/setup
	@scripts/setup --venv $(VENV)

setup: $(VENV)/.ready

rehearsal: setup
	@PYTHONPATH=build/collections $(PYTHON_IN) -m scripts.rehearse --provider $(PROVIDER) $(if $(FAULT),--fault $(FAULT)) -- $(OPTIONS)

cluster: setup
	@$(PYTHON_IN) -m rehearsal up --name $(NAME) $(OPTIONS)

cluster-down: setup
	@$(PYTHON_IN) -m rehearsal down --name $(NAME)

status: setup
	@$(PYTHON_IN) -m rehearsal status --name $(NAME)

# Two at a time: most of it waits for clocks and other processes. What pytest prints at the end is the result.
TWO_AT_A_TIME = $(MAKE) --no-print-directory --jobs=2

test: setup
	@$(TWO_AT_A_TIME) other-core lint sanity docs-lint package
	@$(MAKE) --no-print-directory molecule
	@$(MAKE) --no-print-directory pytest

pytest: setup
	@echo "== unit and integration tests"
	@$(PYTHON_IN) -m pytest --numprocesses 2 --dist loadfile

lint: setup
	@echo "== ruff, mypy, ansible-lint (production), changelog"
	@ruff check .
	@ruff format --check .
	@mypy rehearsal scripts tests
	@mypy -p ansible_collections.claude_enhancer.rollout.plugins
	@ansible-lint
	@antsibull-changelog lint

sanity: setup
	@echo "== ansible-test sanity"
	@scripts/sanity --venv $(VENV) 2>&1 | grep -vE "^(Collecting|  Downloading|Installing|Successfully|  +━)|bootstrap script"

docs-lint: setup
	@echo "== documentation of every plugin"
	@scripts/docs-lint

package: setup
	@echo "== build, install into an empty path, run by FQCN"
	@scripts/package

unit: setup
	@$(PYTHON_IN) -m pytest tests/unit

integration: setup
	@$(PYTHON_IN) -m pytest tests/integration

# It tests what package installed.
molecule: package
	@echo "== molecule"
	@scripts/molecule

other-core: setup
	@echo "== the other supported ansible-core"
	@scripts/other-core

# OPTIONS="--parts journal" measures that part alone.
bench: setup
	@PYTHONPATH=build/collections $(PYTHON_IN) -m tests.bench.bench $(OPTIONS)

bench-gates: setup
	@PYTHONPATH=build/collections $(PYTHON_IN) -m tests.bench.gates.bench $(OPTIONS)

bench-kill: setup
	@PYTHONPATH=build/collections $(PYTHON_IN) -m tests.bench.kills.bench $(OPTIONS)

lock: setup
	@uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command "make lock" --upgrade requirements/dev.in -o requirements/dev.lock

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis collections
