# make help            what there is
# Everything runs in .venv, which the first target that needs it creates; a change of pyproject.toml or constraints.txt renews it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PY := $(BIN)/python
STAMP := .venv/installed-$(shell cat pyproject.toml constraints.txt | sha256sum | cut -c1-12)
CODE := src tests tools $(wildcard claims) $(wildcard bench)

.PHONY: help demo test lint format types layers drift unit soak claims bench index new docs clean

help: ## Show the targets.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */\1|/' | awk -F'|' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "pairwright needs Python 3.11, 3.12 or 3.13 with its venv module (Debian: apt-get install python3-venv)" >&2; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . --group dev
	@rm -f .venv/installed-* && touch $@

demo: $(STAMP) ## Embed, search, classify and adapt on real pictures, and write demo/report.html.
	$(PY) -m pairwright.recipes.demo

test: lint types layers drift unit ## Everything that has to pass before a change lands.

lint: $(STAMP)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

format: $(STAMP) ## Mend style and order of imports.
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

drift: $(STAMP)
	$(PY) -m pairwright.ledger.build --check

unit: $(STAMP)
	$(BIN)/pytest

soak: $(STAMP) ## The slow tests, and those that need downloaded packs.
	$(BIN)/pytest -m "slow or packs" --timeout 3600

claims: $(STAMP) ## Run mechanism checks (NAME="tip_adapter …"; without it those whose code has changed) and renew the index.
	$(PY) -m pairwright.ledger.claims $(if $(NAME),$(NAME),--stale)
	$(PY) -m pairwright.ledger.build

bench: $(STAMP) ## Measure us against peers side by side (ONLY="text search"; without it everything) and render docs/benchmarks.md.
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group bench
	$(PY) -m bench.run $(ONLY)

index: $(STAMP) ## Renew what is generated from the cards: the method index and the exports.
	$(PY) -m pairwright.ledger.build

new: $(STAMP) ## Start a method: make new KIND=losses/negatives NAME=hn_nce [PAPER=id].
	$(PY) tools/new.py "$(KIND)" "$(NAME)" $(if $(PAPER),--paper "$(PAPER)")

docs: $(STAMP) ## Build the documentation into site/, with every link checked.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean: ## Remove what builds and caches left behind (not .venv).
	rm -rf site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools -name __pycache__ -prune -exec rm -rf {} +
