# make install | quickstart | test | test-slow | lint | docs | lock
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install quickstart test test-slow lint docs lock clean

install: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

quickstart: install
	$(BIN)/gollum run --config configs/quickstart.yaml
	$(BIN)/gollum run --config configs/quickstart-tuned.yaml

test: install
	$(BIN)/python -m pytest -n auto

test-slow: install
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Into site/; every warning is an error. Open site/index.html, no server needed.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# Pins everything that a clean install of the dev extra brings (PyTorch's own CUDA packages aside).
lock:
	$(PYTHON) scripts/lock.py

clean:
	rm -rf .venv build dist site
