# Needs git, make and Python 3.11 or newer; every target sets up what it needs in .venv.
SHOP ?= synthetic
DATA_DIR ?= $(CURDIR)/data$(if $(filter synthetic,$(SHOP)),,-$(SHOP))
SPEED ?= 1
PORT ?= 3000
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' && echo $$p && break; done)
BIN := .venv/bin
UV := $(BIN)/uv
INSTALL := $(UV) pip install --quiet --compile-bytecode --constraint requirements.lock
export SHOP DATA_DIR
export DAGSTER_HOME := $(DATA_DIR)/dagster
# Else each of many processes compiles the modules that it imports, and pytest rewrites every test's assertions anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo check test test-all crash ui api desk mailbox shop lint bench lock docs clean
help:
	@echo "make demo [SHOP=completejourney]   set up, load, train, run live slices, plan, publish, report"
	@echo "make demo SHOP=retail360 FROM=...  the same on the published files in a folder of yours"
	@echo "make ui                            the Dagster UI on the demo's data, sensors and schedules on"
	@echo "make api                           the demo's data over HTTP, and a storefront at http://127.0.0.1:8360/demo"
	@echo "make desk                          dashboards and campaigns in a browser: http://127.0.0.1:8380"
	@echo "make mailbox                       the e-mails that the demo sent to itself: http://127.0.0.1:8390"
	@echo "make shop [SPEED=10] [API=1]       simulated traffic keeps landing, so that 'make ui' shows slices firing;"
	@echo "                                   with API=1 over HTTP through 'make api', which shoppers ask for offers"
	@echo "make crash KILLS=200 [SEED=1]      SIGKILL at random moments of the real daemon, then a comparison with a clean run"
	@echo "make check                         lint, types and the tests without daemon, servers and pipelines: about 2 minutes"
	@echo "make test                          all tests that fit into 20 minutes"
	@echo "make test-all                      every test: also those marked exhaustive"
	@echo "make lint | bench NAME=... | lock | docs | clean"

$(UV):
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name it with PYTHON=/path/to/python"; exit 1; }
	@echo "setting up .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

.venv/.installed: $(UV) pyproject.toml requirements.lock
	@echo "installing the locked packages"
	@$(INSTALL) --editable .
	@touch $@

.venv/.installed-dev: .venv/.installed
	@$(INSTALL) --editable ".[dev,completejourney]"
	@touch $@

# An extra of that name, for a shop or a benchmark, where pyproject.toml has one.
.venv/.installed-%: .venv/.installed
	@if grep -q '^$* = \[' pyproject.toml; then $(INSTALL) --editable ".[$*]"; fi
	@touch $@

demo: .venv/.installed-$(SHOP)
	@$(BIN)/python -m orchestration.demo $(if $(FROM),--from "$(FROM)")

ui: .venv/.installed
	@mkdir -p $(DAGSTER_HOME) && cp orchestration/dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	@$(BIN)/customer360 serve --port $(PORT)

api: .venv/.installed
	@$(if $(filter synthetic,$(SHOP)),CUSTOMER360_API_DEMO=true) $(BIN)/customer360 api serve

desk: .venv/.installed
	@$(BIN)/customer360 desk serve

mailbox: .venv/.installed
	@$(BIN)/customer360 mailer mailbox

shop: .venv/.installed
	@$(BIN)/customer360 simulate stream --speed $(SPEED) $(if $(API),--api http://127.0.0.1:8360)

check: lint-python
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not full"

test: .venv/.installed-dev
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not exhaustive"

test-all: .venv/.installed-dev
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

crash: .venv/.installed-dev
	@$(BIN)/python -m tests.crash --kills $(or $(KILLS),200) --seed $(or $(SEED),1)

lint: .venv/.installed-dev
	@$(MAKE) --no-print-directory -j 2 lint-python lint-sql

lint-python: .venv/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

lint-sql: .venv/.installed-dev
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && export DBT_TARGET_PATH=$$scratch DBT_LOG_PATH=$$scratch && \
		CUSTOMER360_WAREHOUSE=$$scratch/warehouse.duckdb DO_NOT_TRACK=1 $(BIN)/sqlfluff lint --disable-progress-bar --processes 2 \
		dbt_project/models dbt_project/tests/*.sql  # macros are no SQL before they are called

bench: .venv/.installed-dev $(if $(filter reference,$(NAME)),.venv/.installed-spark) $(if $(filter recommendations,$(NAME)),.venv/.installed-recommendations)
	@test -n "$(NAME)" || { echo "make bench NAME=<one of: slice, customers, density, reference, affinity, journey, drift, scoring, campaign, lift, closed_loop, publish, purchases_only, first_day, recommendations, lifetime, offers, serving, collector, email, email_crash, desk>"; exit 1; }
	@$(BIN)/python -m benchmarks.$(NAME)

lock: $(UV)
	@$(UV) pip compile pyproject.toml --universal --no-emit-index-url --no-header --quiet --python-version 3.11 \
		--extra dev --extra completejourney --extra deployment --extra recommendations --extra spark --output-file requirements.lock

# The parts of docs/ that come from code and from a demo's data.
docs: .venv/.installed
	@$(BIN)/python -m orchestration.data_dictionary > .data-dictionary.tmp && mv .data-dictionary.tmp docs/data-dictionary.md
	@$(BIN)/python -m orchestration.pages docs/bi.md

# Data that no demo made stay.
clean:
	@for place in data data-*; do if [ -f "$$place/demo" ]; then rm -rf "$$place"; fi; done
	rm -rf .venv *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis dbt_project/target dbt_project/logs
