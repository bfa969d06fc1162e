"""Whatever is asked wrongly gets one sentence on standard error and exit code 2, and leaves no file."""

import json
import shutil
import socket
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from small_data import (
    PREMISES,
    plugin,
    registry_as_it_was,
    write,
    write_few_shot_splits,
    write_ntrex,
    write_xnli,
    xnli_file,
    xnli_rows,
)
from typer.testing import CliRunner

from xlbench import XlbenchError, sources
from xlbench.backbone import TINY, Backbone
from xlbench.cli import app

XNLI = ("run", "--task", "xnli", "--method", "finetune", "--model", "tiny", "--shots", "2", "--languages", "en,fr")
LOGIC = ("run", "--task", "logic", "--method", "mpt", "--model", "tiny", "--shots", "2", "--languages", "en,fr",
         "--test-units", "3", "--steps", "1", "--checkpoints", "1", "--device", "cpu")  # fmt: skip


@pytest.fixture(autouse=True)
def _in_an_empty_folder_with_no_network(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    with registry_as_it_was():
        yield


@pytest.fixture
def data(tmp_path):
    write_few_shot_splits(tmp_path / "data")
    write_ntrex(tmp_path / "data")
    return write_xnli(tmp_path / "data")


def files() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def mistake(*arguments: object) -> str:
    """The sentence that a mistaken command gets."""
    before = files()
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 2, (done.output, done.exception)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1
    assert not any(char < " " for char in done.stderr.rstrip("\n"))
    assert {name: text for name, text in files().items() if "__pycache__" not in name} == before
    assert not list(Path().glob("runs/*"))
    return done.stderr.removeprefix("error: ").rstrip("\n")


# Names and values


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("--method", "fintune"), "unknown method 'fintune'; did you mean 'finetune'? known: "),
        (("--task", "logik"), "unknown task 'logik'; did you mean 'logic'? known: "),
        (("--languages", "en,xx"), "unknown language 'xx' for task logic; it has ar, bg, de,"),
        (("--languages", ""), "languages must be one or more, each once, not []"),
        (("--languages", "en,en"), "languages must be one or more, each once, not ['en', 'en']"),
        (("--set", "alhpa=1"), "unknown field 'alhpa' for the config of method mpt; did you mean 'alpha'? known: "),
        (("--set", "alpha=-1"), "the config of method mpt: alpha = -1: input should be greater than or equal to 0"),
        (("--set", "alpha=much"), "the config of method mpt: alpha = 'much': input should be a valid number"),
        (("--set", "alpha=nan"), "config.alpha = nan: must be a finite number, text, true or false"),
        (("--set", "alpha"), "--set takes NAME=VALUE, not 'alpha'"),
        (("--shots", "0"), "shots = 0: shots must be 1 or more, all or none, not 0"),
        (("--shots", "many"), "--shots takes whole numbers, as 4,16, or all, or none, not 'many'"),
        (("--draw", "-1"), "draw = -1: input should be greater than or equal to 0"),
        (("--seed", "x"), "Invalid value for '--seed'"),
        (("--tune", "some"), "--tune takes what trains of the backbone (all, lora or frozen), a number of"),
        (("--tune", "0"), "(1 or more), or one of each as --tune lora --tune 4, not '0'"),
        (("--tune", "100000"), "method mpt has 640 configurations to try, not 100000 (4 of"),
        (("--tune", "2", "--selection", "oracle-target-dev"), "2 configurations (--tune 2) are chosen among"),
        (("--precision", "fp8"), "precision = 'fp8': input should be 'auto', 'fp32' or 'bf16'"),
        (("--selection", "best"), "selection = 'best': input should be 'source-dev'"),
        (("--max-length", "4"), "max_length = 4: input should be greater than or equal to 16"),
        (("--max-length", "100000"), "--max-length 100000 is more than the "),
        (("--test-units", "100000"), "--test-units 100000 is more than the "),
        (("--target-shots", "-1"), "target_shots = -1: input should be greater than or equal to 0"),
        (("--target-shots", "100000"), "--target-shots 100000 is more than the "),
        (("--target-shots", "1", "--languages", "en"), "--target-shots needs a test language other than the source"),
        (("--learning-rate", "-1"), "training.learning_rate = -1.0: input should be greater than 0"),
        (("--learning-rate", "inf"), "training.learning_rate = inf: input should be a finite number"),
        (("--warmup", "1"), "training.warmup = 1.0: input should be less than 1"),
        (("--steps", "0"), "training.steps = 0: input should be greater than or equal to 1"),
        (("--epochs", "3"), "--steps 1 and --epochs 3 both say how long to train; give one"),
        (("--device", "tpu"), "device must be auto, cpu, cuda or cuda:n, not 'tpu'"),
        (("--device", "cuda:99"), "--device cuda:99: torch sees"),
        (("--split", "mine"), "unknown split 'mine' for task logic; known: none"),
        (("--parallel", "pawsx"), "unknown parallel corpus 'pawsx'; did you mean 'paws-x'?"),
        (("--parallel-size", "0"), "the settings of resource parallel: size = 0: input should be greater than or"),
        (("--with", "resources.parallel.sise=5"), "unknown field 'sise' for the settings of resource parallel; did"),
        (("--with", "resources.paralel.size=5"), "unknown resource 'paralel'; did you mean 'parallel'?"),
        (("--with", "resources.parallel=5"), "resources.parallel = 5: input should be a valid dictionary"),
        (("--selection", "oracle-target-dev", "--languages", "en"), "needs a test language other than the source"),
        (("--method", "finetune", "--parallel", "pawsx"), "unknown parallel corpus 'pawsx'; did you mean 'paws-x'?"),
        (("--revision", "abc"), "--revision abc names a commit of a hub model; tiny is a folder: leave it out"),
        (("--nosuch", "1"), "No such option: --nosuch"),
        (("--data-root", "nowhere"), "--data-root nowhere is not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_names_and_values(change, sentence):
    assert sentence in mistake(*LOGIC, *change)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run",), "Missing option '--method'"),
        (("rnu",), "No such command 'rnu'"),
        (("list", "models"), "cannot list 'models'; list methods, tasks, resources, suites or records"),
        (("show", "fintune"), "unknown method, task or resource 'fintune'; did you mean 'finetune'?"),
        (("show", "finetune", "--task", "logik"), "unknown task 'logik'; did you mean 'logic'?"),
        (("show", "logic", "--languages", "xx"), "unknown language 'xx' for task logic"),
        (("check", "fintune"), "unknown method or task 'fintune'; did you mean 'finetune'?"),
        (("check", "finetune", "--task", "logik"), "unknown task 'logik'; did you mean 'logic'?"),
        (("leaderboard",), "there is no folder of records runs; name one with --runs DIR"),
        (("compare",), "give either --methods a,b (with --task and --shots) or --suite FILE.toml"),
        (("compare", "--suite", "demo", "--methods", "mpt"), "give either --methods a,b"),
        (("compare", "--suite", "nosuch"), "there is no suite file nosuch; give a TOML file or one that ships: demo,"),
        (
            ("compare", "--methods", "mpt", "--shots", "4,x"),
            "--shots takes whole numbers, as 4,16, or all, or none, not '4,x'",
        ),
        (("compare", "--methods", "mpt", "--shots", ""), "shots = []"),
        (("compare", "--methods", ","), "methods = []"),
        (("compare", "--methods", "mpt,nosuch", "--task", "logic", "--model", "tiny"), "unknown method 'nosuch'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_other_commands(arguments, sentence):
    assert sentence in mistake(*arguments)


@pytest.mark.parametrize(
    "text",
    ["methods = [", 'methods = ["mpt"]', 'methods = ["mpt"]\nshots = [1]\nrun = {training = 3}',
     'methods = ["mpt"]\nshots = [1]\nrun = 3', 'methods = ["mpt"]\nshots = [1]\nrun = {modle = "tiny"}', "\x00"],
)  # fmt: skip
def test_a_malformed_suite(text):
    Path("mine.toml").write_text(text)
    assert "suite mine" in mistake("compare", "--suite", "mine.toml", "--steps", "1")


# Data


def test_more_shots_than_the_pool(data):
    sentence = mistake(*XNLI, "--data-root", data, "--shots", "9")
    assert sentence == "--shots 9 is more than the 8 rows of class 'entailment' in the train pool of task xnli in en"


@pytest.mark.parametrize(("language", "split"), [("en", "train"), ("en", "validation"), ("en", "test"), ("fr", "test")])
def test_a_data_folder_without_the_files_names_the_path(data, language, split):
    file = xnli_file(data, language, split)
    file.unlink()
    assert f"no data file {file}; --data-root must hold <hub id>/<config>/<split>.parquet" in mistake(
        *XNLI, "--data-root", data
    )


def test_an_empty_data_folder(tmp_path):
    (tmp_path / "data").mkdir()
    assert "no data file data/facebook/xnli/" in mistake(*XNLI, "--data-root", "data")


def test_a_corpus_that_the_data_folder_lacks_names_the_path(data):
    (data / "ntrex-128.parquet").unlink()
    assert f"no data file {data}/ntrex-128.parquet" in mistake(*XNLI, "--method", "mpt", "--data-root", data)


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("label", 3, "unknown label 3; known: 0 entailment, 1 neutral, 2 contradiction"),
        ("label", -1, "unknown label -1; known: "),
        ("label", None, "unknown label None; known: "),
        ("premise", "", "the premise is empty; repair or remove the row"),
        ("hypothesis", " \t", "the hypothesis is empty; repair or remove the row"),
        ("hypothesis", None, "the hypothesis is empty; repair or remove the row"),
    ],
)
@pytest.mark.parametrize(("language", "split"), [("en", "train"), ("en", "validation"), ("fr", "test")])
def test_a_bad_row_is_named_by_file_and_number(data, language, split, column, value, what):
    columns = xnli_rows(language, PREMISES[split])
    columns[column][7] = value
    file = write(xnli_file(data, language, split), **columns)
    assert f"{file}, row 7: {what}" in mistake(*XNLI, "--data-root", data)


def test_labels_that_are_words(data):
    columns = xnli_rows("en", PREMISES["train"])
    columns["label"] = ["entails"] * len(columns["label"])
    file = write(xnli_file(data, "en", "train"), **columns)
    assert f"{file}, row 0: unknown label 'entails'; known: 0 entailment" in mistake(*XNLI, "--data-root", data)


@pytest.mark.parametrize(("column", "value"), [("label", 9), ("premise", " ")])
def test_a_bad_row_of_the_published_splits_is_named(data, column, value):
    import pyarrow.parquet as pq

    file = data / "xnli-few-shot-splits.parquet"
    columns = pq.read_table(file).to_pydict()
    row = next(
        at for at, key in enumerate(zip(columns["split"], columns["language"], strict=True)) if key == ("dev", "en")
    )
    columns[column][row] = value
    write(file, **columns)
    assert f"{file}, row {row}: " in mistake(*XNLI, "--split", "zhao-schuetze", "--shots", "1", "--data-root", data)


def test_a_published_split_without_these_shots_lists_those_it_has(data):
    sentence = mistake(*XNLI, "--split", "zhao-schuetze", "--shots", "5", "--data-root", data)
    assert sentence == "--split zhao-schuetze has no --shots 5; it has 1, 2"


def test_a_missing_column_is_named(data):
    columns = xnli_rows("en", PREMISES["train"])
    del columns["hypothesis"]
    file = write(xnli_file(data, "en", "train"), **columns)
    assert f"{file} has no column 'hypothesis'; it has premise, label" in mistake(*XNLI, "--data-root", data)


def test_a_file_that_is_no_parquet_is_named(data):
    file = xnli_file(data, "en", "train")
    file.write_text("premise,hypothesis,label\n")
    assert f"{file} is not a readable parquet file" in mistake(*XNLI, "--data-root", data)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_file_without_rows(data, split):
    file = xnli_file(data, "en", split)
    write(file, premise=[], hypothesis=[], label=[])
    assert split in mistake(*XNLI, "--data-root", data, "--languages", "en")


def test_languages_that_are_not_aligned(data):
    write(xnli_file(data, "fr", "test"), **xnli_rows("fr", range(3)))
    assert "has 9 rows but en has 12; the languages must be aligned" in mistake(*XNLI, "--data-root", data)


def test_a_training_row_that_is_a_test_row(data):
    write(xnli_file(data, "en", "train"), **xnli_rows("en", PREMISES["test"]))
    assert "train rows share a sentence with the test rows: train-" in mistake(*XNLI, "--data-root", data)


# The hub


def test_data_from_a_hub_that_does_not_answer():
    sentence = mistake(*XNLI)
    assert "cannot read facebook/xnli (en, " in sentence
    assert "it does not answer, and the cache has no copy" in sentence
    assert "give --data-root DIR" in sentence
    assert "model folder" in sentence


def test_a_model_from_a_hub_that_does_not_answer():
    sentence = mistake(*LOGIC, "--model", "some/id")
    assert "cannot load the model 'some/id' from the hub (it does not answer, and the cache has no copy)" in sentence
    assert "give --model FOLDER" in sentence
    assert "--data-root DIR" in sentence


def test_a_run_on_folders_opens_no_socket(data, tmp_path, monkeypatch):
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    folder = changed_tiny(tmp_path / "model")
    asked = ("--method", "mpt", "--steps", "1", "--model", str(folder), "--data-root", str(data), "--device", "cpu")
    done = CliRunner().invoke(app, [*XNLI, *asked, "--set", "words=yes-no"])
    assert (done.exit_code, done.stderr) == (0, ""), done.output


def test_the_hub_is_asked_once_and_then_left_alone(monkeypatch):
    """Without this the hub's clients wait half a minute, five times over, for each file."""
    import datasets
    from huggingface_hub import constants
    from huggingface_hub import utils as hub

    asked = []

    class NoNetwork:
        def head(self, address, timeout):
            asked.append((address, timeout))
            raise OSError("no route")

    monkeypatch.setattr(hub, "get_session", NoNetwork)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    sources.hub_answers.cache_clear()
    assert not sources.hub_answers()
    assert not sources.hub_answers()
    assert asked == [(constants.ENDPOINT, sources.HUB_PATIENCE)]
    assert constants.is_offline_mode()
    with pytest.raises(XlbenchError, match="it does not answer"):
        sources.DataSource(None).table("some/data", "en", "train", ("text",))
    sources.hub_answers.cache_clear()


# Models


def changed_tiny(folder: Path, **config) -> Path:
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return folder


def test_a_model_folder_that_is_not_there():
    assert mistake(*LOGIC, "--model", "./nowhere") == (
        "the model folder ./nowhere does not exist; give a folder, a hub id, or tiny"
    )


def test_a_model_folder_without_safetensors(tmp_path):
    folder = changed_tiny(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "holds no .safetensors file; only safetensors weights are read" in mistake(*LOGIC, "--model", folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_model_folder_with_a_broken_file(tmp_path, name):
    folder = changed_tiny(tmp_path / "model")
    (folder / name).write_text("broken")
    assert f"cannot load a model from the folder {folder}" in mistake(*LOGIC, "--model", folder)


def test_a_backbone_without_a_masked_lm_head_for_a_method_that_needs_one(tmp_path):
    kind = json.loads((TINY / "config.json").read_text())["architectures"][0]
    folder = changed_tiny(tmp_path / "headless", architectures=[kind.replace("ForMaskedLM", "Model")])
    weights = load_file(folder / "model.safetensors")
    encoder = Backbone.load("tiny").encoder.state_dict()
    prefix = next(name for name in weights if name.endswith(next(iter(encoder)))).removesuffix(next(iter(encoder)))
    save_file({name: value for name, value in weights.items() if name.startswith(prefix)}, folder / "model.safetensors")
    sentence = mistake(*LOGIC, "--model", folder)
    assert f"the backbone {folder} has no masked-LM head, which method mpt needs" in sentence
    assert "choose a masked language model" in sentence
    done = CliRunner().invoke(app, [*LOGIC, "--model", str(folder), "--method", "finetune"])
    assert done.exit_code == 0, done.output
    checked = CliRunner().invoke(app, ["check", "mpt", "--model", str(folder)])
    assert checked.stdout.splitlines()[-1] == f"note  it is skipped: the backbone {folder} has no masked-LM head"
    assert checked.exit_code == 0


# Plug-ins


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def f(:", "the plug-in mine.py does not import (line 1): SyntaxError"),
        (
            "\nimport nosuch",
            "the plug-in mine.py does not import (line 2): ModuleNotFoundError: No module named 'nosuch'",
        ),
        (
            "x = 1",
            "the plug-in mine.py registers nothing; decorate a class with @register_method, @register_task or "
            "@register_resource",
        ),
        ("raise ValueError('two\\nlines')", "the plug-in mine.py does not import (line 1): ValueError: two lines"),
        (
            "from xlbench import register_method\n@register_method('../up')\nclass C: pass",
            "a method's name is letters and digits joined by '-', at most 80, not '../up'",
        ),
        (
            "from xlbench import register_method\n@register_method('finetune')\nclass C: pass",
            "the method 'finetune' is registered twice: in methods/finetune.py:",
        ),
    ],
)
@pytest.mark.parametrize("arguments", [LOGIC, ("list",), ("check", "mpt"), ("compare", "--methods", "mpt")], ids=str)
def test_a_plug_in_that_does_not_load(text, sentence, arguments):
    Path("mine.py").write_text(text)
    assert sentence in mistake(*arguments, "--plugin", "mine.py")


def test_a_plug_in_file_that_is_not_there():
    assert mistake(*LOGIC, "--plugin", "mine.py") == "the plug-in file mine.py does not exist"


@pytest.mark.parametrize("kind", ["method", "task"])
def test_a_class_that_is_no_method_and_no_task(kind):
    Path("mine.py").write_text(
        f"from xlbench import register_{kind}\n@register_{kind}('mine')\nclass Mine:\n    '''Nothing.'''\n"
    )
    sentence = mistake(*LOGIC, f"--{kind}", "mine", "--plugin", "mine.py")
    assert f"the {kind} 'mine'" in sentence
    assert f"Mine is no {kind.capitalize()}" in sentence
    assert mistake("show", "mine", "--plugin", "mine.py") == sentence


def test_what_a_method_refuses_when_it_is_built_leaves_no_record(tmp_path):
    refuses = (
        "self.head = nn",
        'from xlbench import XlbenchError; raise XlbenchError("no head today"); self.head = nn',
    )
    file = plugin(tmp_path / "picky.py", "picky", refuses)
    assert mistake(*LOGIC, "--method", "picky", "--plugin", file) == "no head today"


def test_a_method_that_does_not_run_on_the_task(tmp_path):
    file = plugin(tmp_path / "picky.py", "picky", ("return None", 'return "it wants another task"'))
    sentence = mistake(*LOGIC, "--method", "picky", "--plugin", file)
    assert sentence == "method picky does not run on task logic: it wants another task"


def test_a_method_with_nothing_to_train():
    assert "has nothing to train with --tune frozen" in mistake(*LOGIC, "--method", "pct", "--tune", "frozen")


# Folders


def test_a_folder_of_records_that_is_a_file_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("xlbench.engine.execute._compute", lambda *_: pytest.fail("it was trained"))
    (tmp_path / "taken").write_text("a file")
    assert "taken" in mistake(*LOGIC, "--runs", "taken")
    assert "taken" in mistake("leaderboard", "--runs", "taken")


def test_a_board_that_cannot_be_written(tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert CliRunner().invoke(app, [*LOGIC, "--runs", "kept"]).exit_code == 0
    assert "cannot write the board taken/results.parquet" in mistake("leaderboard", "--runs", "kept", "--out", "taken")
