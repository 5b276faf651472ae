# make run    set everything up and open the tool
# make test   set everything up and run the tests of the first order
# make test-all   and then all others
# make check  all that must be clean before a commit
# make gpu-check  is everything right on this GPU, and how fast? (five minutes)
#
# VENV=DIR    use (or make) that virtual environment, e.g. to share one between checkouts

VENV ?= .venv
PYTHON ?= python3
# faiss-gpu and faiss-cpu exclude each other: take the one that fits this machine.
FAISS ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

# As many processes as there are cores, four at most; the tests of a file stay together. Each process
# has one thread to compute with: threads that wait for one another on shared cores spin.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses=4 --dist=loadfile \
  --no-loadscope-reorder

.PHONY: run test test-all test-rest check format lint types imports audit docs clean

run: $(VENV)/.ready-run
	$(BIN)/streamlit run streamlit_app.py

test: $(VENV)/.ready-dev
	$(PYTEST) -m "not second_order"

test-all: test test-rest

test-rest: $(VENV)/.ready-dev
	$(PYTEST) -m second_order

check: lint types imports test

format: $(VENV)/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.ready-dev
	$(BIN)/mypy

imports: $(VENV)/.ready-dev
	$(BIN)/lint-imports

audit: $(VENV)/.ready-dev
	.ci/audit $(BIN)/pip-audit

docs: $(VENV)/.ready-dev
	$(BIN)/python -m typer app/cli/main.py utils docs --name clsl --output docs/reference/cli.md

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": run make PYTHON=python3.12 (or another)") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the program and its packages into $(VENV) (about 6 GB, a few minutes) ..."
	$(PIP) -e ".[$(FAISS)]"
	@touch $@

$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the program and its packages into $(VENV) (about 6 GB, a few minutes) ..."
	$(PIP) -e ".[$(FAISS),dev]"
	@touch $@ $(VENV)/.ready-run

# Only with a CUDA device; without one it says so. GPU_CHECK="--json OUT.json" keeps the results.
.PHONY: gpu-check
gpu-check: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks.gpu_check $(GPU_CHECK)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# New pictures for the documentation, from the browser tests (needs Chromium).
.PHONY: screenshots
screenshots: $(VENV)/.ready-dev
	CLSL_SCREENSHOTS=docs/screenshots $(BIN)/python -m pytest tests/e2e/test_journey.py tests/e2e/test_import_export.py -k 'demo or dropped'
