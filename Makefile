# Two commands on a fresh machine: `make train` and `make test`. Anything else: `make help`.

PYTHON  ?=
VENV    ?= .venv
CONFIG  ?= configs/digits/siman_digits.py
WORKDIR ?= runs/digits
ARGS    ?=

candidates := $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3)
suitable   := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# As targets, paths need their spaces escaped; in recipes they are quoted.
empty :=
venv  := $(subst $(empty) $(empty),\ ,$(VENV))
py    := "$(VENV)/bin/python"
# --no-compile: a module is compiled when first imported; most of those installed never are.
pip   := $(py) -m pip --quiet --disable-pip-version-check --no-input install --no-compile
# uv installs in half the time, but knows nothing of pip's settings (a mirror, say): where it fails, pip goes on.
install = $(pip) uv && $(py) -m uv pip install --quiet --python $(py) $(1) || \
	{ echo "uv could not install; pip does" >&2; $(pip) $(1); }

# Importing JAX takes 10 s without compiled modules and 4 s with them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help train test check format clean

help:  ## this list
	@echo "make <target> [VARIABLE=value]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' Makefile
	@echo "Variables:"
	@echo "  PYTHON   interpreter of the environment (default: the first of 3.13, 3.12, 3.11 that works)"
	@echo "  VENV     the environment            ($(VENV))"
	@echo "  CONFIG   what \`make train\` trains   ($(CONFIG))"
	@echo "  WORKDIR  where it writes            ($(WORKDIR))"
	@echo "  ARGS     more arguments for train.py or pytest, e.g. make test ARGS='-k siman'"

train: $(venv)/.stamp-run  ## install what running needs, train CONFIG in WORKDIR, evaluate
	$(py) train.py --config "$(CONFIG)" --workdir "$(WORKDIR)" $(ARGS)
	$(py) eval.py --workdir "$(WORKDIR)"

# Compiling takes most of the time, and one process compiles on one core.
test: $(venv)/.stamp-dev  ## install with development tools, run the whole test suite
	$(py) -m pytest -n logical --maxprocesses 8 --dist worksteal $(ARGS)

check: $(venv)/.stamp-dev  ## linter, formatter, type checker; changes nothing
	$(py) -m ruff check .
	$(py) -m ruff format --check .
	$(py) -m mypy

format: $(venv)/.stamp-dev  ## let the linter and the formatter mend what they can
	$(py) -m ruff check --fix .
	$(py) -m ruff format .

clean:  ## remove the environment, caches and builds (never runs/)
	rm -rf "$(VENV)" build dist bnn_jax.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(venv)/bin/python:
	@for python in $(candidates); do \
	  if "$$python" -c '$(suitable)' >/dev/null 2>&1; then \
	    echo "Creating $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv --clear "$(VENV)" && echo '*' > "$(VENV)/.gitignore"; \
	    exit; \
	  fi; \
	done; \
	echo 'No suitable Python among: $(candidates)' >&2; \
	echo 'bnn_jax needs Python 3.11, 3.12 or 3.13 with venv and ensurepip (Debian: python3-venv).' >&2; \
	echo 'If yours is elsewhere: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12' >&2; \
	exit 1

$(venv)/.stamp-run: $(venv)/bin/python requirements.txt
	@echo "Installing requirements.txt into $(VENV)"
	@$(call install,-r requirements.txt)
	@touch "$@"

$(venv)/.stamp-dev: $(venv)/bin/python requirements.txt pyproject.toml
	@echo "Installing bnn_jax and its development tools into $(VENV)"
	@$(call install,--editable '.[dev]')
	@touch "$(VENV)/.stamp-run" "$@"
