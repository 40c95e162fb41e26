# `make demo` and `make test` need nothing but Debian or Ubuntu with Python >= 3.11 and gcc: they set up a .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MANIFESTS := requirements-dev.txt scripts/setup.sh $(wildcard pyproject.toml toolkit/pyproject.toml backends/*/pyproject.toml examples/*/pyproject.toml)

.PHONY: help setup demo test lint bench dist clean

help:
	@echo "make demo    set up, then quantize, compile and run a trained network on photographs"
	@echo "make test    set up, then lint, type-check and run every test"
	@echo "make setup   only set up"
	@echo "make bench   run every benchmark with --quick"
	@echo "make dist    build a wheel of every distribution into dist/"
	@echo "make clean   remove what the other targets made"

setup: $(STAMP)

$(STAMP): $(MANIFESTS)
	PYTHON="$(PYTHON)" VENV="$(VENV)" sh scripts/setup.sh
	@touch $@

demo: setup
	$(BIN)/python -m efficientnet_lite0.demo --output out

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: setup
	$(BIN)/python benchmarks/overhead.py --quick
	$(BIN)/python benchmarks/stream.py --quick
	$(BIN)/python benchmarks/latency.py --quick
	$(BIN)/python benchmarks/accuracy.py --quick
	$(BIN)/python benchmarks/calibration.py --quick
	$(BIN)/python benchmarks/partition.py --quick
	$(BIN)/python benchmarks/npu.py --quick
	$(BIN)/python benchmarks/arm.py --quick
	$(BIN)/python benchmarks/rocm.py --quick
	$(BIN)/python benchmarks/rocm_matrix.py --quick
	$(BIN)/python benchmarks/rocm_units.py --quick
	$(BIN)/python benchmarks/rocm_mutations.py --quick

dist: setup
	$(BIN)/python scripts/build_dists.py

clean:
	rm -rf $(VENV) out dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
