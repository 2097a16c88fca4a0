# cachemig: what a developer or CI types. `make` alone prints this list.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup setup-python demo check test bench docs lock

# A caller's settings for another Python must not reach ours.
unexport PYTHONPATH PYTHONHOME PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE \
         PIP_USER PIP_TARGET PIP_PREFIX VIRTUAL_ENV

BIN := .venv/bin
# Two test processes suit the two cores of a small CI machine; `make test JOBS=8` on a big one.
JOBS ?= 2
ARGS ?=

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: setup-python ## install all that tests need: .venv, and Debian packages (as root)
	@.ci/setup packages

setup-python: ## install only .venv, which is all that `cachemig` and the demo need
	@.ci/setup python

demo: setup-python ## move a generated cache between two sites; ARGS="--ssh" for a real sshd
	@$(BIN)/cachemig demo $(ARGS)

check: setup-python ## lint, types, architecture, and docs against the program
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/python docs/commands.py --check
	$(BIN)/pytest --quiet tests/test_architecture.py

test: setup ## run the whole test suite; ARGS="-k name" for a part of it
	$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal --durations 10 $(ARGS)

bench: setup ## measure against rsync, tar and rclone over an emulated link
	$(BIN)/python -m benchmarks $(ARGS)

docs: setup-python ## write docs/commands.md from what `--help` says
	$(BIN)/python docs/commands.py

lock: setup-python ## choose new versions of all packages and write requirements.lock
	@.ci/lock
