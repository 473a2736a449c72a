# make run | test | lint | bench | setup — everything happens inside .venv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run test lint bench readme setup test-tools clean

run: setup
	$(BIN)/streamlit run dashboard/app.py $(ARGS)

test: test-tools
	$(BIN)/python -m pytest $(ARGS)

lint: test-tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m clado_core bench $(or $(ARGS),solve)

readme: test-tools
	$(BIN)/python -m tests.readme

setup: $(VENV)/.installed

test-tools: $(VENV)/.test-tools

# The stamps make a second call instant: nothing is installed again until a list changes.
$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; call make with PYTHON=/path/to/python3.11."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.test-tools: requirements-test.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
