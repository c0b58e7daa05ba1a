# make demo: the app with the embedded runs.  make test: style and all quick tests.  make test-slow: the slow ones: pages in
# Chromium, exports, whole trainings. CI runs both.  make install: only what all of them need.
#   PORT=8000      another port for the app
#   TORCH=cpu      the small build of torch, for a machine without a GPU
#   TORCH=auto     the build that fits the GPU's driver, where the default one is too new for it
#   LOCK=constraints/ci.txt   the versions that CI installs; without it, the newest ones that fit
# make audit: known holes in the versions in constraints/.  make lock: write those files with the newest versions.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 7860
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip install --disable-pip-version-check
LOCKED := $(LOCK:%=-c %)
UPGRADE ?= --upgrade

ifneq ($(filter-out cpu auto,$(TORCH))$(word 2,$(TORCH)),)
$(error TORCH=$(TORCH) must be cpu (no GPU) or auto (fits the GPU's driver); leave it out for torch's default build)
endif

.PHONY: install demo test test-slow lint audit lock clean

install: $(VENV)/.app

demo: $(VENV)/.app
	$(BIN)/python app.py --port $(PORT)

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.dev
	$(PYTEST) -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .

audit: $(VENV)/.dev
	$(BIN)/python .ci/audit.py constraints/ci.txt constraints/lowest.txt

lock: | $(BIN)/python
	$(PIP) uv
	$(BIN)/python .ci/lock.py $(UPGRADE)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV) || { rm -f $@; exit 1; }

# A stamp each, so that a second start installs nothing.
$(VENV)/.app: requirements.txt $(LOCK) $(TORCH:%=$(VENV)/.torch-%) | $(BIN)/python
	$(PIP) -r requirements.txt $(LOCKED)
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.app
	$(PIP) -r requirements-dev.txt $(LOCKED)
	touch $@

# uv knows PyTorch's indexes of builds. It takes both packages from one of them, in versions that fit each other. pip
# then finds them installed. Without --reinstall-package, uv would keep another build that is installed already.
$(VENV)/.torch-%: | $(BIN)/python
	$(PIP) uv
	rm -f $(VENV)/.torch-*
	$(BIN)/uv pip install --python $(BIN)/python --torch-backend $* $$(grep '^torch' requirements.txt) $(LOCKED) \
		--reinstall-package torch --reinstall-package torchvision
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
