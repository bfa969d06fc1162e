"""The commands: what they print, what they leave, and that their options reach the spec."""

import json
import re
import subprocess
import sys

import pytest
import typer
from hand_made import record
from pydantic import Field
from small_data import registry_as_it_was
from typer.testing import CliRunner

import xlbench
from xlbench import RunSpec, Runtime, Store, Training, XlbenchError, registry, run
from xlbench.cli import app, options
from xlbench.comparison import compare as comparing
from xlbench.spec import digest
from xlbench.spec import words as asking

QUICK = (
    "--task", "logic", "--model", "tiny", "--languages", "en,fr", "--test-units", "4", "--steps", "2",
    "--checkpoints", "1", "--device", "cpu", "--selection", "source-dev",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    with registry_as_it_was():
        yield


def command(*arguments) -> str:
    """What a command that ends well prints."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def only_record(tmp_path) -> dict:
    (file,) = (tmp_path / "runs").glob("*/record.json")
    return json.loads(file.read_text())


def test_version():
    assert command("--version") == f"xlbench {xlbench.__version__}\n"


@pytest.mark.parametrize("name", ["run", "compare", "demo", "leaderboard", "list", "show", "check"])
def test_every_command_and_option_has_a_help_text(name):
    assert name in command("--help")
    text = command(name, "--help")
    assert f"Usage: xlbench {name}" in text or f"{name} [OPTIONS]" in text
    (found,) = [one for one in app.registered_commands if one.name == name]
    assert (found.callback.__doc__ or "").strip()
    rows = re.findall(r"│ \*? *(--[a-z-]+).*? {2,}(\S.*?) *│", text)
    assert rows
    assert all(words for _, words in rows)


def test_no_arguments_print_the_help():
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 2
    assert "Usage" in done.stdout
    assert "compare" in done.stdout


def test_list_methods_tasks_and_suites():
    methods, tasks, suites = (command("list", what).splitlines() for what in ("methods", "tasks", "suites"))
    assert {line.split()[0] for line in methods} >= {"finetune", "mpt", "pct", "soft-prompt"}
    assert {line.split()[0] for line in tasks} >= {"logic", "xnli"}
    assert {line.split()[0] for line in suites} >= {"demo", "mpt-paper", "xnli-quick"}
    assert all(len(line.split()) > 3 for line in (*methods, *tasks, *suites))
    assert command("list").splitlines() == methods


def test_resources_are_listed_and_shown():
    lines = command("list", "resources").splitlines()
    assert [line.split()[0] for line in lines] == ["dictionary", "parallel", "translations", "unlabelled"]
    assert all(line.endswith("]") for line in lines)
    text = command("show", "parallel")
    assert text.startswith("resource parallel  [")
    assert "settings (--with resources.parallel.NAME=VALUE):\n  corpus = None: " in text


def test_the_suites_that_ship_are_what_the_issue_asks_for():
    found = {name: xlbench.Suite.read(asking.suite_file(name)) for name in ("demo", "mpt-paper", "xnli-quick")}
    for suite in found.values():
        assert [choice.method for choice in suite.methods] == ["finetune", "soft-prompt", "pct", "mpt"]
        assert suite.description
    assert len(list(found["mpt-paper"].cells())) == 4 * 9 * 5
    assert found["mpt-paper"].run["task"] == "xnli"
    assert next(found["demo"].cells()).model == "tiny"


def test_every_suite_that_ships_can_be_read_and_asks_for_settings_that_its_methods_have():
    for file in asking.shipped_suites().values():
        suite = xlbench.Suite.read(file)
        assert suite.description
        cells = list(suite.cells())
        assert len({digest(cell.model_dump(mode="json")) for cell in cells}) == len(cells)
        for cell in cells:
            registry.get("method", cell.method).Config(**cell.config)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("compare", "-h"), ("list",), ("list", "tasks")], ids=" ".join
)
def test_help_and_lists_import_nothing_heavy(arguments):
    """So that they answer in under half a second: benchmarks/test_start_up.py takes the time."""
    script = """
import sys
from xlbench.cli import app
from xlbench.spec import digest
try:
    app()
finally:
    heavy = {"torch", "transformers", "datasets", "peft", "pandas", "numpy", "pyarrow", "scipy", "jinja2"}
    heavy &= set(sys.modules)
    assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout


# run


def test_run_prints_accuracies_means_gap_costs_and_the_record_s_place(tmp_path):
    text = command("run", "--method", "finetune", "--shots", "2", *QUICK)
    kept = only_record(tmp_path)
    accuracy = kept["scores"]["accuracy"]
    for name, value in (
        ("en (source)", accuracy["en"]),
        ("fr", accuracy["fr"]),
        ("mean", (accuracy["en"] + accuracy["fr"]) / 2),
        ("mean without source", accuracy["fr"]),
        ("gap (source minus target)", accuracy["en"] - accuracy["fr"]),
    ):
        assert re.search(rf"│ {re.escape(name)} +│ +{100 * value:.1f} │", text), name
    assert f"record: runs/{kept['id']}\n" in text
    assert re.search(r"set-up [\d.]+ s, training [\d.]+ s, dev [\d.]+ s, test [\d.]+ s, [\d,]+ test rows/s", text)
    assert re.search(r"training [\d.]+ TFLOP, dev [\d.]+ TFLOP, test [\d.]+ TFLOP\n", text)
    assert re.search(r"stored [\d.]+ MiB, peak memory [\d,]+ MiB", text)
    assert re.search(r"[\d,]+ trainable parameters", text)


def test_the_same_run_again_computes_nothing(tmp_path):
    first = command("run", "--method", "finetune", "--shots", "2", *QUICK)
    started = only_record(tmp_path)["started"]
    assert command("run", "--method", "finetune", "--shots", "2", *QUICK) == first
    assert only_record(tmp_path)["started"] == started


def test_every_option_of_a_run_reaches_its_spec(monkeypatch):
    seen = []

    def note(spec, runtime, progress):
        seen.append((spec, runtime))
        raise XlbenchError("seen")

    monkeypatch.setattr("xlbench.engine.execute.run", note)
    CliRunner().invoke(
        app,
        ["run", "--method", "mpt", "--task", "xnli", "--shots", "3", "--draw", "1", "--seed", "2", "--model", "m",
         "--revision", "r", "--languages", "en, fr,sw", "--test-units", "5", "--split", "zhao-schuetze", "--tune",
         "lora", "--tune", "3", "--max-length", "64", "--precision", "fp32", "--selection", "last", "--parallel",
         "paws-x", "--parallel-size", "7", "--steps", "9", "--batch-size", "6", "--learning-rate", "0.5",
         "--warmup", "0.25", "--checkpoints", "4", "--set", "alpha=0.3", "--data-root", ".", "--runs", "r",
         "--device", "cpu", "--token-budget", "512", "--quiet"],
    )  # fmt: skip
    ((spec, runtime),) = seen
    assert spec == RunSpec(
        method="mpt", task="xnli", shots=3, draw=1, seed=2, model="m", revision="r", languages=("en", "fr", "sw"),
        test_units=5, split="zhao-schuetze", tune="lora", trials=3, max_length=64, precision="fp32",
        selection="last", parallel="paws-x", parallel_size=7, config={"alpha": 0.3},
        training={"steps": 9, "batch_size": 6, "learning_rate": 0.5, "warmup": 0.25, "checkpoints": 4},
    )  # fmt: skip
    assert runtime == Runtime(runs="r", data_root=".", device="cpu", token_budget=512, quiet=True)


@pytest.mark.parametrize(
    ("given", "parallel"),
    [
        (("--with", "resources.parallel.size=5"), {"size": 5}),
        (("--parallel", "paws-x", "--with", "resources.parallel.size=5"), {"corpus": "paws-x", "size": 5}),
        (("--parallel-size", "7", "--with", "resources.parallel.size=5"), {"size": 5}),
    ],
)
def test_settings_of_a_resource_reach_the_spec_beside_each_other(monkeypatch, given, parallel):
    ((spec, _),) = runs_asked(monkeypatch, *given, "--target-shots", "2", "--test-premises", "6")
    assert spec.resources == {"parallel": parallel}
    assert (spec.target_shots, spec.test_units) == (2, 6)


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a=1", 1), ("a=0.5", 0.5), ("a=1e-3", 1e-3), ("a=true", True), ("a=false", False), ("a=word", "word"),
        ("a=two words", "two words"), ("a='quoted'", "quoted"), ("a=", ""), ("a=x=y", "x=y"), ("a=[1, 2]", "[1, 2]"),
        ("a=2024-01-01", "2024-01-01"), ("a=True", "True"), ('a="1"', "1"),
    ],
)  # fmt: skip
def test_settings_are_read_as_toml_values(pair, value):
    found = asking.settings([pair])["a"]
    assert (found, type(found)) == (value, type(value))


def runs_asked(monkeypatch, *arguments: str) -> list[tuple[RunSpec, Runtime]]:
    """What a run's options ask for; nothing is run."""
    seen = []

    def note(spec, runtime, progress):
        seen.append((spec, runtime))
        raise XlbenchError("seen")

    monkeypatch.setattr("xlbench.engine.execute.run", note)
    CliRunner().invoke(app, ["run", "--method", "finetune", "--shots", "1", *arguments])
    return seen


def options_of(name: str) -> dict[str, list[str]]:
    """The options of a command by the parameter that each fills."""
    found = typer.main.get_command(app).commands[name]
    return {option.name: option.opts for option in found.params}


@pytest.mark.parametrize("name", ["run", "compare"])
def test_every_field_of_the_tuples_has_an_option(name):
    made = options_of(name)
    expected = {*asking.OPTIONS, *asking.TRAINING_OPTIONS, *asking.RUNTIME_OPTIONS}
    expected |= set(asking.FIRST_OPTIONS if name == "run" else asking.WORKER_OPTIONS)
    assert expected <= set(made) | {"method", "draw", "seed"}
    assert made["test_units"] == ["--test-units", "--test-premises"]
    assert made["plugins"] == ["--plugin"]


def test_a_field_that_is_added_needs_its_name_alone(monkeypatch):
    """With the old name of a field as a second name of its option."""

    class More(RunSpec):
        target_shots: int | None = Field(None, ge=0, description="shots of each target language")
        test_units: int = Field(
            7, description="units", json_schema_extra={"option": {"names": ["--test-units", "--test-premises"]}}
        )

    monkeypatch.setitem(options.PANELS, More, "The run")
    small, seen = typer.Typer(), []

    @small.command()
    @options.takes((More, ("target_shots", "test_units")))
    def ask(**given):
        seen.append(given)

    for words in (["--target-shots", "4"], ["--test-units", "5"], ["--test-premises", "6"]):
        assert CliRunner().invoke(small, words).exit_code == 0
    assert seen == [
        {"target_shots": 4, "test_units": None}, {"target_shots": None, "test_units": 5},
        {"target_shots": None, "test_units": 6},
    ]  # fmt: skip
    assert "units [default: 7]" in CliRunner().invoke(small, ["--help"]).stdout
    assert CliRunner().invoke(small, ["--target-shots", "many"]).exit_code == 2


def test_the_help_says_the_defaults_of_the_fields():
    text = command("run", "--help")
    for name, default in (("epochs", Training().epochs), ("model", "xlm-roberta-base"), ("seed", 0)):
        (rows,) = re.findall(rf"│ +--{name} (.*?)│ +--", text, flags=re.DOTALL)
        assert f"[default: {default}]" in re.sub(r"[\s│]+", " ", rows), name


@pytest.mark.parametrize("name", ["run", "compare", "leaderboard"])
def test_flags_show_no_type_and_h_is_help(name):
    text = command(name, "-h")
    assert text == command(name, "--help")
    assert not re.search(r"(?i)bool", text)
    assert "[default: False]" not in text


def test_folders_of_the_home_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    ((_, runtime),) = runs_asked(monkeypatch, "--data-root", "~/data", "--runs", "~/kept")
    assert (runtime.data_root, runtime.runs) == (tmp_path / "data", tmp_path / "kept")
    assert "finetune" in command("show", "finetune", "--data-root", "~/data")


def test_a_url_of_records_is_no_folder(monkeypatch):
    ((_, runtime),) = runs_asked(monkeypatch, "--runs", "memory://kept/runs")
    assert runtime.runs == "memory://kept/runs"


@pytest.mark.parametrize("pair", ["alpha", "=1", ""])
def test_a_setting_without_name_or_value_is_refused(pair):
    with pytest.raises(XlbenchError, match=r"--set takes NAME=VALUE, not "):
        asking.settings([pair])


def test_the_last_of_two_settings_holds():
    assert asking.settings(["a=1", "b=2", "a=3"]) == {"a": 3, "b": 2}


def test_progress_is_not_on_standard_output(tmp_path):
    done = CliRunner().invoke(
        app, ["compare", "--methods", "finetune", "--shots", "1", "--draws", "1", "--seeds", "1", *QUICK]
    )
    assert done.exit_code == 0, done.output
    assert "1 cells, 0 done already, 1 to compute" in done.stderr
    assert "to compute" not in done.stdout


def test_quiet_says_nothing_but_the_result():
    done = CliRunner().invoke(app, ["run", "--method", "finetune", "--shots", "1", *QUICK, "--quiet"])
    assert done.stderr == ""


# compare


def test_compare_with_a_suite_s_file_takes_options_that_go_beside_it(tmp_path):
    (tmp_path / "mine.toml").write_text('methods = ["finetune"]\nshots = [1]\n[run]\ntask = "logic"\n')
    text = command("compare", "--suite", "mine.toml", *(part for part in QUICK if part not in {"--task", "logic"}))
    assert "logic on tiny, 1 shots per class" in text
    assert "1 runs computed, 1 in the table; records in runs" in text
    kept = only_record(tmp_path)
    assert (kept["spec"]["training"]["steps"], kept["spec"]["test_units"]) == (2, 4)


@pytest.fixture
def suites_run(monkeypatch):
    """The suites that commands would run; none is."""
    seen = []
    monkeypatch.setattr(comparing, "run_suite", lambda suite, *_: seen.append(suite) or comparing.Comparison(suite))
    return seen


def test_what_is_given_beside_a_suite_holds_in_its_place(suites_run):
    command("compare", "--suite", "demo", "--shots", "1,2", "--draws", "5", "--seeds", "6", "--task", "xnli",
            "--steps", "7", "--model", "other")  # fmt: skip
    (suite,) = suites_run
    shipped = xlbench.Suite.read(asking.suite_file("demo"))
    assert (suite.shots, suite.draws, suite.seeds) == ((1, 2), 5, 6)
    assert suite.methods == shipped.methods
    assert suite.run == {
        **shipped.run, "task": "xnli", "model": "other", "training": {**shipped.run["training"], "steps": 7},
    }  # fmt: skip


def test_epochs_beside_a_suite_hold_in_place_of_its_steps(suites_run):
    command("compare", "--suite", "demo", "--epochs", "3")
    training = next(suites_run[0].cells()).training
    assert (training.steps, training.epochs) == (None, 3)


@pytest.mark.parametrize("asked", [("--methods", "finetune"), ("--suite", "mpt-paper")])
def test_a_published_split_is_one_draw(suites_run, asked):
    command("compare", *asked, "--split", "zhao-schuetze")
    command("compare", *asked, "--split", "zhao-schuetze", "--draws", "2")
    assert [suite.draws for suite in suites_run] == [1, 2]


def test_a_suite_alone_is_run_as_it_is(suites_run):
    command("compare", "--suite", "mpt-paper")
    shipped = xlbench.Suite.read(asking.suite_file("mpt-paper"))
    assert list(suites_run[0].cells()) == list(shipped.cells())


def test_what_compare_does_where_little_is_said(suites_run):
    command("compare", "--methods", "finetune, mpt")
    assert suites_run[0] == xlbench.Suite(
        methods=("finetune", "mpt"), shots=(4, 16), draws=3, seeds=2, beside=("last",)
    )
    assert next(suites_run[0].cells()).task == "xnli"


def test_demo_runs_the_suite_that_ships(suites_run):
    command("demo")
    assert suites_run == [xlbench.Suite.read(asking.suite_file("demo"))]


# leaderboard


def test_leaderboard_writes_from_records_alone(tmp_path):
    assert run(RunSpec(method="finetune", task="logic", model="tiny", shots=1, languages=("en", "fr"), test_units=4,
                       training={"steps": 1, "checkpoints": 1}), Runtime(runs="runs", device="cpu"))  # fmt: skip
    said = command("leaderboard").splitlines()
    assert said[:4] == [f"wrote board/{name}" for name in ("README.md", "index.html", "results.csv", "results.parquet")]
    assert all(line.startswith(("wrote board/figures/", "note: no figures were drawn")) for line in said[4:])
    first = (tmp_path / "board" / "README.md").read_bytes()
    assert b"| finetune |" in first
    command("leaderboard", "--runs", "runs", "--out", "other")
    assert (tmp_path / "other" / "README.md").read_bytes() == first


# show


@pytest.mark.parametrize("name", ["finetune", "soft-prompt", "pct", "mpt"])
def test_show_a_method(name):
    method = xlbench.registry.get("method", name)
    text = command("show", name)
    assert f"method {name}  [methods/" in text
    for field, info in method.Config.model_fields.items():
        assert f"  {field} = {info.default!r}: {info.description}" in text
    assert f"cite: {method.citation}" in text


@pytest.mark.parametrize("name", ["xnli", "logic"])
def test_show_a_task(name):
    task = xlbench.registry.get("task", name)
    text = command("show", name, "--languages", "en,sw")
    for part in (", ".join(task.languages), task.license, task.citation, "2 contradiction", "sw label words: ndiyo"):
        assert part in text
    assert "fr label words" not in text


@pytest.mark.parametrize("name", ["finetune", "pct"])
def test_show_a_method_on_a_task_renders_three_rows_a_language(name):
    text = command("show", name, "--task", "logic", "--languages", "en,fr")
    parts = re.split(r"^(\w\w), as tiny reads it:$", text, flags=re.M)[1:]
    assert parts[::2] == ["en", "fr"]
    for part in parts[1::2]:
        rendered = [line for line in part.splitlines() if line.startswith("  ")]
        assert len(rendered) == 3
        assert all(re.search(r"→ (entailment|neutral|contradiction)$", line) for line in rendered)
        assert all("<mask>" in line for line in rendered) is (name == "pct")


# check


def test_check_says_each_point():
    lines = command("check", "finetune").splitlines()
    assert len(lines) > 10
    assert all(line.startswith("ok    ") for line in lines)


# From Python


def test_what_commands_do_can_be_called(tmp_path):
    spec = RunSpec(method="finetune", task="logic", model="tiny", shots=2, languages=("en", "fr"), test_units=4,
                   training={"steps": 2, "checkpoints": 1})  # fmt: skip
    found = run(spec, Runtime(runs=tmp_path / "called", device="cpu"))
    command("run", "--method", "finetune", "--shots", "2", *QUICK)
    assert only_record(tmp_path)["id"] == found.id
    assert Store(tmp_path / "runs").find(found.id).scores == found.scores
    assert record("x").spec.method == "x"


def test_everything_promised_is_there():
    assert all(getattr(xlbench, name) is not None for name in xlbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        xlbench.nothing  # noqa: B018
