# Needs python3 (>= 3.8, with venv) and make; everything else is installed into .venv on first use.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test core rooms test-jax slow orders mutants faults hosts hosts-long peers readers gpu gpu-wheels test-ipu-env coverage lint format type stub tutorials pictures tutorials-check docs site-pictures package release clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One stamp per set of extras, so that a repeated `make` costs nothing and `make demo` does not wait for linters.
# The quoted names are the sets: `make .venv/extras-all` installs what `make demo` needs, and so on.
EXTRAS_all := all
EXTRAS_test := all,test
EXTRAS_dev := all,test,dev
EXTRAS_docs := all,examples,docs
EXTRAS_peers := all,test,peers
# All that .ci/run needs at once: pip then resolves once, and the sets within it count as installed.
EXTRAS_ci := all,test,dev,docs
WITHIN_ci := all test dev docs

$(BIN)/python:
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "cannot create .venv: install the venv module (on Debian and Ubuntu the package python3-venv)" >&2; exit 1; }

# uv is quicker than pip, and reads none of its settings: it is told them, so that it takes the packages that pip would.
# Where there is no uv, or it finds less, pip installs.
told = $(shell $(BIN)/python -m pip config list | sed -n "s/^[a-z:]*\.$(1)='\(.*\)'$$/\1/p" | head -1)
UV_SETTINGS = UV_DEFAULT_INDEX='$(call told,index-url)' UV_INDEX='$(call told,extra-index-url)' \
  UV_FIND_LINKS='$(call told,find-links)' UV_CONSTRAINT='$(call told,constraint)'
UV = $(UV_SETTINGS) VIRTUAL_ENV=.venv UV_COMPILE_BYTECODE=1 $(BIN)/uv

.venv/extras-%: pyproject.toml | $(BIN)/python
	{ $(BIN)/python -m pip install --quiet --disable-pip-version-check uv && \
	  $(UV) pip install --quiet --editable '.[$(EXTRAS_$*)]'; } || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS_$*)]'
	@touch $@ $(WITHIN_$*:%=.venv/extras-%)

# Compiled modules are kept: else each worker, and each process that a test starts, compiles the package once more.
export PYTHONDONTWRITEBYTECODE =

# One numeric thread per worker: libraries that start a pool each would fight over the cores. Files come in the order of
# tests/conftest.py, those that take long first; what took longest stands at the end.
SHARED = -n auto --maxprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 25 --durations-min 1
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SHARED)

demo: .venv/extras-all  ## train a small network, verify its gradients, show what ran
	OMP_NUM_THREADS=1 $(BIN)/python -m spikecore.cli.demo  # so small a network gains nothing from a second thread

# BARE=1 is for .ci/run: each test once, the core's in a tree that has no room.
test: .venv/extras-test  ## the default test suite; ROOM=export: the tests of one room (a folder in tests/)
	$(if $(BARE),$(MAKE) core rooms,$(PYTEST) $(ROOM:%=tests/%))

core: .venv/extras-test  ## the core's tests, in a tree that has no room
	OMP_NUM_THREADS=1 $(BIN)/python tests/core_alone.py $(SHARED)

rooms: .venv/extras-test  ## all other tests; `make core rooms` runs each test of `make test` once
	$(PYTEST) $$($(BIN)/python tests/core_alone.py --others)

slow: .venv/extras-test  ## the tests that take long; ROOM=export: those of one room
	$(PYTEST) -m slow $(ROOM:%=tests/%)

orders: .venv/extras-test  ## the tests that compare engines, under other orders of summation: threads, processors
	WORKERS=$(WORKERS) $(BIN)/python tests/orders.py $(ORDERS)

mutants: .venv/extras-test  ## 60 small mistakes in neurons, rules, kernels and the NumPy engine: which tests find them
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutation/run.py

faults: .venv/extras-test  ## kill one of four processes that train together, 50 times
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -m slow tests/cli/test_parallel_faults.py

# Root, ip, tc, PostgreSQL and SLURM; what is missing is skipped with its reason. psycopg speaks to PostgreSQL.
hosts: .venv/extras-test  ## train and search on hosts made of network namespaces; cut links, kill hosts and databases, SLURM
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'psycopg[binary]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -m slow tests/hosts

hosts-long: .venv/extras-test  ## each fault of hosts and links 20 times
	FAULTS=20 OMP_NUM_THREADS=1 timeout 5h $(BIN)/python -m pytest -s -m slow tests/hosts/test_training_hosts.py

peers: .venv/extras-peers  ## the comparisons with other libraries, and how fast each is
	$(PYTEST) tests/core/test_against_snntorch.py tests/core/test_against_spikingjelly.py tests/nir/test_peers.py \
	  tests/nir/test_readers.py tests/core/test_layers_normalisation.py tests/convert tests/docs/test_trainers.py tests/neurobench
	$(BIN)/spikecore bench neurons tutorial5

# With a CUDA device there may be no network, so that this takes $(PYTHON) as it is, and wheels in .whl/; so does a
# rehearsal on the CPU where there are such wheels, and else .venv. STEPS="bandwidth amp" runs some steps.
REHEARSES_IN_VENV = $(and $(REHEARSE),$(if $(wildcard .whl/*.whl),,yes))
gpu: $(if $(REHEARSES_IN_VENV),.venv/extras-test)  ## what needs a CUDA device, with a report in build/gpu; REHEARSE=1: on the CPU
	$(if $(REHEARSE),OMP_NUM_THREADS=1) $(if $(REHEARSES_IN_VENV),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu \
	  $(if $(REHEARSE),--rehearse) $(STEPS)

gpu-wheels: .venv/extras-test  ## build/spikecore-gpu.tar for a GPU machine without a network; PYTHONS="3.11 3.12": for these
	$(BIN)/python -m benchmarks.gpu.archive build/spikecore-gpu.tar $(PYTHONS)

# CPython 3.8, torch 2.0.1 and numpy 1.24 are what PopTorch ships with; torch brings several GB of CUDA libraries.
PYTHON38 ?= python3.8
IPU_TESTS = tests/conformance --engine numpy --engine torch --engine ipu
test-ipu-env:  ## the engines in the environment of an IPU user (needs python3.8, downloads several GB)
	@command -v $(PYTHON38) >/dev/null || { echo "no $(PYTHON38): set PYTHON38=/path/to/python3.8" >&2; exit 1; }
	@test -x .venv38/bin/python || $(PYTHON38) -m venv .venv38
	.venv38/bin/python -m pip install --quiet 'numpy<1.25' 'array-api-compat<1.9' 'torch==2.0.1' pytest hypothesis --editable .
	OMP_NUM_THREADS=1 .venv38/bin/python -m pytest $(IPU_TESTS)
	OMP_NUM_THREADS=1 .venv38/bin/python -m pytest tests/ipu tests/engines/test_devices.py

# Lava needs Python 3.10 and NumPy 1, Nengo's plugin stops pytest 9, and Sinabs asks for an older nir than it needs.
PYTHON310 ?= python3.10
readers:  ## NIR files as Sinabs, Rockpool, Nengo and Lava compute them here (needs python3.10; installs them)
	@command -v $(PYTHON310) >/dev/null || { echo "no $(PYTHON310): set PYTHON310=/path/to/python3.10" >&2; exit 1; }
	@test -x .venv310/bin/python || $(PYTHON310) -m venv .venv310
	.venv310/bin/python -m pip install --quiet --editable '.[torch,conformance,readers]'
	.venv310/bin/python -m pip install --quiet --no-deps sinabs
	OMP_NUM_THREADS=1 .venv310/bin/python -m pytest -p no:nengo tests/nir/test_readers.py

# JAX comes with the plugin; it is no part of the extras.
test-jax: .venv/extras-test  ## the JAX engine: its own tests, the conformance suite, run files (installs jax; takes long)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable 'plugins/spikecore-jax[test]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow or not slow" plugins/spikecore-jax/tests
	$(PYTEST) --pyargs spikecore.conformance --engine jax
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cli/test_tasks_runs.py

coverage: .venv/extras-test  ## the default suite with branch coverage
	$(PYTEST) --cov --cov-report=term --cov-report=html:build/coverage

lint: .venv/extras-dev  ## style, formatting, import contracts, Python 3.8
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/vermin --quiet --target=3.8- --violations --no-tips --exclude tomllib spikecore

format: .venv/extras-dev  ## rewrite the sources in house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: .venv/extras-dev  ## static types
	$(BIN)/mypy

stub: .venv/extras-test  ## spikecore/nn/__init__.pyi, which says to editors how the modules are called
	$(BIN)/python docs/make_stub.py

# What these two write is committed. NAMES="lif_neuron" or NAMES="gallery.md" does it again, whatever has changed.
tutorials: .venv/extras-docs  ## the tutorials' pages and notebooks; executes those whose code has changed
	$(BIN)/python docs/builder/tutorials.py $(NAMES)

pictures: .venv/extras-docs  ## docs/pictures of the pages whose code has changed; the drawings of tutorials
	$(BIN)/python docs/builder/pictures.py $(NAMES)

tutorials-check: .venv/extras-docs .venv/extras-test  ## execute tutorials, gallery and the pages that take long
	$(BIN)/python docs/builder/tutorials.py --check $(NAMES)
	$(PYTEST) --dist load -m slow tests/docs/test_docs.py

docs: .venv/extras-docs .venv/extras-test  ## the documentation, into build/site; its search answers everyday questions
	$(BIN)/mkdocs build --strict
	$(BIN)/python -m pytest -q -m slow tests/docs/test_search.py

site-pictures: .venv/extras-docs .venv/extras-test  ## pictures of the documentation's pages in Chromium, into build/screenshots
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/docs/test_site_pictures.py

package: .venv/extras-dev  ## wheel and source distribution, tried in clean environments of every Python found here
	rm -rf build/package
	$(BIN)/python -m build --outdir build/package .
	$(BIN)/twine check --strict build/package/*
	$(UV_SETTINGS) PACKAGE=build/package $(BIN)/python -m pytest -v -m "slow or not slow" tests/house/test_package.py

release: package docs  ## wheel, source distribution and site, tried; and what is left for a person to do
	@ls build/package build/site/index.html
	@$(BIN)/python hatch_build.py --steps

clean:  ## remove the environment and everything built
	rm -rf .venv .venv38 .venv310 build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
