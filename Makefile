# Two commands for everybody: `make demo` and `make test`. Each sets everything up on a fresh machine and then runs.
# PYTHON may name another interpreter, 3.11 or later: make test PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install -c constraints.txt
# curvlinops brings torchvision, which it never imports; its wheel does not fit the CPU build of torch, and transformers would import it.
WITHOUT_TORCHVISION := $(PIP) uninstall --yes torchvision

.PHONY: demo test lint bench bench-all theory docs clean

demo: $(VENV)/.demo
	$(BIN)/qcmap demo --output demo-output

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -p no:benchmark

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

theory: $(VENV)/.dev
	$(BIN)/python -m theory_checks --self-test
	$(BIN)/python -m theory_checks --refute --self-test

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.speed

bench-all: $(VENV)/.bench
	$(BIN)/python -m pytest benchmarks --benchmark-only -p no:cacheprovider --benchmark-json=benchmarks/results/latest.json

# Opens from disk: site/index.html. Nothing is fetched while it builds, nor when a page is read.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "qcmap needs Python 3.11 or later; name one with: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) -e '.[train,plot]'
	$(WITHOUT_TORCHVISION)
	touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) -e '.[dev]'
	$(WITHOUT_TORCHVISION)
	touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.dev
	$(INSTALL) -e '.[bench]'
	$(WITHOUT_TORCHVISION)
	touch $@

$(VENV)/.docs: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) site demo-output .pytest_cache .ruff_cache .hypothesis dist build
