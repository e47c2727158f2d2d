# Targets create the environment if they need it.
PYTHON ?= python3
BIN := .venv/bin
export DO_NOT_TRACK := true
export GOMP_SPINCOUNT ?= 1000
# Material for MkDocs prints an advertisement unless this is set.
export NO_MKDOCS_2_WARNING := 1

# One process per core. Tests of one xdist group run in the same process.
PYTEST := $(BIN)/pytest --numprocesses auto --dist loadgroup

.NOTPARALLEL:
.PHONY: bench cv demo docs docs-commands docs-images docs-serve lint mlflow notebooks ph2 setup setup-dev test test-all test-long viz weights

setup: .venv/.project
setup-dev: .venv/.dev

# PyTorch is installed first: uv chooses the build for this machine, CPU or CUDA, from PyTorch's own index. If the index
# cannot be reached, pip installs PyTorch from the index in its configuration. An installed PyTorch is kept.
.venv/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required, but this is " + sys.version)'
	$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$$(grep '^uv==' requirements.lock)" || echo 'uv cannot be installed. pip is used instead and takes minutes.'
	torch=$$(grep '^torch==' requirements.lock); \
	$(BIN)/python -c 'import importlib.metadata as m; m.version("torch")' 2> /dev/null \
	|| { test -x $(BIN)/uv && UV_HTTP_RETRIES=2 $(BIN)/uv pip install --python $(BIN)/python --torch-backend auto "$$torch"; } \
	|| $(BIN)/python -m pip install --no-deps "$$torch"
	touch $@

.venv/.project: EXTRAS := project
.venv/.dev: EXTRAS := project,serve,scale,dev
.venv/.notebooks: EXTRAS := project,notebooks
.venv/.project .venv/.dev .venv/.notebooks: .venv/.torch pyproject.toml requirements.lock
	grep -v '^torch==' requirements.lock > .venv/constraints.txt
	{ test -x $(BIN)/uv && $(BIN)/uv pip install --python $(BIN)/python --editable '.[$(EXTRAS)]' --constraint .venv/constraints.txt; } \
	|| $(BIN)/python -m pip install --editable '.[$(EXTRAS)]' --constraint .venv/constraints.txt
	touch .venv/.project $@

demo: setup
	$(BIN)/kedro run --env demo

test: lint
	$(PYTEST) -m 'not long'

test-long: setup-dev
	$(PYTEST) -m long

test-all: test test-long

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ph2: setup
	@test -n "$(FROM)" || { echo 'FROM is not given. Use make ph2 FROM=<folder or zip of PH2>.'; exit 2; }
	$(BIN)/kedro import-ph2 "$(FROM)"

weights: setup
	$(BIN)/kedro fetch-weights

viz: setup
	$(BIN)/kedro viz run --env $(or $(ENV),base)

cv: setup
	$(BIN)/kedro cross-validate --env $(or $(ENV),cpu)

docs: setup-dev
	$(BIN)/mkdocs build --strict

docs-serve: setup-dev
	$(BIN)/mkdocs serve

docs-images: setup-dev
	$(BIN)/python docs/tools/images.py

docs-commands: setup-dev
	$(BIN)/python docs/tools/code_blocks.py

bench: setup-dev
	$(BIN)/python -m benchmarks data/08_reporting/benchmark

notebooks: .venv/.notebooks
	$(BIN)/jupyter lab notebooks

mlflow: setup
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --workers 1
