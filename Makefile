# From a bare checkout: python3, and the network to the package index. `make demo`, `make test`.
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
BENCH_DATA ?= ../shared/data/locomo/locomo.json

BIN := $(VENV)/bin
DEMO_EXTRAS := local,llama-index,langchain
DEV_EXTRAS := $(DEMO_EXTRAS),cohere,ollama,openai,prices,qdrant,qdrant-edge,pinecone,redis,postgres

.PHONY: demo test check setup bench test-long test-langchain test-llama-index clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	$(BIN)/rag-memory demo

# The tests start many processes; where none may keep its bytecode, each compiles everything.
# A worker takes tests that stand together, and makes what they share once.
test test-long: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict src

setup: $(VENV)/.setup

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks latency
	if [ -f $(BENCH_DATA) ]; then $(BIN)/python -m benchmarks recall --data $(BENCH_DATA); fi

test-long: $(VENV)/.dev
	RAG_MEMORY_LONG=1 $(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

# On the oldest and the newest langchain, langchain-core and langgraph that pyproject.toml names.
test-langchain: $(VENV)/.dev
	RAG_MEMORY_LONG=1 $(BIN)/python -m pytest tests/test_versions.py -k langchain $(PYTEST_ARGS)

# On the oldest and the newest llama-index-core that pyproject.toml names, each in its own venv.
test-llama-index: $(VENV)/.dev
	RAG_MEMORY_LONG=1 $(BIN)/python -m pytest tests/test_versions.py -k llama_index $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# What pip was told, in its files or the environment; uv reads neither.
pip_option = $$($(BIN)/python -m pip config list \
	| sed -nE "s/^(:env:|global|install)\.$(1)='(.*)'$$/\2/p" | sed -e 's/\\n/ /g' -e 1q)

# $(1) goes to `uv pip install`; pip does it where uv has no wheel, or cannot reach the index.
# The index strategy is pip's own: the best version of all indexes.
install = @set -e; \
	cert=$(call pip_option,cert); index=$(call pip_option,index-url); \
	extra=$(call pip_option,extra-index-url); links=$(call pip_option,find-links); \
	if [ -z "$$SSL_CERT_FILE" ] && [ -n "$$cert" ]; then export SSL_CERT_FILE="$$cert"; fi; \
	if [ -z "$$UV_DEFAULT_INDEX" ] && [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	if [ -z "$$UV_INDEX" ] && [ -n "$$extra" ]; then \
		export UV_INDEX="$$extra" UV_INDEX_STRATEGY=unsafe-best-match; fi; \
	if [ -z "$$UV_FIND_LINKS" ] && [ -n "$$links" ]; then \
		export UV_FIND_LINKS="$$(echo $$links | tr ' ' ,)"; fi; \
	echo "installing $(1)"; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(1) || { \
		echo "uv could not; trying pip" >&2; \
		$(BIN)/python -m pip install --quiet --upgrade pip; \
		$(BIN)/python -m pip install --quiet $(1); }

$(VENV)/.uv:
	$(PYTHON) -m venv $(VENV)
	-@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

# The tests start many processes; where nothing may write bytecode, each would compile everything.
$(VENV)/.dev $(VENV)/.setup: export UV_COMPILE_BYTECODE = 1

$(VENV)/.demo: $(VENV)/.uv pyproject.toml
	$(call install,-e '.[$(DEMO_EXTRAS)]')
	@touch $@

$(VENV)/.dev: $(VENV)/.uv pyproject.toml
	$(call install,--group dev -e '.[$(DEV_EXTRAS)]')
	@touch $@ $(VENV)/.demo

$(VENV)/.setup: $(VENV)/.uv pyproject.toml
	$(call install,--group dev --group peers -e '.[all]')
	@touch $@ $(VENV)/.demo $(VENV)/.dev
