# Everything is done through here; `make help` lists it. Nothing needs to be installed before but git, make and Python.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := env -u MAKEFLAGS $(BIN)/python -m pytest  # a make that a test runs is no part of this one
PARALLEL := -n 4 --dist worksteal  # the tests of a file follow each other in one process, and share what is made for them
# Root is shown no closed door: in a user namespace, where it is nobody, it has an ordinary user's rights.
# What is about rights and networks is run as root, too.
NOBODY := unshare --user --map-user=65534 --map-group=65534
NESTED := unshare --user --map-root-user --net --mount
ORDINARY = $(shell [ "$$(id -u)" = 0 ] && $(NOBODY) $(NESTED) $(BIN)/python -c '' 2>/dev/null && echo $(NOBODY))
ROOTS := tests/test_library.py tests/test_lan.py
# The page's scripts share one scope; they stand in it in this order.
SCRIPTS = $(shell $(BIN)/python -c 'from memosync.page.page import *; print(*BEFORE, *AFTER)')

export COVERAGE_FILE := $(CURDIR)/build/coverage/data

.DEFAULT_GOAL := help
.PHONY: help demo test ordinary roots torture proof coverage where check duplicates types formatting scripts bench completions packages compiled clean

help:  ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

demo: .venv/ready  ## record, list, share, fetch, sync and compare, on this machine alone, without a microphone
	@PATH="$$PWD/$(BIN):$$PATH" demo/run

test: .venv/ready packages compiled  ## run all tests; TESTS="tests/test_index.py -k round" runs some of them
	@[ "$$(id -u)" != 0 ] || [ -n "$(ORDINARY)" ] || echo "No user namespaces are allowed here: all tests are run as root."
	$(if $(TESTS),$(ORDINARY) $(PYTEST) $(TESTS),@$(MAKE) --no-print-directory --jobs=2 --keep-going ordinary roots)

ordinary:
	$(ORDINARY) $(PYTEST) $(PARALLEL)

roots:
	$(if $(ORDINARY),$(PYTEST) $(ROOTS))

torture: .venv/ready packages compiled  ## break it in every way that is known, for an hour, and print figures; SEED=... again
	$(PYTEST) tests/torture --long -n 2 --durations=0 --durations-min=60 $(TESTS)
	$(if $(TESTS),,$(ORDINARY) $(PYTEST) --long -m long --ignore=tests/torture -n 2)

proof: .venv/ready  ## live a thousand lives of devices in sync, and print what was lost; FIRST=... LIVES=... to go on
	cd tests && ../$(BIN)/python -m proof.run --first $(or $(FIRST),0) --lives $(or $(LIVES),1000)

coverage: .venv/ready  ## print which lines and branches the tests run, all or TESTS=..., child processes included
	rm -rf $(dir $(COVERAGE_FILE))
	mkdir -p $(dir $(COVERAGE_FILE))
	-COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(MAKE) --no-print-directory test
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

where: .venv/ready  ## name the tests that run LINE=memosync/library/store.py:57, as of the last `make coverage`
	@$(BIN)/python tests/where.py $(LINE)

check: .venv/ready  ## check formatting, types, duplicates, and the scripts of the page
	@$(MAKE) --no-print-directory --jobs=2 --output-sync --keep-going duplicates types formatting scripts

duplicates:
	$(BIN)/pylint --recursive=y --ignore=node_modules --disable=all --enable=duplicate-code --min-similarity-lines=8 --score=no \
		memosync tests demo benchmarks

types:
	$(BIN)/mypy

formatting:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

scripts:
	$(BIN)/oxlint
	@mkdir -p build
	cat $(or $(SCRIPTS:%=memosync/page/%),none) >build/page.js
	$(BIN)/oxlint --no-ignore build/page.js

bench: .venv/ready packages  ## measure the speed beside aria2c, ffmpeg, curl and others
	@command -v npm >/dev/null || { echo "One of the others, webtorrent-cli, needs npm: apt install npm" >&2; exit 1; }
	$(BIN)/python benchmarks/run.py

completions: .venv/ready  ## generate completions/ anew
	PATH="$$PWD/$(BIN):$$PATH" completions/generate

packages:  # what the tests need from the system: installed where that is allowed, otherwise the line to type is printed
	@tests/packages

compiled: .venv/ready  # else each of the thousand starts would compile it: the tests may write nothing here
	@$(BIN)/python -m compileall -q memosync

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.13 ..." >&2; exit 1; }
	@echo "Setting up .venv: a minute, this once." >&2
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable . --group dev
	@touch $@

clean:  ## remove what was made, .venv too
	rm -rf .venv build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
