"""Align and incline: their closed forms by hand, the limits that are exact, and which states an edit reaches."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from small_data import registry_as_it_was
from torch import Tensor, nn

import xlbench
from xlbench import backbone as backbone_file
from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.batching import Batch, collate
from xlbench.corpora import Pair
from xlbench.errors import XlbenchError
from xlbench.method import Method, Resources
from xlbench.methods.align import procrustes, removal, unit
from xlbench.methods.incline import least_squares
from xlbench.parts.edited_states import sentence_pairs
from xlbench.parts.layer_edits import Edit, edited, layers_of, sentence_states
from xlbench.records.store import Store
from xlbench.spec import RunSpec, Training
from xlbench.task import Task

MIDDLE, LAST = 2, 4  # of tiny's layers
DIMENSION = 128
MOVED = {"en": False, "fr": True, "zh": True}
ALIGNED = [("align", {"map": name}) for name in ("centre", "procrustes", "lir")]
EVERY = [*ALIGNED, ("incline", {}), ("incline", {"mode": "literal", "ridge": 1.0, "centre": True})]


def made(name: str, backbone: Backbone, task: Task, languages=("en", "fr", "zh"), **config) -> Method:
    """A method that is not trained; a head of larger weights than are drawn, so that scores tell states apart."""
    torch.manual_seed(0)
    method_class = registry.get("method", name)
    method: Method = method_class(method_class.Config(**config), backbone, task, languages, 64)
    method.build(backbone, task).eval()
    for layer in (layer for layer in method.head if isinstance(layer, nn.Linear)):
        nn.init.normal_(layer.weight, std=0.2)
    return method


def finished(method: Method, pairs: dict[str, list[Pair]]) -> Method:
    method.finish(Resources((), np.random.default_rng(0), {"parallel": pairs}))
    return method


def pairs_of(task: Task, *languages: str, size: int = 60) -> dict[str, list[Pair]]:
    return {language: task.parallel_pairs(language, size, None) for language in languages}


def alike(task: Task, size: int = 200) -> dict[str, list[Pair]]:
    """Pairs whose target is the source's own text."""
    return {"fr": [replace(pair, target=pair.source) for pair in task.parallel_pairs("fr", size, None)]}


def batch_in(method: Method, languages=("zh", "en", "fr"), count: int = 5) -> Batch:
    """Rows of languages in turn, of many lengths."""
    tests = [method.task.test(language, None)[:count] for language in languages]
    encoded = method.encode_labelled([row for rows in zip(*tests, strict=True) for row in rows])
    return collate(encoded, range(len(encoded)), method.backbone.tokenizer.pad_token_id, "cpu")


def scores(method: Method, batch: Batch) -> Tensor:
    with torch.inference_mode():
        return method.score(batch)


def of_language(method: Method, batch: Batch, language: str) -> Tensor:
    return batch.language == method.task.languages.index(language)


def states(seed: int, rows: int, width: int = 6) -> np.ndarray:
    """Rows of normal numbers about a mean of their own."""
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, width)) + 3 * random.normal(size=width)


# The closed forms


def test_least_squares_by_hand():
    target, source = np.array([[1, 0], [0, 2], [1, 1]]), np.array([[2, 0], [0, 2], [2, 1]])
    assert np.allclose(least_squares(target, source), np.diag([2, 1]))
    # one number: x = (1, 2), y = (3, 1), so W = (3 + 2) / (1 + 4 + λ)
    assert least_squares(np.array([[1.0], [2]]), np.array([[3.0], [1]]), ridge=5) == pytest.approx(0.5)


def test_procrustes_by_hand():
    target, source = np.array([[1, 0], [0, 1], [1, 1]]), np.array([[0, 1], [-1, 0], [-1, 1]])
    turned = procrustes(target, source)
    assert np.allclose(turned, [[0, 1], [-1, 0]])
    assert np.allclose(target @ turned, source)


def test_removal_by_hand():
    """Of (3, 4) and its double the leading direction is (.6, .8); of (1, 0) what is left is (1, 0) - .6 (.6, .8)."""
    removed = removal(np.array([[3.0, 4], [6, 8]]), rank=1)
    assert np.allclose([1, 0] @ removed, [0.64, -0.48])


@given(some.integers(0, 99), some.integers(2, 30))
def test_a_rotation_is_orthogonal_and_the_identity_where_both_sides_are_the_same(seed, rows):
    target, source = states(seed, rows), states(seed + 100, rows)
    turned = procrustes(target, source)
    assert np.allclose(turned @ turned.T, np.eye(6))
    assert np.linalg.norm(target @ turned - source) <= np.linalg.norm(target - source) + 1e-9
    if rows > 6:
        assert np.allclose(procrustes(target, target), np.eye(6))


@given(some.integers(0, 99), some.integers(1, 5))
def test_what_is_removed_is_gone_and_removing_it_again_changes_nothing(seed, rank):
    learnt, others = states(seed, 12), states(seed + 100, 4)
    removed = removal(learnt, rank)
    once = others @ removed
    assert np.allclose(once @ removed, once)
    assert np.trace(removed) == pytest.approx(6 - rank)
    leading = np.linalg.svd(learnt)[2][:rank].T
    assert np.allclose(once @ leading, 0)


@given(some.integers(0, 99))
def test_least_squares_is_the_identity_of_the_same_sides_and_vanishes_under_a_large_ridge(seed):
    target, source = states(seed, 20), states(seed + 100, 20)
    assert np.allclose(least_squares(target, target), np.eye(6))
    assert np.allclose(least_squares(target, source, ridge=1e-9), least_squares(target, source), atol=1e-6)
    assert np.abs(least_squares(target, source, ridge=1e12)).max() < 1e-6


def test_unit_length_leaves_zeros():
    assert unit(np.array([[3.0, 4], [0, 0]])).tolist() == [[0.6, 0.8], [0, 0]]


@pytest.mark.parametrize(
    ("name", "config"), [*ALIGNED[:2], ("align", {"map": "lir", "centre_first": True}), ("incline", {"centre": True})]
)
def test_a_centred_map_does_not_see_a_constant_that_is_added_to_a_language(tiny, logic, name, config):
    method = made(name, tiny, logic, **config)
    for seed in range(5):
        target, source, constant = states(seed, 20), states(seed + 100, 20), states(seed, 1)
        plain, moved = method._edit(target, source), method._edit(target + constant, source)
        alike, added = torch.from_numpy(states(seed + 200, 3)).float(), torch.from_numpy(constant).float()
        if method.config.alpha == 1:
            assert torch.allclose(plain(alike), moved(alike + added), atol=1e-3)
        else:  # the part of a state that is kept has the constant
            assert torch.allclose(plain(alike) + (1 - method.config.alpha) * added, moved(alike + added), atol=1e-3)


def test_the_edits_of_incline_by_hand(tiny, logic):
    """One pair in one number: x = 2, y = 6, so W = 3. Centred, W of zeros is 0, and all is moved to the mean, 6."""
    target, source, state = np.array([[2.0]]), np.array([[6.0]]), torch.tensor([1.0])
    edits = {
        ("interpolate", False): 1 + 0.5 * (3 - 1),
        ("literal", False): 1 + 0.5 * 3,
        ("interpolate", True): 1 + 0.5 * (6 - 1),
        ("literal", True): 1 + 0.5 * 6,
    }
    for (mode, centre), wanted in edits.items():
        method = made("incline", tiny, logic, mode=mode, centre=centre)
        assert method._edit(target, source)(state).item() == pytest.approx(wanted)


# Exact limits


@pytest.mark.parametrize(("name", "config"), [("align", {"map": "procrustes"}), ("incline", {"mode": "literal"})])
def test_a_run_at_alpha_0_is_fine_tuning_to_the_bit_and_above_it_in_the_source_alone(runtime, name, config):
    asked = {"task": "logic", "model": "tiny", "shots": 4, "languages": ("en", "fr"), "test_units": 6}
    asked |= {"training": Training(steps=3, learning_rate=1e-3, checkpoints=1), "tune": "lora", "parallel_size": 70}
    runs = {
        "tuned": xlbench.run(RunSpec(method="finetune", **asked), runtime),
        "none": xlbench.run(RunSpec(method=name, config={**config, "alpha": 0, "layers": "all"}, **asked), runtime),
        "moved": xlbench.run(RunSpec(method=name, config=config, **asked), runtime),
    }
    found = {key: Store(runtime.runs).predictions(run.id).to_pandas() for key, run in runs.items()}
    assert found["none"].equals(found["tuned"])
    for language, is_moved in (("en", False), ("fr", True)):
        ours, theirs = (table[table.language == language] for table in (found["tuned"], found["moved"]))
        assert ours.equals(theirs) != is_moved
    assert runs["moved"].learnt["measures"]["pairs, fr"] > 60


@pytest.mark.parametrize(("name", "config"), [ALIGNED[0], ALIGNED[1], ("incline", {}), ("incline", {"centre": True})])
def test_a_language_whose_sentences_are_the_sources_own_is_scored_as_without_an_edit(tiny, logic, name, config):
    method = made(name, tiny, logic, **config)
    batch = batch_in(method, ["fr"])
    before = scores(method, batch)
    after = scores(finished(method, alike(logic)), batch)
    assert torch.allclose(before, after, atol=1e-3)
    if config == {"map": "centre"}:
        assert torch.equal(before, after)
    assert not torch.allclose(before, scores(finished(method, pairs_of(logic, "fr")), batch), atol=0.01)


@pytest.mark.parametrize("layer", [1, MIDDLE, LAST])
@pytest.mark.parametrize("name", ["centre", "procrustes"])
def test_the_mean_of_a_target_language_becomes_the_sources(tiny, logic, layer, name):
    method = finished(made("align", tiny, logic, map=name, layers=layer, held_out=0), pairs_of(logic, "fr"))
    source, target = zip(*sentence_pairs(pairs_of(logic, "fr")["fr"]), strict=True)
    edit = method.edits[layer][logic.languages.index("fr")]
    ours, theirs = (sentence_states(tiny, texts, [layer])[layer].mean(axis=0) for texts in (source, target))
    moved = sentence_states(tiny, target, [layer], edits={layer: edit})[layer].mean(axis=0)
    assert np.abs(moved - ours).max() < 1e-4 < 0.01 < np.abs(theirs - ours).max()


@pytest.mark.parametrize("fit_on", ["edited", "unedited"])
def test_maps_of_all_layers_fit_each_other_where_each_is_learnt_above_edited_ones(tiny, logic, fit_on):
    method = made("align", tiny, logic, layers="all", held_out=0, fit_on=fit_on)
    source, target = zip(*sentence_pairs(pairs_of(logic, "fr")["fr"]), strict=True)
    edits = finished(method, pairs_of(logic, "fr")).edits
    mine = {layer: by_language[logic.languages.index("fr")] for layer, by_language in edits.items()}
    ours, moved = sentence_states(tiny, source, [1, LAST]), sentence_states(tiny, target, [1, LAST], edits=mine)
    apart = {layer: np.abs(moved[layer].mean(axis=0) - ours[layer].mean(axis=0)).max() for layer in (1, LAST)}
    assert apart[1] < 1e-4
    assert (apart[LAST] < 1e-4) == (fit_on == "edited")


# Which states an edit reaches


@pytest.mark.parametrize(("name", "config"), EVERY)
@pytest.mark.parametrize("parts", [True, False])
def test_each_row_of_a_batch_is_edited_by_its_own_language(tiny, logic, monkeypatch, name, config, parts):
    """On a CPU the backbone may take rows in parts, sorted by length: then an edit must follow its row."""
    method = made(name, tiny, logic, **config)
    batch = batch_in(method)
    before = scores(method, batch)
    finished(method, pairs_of(logic, "fr", "zh"))
    alone = {language: scores(method, batch_in(method, [language])) for language in MOVED}
    monkeypatch.setattr(backbone_file, "WORTHWHILE", 0 if parts else 1e18)
    assert (len(tiny.passes(batch)) > 1) == parts
    after = scores(method, batch)
    for language, is_moved in MOVED.items():
        rows = of_language(method, batch, language)
        assert torch.allclose(after[rows], alone[language], atol=1e-4)
        assert torch.allclose(after[rows], before[rows], atol=1e-4) != is_moved
    french = batch_in(method, ["fr"])
    assert not torch.allclose(scores(method, replace(french, language=batch_in(method, ["zh"]).language)), alone["fr"])


def seen(backbone: Backbone, batch: Batch, layer: int, edits, positions) -> Tensor:
    """What the layer gives, edits included: (n, t, d)."""
    kept = []
    with torch.inference_mode(), edited(backbone, batch, edits, positions):
        hook = layers_of(backbone)[layer - 1].register_forward_hook(lambda module, given, output: kept.append(output))
        backbone.hidden(batch)
        hook.remove()
    return kept[0]


@pytest.mark.parametrize("layer", [MIDDLE, LAST])
@pytest.mark.parametrize("positions", ["all", "read"])
def test_an_edit_reaches_all_tokens_or_where_answers_are_read(tiny, logic, layer, positions):
    method = made("align", tiny, logic)
    batch = batch_in(method, ["fr", "en"], 3)
    batch = replace(batch, read_at=torch.tensor([[1, 4], [2, -1]] * 3))
    torch.manual_seed(0)
    edit = Edit(torch.randn(DIMENSION, DIMENSION) / 10, torch.randn(DIMENSION))
    plain = seen(tiny, batch, layer, {}, positions)
    moved = seen(tiny, batch, layer, {layer: {logic.languages.index("fr"): edit}}, positions)
    french = of_language(method, batch, "fr")[:, None].expand(plain.shape[:2]).clone()
    if positions == "read":
        french &= torch.isin(torch.arange(plain.shape[1]), torch.tensor([1, 4]))
    assert torch.equal(plain[~french], moved[~french])
    assert torch.allclose(moved[french], plain[french] + plain[french] @ edit.matrix + edit.bias, atol=1e-4)


@pytest.mark.parametrize("layer", [MIDDLE, LAST])
def test_each_row_of_a_part_is_edited_where_its_own_answer_is_read(tiny, logic, monkeypatch, layer):
    method = made("align", tiny, logic)
    batch = batch_in(method)
    batch = replace(batch, read_at=torch.arange(len(batch)) % batch.attention.sum(dim=1))
    edits = {layer: {logic.languages.index("fr"): Edit(None, torch.linspace(-3, 3, DIMENSION))}}
    found = []
    for least in (0, 1e18):
        monkeypatch.setattr(backbone_file, "WORTHWHILE", least)
        with torch.inference_mode(), edited(tiny, batch, edits, "read"):
            found.append(tiny.answer_states(batch))
    assert torch.allclose(*found, atol=1e-4)
    assert not torch.allclose(found[0], tiny.answer_states(batch), atol=0.1)


def test_at_the_last_layer_only_what_is_read_counts(tiny, logic):
    ways = [made("align", tiny, logic, layers="last", positions=positions) for positions in ("all", "read")]
    batch = batch_in(ways[0])
    ours, theirs = (scores(finished(method, pairs_of(logic, "fr")), batch) for method in ways)
    assert torch.equal(ours, theirs)
    middle = [finished(made("align", tiny, logic, positions=way), pairs_of(logic, "fr")) for way in ("all", "read")]
    assert not torch.allclose(scores(middle[0], batch), scores(middle[1], batch), atol=1e-3)


def test_an_edit_is_gone_after_scoring_and_after_a_fault(tiny, logic):
    method = finished(made("align", tiny, logic), pairs_of(logic, "fr"))
    batch = batch_in(method, ["fr"])
    with pytest.raises(ZeroDivisionError), edited(tiny, batch, method.edits):
        raise ZeroDivisionError
    scores(method, batch)
    assert not any(layer._forward_hooks for layer in layers_of(tiny))


@pytest.mark.parametrize("task", ["probe-choice", "probe-names"])
@pytest.mark.parametrize("positions", ["all", "read"])
def test_choices_and_words_are_edited_too(tiny, logic, task, positions):
    with registry_as_it_was():
        registry.load_plugin(str(Path(__file__).parents[1] / "probes.py"))
        method = made("align", tiny, registry.get("task", task)(), ("en", "fr"), positions=positions)
    rows = {language: method.task.rows("test", language, None)[:6] for language in ("en", "fr")}
    encoded = method.encode_labelled([*rows["en"], *rows["fr"]])
    batch = collate(encoded, range(12), tiny.tokenizer.pad_token_id, "cpu")
    before = scores(method, batch)
    after = scores(finished(method, pairs_of(logic, "fr")), batch)
    assert torch.equal(before[:6], after[:6])
    read = before[6:].isfinite()
    assert (before[6:] - after[6:])[read].abs().max() > 0.01


# What an edit is learnt of


def test_a_sentences_state_is_the_mean_of_its_tokens_without_the_frame(tiny):
    sentences = ["Anna visited Paris but not Rome.", "Omar did."]
    found = sentence_states(tiny, sentences, [LAST])[LAST]
    first = sentence_states(tiny, sentences, [LAST], pooling="first")[LAST]
    for number, sentence in enumerate(sentences):
        ids = torch.tensor([tiny.tokenizer(sentence)["input_ids"]])
        ones, zeros = torch.ones_like(ids), torch.zeros(1, dtype=torch.long)
        with torch.inference_mode():
            hidden = tiny.hidden(Batch(ids, ones, zeros, torch.zeros_like(ids), zeros, zeros))[0]
        assert np.allclose(found[number], hidden[1:-1].mean(dim=0), atol=1e-4)
        assert np.allclose(first[number], hidden[0], atol=1e-4)


def test_sentences_of_pairs_are_taken_once_and_empty_ones_not():
    pairs = [Pair("a", "fr", ("one", "two"), ("un", "deux")), Pair("b", "fr", ("two", "three"), ("deux", " "))]
    assert sentence_pairs(pairs) == [("one", "un"), ("two", "deux")]


def test_a_language_without_pairs_is_not_edited_and_the_record_says_so(tiny, logic):
    method = made("align", tiny, logic)
    batch = batch_in(method)
    before, after = scores(method, batch), scores(finished(method, pairs_of(logic, "fr")), batch)
    assert method.notes == ["no parallel pairs for zh: its states are not edited"]
    same = ~of_language(method, batch, "fr")
    assert torch.equal(before[same], after[same])


def test_pairs_that_are_held_out_are_measured_and_not_learnt_of(tiny, logic):
    pairs = pairs_of(logic, "fr", size=20)
    whole = sentence_pairs(pairs["fr"])
    method = finished(made("align", tiny, logic, held_out=0.25), pairs)
    fitted = len(whole) - len(whole) // 4
    assert method.found["pairs, fr"] == fitted
    edit = method.edits[MIDDLE][logic.languages.index("fr")]
    source, target = (sentence_states(tiny, side, [MIDDLE])[MIDDLE] for side in zip(*whole, strict=True))
    shift = source[:fitted].mean(axis=0) - target[:fitted].mean(axis=0)
    assert np.allclose(edit.bias, shift, atol=1e-4)
    lengths = [np.linalg.norm(side[fitted:], axis=1).mean() for side in (target, target + shift)]
    assert method.measures()["length after the edit / before, fr"] == pytest.approx(lengths[1] / lengths[0], rel=1e-4)
    apart = [np.linalg.norm((side - source)[fitted:], axis=1).mean() for side in (target, target + shift)]
    found = method.measures()["distance from the source after / before, fr"]
    assert found == pytest.approx(apart[1] / apart[0], rel=1e-4)


@pytest.mark.parametrize(("size", "config", "noted"), [(30, {}, True), (30, {"ridge": 1.0}, False), (200, {}, False)])
def test_incline_notes_where_pairs_are_fewer_than_the_numbers_of_a_state(tiny, logic, size, config, noted):
    method = finished(made("incline", tiny, logic, ("en", "fr"), **config), pairs_of(logic, "fr", size=size))
    assert (method.found["pairs, fr"] < DIMENSION) == (size == 30)
    assert any("states of 128 numbers" in note for note in method.notes) == noted


def test_finishing_again_learns_anew(tiny, logic):
    method = finished(made("align", tiny, logic), pairs_of(logic, "fr"))
    assert finished(method, {}).edits == {MIDDLE: {}}


# What is refused


def test_a_layer_that_the_backbone_lacks_is_refused_before_training(tiny, logic):
    message = "layers = 5 of method align: the backbone tiny has 4 layers; name one of 1 to 4, or middle, last, all"
    with pytest.raises(XlbenchError, match=message):
        made("align", tiny, logic, layers=5)


def test_a_backbone_without_a_list_of_layers_is_refused():
    odd = SimpleNamespace(
        encoder=nn.Linear(2, 2), config=SimpleNamespace(num_hidden_layers=2, model_type="odd"), name="x"
    )
    with pytest.raises(XlbenchError, match=r"the backbone x \(odd\) has no list of its layers"):
        layers_of(odd)
