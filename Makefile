# Litemill. `make help` tells what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The newest that is here with its venv; any of them can be named: make setup PYTHON=python3.12
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11; do \
  $$python -c 'import ensurepip, venv' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= pipelines/digits/config.yaml
OUT ?= out/$(notdir $(patsubst %/,%,$(dir $(CONFIG))))
# Every task of a local run imports TensorFlow anew: without bytecode that takes four times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test lint e2e images bench bench-accuracy docs notebook compile golden lock sbom audit mlflow clean

help:  ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready  ## build .venv from requirements.lock (about two minutes; nothing when up to date)

$(VENV)/.ready: requirements.lock setup.py
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11, 3.12 or 3.13 with venv is needed: name it with PYTHON=…"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.lock
	$(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --editable .
	@touch $@

examples/fashion_mnist/data.npz: examples/fashion_mnist/data.py | setup
	$(BIN)/python $<

examples/fashion_mnist/model.keras: examples/fashion_mnist/data.npz

examples/%/model.keras: examples/%/train.py | setup
	$(BIN)/python $<

demo: setup examples/digits/model.keras  ## train a small model and run its whole pipeline: table, report, MLflow
	$(BIN)/litemill run $(CONFIG) --out $(OUT)

test: setup lint  ## lint, type check and the fast test suite, a process a core
	$(BIN)/pytest -n auto --dist loadfile

lint: setup  ## ruff, mypy and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml

e2e: setup  ## tests that need servers, devices or minutes
	$(BIN)/pytest -m e2e

bench: setup  ## measure what it costs against its peers, and write the tables (40 minutes; CASE=name: one row)
	$(BIN)/python -m benchmarks $(CASE)

bench-accuracy: setup  ## what the train-aware steps cost and bring on Fashion-MNIST (half an hour)
	$(BIN)/python -m benchmarks.accuracy

images:  ## build the images train and edge with docker or podman (BASE_IMAGE, PREFIX, PLATFORM: see docs/images.md)
	@docker/build.sh

docs: setup  ## write the tables of docs/ and of the README: options from the models, costs from the benchmarks' results
	@$(BIN)/python docs/tables.py
	@$(BIN)/python -m benchmarks.table

notebook: setup  ## execute examples/notebook.ipynb anew
	cd $$(mktemp -d) && $(CURDIR)/$(BIN)/jupyter execute --inplace $(CURDIR)/examples/notebook.ipynb

compile: setup  ## compile CONFIG to Kubeflow YAML in out/
	$(BIN)/litemill compile $(CONFIG) -o $(OUT).yaml

golden: setup  ## compile the shipped configs and the components to the YAML files that the tests compare with
	@$(BIN)/litemill components --out components
	@for config in pipelines/*/config.yaml; do $(BIN)/litemill compile $$config -o $$(dirname $$config)/pipeline.yaml; done

lock: $(VENV)/.ready  ## bring requirements.lock in line with setup.py (UPGRADE=--upgrade: with newer versions)
	$(BIN)/uv pip compile --quiet --no-config $(UPGRADE) --universal --generate-hashes --python-version 3.11 \
	  --no-annotate --no-header setup.py --extra all --extra dev -o requirements.lock

sbom: setup  ## write what is in each image as CycloneDX JSON to out/sbom/
	@for image in train edge; do $(BIN)/python docker/sbom.py $$image out/sbom/$$image.cdx.json; done

audit: setup  ## look every locked package up in the advisory database (needs the network)
	@if ! $(BIN)/python -c "import urllib.request as r; r.urlopen('https://pypi.org/pypi/pip/json', timeout=10)" 2>/dev/null; \
	then echo "nothing was audited: the advisory database at pypi.org cannot be reached from here"; \
	else $(BIN)/uv tool run --quiet pip-audit --disable-pip --require-hashes --requirement requirements.lock; fi

mlflow: setup  ## open the MLflow UI on the local store
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db} --host 127.0.0.1 --port 5000

clean:  ## remove what runs left behind (results in out/ stay)
	rm -rf .litemill build dist *.egg-info
