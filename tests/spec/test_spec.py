"""What is asked for: defaults, refusals that name field, value and place, hashes, and suites."""

import json
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from small_data import plugin, registry_as_it_was, write, write_ntrex, write_xnli, xnli_file, xnli_rows

from xlbench import RunSpec, Runtime, Suite, Training, XlbenchError, registry
from xlbench.backbone import TINY
from xlbench.engine.prepare import prepare
from xlbench.spec import ALL, digest, parse
from xlbench.spec.words import run_fields, suite_of

ASKED = {
    "method": "mpt", "task": "logic", "model": "tiny", "shots": 2, "languages": ("en", "fr"), "test_units": 4,
    "parallel_size": 20, "training": {"steps": 2, "learning_rate": 1e-3},
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("own_registry")


# Specs


def test_a_spec_is_frozen():
    spec = RunSpec(method="mpt", shots=4)
    with pytest.raises(ValidationError):
        spec.shots = 8


def test_every_field_says_what_it_is():
    for model in (RunSpec, Training, Runtime):
        assert not [name for name, field in model.model_fields.items() if not field.description]


def test_with_changes_are_validated():
    spec = RunSpec(method="mpt", shots=4)
    assert spec.with_(shots=8).shots == 8
    with pytest.raises(ValidationError):
        spec.with_(shots=0)


def test_a_spec_survives_json():
    spec = RunSpec(
        method="mpt", shots=4, config={"alpha": 0.3, "on": True, "word": "x", "none": None}, languages=("en",)
    )
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


def test_true_is_no_number_in_a_config():
    spec = RunSpec(method="mpt", shots=4, config={"on": True, "one": 1, "half": 0.5})
    assert [type(value) for value in spec.config.values()] == [bool, int, float]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"shots": 0}, "here: shots = 0: shots must be 1 or more, all or none, not 0"),
        ({"shots": "four"}, "here: shots = 'four': input should be a valid integer, unable to parse string"),
        ({"draw": -1}, "here: draw = -1: input should be greater than or equal to 0"),
        ({"seed": 0.5}, "here: seed = 0.5: input should be a valid integer, got a number with a fractional part"),
        ({"tune": "some"}, "here: tune = 'some': input should be 'all', 'lora' or 'frozen'"),
        ({"precision": "fp8"}, "here: precision = 'fp8': input should be 'auto', 'fp32' or 'bf16'"),
        (
            {"selection": "test"},
            "here: selection = 'test': input should be 'source-dev', 'last', 'average-last', 'average-all' or ",
        ),
        ({"max_length": 3}, "here: max_length = 3: input should be greater than or equal to 16"),
        ({"test_units": 0}, "here: test_units = 0: input should be greater than or equal to 1"),
        ({"languages": ()}, "here: languages = (): languages must be one or more, each once, not []"),
        (
            {"languages": ("en", "en")},
            "here: languages = ('en', 'en'): languages must be one or more, each once, not ['en', 'en']",
        ),
        ({"training": {"steps": 0}}, "here: training.steps = 0: input should be greater than or equal to 1"),
        ({"training": {"warmup": 1.0}}, "here: training.warmup = 1.0: input should be less than 1"),
        ({"training": {"clip": float("inf")}}, "here: training.clip = inf: input should be a finite number"),
        ({"training": {"clip": float("nan")}}, "here: training.clip = nan: input should be a finite number"),
        ({"lora": {"rank": 0}}, "here: lora.rank = 0: input should be greater than or equal to 1"),
        ({"shot": 4}, "unknown field 'shot' for here; did you mean 'shots'? known: "),
        ({"training": {"step": 4}}, "unknown field 'training.step' for here; did you mean 'training.steps'? known: "),
    ],
)  # fmt: skip
def test_a_mistake_names_field_value_and_place(fields, sentence):
    with pytest.raises(XlbenchError) as fault:
        parse(RunSpec, {"method": "mpt", "shots": 4, **fields}, "here")
    assert str(fault.value).startswith(sentence)


def test_a_field_that_is_missing_is_named():
    with pytest.raises(XlbenchError, match=r"^here lacks the field 'method'$"):
        parse(RunSpec, {"shots": 4}, "here")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:7"])
def test_devices_there_are(device):
    assert Runtime(device=device).device == device


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "cpu:0", "mps", "cuda:-1"])
def test_devices_there_are_not(device):
    with pytest.raises(XlbenchError, match=r"device = .*device must be auto, cpu, cuda or cuda:n"):
        parse(Runtime, {"device": device}, "here")


# Hashes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_a_digest_does_not_depend_on_the_order_of_fields(value):
    assert digest(dict(reversed(value.items()))) == digest(value)


@given(JSON, JSON)
def test_values_with_different_json_have_different_digests(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(one) == digest(other)) == same


def test_a_digest_is_the_same_in_every_process_and_for_ever():
    spec = RunSpec(method="mpt", shots=4, config={"alpha": 0.3, "word": "日本"}, languages=("en", "sw"))
    fields = {**spec.model_dump(mode="json")}
    script = (
        "import json, sys; from xlbench.spec import RunSpec, digest;"
        "print(digest(RunSpec.model_validate(json.loads(sys.argv[1])).model_dump(mode='json')))"
    )
    shuffled = json.dumps(dict(reversed(fields.items())))
    command = [sys.executable, "-c", script, shuffled]
    found = [
        subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert {done.stdout.strip() for done in found} == {digest(fields)}
    assert (
        digest({"b": [1, 2.5, None, "ж"], "a": True})
        == "c005067c8db19012095fb468d8a0b750e72a8281aa2c43f5d8869542710ca2fa"
    )


# What enters a record's id


def id_of(runtime: dict | None = None, **changes) -> str:
    training = {**ASKED["training"], **changes.pop("training", {})}
    spec = RunSpec(**{**ASKED, **changes, "training": training})
    return prepare(spec, Runtime(**{"device": "cpu", **(runtime or {})})).id


@pytest.mark.parametrize(
    "change",
    [
        {"method": "soft-prompt"}, {"config": {"alpha": 0.3}}, {"shots": 3}, {"draw": 1}, {"seed": 1},
        {"languages": ("en", "de")}, {"languages": ("fr", "en")}, {"test_units": 5}, {"tune": "lora"},
        {"max_length": 64}, {"precision": "bf16"}, {"selection": "last"}, {"trials": 2},
        {"selection": "oracle-target-dev"}, {"parallel_size": 21}, {"training": {"steps": 3}},
        {"training": {"learning_rate": 2e-3}}, {"training": {"weight_decay": 0.1}}, {"training": {"batch_size": 8}},
        {"training": {"warmup": 0.5}}, {"training": {"clip": 0.5}}, {"training": {"checkpoints": 2}},
        {"training": {"average_last": 2}},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_can_change_a_number_changes_the_id(change):
    assert id_of(**change) != id_of()


@pytest.mark.parametrize(
    "runtime",
    [{"runs": "elsewhere"}, {"quiet": True}, {"device": "cpu"}, {"token_budget": 64}, {"data_root": "."}],
    ids=str,
)
def test_where_a_run_happens_does_not_change_the_id(runtime):
    assert id_of(runtime) == id_of()


def test_a_setting_at_its_default_is_no_setting_and_one_is_one_point_nought():
    alpha = registry.get("method", "mpt").Config().alpha
    assert id_of(config={"alpha": alpha}) == id_of()
    assert id_of(config={"alpha": 1}) == id_of(config={"alpha": 1.0})


def test_what_plays_no_part_does_not_change_the_id():
    assert id_of(training={"epochs": 7}) == id_of()  # steps are given
    assert id_of(lora={"rank": 2}) == id_of()  # the whole backbone trains
    assert id_of(tune="lora", lora={"rank": 2}) != id_of(tune="lora")


def test_all_languages_are_the_languages_named():
    languages = registry.get("task", "logic").languages
    assert id_of(languages=None) == id_of(languages=languages)


def test_a_model_is_its_weights_not_its_folder(tmp_path):
    same = shutil.copytree(TINY, tmp_path / "a" / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    other = shutil.copytree(same, tmp_path / "b" / "tiny")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-4}))
    assert id_of(model=str(same)) == id_of()
    assert id_of(model=str(other)) != id_of()


def test_editing_a_method_changes_its_id(tmp_path):
    ids = []
    for edits in ((), ((".float().log_softmax", ".double().log_softmax"),)):
        with registry_as_it_was():
            registry.load_plugin(str(plugin(tmp_path / str(len(edits)) / "mine.py", "mine", *edits)))
            ids.append(id_of(method="mine"))
    assert ids[0] != ids[1]


def test_the_rank_of_adapters_changes_the_id():
    assert id_of(tune="lora", lora={"rank": 4}) != id_of(tune="lora")


@pytest.mark.parametrize(
    ("language", "split", "row", "changes"),
    [("fr", "test", 0, True), ("en", "train", 0, True), ("en", "validation", 0, True), ("de", "test", 0, False)],
)
def test_a_change_in_the_data_changes_the_id_where_the_run_reads_it(tmp_path, language, split, row, changes):
    ids = []
    for folder in ("before", "after"):
        root = write_xnli(tmp_path / folder)
        for part in ("train", "validation"):  # all rows are drawn
            write(xnli_file(root, "en", part), **xnli_rows("en", range(8, 10) if part == "train" else range(4, 6)))
        write(xnli_file(root, "de", "test"), **xnli_rows("fr", range(4)))
        if folder == "after":
            animals = {"test": range(4), "train": range(8, 10), "validation": range(4, 6)}[split]
            columns = xnli_rows("fr" if language == "de" else language, animals)
            columns["hypothesis"][row] = "Something else entirely."
            write(xnli_file(root, language, split), **columns)
        ids.append(id_of({"data_root": root}, method="finetune", task="xnli", test_units=None))
    assert (ids[0] != ids[1]) is changes


@pytest.mark.parametrize("what", ["templates", "label_words"])
def test_another_template_or_label_word_changes_the_id(monkeypatch, what):
    before, task = id_of(), registry.get("task", "logic")
    if what == "templates":
        changed = {
            **task.templates,
            "soft": {**task.templates["soft"], "fr": "{premise} , {hypothesis} : <prompt><mask>"},
        }
    else:
        changed = {**task.label_words, "en": tuple(reversed(task.label_words["en"]))}
    monkeypatch.setattr(task, what, changed)
    assert id_of() != before


def test_another_parallel_corpus_changes_the_id(tmp_path):
    ids = set()
    for sentences in (5, 6):
        root = write_xnli(tmp_path / str(sentences))
        write_ntrex(root, sentences)
        ids.add(id_of({"data_root": root}, task="xnli", test_units=None, config={"words": "yes-no"}))
    assert len(ids) == 2


# Suites

SUITE = """
methods = ["finetune", {method = "mpt", config = {alpha = 0.3}}]
shots = [4, 16]
draws = 2
seeds = 2

[run]
task = "logic"
model = "tiny"

[run.training]
steps = 5
"""


def test_a_suite_from_a_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(SUITE)
    suite = Suite.read(file)
    assert suite.name == "mine"
    cells = list(suite.cells())
    assert len(cells) == 2 * 2 * 2 * 2
    assert all(cell.task == "logic" and cell.training.steps == 5 for cell in cells)
    assert [cell.config for cell in cells[:2]] == [{}, {"alpha": 0.3}]


def test_a_suite_of_all_rows_runs_by_its_file_with_options_laid_over_it(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(SUITE.replace("[4, 16]", '["all", 4]').replace("draws = 2", "draws = 1"))
    suite = suite_of(str(file), {"seeds": 1}, {"training": {"epochs": 3, "steps": None}})
    assert suite.model_dump()["shots"] == ("all", 4)
    assert [(cell.shots, cell.training.epochs, cell.model) for cell in suite.cells()] == [
        (shots, 3, "tiny") for shots in (ALL, ALL, 4, 4)
    ]


def test_fields_given_one_by_one_stand_beside_each_other():
    assert run_fields({"with_": ("lora.rank=4", "lora.alpha=8.0", "resources.parallel.size=9"), "corpus": "x"}) == {
        "lora": {"rank": 4, "alpha": 8.0}, "resources": {"parallel": {"corpus": "x", "size": 9}},
    }  # fmt: skip


def test_a_method_of_a_suite_may_read_parallel_text_of_its_own():
    choices = ({"method": "mpt", "parallel_size": 100}, {"method": "mpt", "parallel": "paws-x"}, "mpt")
    suite = Suite(methods=choices, shots=(4,), run={"parallel": "ntrex-128"})
    read = [cell.resources["parallel"] for cell in suite.cells()]
    assert read == [{"corpus": "ntrex-128", "size": 100}, {"corpus": "paws-x"}, {"corpus": "ntrex-128"}]


def test_cells_go_draw_by_draw_so_that_a_suite_cut_short_is_whole():
    suite = Suite(methods=("finetune", "mpt"), shots=(4, 16), draws=2, seeds=2)
    order = [(cell.draw, cell.seed, cell.shots, cell.method) for cell in suite.cells()]
    assert order == [
        (draw, seed, shots, method)
        for draw in (0, 1)
        for seed in (0, 1)
        for shots in (4, 16)
        for method in ("finetune", "mpt")
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("methods = [", "is not valid TOML: "),
        ("shots = [4]", "lacks the field 'methods'"),
        ('methods = []\nshots = [4]', "methods = []: "),
        ('methods = ["mpt"]\nshots = []', "shots = []: "),
        ('methods = ["mpt"]\nshots = [0]', "shots must be 1 or more, all or none, not 0"),
        ('methods = "mpt"\nshots = [4]', "methods = 'mpt': "),
        ('methods = ["mpt"]\nshots = [4]\ndraws = 0', "draws = 0: input should be greater than or equal to 1"),
        ('methods = ["mpt"]\nshots = [4]\ndraw = 1', "unknown field 'draw' for suite "),
        ('methods = ["mpt"]\nshots = [4]\nrun = {draw = 1}', "run sets draw, which the suite's own axes set"),
        (
            'methods = [{method = "mpt", confg = {}}]\nshots = [4]',
            "unknown field 'methods.0.confg' for suite",
        ),
        ('methods = [{method = "mpt", confg = {}}]\nshots = [4]', "did you mean 'methods.0.config'?"),
    ],
)  # fmt: skip
def test_a_malformed_suite_is_refused_naming_the_file(tmp_path, text, sentence):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(XlbenchError) as fault:
        Suite.read(file)
    assert str(file) in str(fault.value)
    assert sentence in str(fault.value)


def test_a_mistake_in_what_cells_share_names_the_suite():
    suite = Suite(name="mine", methods=("mpt",), shots=(4,), run={"modle": "tiny"})
    with pytest.raises(XlbenchError, match="unknown field 'modle' for suite mine; did you mean 'model'"):
        list(suite.cells())


def test_a_suite_file_that_cannot_be_read(tmp_path):
    with pytest.raises(XlbenchError, match=r"cannot read the suite .*none\.toml"):
        Suite.read(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(XlbenchError, match=r"cannot read the suite .*bytes\.toml"):
        Suite.read(tmp_path / "bytes.toml")
