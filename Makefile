# SPDX-License-Identifier: Apache-2.0
#
# The targets that people and CI call. Interpreters are always named by path: another python3 may come first.

.DEFAULT_GOAL := help
.PHONY: help setup lint check test demo bench judge fuzz streams soak test-vm clean

VENV := .venv/bin
# tests/, e2e/ and bench/ are packages; those that hold no Python yet are left out.
PACKAGES := addon/bpfast $(patsubst %/,%,$(dir $(wildcard tests/__init__.py e2e/__init__.py bench/__init__.py)))
# Two at a time, a file's tests all in one process: they share what takes long to make. Those that take longest
# come first, so that both end at the same time. `WORKERS=0` runs all of them in one process.
WORKERS := 2
PYTEST = $(VENV)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
C_SOURCES = $(shell find bpf -name '*.[ch]')

help:
	@echo 'make setup   install everything that is needed (root; Debian bookworm); does nothing when that is done'
	@echo 'make check   ruff, mypy, import layers, C format, pure tests: under a minute, no root'
	@echo 'make test    the same, and all other fast tests (root)'
	@echo 'make demo    two pods, a real web server, policies enforced by the kernel (root)'
	@echo 'make bench   figures; nothing asserts a time (root)'
	@echo 'make judge   5,000 random scenarios, held against Cilium'\''s own policy engine'
	@echo 'make fuzz    a million mutated policies for the reader (FUZZ_RUNS)'
	@echo 'make soak    a policy that changes ten times a second, and every honest client everywhere (root)'
	@echo 'make streams a million random streams: kernel against model (root; N, SEED)'
	@echo 'make test-vm the kernel tests and a short run on Linux 6.1, in qemu (root)'

setup:
	@tools/setup

lint: setup
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy $(PACKAGES)
	$(VENV)/lint-imports
	clang-format-14 --dry-run -Werror $(C_SOURCES)
	$(VENV)/interrogate --config setup.cfg tests e2e

check: lint
	$(PYTEST) -q -m 'not privileged and not slow' tests

# -p tests.skips: a test that was skipped and is not listed in tests/allowed-skips.txt fails the run.
test: lint
	$(PYTEST) -p tests.skips e2e tests

demo: setup
	@$(VENV)/python -m e2e.demo

bench: setup
	bench/run

judge: setup
	$(VENV)/python -m e2e.scenarios 5000

FUZZ_RUNS := 1000000
fuzz: setup
	$(VENV)/python -m tests.fuzz.policies --runs $(FUZZ_RUNS)

# Bounded: every run of a client has a time limit, and pytest ends a test after two minutes.
SOAK_SECONDS := 60
soak: setup
	$(VENV)/python -m e2e.live $(SOAK_SECONDS)
	BPFAST_TEST_SOAK=1 $(VENV)/python -m pytest -q e2e/honest

N := 1000000
streams: setup
	$(VENV)/python -m tests.model.random_streams --streams $(N) $(if $(SEED),--seed $(SEED))

test-vm: setup
	tools/test-vm

clean:
	rm -rf .venv build .coverage* .mypy_cache .ruff_cache .import_linter_cache addon/*.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
