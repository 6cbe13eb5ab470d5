# MuseQuest from a shell. `make` alone lists what there is.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo six test lint notebooks readme clean

# The first Python of at least 3.11 found here; `make PYTHON=/usr/bin/python3.12 setup` chooses another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PROFILE ?= pocket
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Keys and the place of data/, runs/ and results/ may stand in .env (see .env.example), which the
# package reads. To make its lines would be commands; whether a name has one is all that is asked.
unless_in_env = $(if $(shell grep -s '^$(1)=.' .env),,$(2))

# Nothing below asks the network for anything once set-up is done.
demo six test notebooks: export HF_HUB_OFFLINE ?= $(call unless_in_env,HF_HUB_OFFLINE,1)
demo six test notebooks: export NO_ALBUMENTATIONS_UPDATE ?= $(call unless_in_env,NO_ALBUMENTATIONS_UPDATE,1)
demo six test notebooks: export TOKENIZERS_PARALLELISM ?= $(call unless_in_env,TOKENIZERS_PARALLELISM,false)

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 20

setup: $(READY)  ## install everything into .venv (once; needs the network)

$(READY): requirements.txt requirements-encoder.txt requirements-dev.txt requirements-notebooks.txt requirements-serve.txt constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found; install one, or name it: make PYTHON=/path/to/python setup." >&2; exit 1; }
	@rm -f $@; echo "Setting up $(VENV) with $$($(PYTHON) --version); this takes a few minutes, once."
	@start=$$SECONDS; \
	$(PYTHON) -m venv $(VENV) \
		|| { echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu install python3-venv." >&2; exit 1; }; \
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements-encoder.txt \
		&& $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' \
		&& echo $$((SECONDS - start)) > $@

demo: $(READY)  ## walk all three stages on the pocket museum, from photos to report.html
	@$(BIN)/python -m musequest demo --profile $(PROFILE)

six: $(READY)  ## tune the pocket docent with every approach, and compare them in one table
	@$(BIN)/python -m musequest six --profile $(PROFILE)

test: $(READY)  ## prove the parts
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: $(READY)  ## check style and types, and that no package imports one above it
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/mypy

notebooks: $(READY)  ## run the demo and put its notebooks, with outputs, where the committed ones are
	@$(BIN)/python -m musequest notebooks

readme: $(READY)  ## write the figures of the last demo into the readmes
	@$(BIN)/python -m musequest readme --keep $(PROFILE)

clean:  ## remove what the demo made (data, runs and results of the profile)
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m musequest clean --profile='$(PROFILE)'
