# The two commands of the README are `make demo` and `make test`; each does its own set-up.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
MINUTES ?= 10

.PHONY: demo test test-all check lint bench docs clean

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(READY)

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/pytest

test-all: $(READY)
	$(BIN)/pytest -m ""

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

bench: $(READY)
	for name in speed conv_speed engine mnist sparse_patches anomalies denoise segment pronounce; do \
		$(BIN)/python benchmarks/$$name.py --minutes $(MINUTES) || exit 1; done

docs: $(READY)
	$(BIN)/python docs/make_parts.py
	$(BIN)/python docs/make_export.py
	$(BIN)/python docs/make_figures.py
	$(BIN)/python docs/make_anomalies.py

clean:
	rm -rf .venv demo runs
