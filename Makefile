# Everything is done through here; `make help` lists it. Nothing needs to be installed before but git, make and Python.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := env -u MAKEFLAGS $(BIN)/python -m pytest  # a make that a test runs is no part of this one
# The tests of a file follow each other in one process, and share what is made for them.
PARALLEL := -n 5 --dist worksteal --durations=10
# Root is shown no closed door: in a user namespace, where it is nobody, it has an ordinary user's rights.
# What is about rights and networks is run as root, too.
NOBODY := unshare --user --map-user=65534 --map-group=65534
NESTED := unshare --user --map-root-user --net --mount
ORDINARY = $(shell [ "$$(id -u)" = 0 ] && $(NOBODY) $(NESTED) $(BIN)/python -c '' 2>/dev/null && echo $(NOBODY))
ROW_sync := $(wildcard tests/test_sync*.py) \
	$(addprefix tests/,test_group.py test_put_back.py test_words.py test_heads.py) \
	tests/torture/test_devices.py tests/torture/test_many.py
ROW_month := tests/test_endurance.py tests/test_grain.py tests/test_moves.py tests/torture/test_months.py
ROOTS := tests/test_library.py tests/test_lan.py
# The page's scripts share one scope; they stand in it in this order.
SCRIPTS = $(shell $(BIN)/python -c 'from memosync.page.page import *; print(*BEFORE, *AFTER)')

export COVERAGE_FILE := $(CURDIR)/build/coverage/data

.DEFAULT_GOAL := help
.PHONY: help demo pictures test ordinary roots lives torture proof coverage where check duplicates types formatting scripts bench \
	packages compiled lock pyz clean

help:  ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

demo: .venv/ready  ## record, list, share, fetch, sync and compare, on this machine alone, without a microphone
	@PATH="$$PWD/$(BIN):$$PATH" demo/run

pictures: .venv/ready packages  ## draw docs/session.svg anew, from the program as it is
	$(BIN)/python demo/picture.py docs/session.svg

test: .venv/ready packages compiled  ## run all tests; TESTS="tests/test_index.py -k round" runs some of them
	@[ "$$(id -u)" != 0 ] || [ -n "$(ORDINARY)" ] || echo "No user namespaces are allowed here: all tests are run as root."
	$(if $(TESTS),$(ORDINARY) $(PYTEST) $(TESTS),@$(MAKE) --no-print-directory --jobs=3 --keep-going ordinary roots lives)

ordinary:
	$(ORDINARY) $(PYTEST) $(PARALLEL)

roots:
	$(if $(ORDINARY),$(PYTEST) $(ROOTS))

lives:  # which take what the tests leave of two cores, while they wait
	cd tests && $(ORDINARY) nice -n 19 ../$(BIN)/python -m proof.run --brief --lives $(or $(LIVES),2000)

torture: .venv/ready packages compiled  ## break it in every way that is known, for an hour, and print figures; SEED=... again, ROW=sync alone
ifdef ROW
	$(ORDINARY) $(PYTEST) $(or $(ROW_$(ROW)),$(error ROW is one of: $(patsubst ROW_%,%,$(filter ROW_%,$(.VARIABLES))))) --long -n 2
else
	$(PYTEST) tests/torture --long -n 2 --durations=0 --durations-min=60 $(TESTS)
	$(if $(TESTS),,$(ORDINARY) $(PYTEST) --long -m long --ignore=tests/torture -n 2)
endif

proof: .venv/ready  ## live a thousand lives of devices in sync, and print what was lost; FIRST=... LIVES=... to go on, TALK=1 with seeders
	cd tests && ../$(BIN)/python -m proof.run $(if $(TALK),--talk) --first $(or $(FIRST),0) --lives $(or $(LIVES),1000)

coverage: .venv/ready  ## print which lines and branches the tests run, all or TESTS=..., child processes included
	rm -rf $(dir $(COVERAGE_FILE))
	mkdir -p $(dir $(COVERAGE_FILE))
	-COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(MAKE) --no-print-directory test LIVES=100
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

packages:  # what the tests need from the system: installed where that is allowed, otherwise the line to type is printed
	@tests/packages

compiled: .venv/ready  # else each of the thousand starts would compile it: the tests may write nothing here
	@$(BIN)/python -m compileall -q memosync

COMPILE := build/lock/bin/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --custom-compile-command 'make lock'

lock:  ## choose the versions of all that is installed anew, and keep them in run.lock and dev.lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet uv
	$(COMPILE) --output-file dev.lock --group dev
	$(COMPILE) --constraint dev.lock --output-file run.lock

pyz: .venv/ready  ## make the wheel, and dist/memosync.pyz: one file that needs nothing but this Python, and PortAudio
	rm -rf build/site dist
	$(BIN)/hatchling build --target wheel
	$(BIN)/pip install --quiet --no-compile --target build/site --require-hashes --requirement run.lock
	$(BIN)/pip install --quiet --no-compile --target build/site --no-deps --no-index --find-links dist memosync
	rm -rf build/site/bin
	$(BIN)/shiv --reproducible --site-packages build/site --console-script memosync --output-file dist/memosync.pyz \
		--python "/usr/bin/env $$($(BIN)/python -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"
	cd dist && sha256sum *.whl *.pyz >SHA256SUMS

.venv/ready: pyproject.toml dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.13 ..." >&2; exit 1; }
	@echo "Setting up .venv: a minute, this once." >&2
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --requirement dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

clean:  ## remove what was made, .venv too
	rm -rf .venv build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
