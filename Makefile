# make help      says what there is
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tidemark
export CARGO_TARGET_DIR ?= $(CACHE)/target
export TIDEMARK_T0 := $(shell date +%s)
TEST_ENV := tests/env
STEP := $(TEST_ENV)/step.sh
CRDS := charts/tidemark-crds/templates

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

.PHONY: install
install: ## installs and builds all that tests and demo need (Debian packages, a venv, Go programs)
	@$(STEP) "install" $(TEST_ENV)/install.sh

.PHONY: build
build: ## builds the workspace; one profile serves tests, demo and images
	@$(STEP) "build" cargo build --locked --workspace --all-targets

.PHONY: fmt
fmt: ## formats the code
	cargo fmt --all

.PHONY: lint
lint: ## format, clippy with warnings denied, purity of the core packages, direction of imports
	@$(STEP) "format" cargo fmt --all --check
	@$(STEP) "format of fuzz" cargo fmt --manifest-path fuzz/Cargo.toml --check
	@$(STEP) "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
	@$(STEP) "purity" $(TEST_ENV)/purity.sh
	@$(STEP) "direction of imports" env PYTHONDONTWRITEBYTECODE=1 sh -c 'python3 tests/lint/imports_test.py && python3 tests/lint/imports.py'

.PHONY: generate
generate: ## writes the CRDs of the chart from the types
	@cargo run --quiet --locked --package crds --bin crdgen -- $(CRDS)

.PHONY: texts
texts: build ## writes docs/texts.md, the page of all texts for users
	@$(CARGO_TARGET_DIR)/debug/texts > docs/texts.md

.PHONY: drift
drift: generate ## fails where a generated file is not the committed one
	@$(STEP) "generated files" git diff --exit-code -- $(CRDS)
	@test -z "$$(git ls-files --others --exclude-standard -- $(CRDS))" || { echo "error: generated but not committed: $$(git ls-files --others --exclude-standard -- $(CRDS))" >&2; exit 1; }

.PHONY: charts
charts: install ## lints the charts
	@$(STEP) "helm lint" $(TEST_ENV)/helm.sh lint --strict charts/tidemark-crds charts/tidemark

.PHONY: test
test: install build lint drift charts ## everything that must pass
	@trap '$(TEST_ENV)/down.sh test' EXIT; \
	  $(STEP) "test environment" $(TEST_ENV)/up.sh test >/dev/null; \
	  $(STEP) "images" $(TEST_ENV)/images.sh build $(CARGO_TARGET_DIR)/debug >/dev/null; \
	  cargo test --locked --workspace 2>&1 | tee $(CARGO_TARGET_DIR)/test.log
	@$(STEP) "table of faults" $(TEST_ENV)/fault_table.sh $(CARGO_TARGET_DIR)

.PHONY: model
model: build ## model-checks the protocol in all configurations, and prints their counts (ARGS="--states N --memory MIB" bounds the largest)
	@$(CARGO_TARGET_DIR)/debug/model $(ARGS)

.PHONY: soak
soak: install build ## 50 incremental runs of two tables during many writes, with counts (RUNS=n SEED=n)
	@trap '$(TEST_ENV)/down.sh test' EXIT; \
	  TIDEMARK_SOAK_RUNS=$(or $(RUNS),50) TIDEMARK_SOAK_SEED=$(SEED) cargo test --locked --workspace --test soak

.PHONY: sweep
sweep: install build ## kills runs of all kinds at each write of the protocol, and loses each reply
	@trap '$(TEST_ENV)/down.sh test' EXIT; \
	  TIDEMARK_SWEEP=whole cargo test --locked --workspace --test sweep -- --nocapture

.PHONY: test-conditions
test-conditions: install build ## reads each condition of extract.where under each setting that it may depend on
	@trap '$(TEST_ENV)/down.sh test' EXIT; \
	  TIDEMARK_CONDITIONS=all cargo test --locked --workspace --test conditions

.PHONY: test-settings
test-settings: install build ## sets each setting of both servers to other values, and writes docs/settings.md from that run
	@trap '$(TEST_ENV)/down.sh test' EXIT; \
	  TIDEMARK_SETTINGS=whole cargo test --locked --workspace --test settings -- --nocapture
	@$(STEP) "table of settings" git diff --exit-code -- docs/settings.md

.PHONY: test-versions
test-versions: install build ## runs the suites of databases against every supported release (RELEASES=...), and writes docs/versions.md
	@$(TEST_ENV)/versions.sh $(RELEASES)

.PHONY: borders
borders: install build ## 20,000 values at and beyond the borders of each type, through three readers (VALUES=n)
	@trap '$(TEST_ENV)/down.sh test' EXIT; \
	  TIDEMARK_BORDERS=$(or $(VALUES),20000) cargo test --locked --workspace --test lake -- borders

.PHONY: test-many-files
test-many-files: install build ## publishes a run of 200,000 files against the S3 server, within 128 MiB (FILES=n PARTITIONS=n DELAY_MS=n)
	@trap '$(TEST_ENV)/down.sh test' EXIT; \
	  $(if $(PARTITIONS),TIDEMARK_MANY_FILES_PARTITIONS=$(PARTITIONS)) $(if $(DELAY_MS),TIDEMARK_MANY_FILES_DELAY_MS=$(DELAY_MS)) \
	  TIDEMARK_MANY_FILES=$(or $(FILES),200000) cargo test --locked --workspace --test committing -- --nocapture many_files

.PHONY: bench
bench: install ## compares Tidemark with other programs, and writes docs/performance (CASES=a,b PAIRS=n SCALE=n NOISY=1; KEEP=1 keeps the tables)
	@$(STEP) "release build" cargo build --release --locked --workspace --bins
	@[ -n "$(KEEP)" ] || trap '$(TEST_ENV)/down.sh bench' EXIT; \
	  CARGO_MANIFEST_DIR=$(CURDIR)/tests TIDEMARK_ENV_PARTS=stores TIDEMARK_DATABASE_MIB=4096 \
	  $(CARGO_TARGET_DIR)/release/bench $(if $(CASES),--cases $(CASES)) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(SCALE),--scale $(SCALE)) $(if $(NOISY),--noisy)

.PHONY: bench-smoke
bench-smoke: install build ## runs the benchmark program with small tables; also part of `make test`
	@trap '$(TEST_ENV)/down.sh test' EXIT; \
	  cargo test --locked --workspace --test bench_smoke

.PHONY: fuzz
fuzz: ## fuzzes the decoder of each engine (FUZZ_SECONDS=n each, 60)
	@fuzz/run.sh $(or $(FUZZ_SECONDS),60)

.PHONY: images
images: install build ## builds both images, as archives in the cache
	@$(STEP) "images" $(TEST_ENV)/images.sh build $(CARGO_TARGET_DIR)/debug

.PHONY: demo
demo: install ## a cluster with Tidemark and one extract, start to end
	@$(STEP) "build" cargo build --locked --package operator --package worker
	@tests/demo/demo.sh

.PHONY: demo-down
demo-down: ## removes the demo
	@$(TEST_ENV)/down.sh demo

.PHONY: clean-env
clean-env: ## ends all test environments and removes their state; the cache stays
	@$(TEST_ENV)/down.sh test
	@$(TEST_ENV)/down.sh demo
