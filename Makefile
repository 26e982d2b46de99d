# make setup | demo | story | test | test-slow | fuzz | lint. Set-up happens by itself when the lock or pyproject.toml has changed.
PYTHON ?= python3.11
MINUTES ?= 60
WORKERS ?= 2
BIN := .venv/bin
STAMP := .venv/.setup-$(shell cat requirements/cpu.lock pyproject.toml | sha256sum | cut -c1-16)

.PHONY: help setup demo story test test-slow fuzz lint
.DEFAULT_GOAL := help

help:
	@echo "make setup   install into .venv (Python 3.11, about 4 GB, minutes the first time)"
	@echo "make demo    answer questions about rendered scenes offline; writes demo/index.html"
	@echo "make story   the paper's job end to end, much shortened: both loops, base to both (runs/story/report.html)"
	@echo "make test    run the tests, one line each, files shared by two processes (WORKERS=0: by none; make test"
	@echo "             ARGS='tests/config/test_tree.py' for some)"
	@echo "make test-slow   the tests that take minutes each (whole training runs that are killed and resumed); WITHIN=20: those"
	@echo "             that begin within 20 minutes"
	@echo "make fuzz    look for inputs that break parsers, gate, messages, pictures, bodies (make fuzz MINUTES=5; 60 by default)"
	@echo "make lint    ruff check, ruff format --check, mypy"

setup: $(STAMP)

demo: $(STAMP)
	$(BIN)/valor demo --out demo/

story: $(STAMP)
	$(BIN)/valor improve --run runs/story --profile examples/story.yaml --questions 252 --eval-scenes 40

# One thread of torch each: two of them on two cores are slower than one.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# Only the files that have such tests: to import all others takes a minute.
test-slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n $(WORKERS) --dist worksteal \
	  $(if $(WITHIN),-rs --begin-within $(WITHIN)) $(or $(ARGS),$(shell grep -rl mark.slow tests --include='test_*.py'))

fuzz: $(STAMP)
	$(BIN)/python -m pytest tests/fuzz --fuzz-minutes $(MINUTES) -x $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy valor_ray deployments jobs

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "valor_ray needs Python 3.11 and '$(PYTHON)' is not it. Install python3.11 and python3.11-venv," >&2; \
	  echo "or name yours: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing $$(grep -c == requirements/cpu.lock) packages into .venv (minutes the first time) ..."
	@$(BIN)/pip install -qq --no-deps -r requirements/cpu.lock
	@$(BIN)/pip install -qq --no-deps --no-build-isolation -e .
	@rm -f .venv/.setup-*
	@touch $@
	@echo "Installed. Next: make demo, or $(BIN)/valor doctor"
