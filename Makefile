# Two commands do everything:  `make lab` to learn, `make test` to check.  Each sets up the environment first, once.
#
#   make lab       JupyterLab on lesson 00
#   make test      all there is to check
#   make clean     remove the environment and all caches
#
# PYTHON chooses the interpreter: make PYTHON=python3.12

# the first that will do; systems with a newer or older python3 often have one of the others beside it
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

BIN := .venv/bin

.PHONY: lab test clean

lab: .venv/ready
	$(BIN)/minipeft lab

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# `ready` comes last, so it stands for a finished set-up.  `unfinished` found here was left by one that was broken off,
# and nobody knows what such an environment holds.
.venv/ready: pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
		echo "minipeft needs Python 3.11, 3.12 or 3.13: install one, and name it if need be: make PYTHON=python3.12" >&2; \
		exit 1; }
	@if [ -e .venv/unfinished ]; then echo "An earlier set-up was broken off; starting afresh."; rm -rf .venv; fi
	$(PYTHON) -m venv .venv
	@touch .venv/unfinished
	@echo "Installing; the largest download is torch: about 0.2 GB as CPU build, 2.7 GB as CUDA build (README: which one)."
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -e '.[course,real,test]' -c constraints.txt
	@mv .venv/unfinished $@

# BEGIN CLONE
# What follows is for work on the course itself; a learner's bundle, made by `minipeft release`, goes without it.
#
#   make test      all there is to check: ruff, spelling, unit tests, exercise checks, every lesson
#   make quick     ruff, spelling and the unit tests but the slow ones: the daily loop
#   make mutants   do the exercises' checks refuse what is wrong?  Not part of `make test`: it takes 6 minutes
#   make lessons   rebuild exercises/ and lessons/*.ipynb from solutions/ and lessons/src/
#
# JOBS: how many tests run at a time.

JOBS ?= 2

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

.PHONY: quick lint unit checks notebooks mutants lessons

test: lint unit checks notebooks

quick: lint
	$(PYTEST) --dist worksteal tests --ignore=tests/exercises --ignore=tests/grading -m 'not slow'
	$(PYTEST) --dist loadfile tests/grading -m 'not slow'

lint: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell README.md CONTRIBUTING.md docs lessons/src minipeft solutions tests benchmarks

unit: .venv/ready
	$(PYTEST) --dist worksteal tests --ignore=tests/exercises --ignore=tests/grading
	$(PYTEST) --dist loadfile tests/grading     # its files grade a class, or make a bundle, once for all their tests

checks: .venv/ready
	$(PYTEST) tests/exercises

# The lessons as committed, in a copy of the course: a learner's open notebooks and half-done exercises stay out of it.
notebooks: .venv/ready
	@rm -rf build/course && mkdir -p build/course
	@if git rev-parse -q --verify HEAD >/dev/null 2>&1; then git archive HEAD; else tar -c --exclude .venv --exclude build .; fi \
		| tar -x -C build/course
	MINIPEFT_COURSE="$$PWD/build/course" $(PYTEST) --dist loadscope \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=60 build/course/lessons

mutants: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.exercises.mutate $(or $(ONLY),--report docs/mutants.md) --jobs $(JOBS)

lessons: .venv/ready
	$(BIN)/python -m minipeft.course.build
# BUNDLE
# test: .venv/ready
# 	$(BIN)/minipeft check
# END CLONE
