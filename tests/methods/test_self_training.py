"""Self-training: which rows stay, what is trained on them, its limit to the bit, and that labels are never read."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_data import write, write_xnli, xnli_file, xnli_rows
from torch import nn

import xlbench
from xlbench import registry
from xlbench.engine.train import generator, training_batches
from xlbench.errors import XlbenchError
from xlbench.method import Resources
from xlbench.methods.self_training import surest
from xlbench.records.store import Store
from xlbench.spec import RunSpec, Runtime, Training

CPU = torch.device("cpu")
SelfTraining = registry.get("method", "self-training")


def made(backbone, task, tested=("en", "fr", "zh"), **config):
    torch.manual_seed(0)
    method = SelfTraining(SelfTraining.Config(**config), backbone, task, tested, 64)
    method.build(backbone, task)
    return method


def resources(task, texts=None, languages=("fr", "zh")):
    rows = {name: [pair.target for pair in task.parallel_pairs(name, 30, None)] for name in languages}
    loaded = {"unlabelled": rows if texts is None else texts}
    return Resources(task.draw(4, 0, None).train, generator(0, "resources"), loaded)


def step(method, found, size=6):
    shots = method.encode_labelled(found.shots)
    return next(training_batches(method, shots, method.streams(found), size, 0, CPU))


def scores(folder, method, data=None, **config):
    spec = RunSpec(
        method=method, task="xnli" if data else "logic", model="tiny", shots=2, languages=("en", "fr", "sw"),
        test_units=4, selection="last", config=config, training=Training(steps=8, batch_size=4, checkpoints=2),
        resources={"unlabelled": {"origin": "train", "size": 60}},
    )  # fmt: skip
    record = xlbench.run(spec, Runtime(runs=folder, device="cpu", data_root=data))
    table = Store(folder).predictions(record.id)
    return np.array([table.column(name).to_numpy() for name in table.column_names if name.startswith("log")]), record


# Which rows stay


def test_of_each_language_and_class_the_surest_stay_by_hand():
    said = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05], [0.6, 0.4]])
    language = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert surest(said, language, 0.5, True).tolist() == [0, -1, -1, 1, 1, -1, 0, -1]
    assert surest(said, language, 1.0, True).tolist() == [0, -1, -1, 1, 1, 1, 0, 0]  # one of each, then two of each
    assert surest(said, language, 1.0, False).tolist() == [0, -1, 0, 1, 1, 1, 0, 0]
    assert surest(said, language, 0.0, True).tolist() == [-1] * 8


def test_a_language_of_which_the_model_says_one_class_has_no_row_left():
    said = np.array([[0.9, 0.1], [0.6, 0.4]])
    assert surest(said, np.zeros(2), 1.0, True).tolist() == [-1, -1]
    assert surest(said, np.zeros(2), 1.0, False).tolist() == [0, -1]


@given(st.integers(1, 40), st.floats(0, 1), st.booleans(), st.integers(0, 9))
def test_what_stays_has_its_likeliest_label_and_no_class_more_than_its_share(rows, top, equal, seed):
    random = np.random.default_rng(seed)
    said, language = random.dirichlet([1, 1, 1], rows), random.integers(2, size=rows)
    chosen = surest(said, language, top, equal)
    kept = chosen >= 0
    assert (chosen[kept] == said.argmax(axis=1)[kept]).all()
    for spoken in (0, 1):
        counts = np.bincount(chosen[kept & (language == spoken)], minlength=3)
        assert counts.max() <= top * (language == spoken).sum() / 3 + 1e-9
        assert not equal or len(set(counts.tolist())) == 1


# What is trained on


def test_before_the_first_round_it_is_fine_tuning_and_after_it_the_rows_count(tiny, logic):
    method = made(tiny.fresh(), logic, head_dropout=0.0, top=1.0, weight=0.5, balance="none")
    batch = step(method, resources(logic), 60)
    alone = nn.functional.cross_entropy(method.logits(batch), batch.labels).item()
    method.progress = 0.4
    assert method.loss(batch).item() == pytest.approx(alone)
    method.progress = 0.5
    assert method.loss(batch).item() == pytest.approx(alone)  # no row has a label yet
    method.begin(1)
    rows = batch.streams["text"]
    labels = method.given[rows.labels]
    assert (labels >= 0).any()
    own = nn.functional.cross_entropy(method.logits(rows)[labels >= 0], labels[labels >= 0])
    assert method.loss(batch).item() == pytest.approx(alone + 0.5 * own.item(), rel=1e-5)


def test_rounds_share_what_is_left_of_the_steps(tiny, logic):
    assert made(tiny.fresh(), logic, warm_up=0.4, rounds=3).phases == pytest.approx((0.4, 0.6, 0.8))
    assert made(tiny.fresh(), logic, top=0.0).phases == ()


def test_a_round_labels_without_dropout_and_leaves_the_module_training(tiny, logic):
    method = made(tiny.fresh(), logic, head_dropout=0.5, top=1.0, balance="none")
    step(method, resources(logic))
    method.module.train()
    method.begin(1)
    first = method.given.clone()
    assert method.module.training
    method.begin(2)
    assert torch.equal(method.given, first)


def test_labels_that_were_given_are_in_the_module_and_counted(tiny, logic):
    method = made(tiny.fresh(), logic, top=1.0, balance="none")
    step(method, resources(logic))
    method.begin(1)
    assert any(name.endswith("given") for name, _ in method.module.named_buffers())
    measures = method.measures()
    assert sum(measures.values()) == int((method.given >= 0).sum()) > 0
    assert set(measures) == {f"{code} rows labelled {label}" for code in ("fr", "zh") for label in logic.labels}


# Limits


def test_with_nothing_kept_it_is_fine_tuning_to_the_bit(tmp_path):
    theirs, _ = scores(tmp_path, "finetune")
    assert theirs.size
    assert np.array_equal(scores(tmp_path, "self-training", top=0.0)[0], theirs)
    assert not np.array_equal(scores(tmp_path, "self-training", top=1.0, balance="none")[0], theirs)


def test_labels_of_the_rows_are_never_read(tmp_path):
    """Turning the labels of the target languages' train rows round changes no probability."""
    data = write_xnli(tmp_path / "data")
    before, _ = scores(tmp_path / "a", "self-training", data, top=1.0, balance="none")
    for language in ("fr", "sw"):
        rows = xnli_rows(language, range(8, 16))
        rows["label"] = [(label + 1) % 3 for label in rows["label"]]
        write(xnli_file(data, language, "train"), **rows)
    assert np.array_equal(scores(tmp_path / "b", "self-training", data, top=1.0, balance="none")[0], before)


# Without data


def test_a_language_without_text_is_named_and_none_at_all_is_refused(tiny, logic):
    method = made(tiny.fresh(), logic)
    step(method, resources(logic, languages=("fr",)))
    assert method.notes == ["no text of zh to label"]
    with pytest.raises(XlbenchError, match="has no target text to label"):
        step(made(tiny.fresh(), logic), resources(logic, {"en": [("a", "b")]}))


def test_rows_of_another_number_of_texts_are_refused(tiny, logic):
    with pytest.raises(XlbenchError, match=r"rows of 2 texts \(premise, hypothesis\), and the text of fr has one of 1"):
        step(made(tiny.fresh(), logic), resources(logic, {"fr": [("une",)]}))
