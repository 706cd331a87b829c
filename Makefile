# Two commands do everything, set-up included: `make gif` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
RUN ?= runs/dcgan
BIN := .venv/bin
READY := .venv/.installed
# What tests and chapters print must not depend on the folder they run in.
ifdef GAN_TF_DATA
export GAN_TF_DATA := $(abspath $(GAN_TF_DATA))
endif

# Two workers on two cores: a second thread in each would only fight with the other worker for its core.
ONE_THREAD := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST := GAN_TF_OFFLINE=1 $(BIN)/python -m pytest
TWO_WORKERS := $(ONE_THREAD) $(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=900 --nbval-sanitize-with notebooks/sanitize.cfg

.PHONY: gif test check thorough chapter mutants lowest notebooks bench lab lint lock help
.DELETE_ON_ERROR:

help:            ## show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'

gif: $(READY)    ## train the DCGAN by its default settings and leave runs/dcgan/progress.gif
	@$(BIN)/python -m gan_tf train $(RUN)

test: $(READY)   ## run the unit tests and every chapter through nbval, and say where the seconds went
	$(TWO_WORKERS) $(NBVAL) tests notebooks

check: lint      ## after every edit: the linter, the rules of the chapters, the unit tests that take no time
	$(TWO_WORKERS) -m "not slow and not thorough"

chapter: $(READY)  ## run one chapter through nbval: make chapter N=04
	@ls notebooks/$(N)_*.ipynb > /dev/null 2>&1 || { echo "no chapter has that number: make chapter N=04" >&2; exit 2; }
	$(PYTEST) $(NBVAL) notebooks/$(N)_*.ipynb

thorough: $(READY)  ## run what the tests leave out because others like it are among them (a minute)
	$(TWO_WORKERS) -m thorough tests

mutants: $(READY)  ## break the project in many places and ask the tests each time, resumably (about a quarter of an hour)
	$(BIN)/python tests/mutants.py

lowest: versions-lowest versions-colab  ## test the lowest versions and Colab's, chapters 02 and 05 too (needs uv)

versions-lowest: OPTIONS := --python 3.11
versions-lowest: BOUNDS := --resolution lowest-direct
versions-colab: OPTIONS := --python 3.13
versions-colab: BOUNDS := --constraint tests/colab.txt
versions-%:
	uv venv --quiet --clear $(OPTIONS) .venv-$*
	uv pip install --quiet --python .venv-$* $(BOUNDS) --requirement requirements.txt --editable '.[test]'
	$(subst $(BIN),.venv-$*/bin,$(TWO_WORKERS)) $(NBVAL) tests notebooks/02_*.ipynb notebooks/05_*.ipynb

notebooks: $(READY)  ## execute every chapter, store its outputs, and write the table of chapters in README.md
	@$(BIN)/python notebooks/execute.py
	@$(BIN)/python notebooks/table.py

bench: $(READY)  ## measure speed, growth, kills and time to quality, into benchmarks/RESULTS.md (about eight hours)
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/waits.py
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/sizes.py
	$(BIN)/python benchmarks/replicas.py
	$(BIN)/python benchmarks/recipes.py
	$(BIN)/python benchmarks/ring.py
	$(BIN)/python benchmarks/conditional.py
	$(BIN)/python benchmarks/wasserstein.py
	$(BIN)/python benchmarks/critics.py
	$(BIN)/python benchmarks/mistakes.py
	$(BIN)/python benchmarks/density.py
	$(BIN)/python benchmarks/stabilisers.py
	$(BIN)/python benchmarks/stacks.py
	$(BIN)/python benchmarks/few.py
	$(BIN)/python benchmarks/traces.py
	$(BIN)/python benchmarks/time_to_quality.py

lab: $(READY)    ## open the list of chapters in JupyterLab
	@mkdir -p .venv/share/jupyter/lab/settings
	@echo '{"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}}}' \
	    > .venv/share/jupyter/lab/settings/overrides.json
	$(BIN)/jupyter lab notebooks/README.md

lint: $(READY)   ## check style and format, chapters included
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lock:            ## pin what CI installs (needs uv)
	uv pip compile requirements.txt pyproject.toml --extra test --universal --python-version 3.11 \
	  --no-emit-index-url --no-annotate --custom-compile-command "make lock" --upgrade --quiet -o constraints.txt

$(READY): requirements.txt constraints.txt pyproject.toml setup.sh
	@./setup.sh $(PYTHON)
	@touch $@
