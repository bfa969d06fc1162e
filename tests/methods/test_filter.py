"""FILTER: a row read with its translation; layers apart and together, by hand, and what a row without one is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import xlbench
from xlbench import registry
from xlbench.batching import collate
from xlbench.engine.train import generator, training_batches
from xlbench.errors import NotSupported, XlbenchError
from xlbench.method import Resources
from xlbench.spec import RunSpec, Runtime, Training
from xlbench.translations import beside

CPU = torch.device("cpu")
Filter = registry.get("method", "filter")


def made(backbone, task, tested=("en", "fr", "zh"), **config):
    torch.manual_seed(0)
    method = Filter(Filter.Config(**config), backbone, task, tested, 64)
    method.module = method.build(backbone, task).eval()
    return method


def rows_of(task, language="fr", count=6):
    """Test rows of a language, their English texts beside them."""
    ours = {row.id: row for row in task.test("en", None)}
    return [replace(row, beside=ours[row.id].texts) for row in task.test(language, None)[:count]]


def batch_of(method, rows):
    encoded = method.encode_labelled(rows)
    return collate(encoded, range(len(rows)), method.backbone.tokenizer.pad_token_id, CPU)


def resources(task, languages=("fr", "zh")):
    shots = task.draw(4, 0, None).train
    moved = {language: task.translated(shots, language, None) for language in languages}
    return Resources(shots, generator(0, "resources"), {"translations": moved})


def test_a_row_is_two_inputs_its_text_and_the_one_beside_it(tiny, logic):
    method = made(tiny.fresh(), logic)
    rows = rows_of(logic)
    encoded = method.encode(rows, "fr")
    plain = method.in_template("pair", rows, "fr").ids
    english = method.in_template("pair", [replace(row, texts=row.beside) for row in rows], "fr").ids
    assert len(encoded) == len(rows)
    assert all(np.array_equal(a, b) for a, b in zip(encoded.ids[0::2], plain, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(encoded.ids[1::2], english, strict=True))


def test_a_row_with_nothing_beside_it_is_read_with_itself(tiny, logic):
    method = made(tiny.fresh(), logic)
    encoded = method.encode(logic.test("en", None)[:3], "en")
    assert all(np.array_equal(encoded.ids[n], encoded.ids[n + 1]) for n in (0, 2, 4))


def test_without_fusion_a_text_is_read_as_fine_tuning_reads_it_to_the_bit(tiny, logic):
    method = made(tiny.fresh(), logic, fusion=0)
    finetune = registry.get("method", "finetune")
    base = finetune(finetune.Config(), tiny.fresh(), logic, ("en", "fr"), 64)
    rows = rows_of(logic)
    pad = tiny.tokenizer.pad_token_id
    for row in rows:
        alone = base.backbone.answer_states(collate(base.encode_labelled([row]), [0], pad, CPU))
        # The longer of both texts pads the other, so that a row whose own text is the longer has no padding.
        own = batch_of(method, [replace(row, beside=row.texts)])
        assert torch.equal(method.read(own, both=False)[0], alone)


def test_the_layers_by_hand(tiny, logic):
    """Each layer by itself: the first on both texts apart, the second on both at once, the others apart."""
    method = made(tiny.fresh(), logic)
    assert (method.local, method.fusion) == (1, 1)
    row = rows_of(logic, "zh", 1)[0]
    sides = []
    for texts in (row.texts, row.beside):
        ids = torch.from_numpy(method.in_template("pair", [replace(row, texts=texts)], "zh").ids[0])[None].long()
        sides.append(method.backbone.encoder.embeddings(input_ids=ids))
    layers = [getattr(layer, "layer", layer) for layer in method.backbone.layers]
    apart = [layers[0](side) for side in sides]
    both = layers[1](torch.cat(apart, dim=1))
    parted = list(both.split([side.shape[1] for side in apart], dim=1))
    for layer in layers[2:]:
        parted = [layer(side) for side in parted]
    found = method.read(batch_of(method, [row]), both=True)
    for ours, theirs in zip(found, parted, strict=True):
        torch.testing.assert_close(ours, theirs[:, 0], atol=1e-5, rtol=1e-4)


def test_other_rows_of_a_batch_and_their_padding_move_nothing(tiny, logic):
    method = made(tiny.fresh(), logic)
    rows = rows_of(logic, "fr", 8)
    together = method.score(batch_of(method, rows))
    for place, row in enumerate(rows):
        torch.testing.assert_close(method.score(batch_of(method, [row]))[0], together[place], atol=3e-5, rtol=1e-4)


def test_what_stands_beside_a_row_changes_what_is_said_of_it(tiny, logic):
    method = made(tiny.fresh(), logic)
    rows = rows_of(logic)
    swapped = [replace(row, beside=other.beside) for row, other in zip(rows, rows[3:] + rows[:3], strict=True)]
    assert (method.score(batch_of(method, rows)) - method.score(batch_of(method, swapped))).abs().max() > 1e-5


@pytest.mark.parametrize("both", [True, False])
def test_the_loss_is_of_a_translated_copy_at_one_or_both_first_tokens(tiny, logic, both):
    method = made(tiny.fresh(), logic, both=both, head_dropout=0.0)
    found = resources(logic)
    shots = method.encode_labelled(found.shots)
    batch = next(training_batches(method, shots, method.streams(found), 6, 0, CPU))
    side = batch.streams["pairs"]
    errors = [nn.functional.cross_entropy(method.head(read), side.labels) for read in method.read(side, both)]
    assert len(errors) == 1 + both
    assert method.loss(batch).item() == pytest.approx(sum(errors).item())
    assert torch.equal(side.labels, batch.labels)


def test_copies_are_translations_and_the_shots_themselves_with_the_shots_beside_them(tiny, logic):
    method = made(tiny.fresh(), logic, copies=8)
    found = resources(logic, ("fr",))
    (stream,) = method.streams(found).values()
    spoken = {logic.languages[index] for encoded in (stream.encoded, *stream.others) for index in encoded.language}
    assert spoken == {"en", "fr"}
    assert method.notes == ["no translations of the shots in zh"]
    english = method.in_template("pair", found.shots, "en").ids
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(stream.encoded.ids[1::2], english, strict=True))


def test_translated_test_rows_stand_beside_their_own_in_order(logic):
    rows = logic.test("fr", None)[:3]
    moved = [replace(row, texts=("a", str(n))) for n, row in enumerate(rows)]
    assert [row.beside for row in beside(rows, moved)] == [("a", "0"), ("a", "1"), ("a", "2")]
    assert [row.texts for row in beside(rows, moved)] == [row.texts for row in rows]
    assert beside(rows, ()) is rows


def spec(**fields):
    common = {"task": "logic", "model": "tiny", "shots": 4, "languages": ("en", "fr"), "test_units": 6}
    training = Training(steps=4, batch_size=4, checkpoints=2)
    return RunSpec(method="filter", selection="last", training=training, **{**common, **fields})


def test_a_run_reads_both_and_says_who_translated(tmp_path):
    record = xlbench.run(spec(read="both"), Runtime(runs=tmp_path, device="cpu"))
    assert "translations" in record.identity
    assert record.spec.resources == {"translations": {}}
    assert any("test rows were read in translation" in note for note in record.notes)


@pytest.mark.parametrize("read", ["own", "translation"])
def test_another_reading_is_refused_with_the_way_out(tmp_path, read):
    with pytest.raises(NotSupported, match="use --read both"):
        xlbench.run(spec(read=read), Runtime(runs=tmp_path, device="cpu"))


def test_layers_that_leave_none_behind_the_fusion_are_refused(tiny, logic):
    with pytest.raises(XlbenchError, match="leave none of the"):
        made(tiny.fresh(), logic, local=2, fusion=tiny.depth - 2)


def test_a_method_that_read_translations_shares_no_table_with_those_that_did_not():
    from hand_made import group, record

    plain, moved = record("finetune"), record("xtune-translated", spec={"resources": {"translations": {}}})
    groups = group([plain, moved, record("mpt", spec={"resources": {"parallel": {"corpus": "logic", "size": 10}}})])
    methods = sorted(sorted(line.method for line in one.tables[0].lines) for one in groups)
    assert methods == [["finetune", "mpt"], ["xtune-translated"]]
