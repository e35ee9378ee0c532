# What a newcomer and a contributor run. Needs Python 3.11 or newer and make, nothing else:
# the environment is made in .venv on first use and again when what it depends on has changed.

.PHONY: help quickstart test suite lint types docs packaging interop compile bench clean
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
JOBS ?= 2

help:
	@echo "make quickstart  start a database in a fresh folder and write the first events"
	@echo "make test        the whole suite, lint and types"
	@echo "make suite       the tests alone; make suite TESTS=tests.domain for some of them"
	@echo "make lint types docs packaging interop   one check each"
	@echo "make compile     extension modules beside the sources they are made of; needs a C compiler"
	@echo "make bench       a small comparison with other databases, under two minutes"
	@echo "make clean       remove environments and everything that was built"

# PYTHON=/path/to/python chooses the interpreter; without it the first one that is new enough.
$(VENV)/bin/python:
	@set -e; found=; \
	for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "Python 3.11 or newer is needed; set PYTHON=..." >&2; exit 1; fi; \
	echo "making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV) 2>/dev/null || { \
	  rm -rf $(VENV); "$$found" -m venv --without-pip $(VENV); \
	  "$$found" -m pip --python $(VENV)/bin/python install --quiet pip || { rm -rf $(VENV); \
	    echo "this Python has neither ensurepip nor pip; install one of them" >&2; exit 1; }; }

# Two stamps: the first is enough to run the database, the second adds the tools of a developer.
INPUTS := setup.py pyproject.toml eventdbx/_version.py

$(VENV)/run.stamp: $(VENV)/bin/python $(INPUTS)
	@echo "installing eventdbx into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/bin/python $(INPUTS)
	@echo "installing eventdbx and the development tools into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/run.stamp

$(VENV)/bench.stamp: $(VENV)/run.stamp
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

quickstart: $(VENV)/run.stamp
	@$(PY) docs/quickstart.py

TESTS ?= tests

test: lint types suite

suite: $(VENV)/dev.stamp
	$(PY) -m twisted.trial --jobs=$(JOBS) $(TESTS)

lint: $(VENV)/dev.stamp
	$(PY) -m ruff check .

types: $(VENV)/dev.stamp
	$(PY) -m mypy

docs: $(VENV)/dev.stamp
	$(PY) -m twisted.trial tests.test_docs

packaging: $(VENV)/dev.stamp
	$(PY) -m twisted.trial tests.packaging

interop: $(VENV)/dev.stamp
	$(PY) -m twisted.trial tests.interop
	$(PY) -m tests.interop.check_rust_client

# They take the place of the sources until make clean, also of sources changed since.
compile: $(VENV)/dev.stamp
	EVENTDBX_COMPILE=1 $(PY) setup.py --quiet build_ext --inplace

bench: $(VENV)/bench.stamp
	$(PY) -m bench --sizes small

clean:
	rm -rf $(VENV) .tox build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis
	find . -path ./.git -prune -o -name '*.so' -exec rm -f {} +
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
