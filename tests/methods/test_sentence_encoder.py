"""The sentence-encoder classifier: what the files say, vectors by hand, and that each text is read once."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from xlbench import registry
from xlbench.backbone import TINY, Backbone
from xlbench.batching import Batch, collate
from xlbench.cli.plugins.check import check
from xlbench.engine.execute import _train
from xlbench.engine.prepare import prepare
from xlbench.engine.session import Session
from xlbench.errors import NotSupported, XlbenchError
from xlbench.method import Method, Resources
from xlbench.methods.sentence_encoder import features
from xlbench.parts.sentence_files import POOLINGS, sentence_files
from xlbench.parts.sentence_vectors import pooled
from xlbench.spec import RunSpec, Training
from xlbench.task import Task

CPU = torch.device("cpu")
Encoder = registry.get("method", "sentence-encoder")
PLAIN = {"pooling": "mean", "prefix": ""}  # for a model without files


def folder(
    place: Path, pooling: dict | None = None, others: tuple = ("Normalize",), transformer: str = "Transformer", **files
) -> str:
    """A folder with the embedded model and the files of a sentence encoder; `files`: name → content, in JSON."""
    shutil.copytree(TINY, place, ignore=shutil.ignore_patterns("__pycache__", "__init__.py"))
    kinds = [transformer, "Pooling", *others]
    paths = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], 1))]
    modules = [
        {"idx": n, "path": path, "type": f"a.b.{kind}"} for n, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    written = {
        "modules.json": modules,
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True} if pooling is None else pooling,
        **{f"{name.replace('__', '/')}.json": content for name, content in files.items()},
    }
    for name, content in written.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(json.dumps(content))
    return str(place)


def made(backbone: Backbone, task: Task, **config) -> Method:
    torch.manual_seed(0)
    method = Encoder(Encoder.Config(**config), backbone, task, ("en", "fr"), 64)
    method.module = method.build(backbone, task)
    return method


def batch_in(method: Method, language: str = "en", count: int = 6) -> Batch:
    encoded = method.encode_labelled(list(method.task.test(language, None))[:count])
    return collate(encoded, range(len(encoded)), method.backbone.tokenizer.pad_token_id, CPU)


def states_of(text: str, max_length: int = 64) -> Tensor:
    """The last hidden states of a text with its frame, (t, d), as transformers computes them."""
    tokenizer, model = AutoTokenizer.from_pretrained(TINY), AutoModel.from_pretrained(TINY).eval()
    ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=max_length)["input_ids"]
    with torch.no_grad():
        return model(input_ids=ids).last_hidden_state[0].float()


# Features by hand


def test_features_of_two_vectors_by_hand():
    u, v = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0]])
    assert features([u, v], "laser")[0].tolist() == pytest.approx([0.6, 0.8, 1, 0, 0.4, 0.8, 0.6, 0])
    assert features([u, v], "sbert")[0].tolist() == pytest.approx([0.6, 0.8, 1, 0, 0.4, 0.8])
    assert features([u], "laser")[0].tolist() == pytest.approx([0.6, 0.8])


@given(st.integers(1, 5), st.integers(0, 1000))
def test_swapping_the_texts_leaves_the_last_half(width, seed):
    u, v = torch.randn(2, 3, width, generator=torch.manual_seed(seed))
    ours, swapped = features([u, v], "laser"), features([v, u], "laser")
    assert torch.equal(ours[:, 2 * width :], swapped[:, 2 * width :])
    assert torch.equal(ours[:, :width], swapped[:, width : 2 * width])


STATES = torch.tensor([[[3.0, 0.0], [1.0, 4.0], [8.0, -4.0], [100.0, 100.0]]])  # of which the last is padding
BY_HAND = {
    "cls": [3, 0],
    "max": [8, 4],
    "mean": [4, 0],
    "mean-sqrt": [12 / math.sqrt(3), 0],
    "weighted-mean": [(3 + 2 + 24) / 6, (8 - 12) / 6],
    "last": [8, -4],
}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_by_hand(pooling):
    kept = torch.tensor([[1, 1, 1, 0]])
    assert pooled(STATES, kept, (pooling,))[0].tolist() == pytest.approx(BY_HAND[pooling])
    joined = pooled(STATES, kept, ("last", pooling))[0].tolist()
    assert joined == pytest.approx([*BY_HAND[pooling], *BY_HAND["last"]] if pooling != "last" else BY_HAND["last"])


@given(st.integers(1, 6), st.integers(0, 4), st.sampled_from(list(POOLINGS)), st.integers(0, 999))
def test_no_pooling_reads_padding(length, padding, pooling, seed):
    states = torch.randn(1, length + padding, 3, generator=torch.manual_seed(seed))
    kept = (torch.arange(length + padding) < length).long()[None]
    alone = pooled(states[:, :length], kept[:, :length], (pooling,))
    assert torch.allclose(pooled(states, kept, (pooling,)), alone, atol=1e-6)


# What the files say


SAID = [*({f"pooling_mode_{flag}": True} for flag in POOLINGS.values()), {"pooling_mode": "mean"}]


@pytest.mark.parametrize("said", [*SAID, {"pooling_mode": ["cls", "lasttoken"]}])
def test_a_texts_vector_is_what_the_files_say(tmp_path, logic, said):
    model = folder(
        tmp_path / "model", {**said, "word_embedding_dimension": 128}, sentence_bert_config={"max_seq_length": 9},
        config_sentence_transformers={"prompts": {"query": "question: ", "other": ""}, "default_prompt_name": "query"},
    )  # fmt: skip
    method = made(Backbone.load(model).fresh(), logic)
    texts = ["Anna visited Rome.", "Anna visited Rome and Paris, but neither Moscow nor Cairo."]
    found = method.texts.of(method.texts.ids(texts), CPU)
    names = {"pooling_mode_cls_token": ["cls"], "pooling_mode_lasttoken": ["last"], "pooling_mode": ["cls", "last"]}
    flags = {f"pooling_mode_{flag}": [name] for name, flag in POOLINGS.items()}
    (key, value), *_ = said.items()
    asked = ["mean"] if value == "mean" else names.get(key, flags.get(key))
    assert method.files.pooling == tuple(asked)
    for text, vector in zip(texts, found, strict=True):
        ids = method.texts.ids([text])[0]
        assert len(ids) <= 9
        states = states_of(f"question: {text}", 9)
        expected = pooled(states[None], torch.ones(1, len(states)), tuple(asked))[0]
        torch.testing.assert_close(vector, expected / expected.norm(), atol=1e-5, rtol=1e-5)


def test_the_prefix_is_not_pooled_where_the_files_leave_it_out(tmp_path, logic):
    said = {"pooling_mode_mean_tokens": True, "include_prompt": False}
    model = folder(tmp_path / "model", said, ())
    method = made(Backbone.load(model).fresh(), logic, prefix="question: ")
    states = states_of("question: Anna visited Rome.")
    skipped = len(AutoTokenizer.from_pretrained(TINY)("question:")["input_ids"]) - 1
    found = method.texts.of(method.texts.ids(["Anna visited Rome."]), CPU)[0]
    torch.testing.assert_close(found, states[skipped:].mean(dim=0), atol=1e-5, rtol=1e-5)


def dense(place: Path, width: int = 128, out: int = 5, **more) -> dict[str, Tensor]:
    (place / "2_Dense").mkdir()
    weights = {"linear.weight": torch.randn(out, width), "linear.bias": torch.randn(out)}
    save_file(weights, place / "2_Dense" / "model.safetensors")
    said = {
        "in_features": width,
        "out_features": out,
        "activation_function": "torch.nn.modules.activation.Tanh",
        **more,
    }
    (place / "2_Dense" / "config.json").write_text(json.dumps(said))
    return weights


def test_a_dense_layer_stands_behind_the_pooling(tmp_path, logic):
    model = folder(tmp_path / "model", None, ("Dense", "Normalize"))
    weights = dense(tmp_path / "model")
    method = made(Backbone.load(model).fresh(), logic)
    mean = states_of("Anna visited Rome.").mean(dim=0)
    expected = torch.tanh(weights["linear.weight"] @ mean + weights["linear.bias"])
    found = method.texts.of(method.texts.ids(["Anna visited Rome."]), CPU)[0]
    torch.testing.assert_close(found, expected / expected.norm(), atol=1e-5, rtol=1e-5)
    assert method.logits(batch_in(method)).shape == (6, 3)
    assert [name for name, value in method.module.named_parameters() if value.requires_grad] == [
        "head.weight",
        "head.bias",
    ]


@pytest.mark.parametrize(("others", "unit", "length"), [((), None, False), (("Normalize",), None, True),
                                                       ((), True, True), (("Normalize",), False, False)])  # fmt: skip
def test_vectors_are_of_length_1_where_files_or_settings_say_so(tmp_path, logic, others, unit, length):
    method = made(Backbone.load(folder(tmp_path / "model", None, others)).fresh(), logic, unit=unit)
    norms = torch.cat([vectors.norm(dim=1) for vectors in method.vectors(batch_in(method))])
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5) == length


def test_settings_stand_in_for_the_files_of_a_model_without_any(tiny, logic):
    method = made(tiny.fresh(), logic, pooling="mean", prefix="query: ")
    expected = states_of("query: Anna visited Rome.").mean(dim=0)
    found = method.texts.of(method.texts.ids(["Anna visited Rome."]), CPU)[0]
    torch.testing.assert_close(found, expected / expected.norm(), atol=1e-5, rtol=1e-5)
    assert any("mean of the states, at length 1, 'query: ' before each text" in note for note in method.notes)


@pytest.mark.parametrize("config", [{}, {"pooling": "mean"}, {"prefix": "query: "}])
def test_a_model_that_does_not_say_how_is_skipped_and_nothing_is_guessed(tiny, logic, config):
    with pytest.raises(NotSupported, match=r"tiny has no modules\.json.* does not guess"):
        made(tiny, logic, **config)


PROMPTS = {"prompts": {"query": "query: ", "passage": "passage: "}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pooling": {"pooling_mode_sum_tokens": True}}, "it asks for the pooling pooling_mode_sum_tokens"),
        ({"pooling": {"pooling_mode_mean_tokens": False}}, "it asks for no pooling"),
        ({"pooling": {"pooling_mode": "attention"}}, "it asks for the pooling attention"),
        ({"others": ("LSTM",)}, "it lists a LSTM"),
        ({"transformer": "BoW"}, "it lists BoW in ''"),
        ({"others": ("Dense",)}, "has no 2_Dense/config.json"),
        (
            {"config_sentence_transformers": PROMPTS},
            "no default; choose what stands before each text with --set prefix",
        ),
        (
            {"config_sentence_transformers": {**PROMPTS, "default_prompt_name": "web"}},
            "default prompt 'web' is none of",
        ),
        (
            {"config_sentence_transformers": [1]},
            r"config_sentence_transformers.json of .* not understood: it holds \[1\]",
        ),
    ],
)
def test_files_that_are_not_understood_are_refused_by_name(tmp_path, logic, changes, said):
    backbone = Backbone.load(folder(tmp_path / "model", **changes))
    with pytest.raises(XlbenchError, match=said) as fault:
        made(backbone, logic)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"activation_function": "torch.nn.Mish"}, "its activation is 'torch.nn.Mish'"),
        ({"width": 7}, "for vectors of 128"),
    ],
)
def test_a_dense_layer_that_is_not_understood_is_refused(tmp_path, logic, changes, said):
    model = folder(tmp_path / "model", None, ("Dense",))
    dense(tmp_path / "model", **changes)
    with pytest.raises(XlbenchError, match=said):
        sentence_files(model, None, 128)


def test_broken_json_and_paths_that_lead_out_are_refused(tmp_path):
    model = Path(folder(tmp_path / "model"))
    (model / "1_Pooling" / "config.json").write_text("{")
    with pytest.raises(XlbenchError, match=r"1_Pooling/config\.json of .* is no JSON"):
        sentence_files(str(model), None, 128)
    listed = json.loads((model / "modules.json").read_text())
    listed[1]["path"] = "../elsewhere"
    (model / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(XlbenchError, match="leads out of the model"):
        sentence_files(str(model), None, 128)


# Read once, and frozen


def spec(**fields) -> RunSpec:
    training = Training(steps=6, checkpoints=3)
    common = {"task": "logic", "model": "tiny", "shots": 4, "languages": ("en", "fr"), "test_units": 6, "config": PLAIN}
    return RunSpec(method="sentence-encoder", training=training, **{**common, **fields})


def trained(runtime, **fields) -> tuple[Method, Backbone]:
    prepared = prepare(spec(**fields), runtime)
    return _train(prepared, runtime, Session(CPU), prepared.configurations[0], 0).method, prepared.backbone


@pytest.mark.parametrize(("encoder", "tune", "same"), [("frozen", "all", True), ("frozen", "frozen", True),
                                                      ("tuned", "all", False), ("tuned", "frozen", True)])  # fmt: skip
def test_the_encoder_is_left_as_it_was_unless_it_is_asked_to_train(runtime, encoder, tune, same):
    method, clean = trained(runtime, tune=tune, config={**PLAIN, "encoder": encoder})
    state = clean.state_dict()
    equal = all(torch.equal(value, state[name]) for name, value in method.backbone.state_dict().items())
    assert equal == same
    assert any("frozen, whatever --tune says" in note for note in method.notes) == (
        (encoder, tune) == ("frozen", "all")
    )


def test_each_text_goes_through_the_encoder_once_and_none_in_training(runtime, monkeypatch):
    read, stages = [], []
    hidden, loss = Backbone.hidden, Encoder.loss

    def counting(self, batch, prompt=None):
        read.extend(tuple(row[kept.bool()].tolist()) for row, kept in zip(batch.ids, batch.attention, strict=True))
        return hidden(self, batch, prompt)

    def watched(self, batch):
        before = len(read)
        value = loss(self, batch)
        stages.append(len(read) - before)
        return value

    monkeypatch.setattr(Backbone, "hidden", counting)
    monkeypatch.setattr(Encoder, "loss", watched)
    method, _ = trained(runtime)
    assert len(read) == len(set(read)) == len(method.known) > 24
    assert stages == [0] * 6


@pytest.mark.parametrize("training", [False, True])
def test_kept_vectors_are_those_that_are_computed_anew(tiny, logic, training):
    kept, anew = made(tiny.fresh(), logic, **PLAIN), made(tiny.fresh(), logic, encoder="tuned", **PLAIN)
    batch = batch_in(kept, "fr", 9)
    kept.streams(Resources((), None, {}))
    assert len(kept.known) > 9
    for method in (kept, anew):
        method.module.train(training)
    for ours, theirs in zip(kept.vectors(batch), anew.vectors(batch), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
        assert not ours.requires_grad
        assert theirs.requires_grad


def test_what_was_scored_may_be_trained_on(tiny, logic):
    """Vectors that were first read in inference mode have gradients flow past them as others do."""
    method = made(tiny.fresh(), logic, **PLAIN)
    batch = batch_in(method)
    with torch.inference_mode():
        method.score(batch)
    method.loss(batch).backward()
    assert method.head.weight.grad.any()


def test_dropout_of_a_frozen_encoder_stays_off_in_training(tiny, logic):
    backbone = tiny.fresh()
    for part in backbone.encoder.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.5
    method = made(backbone, logic, **PLAIN)
    method.module.train()
    first = method.vectors(batch_in(method))
    method.known.clear()
    assert all(torch.equal(ours, again) for ours, again in zip(first, method.vectors(batch_in(method)), strict=True))


@pytest.mark.parametrize(("config", "width"), [({}, 512), ({"features": "sbert"}, 384)])
def test_the_heads_read_all_features(tiny, logic, config, width):
    assert made(tiny.fresh(), logic, **PLAIN, **config).head.weight.shape == (3, width)
    perceptron = made(tiny.fresh(), logic, head="mlp", **PLAIN, **config).head
    shapes = [tuple(layer.weight.shape) for layer in perceptron if isinstance(layer, nn.Linear)]
    assert shapes == [(512, width), (384, 512), (3, 384)]
    assert [type(layer).__name__ for layer in perceptron] == ["Dropout", "Linear", "Tanh"] * 2 + ["Dropout", "Linear"]


def test_what_the_files_say_is_part_of_what_a_run_is(tmp_path, runtime):
    models = [folder(tmp_path / "mean"), folder(tmp_path / "max", {"pooling_mode_max_tokens": True})]
    assert Backbone.load(models[0]).revision == Backbone.load(models[1]).revision  # the pooling lies in a folder below
    ids = [prepare(spec(model=model, config={}), runtime).id for model in models]
    assert len(set(ids)) == 2


@pytest.mark.usefixtures("own_registry")
def test_it_keeps_the_contract_where_a_row_is_one_text_and_takes_no_choices_or_words():
    registry.load_plugin(str(Path(__file__).parents[1] / "probes.py"))
    findings = check("sentence-encoder", "probe-tone", settings=PLAIN)
    assert [finding for finding in findings if not finding.ok] == []
    assert len(findings) > 10
    for task in ("probe-choice", "probe-names"):
        assert check("sentence-encoder", task, settings=PLAIN)[-1].point == "it is skipped"


def test_a_task_of_three_texts_is_not_supported(monkeypatch, logic):
    monkeypatch.setattr(type(logic), "fields", ("one", "two", "three"))
    assert Encoder.supports(logic) == "task logic has 3 texts a row; the method compares two, or reads one"
