# Freshet's commands. `make help` lists them; each sets up what it needs and asks nothing.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export PIP_NO_INPUT := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1
# The environments are made side by side; a recipe's own commands run one after the other.
MAKEFLAGS += $(if $(filter 0,$(MAKELEVEL)),--jobs=2)

PYTHON := .venv/bin/python
BIGQUERY_PYTHON := .venv-bigquery/bin/python
ENGINES_PYTHON := .venv-engines/bin/python
FEAST_PYTHON := .venv-feast/bin/python
EXTRAS := pipeline,collector,api,predictor,training,dev
PREREQUISITES := python3 tests/stack/prerequisites.py
STACK := $(PYTHON) -m tests.stack
# Where an operator's command works: on the running stack, or on Google Cloud with PROJECT=... on make's own command line
# (a variable that the shell happens to have must not lead there).
ON_GOOGLE_CLOUD = env -u PUBSUB_EMULATOR_HOST -u BIGTABLE_EMULATOR_HOST -u BIGQUERY_EMULATOR_HOST GOOGLE_CLOUD_PROJECT="$(PROJECT)"
INSTALLATION = $(if $(filter command,$(origin PROJECT)),$(ON_GOOGLE_CLOUD),$(STACK) exec --)
# Every test, so many files of them at a time; those that measure time, or take both cores themselves, come last, alone.
# Of these only the files are read that hold such a test. A worker waits half of its time, so there is one more than cores.
WORKERS := 3
LAST := alone or end_to_end
FILES_OF_LAST = $$(grep --recursive --files-with-matches --include='test_*.py' --extended-regexp 'mark\.(alone|end_to_end)' tests)
AT_ONCE = $(PYTHON) -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not ($(LAST))"; most=$$?; \
	$(PYTHON) -m pytest -m "$(LAST)" $(FILES_OF_LAST); rest=$$?; tested=$$(( most || rest ))
# Runs an installation quietly; shows the end of its log, one for each environment, when it fails.
LOG = build/setup-$(subst /,-,$(patsubst .%,%,$(@D))).log
QUIETLY = > $(LOG) 2>&1 || { tail -n 30 $(LOG); echo "setup failed; the whole log is $(LOG)"; exit 1; }

.PHONY: help setup prerequisites up down status demo test check docs schemas sdk bench fuzz replay catalog pictures snapshot train backfill parity dead-letters rewind constraints clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: prerequisites .venv/.installed .venv-bigquery/.installed .venv/.chromium ## Make both Python environments (quick the second time)

prerequisites:
	@command -v python3 > /dev/null || { echo "setup: Python 3.11 is missing: apt-get install python3.11"; exit 1; }
	@$(PREREQUISITES) check

.venv/.installed: setup.py constraints.txt web/client/pyproject.toml | prerequisites
	@mkdir -p build
	@echo "setup: .venv on Python 3.11 (a few minutes the first time)"
	@python=$$($(PREREQUISITES) python3.11) && { [ -x $(PYTHON) ] || "$$python" -m venv .venv; }
	@$(PYTHON) -m pip install --progress-bar off --constraint constraints.txt \
		--editable '.[$(EXTRAS)]' --editable ./web/client $(QUIETLY)
	@touch $@
	@echo "setup: .venv is ready"

# Done once there is a browser; until then each set-up says how to get one, and goes on.
.venv/.chromium: .venv/.installed
	@if $(PREREQUISITES) chromium; then touch $@; fi

# local-bigquery asks for a DuckDB newer than the one its SQL is tested with, so that one goes in afterwards, alone.
.venv-bigquery/.installed: constraints-bigquery.txt | prerequisites
	@mkdir -p build
	@echo "setup: .venv-bigquery on Python 3.13 (a minute the first time)"
	@python=$$($(PREREQUISITES) python3.13) && { [ -x $(BIGQUERY_PYTHON) ] || "$$python" -m venv .venv-bigquery; }
	@$(BIGQUERY_PYTHON) -m pip install --progress-bar off --constraint constraints-bigquery.txt \
		local-bigquery==0.4.0 $(QUIETLY)
	@$(BIGQUERY_PYTHON) -m pip install --progress-bar off --no-deps duckdb==1.5.5 duckdb-extensions==1.5.5 \
		duckdb-extension-icu==1.5.5 duckdb-extension-ducklake==1.5.5 \
		duckdb-extension-spatial==1.5.5 $(QUIETLY)
	@$(BIGQUERY_PYTHON) -c 'from duckdb_extensions import import_extension as add; add("icu"); add("ducklake"); add("spatial")' $(QUIETLY)
	@touch $@
	@echo "setup: .venv-bigquery is ready"

# The engines that `make bench` compares with; the benchmark makes it, nothing else needs it.
.venv-engines/.installed: constraints-engines.txt | prerequisites
	@mkdir -p build
	@echo "setup: .venv-engines on Python 3.11 (a few minutes the first time)"
	@python=$$($(PREREQUISITES) python3.11) && { [ -x $(ENGINES_PYTHON) ] || "$$python" -m venv .venv-engines; }
	@$(ENGINES_PYTHON) -m pip install --progress-bar off --constraint constraints-engines.txt \
		bytewax apache-flink $(QUIETLY)
	@touch $@
	@echo "setup: .venv-engines is ready"

# The feature server that `make bench` compares with, whose pins are not those of the engines.
.venv-feast/.installed: constraints-feast.txt | prerequisites
	@mkdir -p build
	@echo "setup: .venv-feast on Python 3.11 (a minute the first time)"
	@python=$$($(PREREQUISITES) python3.11) && { [ -x $(FEAST_PYTHON) ] || "$$python" -m venv .venv-feast; }
	@$(FEAST_PYTHON) -m pip install --progress-bar off --constraint constraints-feast.txt \
		feast google-cloud-bigtable $(QUIETLY)
	@touch $@
	@echo "setup: .venv-feast is ready"

# What the browser tests need of npm: the vendors' SDKs, and esbuild. The demo and the store do without.
tests/web/vendors/node_modules/.installed: tests/web/vendors/package.json tests/web/vendors/package-lock.json
	@mkdir -p build
	@$(PREREQUISITES) npm > /dev/null
	@echo "setup: the vendors' SDKs for the tests"
	@npm ci --prefix tests/web/vendors --no-audit --no-fund --loglevel=error $(QUIETLY)
	@touch $@

web/sdk/node_modules/.installed: web/sdk/package.json web/sdk/package-lock.json
	@mkdir -p build
	@$(PREREQUISITES) npm > /dev/null
	@echo "setup: what builds the browser SDK"
	@npm ci --prefix web/sdk --no-audit --no-fund --loglevel=error $(QUIETLY)
	@touch $@

sdk: web/sdk/node_modules/.installed ## Build the browser SDK into web/sdk/dist, and print its size
	@npm run --silent --prefix web/sdk build

up: setup ## Start everything and stay until Ctrl-C or `make down` (ORIGIN=http://localhost:3000 for your page, PORTS=auto, or PORTS=store=9000,api=9081)
	@$(STACK) up $(if $(PORTS),--ports $(PORTS)) $(if $(ONLY),--only $(ONLY)) $(if $(ORIGIN),--origin "$(ORIGIN)")

down: ## Stop what `make up` started
	@if [ -x $(PYTHON) ]; then $(STACK) down; fi

status: setup ## Show what runs where
	@$(STACK) status

demo: setup ## Catalog, training and simulated shoppers through the whole loop, then a report (DEMO_SECONDS=180)
	@$(PYTHON) -m tests.simulator.demo

test: setup tests/web/vendors/node_modules/.installed web/sdk/node_modules/.installed ## Check, then every test, three files at a time (PYTEST_ARGS='tests/sql -k views' for some of them)
	@checked=0; $(MAKE) --no-print-directory check || checked=1; \
	$(if $(PYTEST_ARGS),$(PYTHON) -m pytest $(PYTEST_ARGS); tested=$$?,$(AT_ONCE)); \
	[ $$checked -eq 0 ] || echo "make test: make check found something, see above pytest's output"; \
	exit $$(( checked || tested ))

check: setup ## ruff, mypy --strict and who may import whom
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports --no-logo --cache-dir build/import_linter

docs: setup ## Write the tables of docs/features.md and docs/rules.md anew from the code
	@$(PYTHON) -m pipeline.ops.feature_docs
	@$(PYTHON) -m pipeline.ops.rules_file --docs

schemas: setup ## Print the tracking plan; ARGS=--write writes schemas, SDK types and docs/tracking-plan.md
	@$(PYTHON) -m functions.contract.schemas $(ARGS)

bench: setup web/sdk/node_modules/.installed ## Measure pipeline, freshness, API and collector, compare stream engines; writes build/reports/bench.json
	@$(PYTHON) -m tests.bench

fuzz: setup ## Mutated requests for each protocol's parser: a million each, at most SECONDS=60 each (N=, SEED=, ONLY=segment)
	@$(PYTHON) -m tests.bench.fuzz --inputs $(or $(N),1000000) --seconds $(or $(SECONDS),60) --seed $(or $(SEED),0) $(ONLY)

replay: setup ## Send a file of real events through the loop and evaluate: make replay FILE=events.csv
	@[ -n "$(FILE)" ] || { echo "say which file: make replay FILE=events.csv"; exit 2; }
	@$(PYTHON) -m tests.simulator.replay "$(FILE)"

catalog: setup ## Load products, from a feed or a table: make catalog FILE=products.jsonl (or TABLE=shop.products, PROJECT=...)
	@[ -n "$(FILE)$(TABLE)" ] || { echo "say which file or table: make catalog FILE=products.jsonl (.json, .csv, .tsv, .xml), TABLE=shop.products"; exit 2; }
	@$(INSTALLATION) $(PYTHON) -m pipeline.ops.catalog $(if $(TABLE),--table "$(TABLE)","$(FILE)")

snapshot: setup ## Write the items of the running stack's catalog into a file, from which the API starts without a scan (PROJECT=... with FRESHET_SNAPSHOT_DIR for Google Cloud)
	@$(INSTALLATION) $(PYTHON) -m vertex.api.snapshot

pictures: setup ## Photograph the demo store into docs/pictures
	@$(PYTHON) -m tests.simulator.pictures

train: setup ## Train a model from what the running stack's BigQuery holds
	@$(STACK) exec -- $(PYTHON) -m vertex.training

backfill: setup ## Fold the archived log again in batch, while no pipeline runs: make backfill SINCE=7d (FILE=..., PROJECT=...)
	@[ -n "$(SINCE)$(FILE)" ] || { echo "say since when, or which file: make backfill SINCE=7d (or a date)"; exit 2; }
	@$(INSTALLATION) $(PYTHON) -m pipeline.batch.backfill $(if $(FILE),--file "$(FILE)",--since "$(SINCE)") \
		$(if $(UNTIL),--until "$(UNTIL)") $(ARGS)

parity: setup ## Stream a data set, fold its log in batch, compare every row (FILE=events.csv for a file beside the simulated set)
	@$(PYTHON) -m tests.simulator.parity $(if $(FILE),--file "$(FILE)")

dead-letters: setup ## List, fix and replay what was rejected: make dead-letters ARGS='replay --field timestamp' (PROJECT=... for Google Cloud)
	@$(INSTALLATION) $(PYTHON) -m functions.dead_letters $(ARGS)

rewind: setup ## Let the pipeline read again: make rewind SINCE=10m (or an RFC 3339 time; ALL=1, PROJECT=...)
	@[ -n "$(SINCE)" ] || { echo "say since when: make rewind SINCE=10m (or 2h, 3d, 2026-01-01T12:00:00Z)"; exit 2; }
	@$(INSTALLATION) $(PYTHON) -m pipeline.ops.rewind $(if $(ALL),--all) -- "$(SINCE)"

constraints: setup ## Write constraints*.txt anew from what is installed
	@$(PYTHON) -m pip freeze 2>/dev/null | grep -E '^[A-Za-z0-9_.-]+==' | grep -vi '^freshet' > constraints.txt
	@$(BIGQUERY_PYTHON) -m pip freeze 2>/dev/null | grep -E '^[A-Za-z0-9_.-]+==' | \
		grep -viE '^(duckdb|local-bigquery)' > constraints-bigquery.txt
	@if [ -x $(ENGINES_PYTHON) ]; then $(ENGINES_PYTHON) -m pip freeze 2>/dev/null | \
		grep -E '^[A-Za-z0-9_.-]+==' > constraints-engines.txt; fi

clean: down ## Remove what runs and tests wrote; the environments stay
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
