# Everything from a bare Python 3.11+: the environment, the phantom study, the tests.
#
#   make run    the environment, then results/table2.csv of the phantom study
#   make test   the environment, then the tests; make test-whole: also those that take longest
#   make lint   formatting and static checks
#   make pull   results of a study from DVC's remote (docs/dvc.md)
#   make dvc.yaml   DVC's stages, after a change of config/ or of what code imports

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY := phantom
PIPELINE = $(if $(filter phantom,$(STUDY)),dvc.yaml,dvc/$(STUDY)/dvc.yaml)
READY := $(VENV)/ready
# in the conda environment that environment.yml makes there is nothing to set up
ifneq ($(wildcard $(CONDA_PREFIX)/bin/hermes),)
BIN := $(CONDA_PREFIX)/bin
READY :=
endif

.PHONY: run test test-whole lint lock pull dvc.yaml clean
run: $(READY)
	$(BIN)/snakemake --cores all results/table2.csv
	@echo && cat results/table2.csv

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# beside them those that build whole studies once more
test-whole: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "whole or not whole"

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

dvc.yaml: $(READY)
	$(BIN)/python workflow/dvc/stages.py $(STUDY)
	@test $(PIPELINE) = dvc.yaml || echo "Beside dvc.yaml: name one of both from now on, as in dvc repro $(PIPELINE)"

# Snakemake goes by times of files, which a pull sets anew: it is told that all is as it should be,
# where DVC finds it so
pull: $(READY)
	$(BIN)/dvc pull $(PIPELINE)
	@$(BIN)/dvc status --quiet $(PIPELINE) || { $(BIN)/dvc status $(PIPELINE); \
		echo "make pull: not what this commit makes, so nothing is taken for done"; exit 1; }
	$(BIN)/snakemake --cores all --touch --forceall --quiet all --config study=$(STUDY) -- all

# torch stays out of the lock: its hash differs between the CPU and the CUDA builds
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' requirements.in)"
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $(READY)

# after a change of requirements.in: resolve again (needs uv), and give conda users the same pins
lock: requirements.in
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-package torch \
		--no-header requirements.in --output-file requirements.lock
	$(BIN)/python workflow/scripts/environment.py

clean:
	rm -rf data/phantom results/phantom results/table* logs
