# Two commands for a newcomer: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
FUZZ_SECONDS ?= 15
FUZZ_SEED ?= 0
FUZZERS := $(patsubst tests/fuzz/fuzz_%.py,%,$(wildcard tests/fuzz/fuzz_*.py))
# Bytecode is what makes a warm start quick.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test check real bench sweep fuzz facts picture lock clean

help:
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

#: make run     set up and start a UF-8000 (ARGS="--model UF-7100 --ephemeral" passes options)
run: $(VENV)/.run
	@exec $(BIN)/fauxfax run $(ARGS)

#: make test    set up and run the suite that needs no extra system package
test: $(VENV)/.dev
	@$(BIN)/python -m pytest -n 6 --dist worksteal -m "not real and not sweep" $(ARGS)

#: make check   ruff, mypy --strict, import-linter
check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

#: make real    tests against real drivers and programs (installs Debian packages when root)
real: $(VENV)/.dev
	@tests/real/install-packages
	@$(BIN)/python -m pytest -m real $(ARGS)

#: make sweep   the long fault sweeps, bounded
sweep: $(VENV)/.dev
	@$(BIN)/python -m pytest -n auto --dist worksteal -m sweep $(ARGS)

#: make fuzz    fuzz every codec and reader (FUZZ_SECONDS=15 each, FUZZ_SEED=0 is a new search); what it finds lies in .cache/fuzz
fuzz: $(VENV)/.fuzz
	@for what in $(FUZZERS); do \
	    mkdir -p .cache/fuzz/$$what; \
	    $(BIN)/python tests/fuzz/fuzz_$$what.py -seed=$(FUZZ_SEED) -max_total_time=$(FUZZ_SECONDS) \
	        -timeout=10 -rss_limit_mb=2048 -verbosity=0 -artifact_prefix=.cache/fuzz/$$what- .cache/fuzz/$$what tests/fuzz/corpus/$$what || exit 1; \
	    echo "$$what: nothing found in $(FUZZ_SECONDS) s"; \
	done

#: make bench   benchmarks beside their peers
bench: $(VENV)/.bench
	@for b in benchmarks/[a-z]*.py; do $(BIN)/python $$b $(ARGS) || exit 1; done

#: make facts   renew docs/reference/facts.md
facts: $(VENV)/.dev
	@$(BIN)/python tools/facts.py

#: make picture renew the README's picture
picture: $(VENV)/.dev
	@$(BIN)/python tools/picture.py

#: make lock    renew the locks, hashed and without host names
lock: $(VENV)/.dev
	@$(BIN)/python tools/lock.py

#: make clean   remove everything that make made
clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fauxfax needs Python 3.11 or later; set PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q emulator tools
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.bench: requirements-bench.lock $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

$(VENV)/.fuzz: requirements-fuzz.lock $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.lock
	@touch $@
