# Console Broker: every task is one `make` target; `make help` lists them. CI runs the same ones.
#
# `make run` and `make test` need a Debian 12 (or another Linux) with Python 3.11 or later, make,
# and nothing else: the scripts in .ci/ make .venv and bring system packages, and are quick when
# there is nothing to do.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

VENV ?= .venv
export VENV

PY := $(VENV)/bin/python
# One worker of pytest-xdist more than there are CPUs: a third of the tests' time is waiting for
# guests and viewers. NUMPROCESSES=0 runs in one process (for a debugger).
NUMPROCESSES ?= $(shell echo $$(($$(nproc 2>/dev/null || sysctl -n hw.ncpu || echo 1) + 1)))
# A test that fails is run once more, and named: CONTRIBUTING.md says what becomes of it.
RERUNS ?= 1
# Further arguments for pytest: make test ARGS="-k static"
ARGS ?=
FUZZ_SECONDS ?= 120
SOAK_SECONDS ?= 3600
SOURCES := broker tui sources tests bench docs

.PHONY: help run test test-slow check format docs bench bench-relay vm-safety fuzz soak picture coverage lowest lock linux-guest system-run system-test system-bench system-picture venv-run venv-dev clean

help:  ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 13

run: system-run venv-run  ## Open the TUI with a demo guest; without a terminal, run `broker smoke`
	@if [ -t 0 ] && [ -t 1 ]; then exec $(VENV)/bin/broker tui --demo; else exec $(VENV)/bin/broker smoke; fi

test: system-test venv-dev  ## Run the tests, with real QEMU and real viewers
	$(PY) -m pytest -n $(NUMPROCESSES) --dist worksteal --reruns $(RERUNS) -rR -m "not slow" $(ARGS)

test-slow: system-test venv-dev linux-guest  ## Run the tests that take minutes
	$(PY) -m pytest -m slow --timeout 600 $(ARGS)

vm-safety: system-test venv-dev  ## Attack VMs by every known means, bare and behind the proxy; prints a table
	$(PY) -m tests.adversary $(ARGS)

# Each round draws anew; what fails is kept in .hypothesis and tried first the next time.
fuzz: venv-dev  ## Fuzz the protocol for FUZZ_SECONDS (120)
	end=$$((SECONDS + $(FUZZ_SECONDS))); while ((SECONDS < end)); do \
	  HYPOTHESIS_PROFILE=deep $(PY) -m pytest -q -n $(NUMPROCESSES) --timeout 900 tests/broker/spice \
	    tests/broker/proxy/test_tls_fuzz.py; done

soak: system-test venv-dev  ## Open and close sessions for SOAK_SECONDS (3600) twice, and see that nothing grows
	SOAK_SECONDS=$(SOAK_SECONDS) $(PY) -m pytest -m slow -s --timeout 0 tests/integration/test_soak.py $(ARGS)

check: venv-dev  ## Format, lint, types, import contracts, docs
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m pytest -q tests/test_docs.py

format: venv-dev  ## Rewrite the sources in the one format, and mend what ruff can mend
	$(VENV)/bin/ruff format $(SOURCES)
	$(VENV)/bin/ruff check --fix $(SOURCES)

docs: venv-dev  ## Write the settings' part of docs/configuration.md anew
	PYTHONPATH=. $(PY) docs/settings_page.py

bench: system-run venv-dev  ## Measure start-up, first paint and launch; prints what docs/performance.md holds
	$(PY) -m bench $(ARGS)

bench-relay: system-bench venv-dev  ## Measure the relay beside no proxy, HAProxy and kerbside-proxy (seven minutes; ARGS=--write puts it on docs/performance.md)
	$(PY) -m bench.relay $(ARGS)

picture: system-picture venv-dev  ## Take the pictures in docs/img from the real program in a real terminal
	.ci/picture docs/img

coverage: system-test venv-dev  ## Run the tests and report what they did not reach
	$(PY) -m coverage run -m pytest -m "not slow" $(ARGS)
	$(PY) -m coverage report

lowest: system-test venv-dev  ## Run the tests with the lowest versions that pyproject.toml allows
	.ci/lowest $(ARGS)

lock: venv-dev  ## Write requirements/*.txt anew; UPGRADE=1 takes the newest versions
	.ci/lock

linux-guest: venv-dev  ## Fetch the parts of the Linux guest that slow tests boot
	@.ci/linux-guest

system-run:
	@.ci/system-packages run

system-test:
	@.ci/system-packages test

system-bench:
	@.ci/system-packages bench

system-picture:
	@.ci/system-packages picture

venv-run: system-run
	@.ci/venv run

venv-dev:
	@.ci/venv dev

clean:  ## Remove what the other targets made; VMs and settings of yours are not touched
	rm -rf $(VENV) .venv-lowest bench/out dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache .coverage .coverage.*
	find broker tui sources tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
