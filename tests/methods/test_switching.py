"""Code-switching, SoftMV and xTune: their losses by hand, their limits to the bit, and what they do without data."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import xlbench
from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.batching import collate
from xlbench.dictionaries import WordSource
from xlbench.engine.train import generator, training_batches
from xlbench.method import Resources
from xlbench.methods.xtune import agreement
from xlbench.parts.switched_rows import switched_rows
from xlbench.records.store import Store
from xlbench.spec import RunSpec, Runtime, Training

CPU = torch.device("cpu")
SWITCHING = ("code-switch", "softmv", "xtune")


def made(name, backbone, task, tested=("en", "fr", "zh"), **config):
    torch.manual_seed(0)
    method_class = registry.get("method", name)
    method = method_class(method_class.Config(**config), backbone, task, tested, 64)
    method.module = method.build(backbone, task)
    return method


def given(task, languages=("fr", "zh"), shots=None):
    shots = task.draw(4, 0, None).train if shots is None else shots
    pairs = {language: tuple(task.parallel_pairs(language, 40, None)) for language in languages}
    words = {language: WordSource("en", language, pairs=own) for language, own in pairs.items()}
    moved = {language: task.translated(shots, language, None) for language in languages}
    return Resources(shots, generator(0, "resources"), {"dictionary": words, "translations": moved})


def step(method, resources, size=6):
    shots = method.encode_labelled(resources.shots)
    return next(training_batches(method, shots, method.streams(resources), size, 0, CPU))


def scores(folder, method, task="logic", **config):
    spec = RunSpec(
        method=method, task=task, model="tiny", shots=4, languages=("en", "fr", "sw"), test_units=6,
        selection="last", config=config, training=Training(steps=8, batch_size=4, checkpoints=2),
        resources={"dictionary": {"size": 40}},
    )  # fmt: skip
    record = xlbench.run(spec, Runtime(runs=folder, device="cpu"))
    table = Store(folder).predictions(record.id)
    names = [name for name in table.column_names if name not in {"row_id", "unit_id", "language", "gold"}]
    return np.array([[np.sum(value) for value in table.column(name).to_pylist()] for name in names])


# Limits


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("code-switch", {"rate": 0.0}),
        ("code-switch", {"sentences": 0.0}),
        ("xtune", {"consistency": 0.0}),
        ("xtune-translated", {"consistency": 0.0}),
    ],
)
def test_without_its_term_it_is_fine_tuning_to_the_bit(tmp_path, name, limit):
    theirs = scores(tmp_path, "finetune")
    assert theirs.size
    assert np.array_equal(scores(tmp_path, name, **limit), theirs)
    assert not np.array_equal(scores(tmp_path, name), theirs)


def test_softmv_without_switching_divergence_and_other_words_is_twice_soft_prompting(tiny, logic):
    method = made("softmv", tiny.fresh(), logic, rate=0.0, consistency=0.0, languages="source")
    soft = made("soft-prompt", tiny.fresh(), logic)
    resources = given(logic)
    ours, theirs = step(method, resources), step(soft, resources)
    assert method.loss(ours).item() == pytest.approx(2 * soft.loss(theirs).item(), rel=1e-6)


@pytest.mark.parametrize("name", ["xtune", "xtune-translated"])
def test_views_that_change_nothing_cost_nothing_without_dropout(tiny, logic, name):
    method = made(name, tiny.fresh(), logic, head_dropout=0.0, **({"rate": 0.0} if name == "xtune" else {}))
    resources = given(logic)
    if name == "xtune-translated":
        resources.loaded["translations"] = {"fr": resources.shots}
    batch = step(method, resources)
    alone = made("finetune", tiny.fresh(), logic, head_dropout=0.0)
    assert method.loss(batch).item() == pytest.approx(alone.loss(batch.with_streams({})).item(), abs=1e-6)


# By hand


def test_the_divergences_of_xtune_by_hand():
    """p = (.5, .25, .25), q = (.25, .5, .25): each KL is ¼ ln 2, the term at λ₁ = 5 and three labels 5/3 · ½ ln 2."""
    p, q = (torch.tensor([row]).log() for row in ((0.5, 0.25, 0.25), (0.25, 0.5, 0.25)))
    assert agreement(p, q).item() == pytest.approx(0.5 * math.log(2))
    assert 5 / 3 * agreement(p, q).item() == pytest.approx(0.5776, abs=1e-4)


def test_each_side_of_the_term_is_held_against_the_other_stopped():
    p = torch.randn(3, 3, generator=torch.manual_seed(0)).requires_grad_()
    q = torch.randn(3, 3).requires_grad_()
    agreement(p, q).backward()
    softmax = torch.softmax
    torch.testing.assert_close(q.grad, (softmax(q, -1) - softmax(p, -1)).detach() / 3)
    torch.testing.assert_close(p.grad, (softmax(p, -1) - softmax(q, -1)).detach() / 3)


def test_softmv_scores_the_mean_over_languages_of_a_label_s_words(tiny, logic):
    method = made("softmv", tiny.fresh(), logic)
    batch = step(method, given(logic))
    features = method.backbone.mask_features(batch, method.prompt(batch))
    each = [method.backbone.label_logits(features, words) for words in method.every.values()]
    assert set(method.every) == set(logic.languages)
    torch.testing.assert_close(method.logits(batch), torch.stack(each).mean(dim=0))


def test_softmv_by_its_parts(tiny, logic):
    method = made("softmv", tiny.fresh(), logic, consistency=0.3)
    batch = step(method, given(logic))
    shot, copy = (method.logits(side).log_softmax(-1) for side in (batch, batch.streams["copy"]))
    rows = torch.arange(len(shot))
    errors = -shot[rows, batch.labels].mean() - copy[rows, batch.labels].mean()
    divergence = (copy.exp() * (copy - shot)).sum(-1).mean()
    assert divergence > 1e-6
    assert method.loss(batch).item() == pytest.approx((errors + 0.3 * divergence).item(), rel=1e-5)


def test_stage_two_of_xtune_by_its_parts(tiny, logic):
    method = made("xtune", tiny.fresh(), logic, stages=2, head_dropout=0.0, copies=2, rate=1.0)
    batch = step(method, given(logic))
    with torch.no_grad():
        for value in method.reader.parameters():
            value.mul_(1.05)
    ours, a = (method.logits(side) for side in (batch, batch.streams["view-0"]))
    method.begin(1)
    method.progress = 0.6
    taught = a.log_softmax(-1)  # by what was there when the phase began
    new, view, other = (method.logits(side) for side in (batch, *batch.streams.values()))
    assert (new - ours).abs().max() > 1e-3  # training starts from the pretrained weights again
    entropy = torch.nn.functional.cross_entropy
    now = view.log_softmax(-1)
    expected = (
        entropy(new, batch.labels) + entropy(view, batch.labels)
        + 5 / 3 * (agreement(new, view) + agreement(view, other))
        + 5 / 3 * (taught.exp() * (taught - now)).sum(-1).mean()
    )  # fmt: skip
    assert method.loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_stage_one_ends_where_it_was_asked_to(tiny, logic):
    method = made("xtune", tiny.fresh(), logic, stages=2, second_at=0.3)
    assert method.phases == (0.3,)
    assert made("xtune", tiny.fresh(), logic).phases == ()


# The copies


def test_a_step_trains_on_one_copy_of_its_own_shots_another_each_time(tiny, logic):
    method = made("code-switch", tiny.fresh(), logic, rate=1.0, copies=3, head_dropout=0.0)
    alone = made("finetune", tiny.fresh(), logic, head_dropout=0.0)
    resources = given(logic)
    streams = method.streams(resources)
    (stream,) = streams.values()
    assert len(stream.others) == 2
    shots = method.encode_labelled(resources.shots)
    batches, seen = training_batches(method, shots, streams, 12, 0, CPU), set()
    for _, batch in zip(range(12), batches, strict=False):
        (side,) = batch.streams.values()
        assert torch.equal(side.labels, batch.labels)
        assert method.loss(batch).item() == pytest.approx(alone.loss(side).item())
        seen.add(round(alone.loss(side).item(), 5))
    pad = tiny.tokenizer.pad_token_id
    copies = (collate(encoded, range(12), pad, CPU) for encoded in (stream.encoded, *stream.others))
    assert seen == {round(alone.loss(copy).item(), 5) for copy in copies}


def test_words_with_tags_stay_one_word_each(tiny):
    task = registry.get("task", "logic-tags")()
    method = made("code-switch", tiny.fresh(), task, ("en", "fr"), rate=1.0)
    row = task.draw(1, 0, None).train[0]
    known = {word.lower(): ["zwei Wörter", "eins"] for word in row.texts}
    (found,) = switched_rows(method, [row], [known], 1.0, generator(0, "words"))
    assert len(found.texts) == len(row.texts)
    assert set(found.texts) <= {*row.texts, "eins"}
    assert "eins" in found.texts
    assert found.gold == row.gold


def test_choices_are_switched_too(tiny):
    task = registry.get("task", "logic-choice")()
    method = made("code-switch", tiny.fresh(), task, ("en", "fr"))
    row = task.draw(1, 0, None).train[0]
    every = {word.lower().strip(".,?"): ["wort"] for text in (*row.texts, *row.choices) for word in text.split()}
    (found,) = switched_rows(method, [row], [every], 1.0, generator(0, "words"))
    assert len(found.choices) == len(row.choices)
    assert all("wort" in text for text in (*found.texts, *found.choices))


@pytest.mark.parametrize("task", ["logic-choice", "logic-tags"])
def test_code_switching_runs_on_other_kinds(tmp_path, task):
    assert scores(tmp_path, "code-switch", task).size


def test_what_is_switched_is_the_source_text_by_the_dictionaries(tiny, logic):
    method = made("code-switch", tiny.fresh(), logic, rate=1.0)
    resources = given(logic, ("fr",))
    dictionary = resources["dictionary"]["fr"].dictionary(list, "")
    assert len(dictionary) > 5
    rows = switched_rows(method, resources.shots, [dictionary], 1.0, generator(0, "words"))
    for old, new in zip(resources.shots, rows, strict=True):
        for before, after in zip(old.texts, new.texts, strict=True):
            assert len(before.split()) == len(after.split())
    assert sum(old.texts != new.texts for old, new in zip(resources.shots, rows, strict=True)) > len(rows) / 2


# Without data


@pytest.mark.parametrize("name", SWITCHING)
def test_a_language_without_a_dictionary_is_named(tiny, logic, name):
    method = made(name, tiny.fresh(), logic)
    method.streams(given(logic, ("fr",)))
    assert method.notes == ["no dictionary of zh: no word is switched into it"]


@pytest.mark.parametrize("name", ["code-switch", "xtune"])
def test_without_any_dictionary_it_trains_as_fine_tuning(tiny, logic, name):
    method = made(name, tiny.fresh(), logic)
    assert method.streams(replace(given(logic), loaded={"dictionary": {}})) == {}


def test_translations_of_the_shots_are_the_same_rows_in_other_languages(tiny, logic):
    method = made("xtune-translated", tiny.fresh(), logic, copies=2)
    resources = given(logic, ("fr",))
    views = method.views(resources)
    assert [row.id for row in views[0]] == [row.id for row in resources.shots]
    assert {row.language for row in views[0]} == {"fr"}
    assert [row.gold for row in views[0]] == [row.gold for row in resources.shots]
    assert method.notes == ["no translations of the shots in zh"]


def test_the_label_words_of_a_backbone_s_last_pieces_are_what_softmv_scores(tiny: Backbone, logic):
    assert registry.get("method", "softmv").Config().multi_token == "last"
