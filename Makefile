# Every target that needs the environment makes it first; CONTRIBUTING.md gives the plain commands.
PYTHON ?= python3
BIN := .venv/bin
export DO_NOT_TRACK := true
export GOMP_SPINCOUNT ?= 1000

.PHONY: demo test lint ph2 encoders viz mlflow cv bench setup

setup: .venv/.done

.venv/.done: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev,encoders,scale]' --constraint requirements.lock
	touch $@

demo: setup
	$(BIN)/kedro run --env demo

test: lint
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ph2: setup
	@test -n "$(FROM)" || { echo 'Which copy of PH2? make ph2 FROM=<folder or zip>'; exit 2; }
	$(BIN)/kedro import-ph2 "$(FROM)"

encoders: setup
	$(BIN)/kedro fetch-encoders

viz: setup
	$(BIN)/kedro viz run --env $(or $(ENV),base)

cv: setup
	$(BIN)/kedro cross-validate --env $(or $(ENV),cpu)

bench: setup
	$(BIN)/python -m benchmarks data/08_reporting/benchmark

mlflow: setup
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --workers 1
