# Each target sets up what it needs: a virtual environment in .venv, from Python 3.11 to 3.13 and pip.
PYTHON ?= $(firstword $(foreach version,11 12 13,$(shell command -v python3.$(version))) python3)
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := $(shell find electra_zh configs -type f -not -name "*.pyc")

.PHONY: help demo endings test torture fuzz load cluster accelerators interop check bench docs clean

help:
	@echo "make demo    the whole job on sample texts (minutes)"
	@echo "make endings the same, with a test of what the model has learnt at its end"
	@echo "make test    unit, golden and end-to-end tests, and their coverage of lines and branches"
	@echo "make torture commands that are killed again and again (minutes; HOURS=n for longer)"
	@echo "make fuzz    100,000 inputs for tokenizers, packing, cleaning and all readers (an hour)"
	@echo "make cluster a build on a cluster whose workers and driver are killed"
	@echo "make accelerators  several devices and processes, and steps compiled for GPUs and TPUs"
	@echo "make interop conversions against transformers and torch"
	@echo "make check   lint, types and known vulnerabilities"
	@echo "make load    large corpora and long runs in bounded memory (an hour)"
	@echo "make bench   speed against peers and limits (needs a quiet machine)"
	@echo "make docs    the reference pages of settings, commands and tasks"
	@echo "make clean   remove what the other targets made"

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11, 3.12 or 3.13 is needed: set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

# The package as a user gets it; the other targets install the checkout itself, and more.
$(VENV)/installed-demo: $(VENV)/bin/python setup.cfg pyproject.toml $(SOURCES)
	rm -rf build
	$(BIN)/pip install --quiet '.[report]'
	@touch $@

$(VENV)/installed: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable '.[test]'
	@rm -f $(VENV)/installed-demo
	@touch $@

$(VENV)/installed-check: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[check]'
	@touch $@

$(VENV)/installed-interop: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[interop]'
	@touch $@

$(VENV)/installed-fuzz: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[fuzz]' || echo "atheris does not install here" >&2
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[bench]'
	@touch $@

demo: $(or $(wildcard $(VENV)/installed),$(VENV)/installed-demo)
	$(BIN)/electra-zh demo --output demo

endings: $(VENV)/installed
	$(BIN)/python -m pytest -m slow tests/e2e/test_demo.py

test: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow and not interop" -n 2 --durations=15 --cov

torture: $(VENV)/installed
	PYTHONPATH=tests $(BIN)/python -m torture.kills --hours $(or $(HOURS),0)

fuzz: $(VENV)/installed-fuzz
	FUZZ_EXAMPLES=5000 $(BIN)/python -m pytest -n 2 -m "hypothesis or slow" tests/fuzz tests/text tests/data
	PYTHONPATH=tests $(BIN)/python -m fuzz.guided

cluster: $(VENV)/installed
	$(BIN)/python -m pytest -m slow tests/e2e/test_cluster.py

accelerators: $(VENV)/installed
	$(BIN)/python -m pytest -m slow tests/runtime tests/finetuning/kinds tests/e2e/test_devices.py tests/e2e/test_processes.py tests/e2e/test_experiments.py

interop: $(VENV)/installed-interop
	$(BIN)/python -m pytest -m interop

check: $(VENV)/installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy electra_zh tests
	$(BIN)/bandit -q -ll -r electra_zh scripts
	$(BIN)/hadolint Dockerfile
	@$(BIN)/pip-audit --skip-editable --progress-spinner off \
		|| echo "pip-audit: a known vulnerability, or no answer of the service: see above" >&2

load: $(VENV)/installed
	$(BIN)/python benchmarks/load.py

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/bench_machine.py
	$(BIN)/python benchmarks/bench_step.py
	$(BIN)/python benchmarks/bench_finetune.py

docs: $(VENV)/installed
	for page in settings commands tasks; do $(BIN)/electra-zh configs --reference $$page > docs/$$page.md; done

clean:
	rm -rf $(VENV) demo build .coverage *.egg-info .pytest_cache .mypy_cache .ruff_cache
