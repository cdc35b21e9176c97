# The commands of a new user. `make` alone lists them.
#
#   make demo PYTHON=python3.12     another Python than python3
#   make demo PORT=8081             another port for Airflow's UI
#   make up RUNTIME=docker          in containers: see docs/gpu-box.md
.DEFAULT_GOAL := help
.PHONY: help setup update-ytdlp demo up down status ingest images test test-long bench bench-gpu format lock docs clean

PYTHON ?= python3
CHANNELSCRIBE := bin/channelscribe
# Asked for only where it is used.
VENV = $(shell $(PYTHON) scripts/setup.py --home)/venv

ifdef PORT
export CHANNELSCRIBE_PORT := $(PORT)
endif
ifdef DEMO_PORT
export CHANNELSCRIBE_DEMO_PORT := $(DEMO_PORT)
endif

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## make the two environments from the pinned files
	@$(PYTHON) scripts/setup.py

demo: setup ## the main job on a demo channel, from polling to search
	@$(CHANNELSCRIBE) demo

ifeq ($(RUNTIME),docker)
up down status update-ytdlp:
	@$(PYTHON) scripts/compose.py $@
else
update-ytdlp: ## fetch the newest yt-dlp, when a site has changed; RUNTIME=docker: for the containers
	@$(PYTHON) scripts/setup.py --update-ytdlp

up: setup ## start Postgres and Airflow in the background; RUNTIME=docker: in containers
	@$(CHANNELSCRIBE) up

down: ## stop them
	@$(CHANNELSCRIBE) down

status: ## say what runs, and where
	@$(CHANNELSCRIBE) status
endif

images: ## build the images of the stages and of Airflow; BUILD_NETWORK=host: with this machine's network
	@$(PYTHON) scripts/images.py $(if $(BUILD_NETWORK),--network $(BUILD_NETWORK))

ingest: setup ## a channel of your own: make ingest CHANNEL=https://www.youtube.com/@handle LIMIT=5
	@$(CHANNELSCRIBE) ingest $(if $(LIMIT),--limit "$$LIMIT") -- "$$CHANNEL"

test: ## all checks and tests
	@$(PYTHON) scripts/setup.py --dev
	$(VENV)/airflow/bin/ruff check .
	$(VENV)/airflow/bin/ruff format --check .
	$(VENV)/airflow/bin/mypy include plugins
	$(VENV)/airflow/bin/pytest -m "not stages and not alone" -n 2 --dist loadfile
	$(VENV)/airflow/bin/pytest -m "alone and not stages"
	$(VENV)/stages/bin/pytest -m stages

test-long: ## a hundred runs that are killed at random moments; KILLS=10: as many
	@$(PYTHON) scripts/setup.py --dev
	CHANNELSCRIBE_TEST_KILLS=$(or $(KILLS),100) $(VENV)/airflow/bin/pytest tests/kills -rP

bench: ## measure speed, memory and quality side by side on the CPU; QUICK=1: in 3 minutes, without results
	@$(PYTHON) scripts/setup.py --dev
	@$(VENV)/stages/bin/python benchmarks/bench.py $(if $(QUICK),--quick)

bench-gpu: ## the same on a GPU; without one it says what was not measured
	@$(PYTHON) scripts/setup.py --dev
	@$(VENV)/stages/bin/python benchmarks/bench.py --gpu $(if $(QUICK),--quick)

format: ## format the code
	@$(PYTHON) scripts/setup.py --dev
	@$(VENV)/airflow/bin/ruff check --fix .
	@$(VENV)/airflow/bin/ruff format .

docs: ## write the pages that are made from the code
	@$(PYTHON) scripts/setup.py --dev
	@$(VENV)/airflow/bin/python scripts/generate_docs.py

lock: ## compile the pinned files anew
	@$(PYTHON) scripts/setup.py --lock

clean: ## stop everything, and remove all that was written
	@$(PYTHON) scripts/setup.py --clean
