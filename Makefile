# Needs Python 3.11 or newer with its venv module and headers, make and a C compiler. Everything else goes into .venv,
# which nobody has to activate. Begin with `make train` or `make test`; CONTRIBUTING.md has the rest.

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
PY := $(BIN)/python
# Python compiles what it imports at its first import; pip would compile all that it installs.
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --no-compile
# As many tests at a time as there are processors, those of a file one after the other: tests/conftest.py.
PYTEST := $(PY) -m pytest -q -n auto --maxprocesses 8 --dist loadgroup

# Builds the kernels and, meanwhile, installs the package with extras of pyproject.toml.
READY = @$(MAKE) --silent --no-print-directory --jobs 2 build $(VENV)/$(1).installed
LINTERS := test,dev
SOURCES := $(shell find src -name "*.p[xy][dx]")
STUBS := .ci/stubs.py daseCV_c/_types.py daseCV_c/_compiled/sources.sha256 $(wildcard daseCV_c/_compiled/*.pyi)

.PHONY: train test test-build check lint ruff mypy bench build docs linkcheck sanitize

train:
	$(call READY,plot)
	@echo "--- training on the bundled digits"
	@$(PY) -m daseCV_c train

test:
	$(call READY,test)
	@echo "--- all tests but those of \"make test-build\": this takes the most time"
	@$(PYTEST) -m "not build"

# The source distribution, a wheel from it, and what setup.py builds and says.
test-build:
	$(call READY,test)
	@echo "--- the tests that build the package: a whole build among them"
	@$(PYTEST) -m build

# What to run before each commit. The twins are tested where kernels are held against them.
check: lint
	@echo "--- a selection of the tests"
	@$(PYTEST) -m "not once" tests/test_equivalence_*.py tests/test_signatures.py tests/test_loading.py \
		tests/test_bad_input.py

lint:
	$(call READY,$(LINTERS))
	@echo "--- ruff, cython-lint, mypy, stubs of the compiled modules"
	@$(MAKE) --silent --no-print-directory --jobs 2 --keep-going mypy ruff $(VENV)/cython-lint.passed $(VENV)/stubs.passed

ruff:
	@$(PY) -m ruff check .

mypy:
	@$(PY) -m mypy

# What has passed is not looked at again before it changes.
$(VENV)/cython-lint.passed: pyproject.toml $(VENV)/$(LINTERS).installed $(SOURCES)
	@PATH="$(abspath $(BIN)):$$PATH" cython-lint src # it calls pycodestyle
	@touch $@

$(VENV)/stubs.passed: pyproject.toml $(VENV)/$(LINTERS).installed $(STUBS)
	@$(PY) .ci/stubs.py
	@touch $@

# Sanitizers, valgrind, warnings, Clang, large arrays: an hour.
sanitize:
	$(call READY,test)
	@PYTHON=$(abspath $(PY)) .ci/sanitize

bench:
	$(call READY,plot)
	@$(PY) -m daseCV_c bench

# The site, with warnings as errors: docs/_build/html/index.html.
docs:
	$(call READY,docs)
	@echo "--- building the site into docs/_build/html"
	@$(PY) -m sphinx -W --keep-going -q -j auto docs docs/_build/html

# The links to other hosts, so it needs the network.
linkcheck:
	$(call READY,docs)
	@$(PY) -m sphinx -W --keep-going -q -j auto -b linkcheck docs docs/_build/linkcheck

# The kernels in place, for this machine alone: what has not changed is not built again.
build: $(VENV)/build.installed
	@echo "--- building the kernels"
	@$(PY) setup.py -q build_ext --inplace

$(VENV)/build.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@echo "--- making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "--- installing what the build needs"
	@$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		> $(VENV)/build.txt
	@$(INSTALL) -r $(VENV)/build.txt
	@touch $@

# The package, editable, with what extras of pyproject.toml ask for. The kernels are not its affair: see `build`.
$(VENV)/%.installed: pyproject.toml | $(VENV)/build.installed
	@echo "--- installing the package and what \"$*\" needs"
	@DASECV_NO_EXT=1 $(INSTALL) --no-build-isolation --editable ".[$*]"
	@touch $@
