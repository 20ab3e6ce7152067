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

.PHONY: train test test-build check lint bench build docs linkcheck sanitize

train: build $(VENV)/plot.installed
	@echo "--- training on the bundled digits"
	@$(PY) -m daseCV_c train

test: build $(VENV)/test.installed
	@echo "--- all tests but those of \"make test-build\": this takes the most time"
	@$(PYTEST) -m "not build"

# The source distribution, a wheel of all kernels from it, and what setup.py builds and says.
test-build: build $(VENV)/test.installed
	@echo "--- the tests that build the package: a whole build among them"
	@$(PYTEST) -m build

# What to run before each commit.
check: lint
	@echo "--- a selection of the tests"
	@$(PYTEST) tests/test_equivalence_*.py tests/test_signatures.py tests/test_loading.py tests/test_bad_input.py

lint: build $(VENV)/test.installed $(VENV)/dev.installed
	@echo "--- ruff, cython-lint, mypy, stubs of the compiled modules"
	@$(PY) -m ruff check .
	@PATH="$(abspath $(BIN)):$$PATH" cython-lint src # it calls pycodestyle
	@$(PY) -m mypy & mypy=$$!; $(PY) .ci/stubs.py && wait $$mypy # on two processors

# Sanitizers, valgrind, warnings, Clang, large arrays: an hour.
sanitize: build $(VENV)/test.installed
	@PYTHON=$(abspath $(PY)) .ci/sanitize

bench: build $(VENV)/plot.installed
	@$(PY) -m daseCV_c bench

# The site, with warnings as errors: docs/_build/html/index.html.
docs: $(VENV)/docs.installed
	@echo "--- building the site into docs/_build/html"
	@$(PY) -m sphinx -W --keep-going -q -j auto docs docs/_build/html

# The links to other hosts, so it needs the network.
linkcheck: $(VENV)/docs.installed
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

# The package, editable, with one of the extras of pyproject.toml. The kernels are built before, where one sees it.
$(VENV)/%.installed: pyproject.toml | build
	@echo "--- installing the package and what \"$*\" needs"
	@$(INSTALL) --no-build-isolation --editable ".[$*]"
	@touch $@
