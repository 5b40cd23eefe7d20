# `make run` trains a first model, `make test` runs the tests; both need Python 3.11 or newer and nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-all notebooks clean

run: .venv/installed
	$(BIN)/python -m experiments.flows.real_nvp --out runs/first --overwrite

test: .venv/tested
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: .venv/tested
	$(BIN)/python -m pytest -n 2 --dist loadfile -m ""

# writes the notebooks' pictures anew
notebooks: .venv/tested
	$(BIN)/python -m notebooks.execute

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

.venv/tested: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@ .venv/installed

clean:
	rm -rf .venv build *.egg-info tests/.jax_cache .hypothesis
