# make run | test | test-export | lint | bench | setup — everything happens inside .venv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXPORT_VENV := .venv-export
SITE_PACKAGES := 'import sysconfig; print(sysconfig.get_path("purelib"))'
ARGS ?=
# One worker a core; a file's tests stay together, since they share what is slow to make.
WORKERS ?= 2

.PHONY: run test test-export lint bench readme setup test-tools clean

run: setup
	$(BIN)/streamlit run dashboard/app.py $(ARGS)

test: test-tools
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-export: $(EXPORT_VENV)/.installed
	REQUIRE_EXPORT_TARGETS=1 $(EXPORT_VENV)/bin/python -m pytest -m export_targets \
		tests/core/exports/test_targets.py $(ARGS)

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

# The libraries that exported files are for have many requirements of their own: a second
# environment, which finds torch and the test tools in the first.
$(EXPORT_VENV)/.installed: requirements-export.txt requirements-onnx.txt $(VENV)/.test-tools
	$(PYTHON) -m venv $(EXPORT_VENV)
	$(BIN)/python -c $(SITE_PACKAGES) > "$$($(EXPORT_VENV)/bin/python -c $(SITE_PACKAGES))/first.pth"
	$(EXPORT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		-r requirements-onnx.txt -r requirements-export.txt
	@touch $@

clean:
	rm -rf $(VENV) $(EXPORT_VENV) .mypy_cache .pytest_cache .ruff_cache
