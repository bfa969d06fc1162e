"""The contrastive loss by hand, what it compares, and that without it nothing but fine-tuning is left."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import xlbench
from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.cli.plugins.check import check
from xlbench.corpora import Pair
from xlbench.engine.train import generator, training_batches
from xlbench.errors import NotSupported
from xlbench.method import Method, Resources
from xlbench.methods.contrast import disjoint, info_nce
from xlbench.records.store import Store
from xlbench.spec import RunSpec, Training
from xlbench.task import Task

CPU = torch.device("cpu")
Contrast = registry.get("method", "contrast")


def made(backbone: Backbone, task: Task, languages=("en", "fr", "zh"), **config) -> Method:
    torch.manual_seed(0)
    method = Contrast(Contrast.Config(**config), backbone, task, languages, 64)
    method.module = method.build(backbone, task)
    return method


def resources(task: Task, languages=("fr", "zh"), size: int = 8) -> Resources:
    pairs = {language: task.parallel_pairs(language, size, None) for language in languages}
    return Resources(task.draw(4, 0, None).train, generator(0, "resources"), {"parallel": pairs})


def step(method: Method, given: Resources, size: int = 6) -> Batch:
    return next(training_batches(method, method.encode_labelled(given.shots), method.streams(given), size, 0, CPU))


# By hand


@pytest.mark.parametrize("count", [1, 2, 5])
def test_equal_vectors_tell_no_pair_from_another(count):
    ours = torch.ones(count, 7)
    assert info_nce(ours, ours, 0.05).item() == pytest.approx(math.log(count), abs=1e-6)


def test_two_orthonormal_pairs_at_temperature_1():
    ours = torch.eye(2)
    assert info_nce(ours, ours, 1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert info_nce(ours, ours.flip(0), 1.0).item() == pytest.approx(math.log(1 + math.e))
    assert info_nce(ours, ours, 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_both_directions_count_alike():
    """Similarities [[2, 0], [1, 1]]: by rows ln(1 + e⁻²) and ln 2, by columns ln(1 + e⁻¹) twice."""
    ours, theirs = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.eye(2)
    by_rows = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    by_columns = math.log(1 + math.exp(-1))
    assert info_nce(ours, theirs, 1.0, cosine=False).item() == pytest.approx((by_rows + by_columns) / 2)


def test_a_cosine_knows_no_length_and_a_dot_product_does():
    ours, theirs = torch.randn(4, 3, generator=torch.manual_seed(0)), torch.randn(4, 3)
    assert info_nce(5 * ours, theirs, 0.5).item() == pytest.approx(info_nce(ours, theirs, 0.5).item(), rel=1e-5)
    dots = [info_nce(scale * ours, theirs, 0.5, cosine=False).item() for scale in (1, 5)]
    assert abs(dots[0] - dots[1]) > 0.1


def test_another_translation_of_the_same_text_is_no_negative():
    """Three rows of which the first two are one text: each has the third alone against it."""
    ours = theirs = torch.eye(3)
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    two, three = math.log(1 + math.exp(-1)), math.log(1 + 2 * math.exp(-1))
    assert info_nce(ours, theirs, 1.0, same=same).item() == pytest.approx((2 * two + three) / 3)
    assert info_nce(ours, theirs, 1.0).item() == pytest.approx(three)


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefg")), max_size=12))
def test_no_text_stands_in_two_pairs_that_are_kept(texts):
    pairs = [Pair(str(number), "fr", source, ("x", "y")) for number, source in enumerate(texts)]
    kept = disjoint(pairs)
    sides = [set(pair.source) for pair in kept]
    assert all(one.isdisjoint(other) for number, one in enumerate(sides) for other in sides[:number])
    taken = set().union(*sides)
    assert all(pair in kept or not taken.isdisjoint(pair.source) for pair in pairs)


# What a step compares


def test_the_loss_is_fine_tunings_and_the_weighted_contrast_of_the_pairs(tiny, logic):
    method = made(tiny.fresh(), logic, ("en", "fr"), beta=0.3, head_dropout=0.0)
    batch = step(method, resources(logic))
    source, target = (batch.streams[name] for name in ("source", "target"))
    by_hand = nn.functional.cross_entropy(method.logits(batch), batch.labels)
    first = [method.backbone.states(side, 3)[:, 0] for side in (source, target)]
    assert method.loss(batch).item() == pytest.approx((by_hand + 0.3 * info_nce(*first, 0.05)).item(), rel=1e-5)


def test_a_step_takes_pairs_of_all_languages_side_by_side(tiny, logic):
    method, given = made(tiny.fresh(), logic, pairs_per_step=16), resources(logic)
    batch = step(method, given)
    source, target = (batch.streams[name] for name in ("source", "target"))
    spoken = {logic.languages[index] for index in target.languages}
    assert len(source) == len(target) == 16
    assert spoken == {"fr", "zh"}
    assert {logic.languages[index] for index in source.languages} == {"en"}
    texts = {" ".join(method.text.tokenizer.decode(row[row != 1]).split()) for row in source.ids}
    assert len(texts) == 8  # each English text stands there with two translations
    sides = {
        tuple(method._encoded([texts], ["en"]).ids[0].tobytes() for texts in (pair.source, pair.target))
        for pairs in given.parallel.values()
        for pair in pairs
    }
    pad = tiny.tokenizer.pad_token_id
    found = {
        (ours[ours != pad].numpy().tobytes(), theirs[theirs != pad].numpy().tobytes())
        for ours, theirs in zip(source.ids, target.ids, strict=True)
    }
    assert found == sides


def test_padding_changes_no_mean(tiny, logic):
    method = made(tiny.fresh(), logic, pool="mean")
    batch = step(method, resources(logic)).streams["source"]
    wide = replace(
        batch, ids=nn.functional.pad(batch.ids, (0, 5), value=tiny.tokenizer.pad_token_id),
        attention=nn.functional.pad(batch.attention, (0, 5)), segments=nn.functional.pad(batch.segments, (0, 5)),
    )  # fmt: skip
    torch.testing.assert_close(method.vectors(wide), method.vectors(batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("projection", "width"), [("none", 128), ("linear", 128), ("perceptron", 128)])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_gradients_reach_the_lower_layers_and_the_projection_from_the_contrast_alone(
    tiny, logic, projection, width, similarity
):
    method = made(tiny.fresh(), logic, projection=projection, similarity=similarity, layer=0.5)
    batch = step(method, resources(logic))
    vectors = [method.vectors(batch.streams[name]) for name in ("source", "target")]
    assert vectors[0].shape == (6, width)
    info_nce(*vectors, 0.25, similarity == "cosine").backward()
    matrices = [value for value in method.projection.parameters() if value.dim() > 1]
    assert all(value.grad.any() for value in matrices)
    below, above = method.backbone.layers[:2], method.backbone.layers[2:]
    assert all(value.grad.any() for value in below.parameters() if value.dim() > 1)
    assert all(value.grad is None for value in above.parameters())


# Against fine-tuning


def spec(method: str, **fields) -> RunSpec:
    training = Training(steps=4, learning_rate=1e-3, checkpoints=1)
    common = {"task": "logic", "model": "tiny", "shots": 4, "languages": ("en", "fr"), "test_units": 6}
    return RunSpec(method=method, training=training, **common, **fields)


@pytest.mark.parametrize("config", [{"beta": 0}, {"beta": 0, "projection": "linear"}])
def test_without_its_weight_it_is_fine_tuning_to_the_bit(runtime, config):
    store = Store(runtime.runs)
    tuned, none, some = (
        store.predictions(xlbench.run(asked, runtime).id)
        for asked in (spec("finetune"), spec("contrast", config=config), spec("contrast"))
    )
    assert tuned.equals(none)
    assert not tuned.equals(some)


def test_a_language_without_pairs_is_named_and_one_pair_is_no_contrast(tiny, logic):
    method = made(tiny.fresh(), logic)
    assert method.streams(resources(logic, ("fr",), 1)) == {}
    assert method.notes == ["no parallel pairs for zh: nothing is contrasted in it"]


def test_no_batch_goes_through_in_parts(runtime):
    with pytest.raises(NotSupported, match="couples rows"):
        xlbench.run(spec("contrast").model_copy(update={"training": Training(steps=1, accumulate=2)}), runtime)


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("task", ["probe-choice", "probe-names"])
def test_it_keeps_the_contract_where_choices_or_words_are_asked(task):
    registry.load_plugin(str(Path(__file__).parents[1] / "probes.py"))
    findings = check("contrast", task)
    assert [finding for finding in findings if not finding.ok] == []
    assert len(findings) > 10
