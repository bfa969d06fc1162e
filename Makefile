# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test lint unit docs extras minimum fuzz faults audit picture board clean bench bench-quick

# The environment: built once, and again where what it is built from has changed.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch --constraint constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,plots,docs]' --constraint constraints.txt
	touch $@

demo: .venv/ready
	$(BIN)/xlbench demo

test: lint docs unit

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# The site of docs/, in build/docs; a warning is an error.
docs: .venv/ready
	$(BIN)/python scripts/reference_pages.py
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs build/docs

unit: .venv/ready
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

# As many processes as there are cores, each with a gibibyte or two to itself.
SIDE_BY_SIDE = --numprocesses logical --maxprocesses 4

# The parts that tests skip without: extras, each by itself, and a browser. What this machine does not give is said.
EXTRAS = ray tensorboard mlflow trackio
extras: .venv/ready
	@for extra in $(EXTRAS); do \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$$extra]" \
	    --constraint constraints.txt 2>.venv/extras.log || \
	    echo "not installed: the extra $$extra, $$(grep -m 1 ^ERROR .venv/extras.log | cut -c 1-120)"; done
	@command -v chromium >/dev/null || \
	  { apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium; } >/dev/null 2>&1 || \
	  echo "not installed: chromium, which the tests of the page open it in (apt-get install chromium, as root)"

# The oldest versions that pyproject.toml allows, in an environment of their own (5 GB with torch's), and what users run.
minimum:
	$(PYTHON) -m venv build/minimum
	build/minimum/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[plots]' \
	  --constraint constraints-min.txt
	build/minimum/bin/xlbench run --help >build/minimum/help.txt
	build/minimum/bin/xlbench compare --methods finetune,soft-prompt,pct,mpt,prefix,ia3 --task logic --languages en,sw \
	  --model tiny --shots 4 --steps 5 --draws 2 --runs build/minimum/runs --quiet
	build/minimum/bin/xlbench leaderboard --runs build/minimum/runs --out build/minimum/board --replace

# 10,000 examples of each kind of hostile input, in place of the 100 of `make test`.
fuzz: .venv/ready
	$(BIN)/python -m pytest tests/records/test_fuzz.py --hypothesis-profile=fuzz $(SIDE_BY_SIDE)

# kill -9 of drivers and workers at 100 random moments, in place of the 2 of `make test`.
faults: .venv/ready
	XLBENCH_MOMENTS=$${XLBENCH_MOMENTS:-100} $(BIN)/python -m pytest tests/comparison/test_survival.py

# Known vulnerabilities of what is installed here. It asks a service, so it needs a network.
audit: .venv/ready
	@$(BIN)/python -c 'import pip_audit' 2>/dev/null || \
	  { echo "make audit needs pip-audit: $(BIN)/python -m pip install '.[audit]'" >&2; exit 2; }
	@$(BIN)/python -m pip_audit --local --skip-editable --progress-spinner off 2>.venv/audit.log; code=$$?; \
	  if grep -qiE 'ConnectionError|ConnectTimeout|ServiceError|Max retries' .venv/audit.log; then \
	    echo "make audit got no answer from the vulnerability service: it needs a network" >&2; exit 2; fi; \
	  cat .venv/audit.log >&2; exit $$code

# xlbench beside the scripts that a user would write, about half an hour: prints a table, writes benchmarks/README.md.
# MODEL=FOLDER DATA=DIR measure on a real model and XNLI; without them on random weights of a real shape and `logic`.
bench: .venv/ready
	$(BIN)/python benchmarks/side_by_side.py $(BENCHED)

bench-quick: .venv/ready
	$(BIN)/python benchmarks/side_by_side.py --quick $(BENCHED)

BENCHED = $(if $(MODEL),--model $(MODEL)) $(if $(DATA),--data-root $(DATA))

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# The picture in the README, drawn from the demo's records.
picture: .venv/ready
	$(BIN)/xlbench demo --picture docs/demo.svg

# The committed board, written again from the committed records.
board: .venv/ready
	$(BIN)/xlbench leaderboard --runs leaderboard/records --out leaderboard
	$(BIN)/xlbench leaderboard --runs leaderboard/2026-11-first/records --out leaderboard/2026-11-first
	$(BIN)/xlbench leaderboard --runs leaderboard/2026-11-tasks/records --out leaderboard/2026-11-tasks
	$(BIN)/xlbench leaderboard --runs leaderboard/2026-11-family/records --out leaderboard/2026-11-family
	$(BIN)/xlbench leaderboard --runs leaderboard/2026-11-first/ablation/records --out leaderboard/2026-11-first/ablation
