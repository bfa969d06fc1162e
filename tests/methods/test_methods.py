"""The four methods: what they minimise, what they train, and how they treat languages."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xlbench
from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.batching import Batch, collate
from xlbench.corpora import Pair
from xlbench.engine import prepare
from xlbench.engine.predict import predict
from xlbench.engine.session import Session, trained_parameters
from xlbench.engine.train import generator, training_batches
from xlbench.errors import XlbenchError
from xlbench.method import Method, Resources, kl, symmetric_kl
from xlbench.methods.mpt import translator
from xlbench.methods.pct import pct_loss
from xlbench.prompts import Verbalizer
from xlbench.records.record import Record
from xlbench.records.store import Store
from xlbench.spec import RunSpec, Runtime, Training
from xlbench.task import FewShot, Row, Task

CPU = torch.device("cpu")
METHODS = ("finetune", "soft-prompt", "pct", "mpt")
ARCHITECTURES = ("linear-1", "linear-2", "lstm-1", "lstm-2", "transformer-1", "transformer-2")


def made(name: str, backbone: Backbone, task: Task, languages=("en", "fr", "zh"), seed: int = 0, **config) -> Method:
    """A method, built; `module` is what trains."""
    torch.manual_seed(seed)
    method_class = registry.get("method", name)
    method: Method = method_class(method_class.Config(**config), backbone, task, languages, 64)
    method.module = method.build(backbone, task)
    return method


def pairs_of(task: Task, languages: Sequence[str], size: int = 4) -> dict[str, list[Pair]]:
    return {language: task.parallel_pairs(language, size, None) for language in languages}


def resources(shots: Sequence[Row] = (), pairs=None, seed: int = 0) -> Resources:
    return Resources(shots, generator(seed, "resources"), {"parallel": pairs or {}})


def rows_in(task: Task, languages: Sequence[str], count: int = 6) -> list[tuple[str, list[Row]]]:
    return [(language, list(task.test(language, None))[:count]) for language in languages]


def batch_in(method: Method, languages: Sequence[str], count: int = 6) -> Batch:
    encoded = method.encode_labelled([row for _, rows in rows_in(method.task, languages, count) for row in rows])
    return collate(encoded, range(len(encoded)), method.backbone.tokenizer.pad_token_id, CPU)


def spec(method: str, **fields) -> RunSpec:
    training = {"steps": 3, "learning_rate": 1e-3, "checkpoints": 1, **fields.pop("training", {})}
    common = {"task": "logic", "model": "tiny", "shots": 4, "languages": ("en", "fr"), "test_units": 6}
    return RunSpec(method=method, training=Training(**training), **{**common, **fields})


def predictions(record: Record, runtime: Runtime):
    return Store(runtime.runs).predictions(record.id)


# MPT and soft prompting


@pytest.mark.parametrize("fields", [{}, {"tune": "frozen", "training": {"steps": 12, "learning_rate": 0.01}}])
def test_mpt_without_alignment_and_translation_is_soft_prompting_to_the_bit(runtime, fields):
    soft = xlbench.run(spec("soft-prompt", **fields), runtime)
    mpt = xlbench.run(spec("mpt", config={"alpha": 0, "translator": "identity"}, **fields), runtime)
    assert soft.id != mpt.id
    assert predictions(soft, runtime).equals(predictions(mpt, runtime))
    other = xlbench.run(spec("mpt", **fields), runtime)
    assert not predictions(soft, runtime).equals(predictions(other, runtime))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dimension", [128, 6])
def test_every_translator_gives_a_prompt_of_the_same_shape_and_learns(architecture, dimension):
    torch.manual_seed(0)
    module = translator(architecture, dimension)
    prompt = torch.randn(1, 4, dimension)
    target = module(prompt)
    assert target.shape == prompt.shape
    assert not torch.allclose(target, prompt)
    (target**2).sum().backward()
    assert all(value.grad is not None and value.grad.any() for value in module.parameters())
    other = module(torch.cat([prompt, prompt + 1]))  # a row does not see the others
    assert torch.allclose(other[:1], target, atol=1e-5)


def test_linear_2_is_linear_relu_linear():
    torch.manual_seed(0)
    module = translator("linear-2", 5)
    first, _, second = module
    prompt = torch.randn(1, 3, 5)
    assert torch.equal(module(prompt), second(first(prompt).clamp(min=0)))
    assert [type(layer) for layer in module] == [nn.Linear, nn.ReLU, nn.Linear]


def test_a_target_language_is_prompted_with_the_translation_of_the_source_prompt(tiny, logic):
    method = made("mpt", tiny.fresh(), logic)
    source = method.prompt_encoder()
    alone = {
        language: method.prompt(batch_in(method, [language], 2)).expand(2, -1, -1) for language in ("en", "fr", "zh")
    }
    assert torch.equal(alone["en"][0], source)
    assert torch.equal(alone["fr"][0], method.translators["fr"](source[None])[0])
    assert not torch.equal(alone["fr"], alone["zh"])
    mixed = method.prompt(batch_in(method, ("fr", "en", "zh"), 2))
    assert torch.equal(mixed, torch.cat([alone["fr"], alone["en"], alone["zh"]]))


def test_a_shared_translator_serves_every_target_language(tiny, logic):
    own, shared = made("mpt", tiny.fresh(), logic), made("mpt", tiny.fresh(), logic, shared=True)
    assert set(own.translators) == {"fr", "zh"}
    assert len(shared.translators) == 1
    french, chinese = (shared.prompt(batch_in(shared, [language], 1)) for language in ("fr", "zh"))
    assert torch.equal(french, chinese)
    assert not torch.equal(french, shared.prompt(batch_in(shared, ["en"], 1)))


@pytest.mark.parametrize("length", [1, 8])
def test_the_prompt_has_the_length_asked_for(tiny, logic, length):
    for name in ("soft-prompt", "mpt"):
        method = made(name, tiny.fresh(), logic, prompt_length=length)
        batch = batch_in(method, ["fr"], 2)
        assert method.prompt(batch).shape[-2:] == (length, tiny.dimension)
        assert sorted(set(batch.ids[batch.ids < 0].tolist())) == list(range(-length, 0))


# Losses, by hand

LOG = math.log
P, Q = [1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 4, 1 / 2]
KL_PQ = 1 / 2 * LOG(2) + 1 / 4 * LOG(1) + 1 / 4 * LOG(1 / 2)  # = ln 2 / 4
U, V = [1 / 2, 1 / 4, 1 / 8, 1 / 8], [1 / 8, 1 / 4, 1 / 8, 1 / 2]  # over a vocabulary of four
KL_UV = 1 / 2 * LOG(4) + 1 / 8 * LOG(1 / 4)  # = 3/4 ln 2, and the same the other way
W = [1 / 4, 1 / 4, 1 / 4, 1 / 4]
KL_UW = 1 / 2 * LOG(2) + 1 / 4 * LOG(1) + 2 / 8 * LOG(1 / 2)  # = ln 2 / 4
KL_WU = 1 / 4 * LOG(1 / 2) + 1 / 4 * LOG(1) + 2 / 4 * LOG(2)  # = ln 2 / 4

# U and V over their first three words, the label words, normalised.
U_WORDS, V_WORDS = [4 / 7, 2 / 7, 1 / 7], [1 / 4, 2 / 4, 1 / 4]
KL_WORDS = 4 / 7 * LOG(16 / 7) + 2 / 7 * LOG(4 / 7) + 1 / 7 * LOG(4 / 7)
KL_WORDS_BACK = 1 / 4 * LOG(7 / 16) + 2 / 4 * LOG(7 / 4) + 1 / 4 * LOG(7 / 4)


def logits(*distributions: Sequence[float], shift: float = 0.0) -> Tensor:
    return torch.tensor(distributions).log() + shift


def test_kl_is_the_mean_over_rows_of_the_sum_over_words():
    assert pytest.approx(LOG(2) / 4) == KL_PQ
    assert kl(logits(P), logits(Q)).item() == pytest.approx(KL_PQ)
    assert kl(logits(P, P), logits(Q, P)).item() == pytest.approx(KL_PQ / 2)
    lopsided = kl(logits([3 / 4, 1 / 4]), logits([1 / 4, 3 / 4])), kl(logits([7 / 8, 1 / 8]), logits([1 / 2, 1 / 2]))
    assert lopsided[0].item() == pytest.approx(1 / 2 * LOG(3))
    assert lopsided[1].item() == pytest.approx(7 / 8 * LOG(7 / 4) + 1 / 8 * LOG(1 / 4))
    back = kl(logits([1 / 2, 1 / 2]), logits([7 / 8, 1 / 8]))
    assert back.item() == pytest.approx(1 / 2 * LOG(4 / 7) + 1 / 2 * LOG(4))


def test_pcts_two_kl_terms_run_both_ways_over_logits():
    both = symmetric_kl(logits([7 / 8, 1 / 8], shift=3.0), logits([1 / 2, 1 / 2], shift=-1.0))
    one_way = 7 / 8 * LOG(7 / 4) + 1 / 8 * LOG(1 / 4)
    other_way = 1 / 2 * LOG(4 / 7) + 1 / 2 * LOG(4)
    assert both.item() == pytest.approx(one_way + other_way)
    assert symmetric_kl(logits(P, shift=5.0), logits(P)).item() == pytest.approx(0, abs=1e-6)


def test_pcts_loss_is_two_cross_entropies_and_the_weighted_kl_terms():
    ours, theirs = logits(P, Q, shift=2.0), logits(Q, Q)
    labels = torch.tensor([0, 2])
    cross_entropy_ours = (LOG(2) + LOG(2)) / 2
    cross_entropy_theirs = (LOG(4) + LOG(2)) / 2
    divergence = (2 * KL_UV + KL_UW + KL_WU) / 2
    compared = logits(U, U), logits(V, W, shift=1.0)
    found = pct_loss((ours, theirs), (ours, theirs), compared, labels, 0.3)
    assert found.item() == pytest.approx(cross_entropy_ours + cross_entropy_theirs + 0.3 * divergence)


def test_pcts_cross_entropy_is_over_what_it_is_told_to_be():
    """Logits ln 2, ln 1 of two label words beside another word's ln 5: -ln 2/3 among the words, -ln 2/8 among all."""
    whole = torch.tensor([[2.0, 1.0, 5.0]]).log()
    words, labels = whole[:, :2], torch.tensor([0])
    among_words = pct_loss((words, words), (words, words), (words, words), labels, 1.0)
    among_all = pct_loss((words, words), (whole, whole), (whole, whole), labels, 1.0)
    assert among_words.item() == pytest.approx(2 * LOG(3 / 2))
    assert among_all.item() == pytest.approx(2 * LOG(4))


class Scripted:
    """A backbone whose logits over four words are given: those of row i stand in `table[ids[i, 0]]`; the label
    words are the first three."""

    def __init__(self, backbone: Backbone, *distributions: Sequence[float]) -> None:
        self.tokenizer, self.dimension = backbone.tokenizer, 4
        self.table = logits(*distributions).requires_grad_()

    def mask_features(self, batch: Batch, prompt: Tensor | None = None) -> Tensor:
        return self.table[batch.ids[:, 0]]

    def label_logits(self, features: Tensor, verbalizer: object) -> Tensor:
        return features[:, :3]

    def vocabulary_logits(self, features: Tensor) -> Tensor:
        return features


def scripted(rows: list[int], labels: list[int], language: int = 4) -> Batch:
    ids = torch.tensor(rows)[:, None]
    zeros = torch.zeros(len(rows), dtype=torch.long)
    return Batch(ids, torch.ones_like(ids), zeros, ids * 0, zeros + language, torch.tensor(labels))


@pytest.mark.parametrize(
    ("over", "cross_entropies"), [("vocabulary", -LOG(U[0]) - LOG(V[0])), ("label-words", LOG(7 / 4) + LOG(4))]
)
@pytest.mark.parametrize(
    ("support", "divergence"), [("vocabulary", 2 * KL_UV), ("label-words", KL_WORDS + KL_WORDS_BACK)]
)
def test_pct_minimises_both_views_and_their_divergence(tiny, logic, support, divergence, over, cross_entropies):
    method = made("pct", tiny, logic, support=support, supervised_over=over, consistency=0.5)
    method.backbone = Scripted(tiny, U, V)
    method.verbalizer = lambda language: Verbalizer(("a", "b", "c"), ((0,), (1,), (2,)))
    batch = scripted([0], [0]).with_streams({"augmented": scripted([1], [0], language=6)})
    assert method.loss(batch).item() == pytest.approx(cross_entropies + 0.5 * divergence, rel=1e-5)


def mpt_loss(tiny, logic, **config) -> tuple[Tensor, Scripted, Method]:
    """MPT's loss where shots and source side score U and the target side V."""
    method = made("mpt", tiny, logic, **config)
    method.backbone = backbone = Scripted(tiny, U, U, V)
    streams = {"source": scripted([1], [0]), "target": scripted([2], [0], language=6)}
    loss = method.loss(scripted([0], [0]).with_streams(streams))
    loss.backward()
    return loss, backbone, method


def test_mpt_adds_the_weighted_divergence_of_the_target_from_the_source(tiny, logic):
    loss, backbone, _ = mpt_loss(tiny, logic, alpha=0.25)
    assert loss.item() == pytest.approx(LOG(7 / 4) + 0.25 * KL_WORDS, rel=1e-5)
    # d KL(P‖Q) / d logits of Q = Q - P; nothing reaches the source side.
    assert backbone.table.grad[1].tolist() == [0, 0, 0, 0]
    by_hand = [0.25 * (q - p) for p, q in zip(U_WORDS, V_WORDS, strict=True)]
    assert backbone.table.grad[2].tolist() == pytest.approx([*by_hand, 0], abs=1e-6)


def test_mpt_both_ways_adds_the_other_divergence_and_reaches_the_source(tiny, logic):
    loss, backbone, _ = mpt_loss(tiny, logic, alpha=0.25, direction="both")
    assert loss.item() == pytest.approx(LOG(7 / 4) + 0.25 * (KL_WORDS + KL_WORDS_BACK), rel=1e-5)
    assert backbone.table.grad[1].abs().sum() > 0.01
    assert backbone.table.grad[2].abs().sum() > 0.01


def test_mpt_over_the_vocabulary_sums_over_every_word(tiny, logic):
    loss, backbone, _ = mpt_loss(tiny, logic, alpha=1.0, support="vocabulary")
    assert loss.item() == pytest.approx(LOG(7 / 4) + KL_UV, rel=1e-5)
    assert backbone.table.grad[2].tolist() == pytest.approx([v - u for u, v in zip(U, V, strict=True)], abs=1e-6)


def test_fine_tuning_and_soft_prompting_minimise_cross_entropy(tiny, logic):
    soft = made("soft-prompt", tiny, logic)
    soft.backbone = Scripted(tiny, U, V)
    assert soft.loss(scripted([0, 1], [0, 1])).item() == pytest.approx((LOG(7 / 4) + LOG(2)) / 2, rel=1e-5)
    tuned = made("finetune", tiny, logic)
    tuned.module.eval()
    batch = batch_in(tuned, ["en"])
    by_hand = -tuned.score(batch)[torch.arange(len(batch)), batch.labels].mean()
    assert tuned.loss(batch).item() == pytest.approx(by_hand.item(), rel=1e-5)


# What PCT and MPT learn from


def test_pct_says_each_shot_again_in_the_template_of_another_language(tiny, logic):
    shots = logic.draw(8, 0, None).train
    method = made("pct", tiny, logic)
    augmented = method.streams(resources(shots))["augmented"]
    assert augmented.aligned
    assert len(augmented.encoded) == len(shots)
    source = logic.languages.index("en")
    assert source not in augmented.encoded.language
    assert len(set(augmented.encoded.language.tolist())) > 4
    assert augmented.encoded.labels.tolist() == [shot.gold for shot in shots]
    for shot, row, language in zip(shots, augmented.encoded.ids, augmented.encoded.language, strict=True):
        alone = method.encode([shot], logic.languages[language])
        assert row.tolist() == alone.ids[0].tolist()
    again = method.streams(resources(shots))["augmented"].encoded
    assert again.language.tolist() == augmented.encoded.language.tolist()
    other = method.streams(resources(shots, seed=1))["augmented"].encoded
    assert other.language.tolist() != augmented.encoded.language.tolist()


def test_pct_normalises_over_the_vocabulary_where_asked(tiny, logic):
    words, whole = made("pct", tiny, logic), made("pct", tiny, logic, score_over="vocabulary")
    batch = batch_in(words, ("en", "fr"))
    with torch.no_grad():
        ours, theirs = words.score(batch), whole.score(batch)
        features = tiny.mask_features(batch)
        vocabulary = tiny.vocabulary_logits(features).log_softmax(-1)
    ids = tiny.tokenizer.convert_tokens_to_ids(["yes", "maybe", "no"])
    assert torch.allclose(ours.exp().sum(-1), torch.ones(len(batch)))
    known = ~torch.isinf(theirs)
    assert torch.allclose(theirs[known], vocabulary[:, ids][known], atol=1e-4)


def test_pct_over_the_vocabulary_is_wrong_where_no_label_word_is_the_likeliest(tiny, logic):
    method = made("pct", tiny, logic, score_over="vocabulary")
    method.backbone = Scripted(tiny, [1 / 4, 1 / 8, 1 / 8, 1 / 2], U)
    method.verbalizer = lambda language: Verbalizer(("yes", "maybe", "no"), ((0,), (1,), (2,)))
    scores = method.score(scripted([0, 1], [0, 0])).detach().numpy()
    assert logic.problem.scores([0, 0], scores) == {"accuracy": 0.5}


def test_pct_over_the_vocabulary_asks_each_row_for_the_words_of_its_own_language(tiny, logic):
    method = made("pct", tiny, logic, score_over="vocabulary")
    method.backbone = Scripted(tiny, [1 / 4, 1 / 8, 1 / 8, 1 / 2], U)
    words = {"en": ((0,), (1,), (2,)), "fr": ((3,), (1,), (2,))}  # the likeliest is a label word in French alone
    method.verbalizer = lambda language: Verbalizer(("yes", "maybe", "no"), words[language])
    method.label_logits = lambda features, batch: features.new_zeros(len(batch), 3)
    language = torch.tensor([logic.languages.index("en"), logic.languages.index("fr")])
    batch = replace(scripted([0, 0], [0, 0]), language=language)
    assert torch.isinf(method.score(batch)).all(dim=1).tolist() == [True, False]


def test_mpt_pairs_each_source_text_with_its_translation(tiny, logic):
    method = made("mpt", tiny, logic)
    pairs = pairs_of(logic, ("fr", "zh"), 3)
    streams = method.streams(resources(pairs=pairs))
    source, target = streams["source"], streams["target"]
    assert source.group == target.group != ""
    assert not source.aligned
    assert [logic.languages[i] for i in source.encoded.language] == ["en"] * 6
    assert [logic.languages[i] for i in target.encoded.language] == ["fr"] * 3 + ["zh"] * 3
    flat = [*pairs["fr"], *pairs["zh"]]
    for pair, ours, theirs in zip(flat, source.encoded.ids, target.encoded.ids, strict=True):
        assert ours.tolist() == method.encode([row_of(pair.source)], "en").ids[0].tolist()
        assert theirs.tolist() == method.encode([row_of(pair.target)], pair.language).ids[0].tolist()


def row_of(texts: tuple[str, ...]) -> Row:
    return Row("r", texts, 0, "en", "r")


def test_mpt_at_alpha_0_reads_no_pairs(tiny, logic):
    assert made("mpt", tiny, logic, alpha=0).streams(resources(pairs=pairs_of(logic, ("fr", "zh")))) == {}


def test_a_language_without_pairs_takes_the_source_prompt_and_the_record_says_so(tiny, logic):
    method = made("mpt", tiny, logic)
    method.streams(resources(pairs=pairs_of(logic, ("fr",))))
    source = method.prompt_encoder()
    mixed = method.prompt(batch_in(method, ("fr", "zh", "en"), 1))
    assert not torch.allclose(mixed[0], source, atol=1e-4)
    assert torch.equal(mixed[1], source)
    assert torch.equal(mixed[2], source)
    assert method.notes == ["no parallel pairs for zh: its texts are scored with the source prompt"]


def without_pairs_for(monkeypatch, logic, language: str) -> None:
    whole = type(logic).parallel_pairs
    monkeypatch.setattr(
        type(logic), "parallel_pairs",
        lambda self, asked, size, source: [] if asked == language else whole(self, asked, size, source),
    )  # fmt: skip


def test_a_run_whose_corpus_lacks_a_language_notes_it_or_refuses(runtime, logic, monkeypatch):
    without_pairs_for(monkeypatch, logic, "sw")
    asked = spec("mpt", languages=("en", "fr", "sw"), parallel_size=7)  # a size that no other test asks for
    record = xlbench.run(asked, runtime)
    assert record.notes[-1] == "no parallel pairs for sw: its texts are scored with the source prompt"
    with pytest.raises(XlbenchError, match="the parallel corpus has no pairs for 'sw'; choose another with --parallel"):
        xlbench.run(asked.with_(config={"without_pairs": "error"}), runtime)


# Languages in one batch


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("words", ["source", "target"])
def test_a_batch_of_several_languages_scores_as_one_language_at_a_time(tiny, logic, name, words):
    if name == "finetune" and words == "target":
        pytest.skip("fine-tuning has no label words")
    asked = {"label_words": words, "multi_token": "mean"}  # PCT asks for all languages' words
    method = made(name, tiny.fresh(), logic, **({} if name == "finetune" else asked))
    method.module.eval()
    with torch.no_grad():
        mixed = method.score(batch_in(method, ("zh", "en", "fr")))
        alone = torch.cat([method.score(batch_in(method, [language])) for language in ("zh", "en", "fr")])
    assert torch.allclose(mixed, alone, atol=1e-5)


def test_target_label_words_score_each_row_with_its_languages_words(tiny, logic):
    method = made("pct", tiny, logic, label_words="target", multi_token="mean")  # some languages' words are several
    batch = batch_in(method, ("en", "fr"), 2)
    with torch.no_grad():
        found = method.logits(batch)
        vocabulary = tiny.vocabulary_logits(tiny.mask_features(batch))
    english = tiny.tokenizer.convert_tokens_to_ids(["yes", "maybe", "no"])
    french = tiny.tokenizer.convert_tokens_to_ids(["oui", "peut-être", "non"])
    assert torch.allclose(found[:2], vocabulary[:2, english], atol=1e-5)
    assert torch.allclose(found[2:], vocabulary[2:, french], atol=1e-5)
    assert torch.allclose(found, method.label_logits_among(vocabulary, batch), atol=1e-5)


def test_target_words_of_several_tokens_are_refused_before_training_or_averaged(tiny, logic, runtime, monkeypatch):
    words = {**logic.label_words, "fr": ("oui", "oui non", "non")}
    monkeypatch.setattr(type(logic), "label_words", words)
    asked = spec("soft-prompt", config={"label_words": "target"})
    with pytest.raises(XlbenchError, match="the label word 'oui non' is 2 tokens of the backbone"):
        made("soft-prompt", tiny, logic, label_words="target")
    record = xlbench.run(asked.with_(config={"label_words": "target", "multi_token": "mean"}), runtime)
    assert record.status == "finished"
    method = made("pct", tiny, logic, label_words="target", multi_token="mean")
    batch = batch_in(method, ["fr"], 3)
    with torch.no_grad():
        vocabulary = tiny.vocabulary_logits(tiny.mask_features(batch))
        yes, no = (vocabulary[:, tiny.tokenizer.convert_tokens_to_ids(word)] for word in ("oui", "non"))
        expected = torch.stack([yes, (yes + no) / 2, no], dim=1)
        assert torch.allclose(method.logits(batch), expected, atol=1e-4)
        assert torch.allclose(method.label_logits_among(vocabulary, batch), expected, atol=1e-4)


# What trains


def names_of(method: Method, parameters: set[int]) -> set[str]:
    named = [*method.module.named_parameters(), *method.backbone.named_parameters(prefix="untouched")]
    return {name for name, value in named if id(value) in parameters}


EXTRA = {
    "finetune": ("head",),
    "soft-prompt": ("prompt",),
    "pct": (),
    "mpt": ("prompt", "translators.fr", "translators.zh"),
}


@pytest.mark.parametrize("tune", ["all", "lora", "frozen"])
@pytest.mark.parametrize("name", METHODS)
def test_what_should_train_has_a_gradient_and_nothing_else_has(tiny, logic, name, tune):
    method = made(name, tiny.fresh(tune), logic)
    trained = trained_parameters(method.module)
    if (name, tune) == ("pct", "frozen"):
        assert trained == {}
        return
    own = {key for key in trained if key.startswith(EXTRA[name])}
    of_backbone = set(trained) - own
    assert {extra for extra in EXTRA[name] for key in own if key.startswith(extra)} == set(EXTRA[name])
    if tune == "frozen":
        assert of_backbone == set()
    elif tune == "lora":
        assert of_backbone
        assert all("lora_" in key for key in of_backbone)
        for key in of_backbone:  # B begins as 0, which stops A's first gradient
            if "lora_B" in key:
                nn.init.normal_(trained[key], std=0.1)
    else:
        of_encoder = {key for key in of_backbone if "encoder." in key}
        assert of_encoder
        assert (of_backbone == of_encoder) == (name == "finetune")  # label words train the head too
    shots = logic.draw(2, 0, None).train
    streams = method.streams(resources(shots, pairs_of(logic, ("fr", "zh"), 2)))
    batch = next(training_batches(method, method.encode_labelled(shots), streams, 8, 0, CPU))
    method.module.train()
    method.loss(batch).backward()
    reached = {key for key, value in trained.items() if value.grad is not None and value.grad.any()}
    assert reached == set(trained)
    every = [*method.module.parameters(), *method.backbone.parameters()]
    assert {id(value) for value in every if value.grad is not None} == {id(value) for value in trained.values()}


def test_pct_with_a_frozen_backbone_has_nothing_to_train(runtime):
    with pytest.raises(XlbenchError, match="method pct has nothing to train with --tune frozen; use all or lora"):
        xlbench.run(spec("pct", tune="frozen"), runtime)


# Learning


@pytest.mark.parametrize("name", METHODS)
def test_what_learns_from_shuffled_labels_is_at_chance(name, runtime, logic, monkeypatch):
    whole = type(logic).draw

    def shuffled(rows: Sequence[Row], random: np.random.Generator) -> tuple[Row, ...]:
        """Rows of each true label get all labels in equal shares: a few random labels would agree with the truth
        now and then, and a backbone that tells the true labels apart would make much of it."""
        given = dict(zip(random.permutation(len(rows)).tolist(), range(len(rows)), strict=True))
        order = sorted(range(len(rows)), key=lambda at: (rows[at].gold, given[at]))
        labels = {at: (turn + rows[at].gold) % 3 for turn, at in enumerate(order)}
        return tuple(Row(row.id, row.texts, labels[at], row.language, row.unit) for at, row in enumerate(rows))

    def draw(self, *asked) -> FewShot:
        honest, random = whole(self, *asked), np.random.default_rng(0)
        return FewShot(shuffled(honest.train, random), shuffled(honest.dev, random))

    monkeypatch.setattr(type(logic), "draw", draw)
    monkeypatch.setattr(prepare, "_episode", prepare._episode.__wrapped__)  # no other test is given these rows
    record = xlbench.run(
        spec(name, shots=16, test_units=100, languages=("en",), training={"steps": 20, "checkpoints": 4}), runtime
    )
    deviation = math.sqrt(1 / 3 * 2 / 3 / record.test["rows"])
    assert record.test["rows"] == 300
    assert abs(record.by_language["en"] - 1 / 3) < 4 * deviation


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_with_enough_shots_every_method_learns_logic(tiny, runtime, name):
    training = {"steps": 160, "learning_rate": 5e-4, "batch_size": 16, "checkpoints": 2}
    asked = spec(name, shots=256, languages=("en", "fr"), test_units=60, max_length=64, training=training)
    record = xlbench.run(asked, runtime)
    assert record.by_language["en"] > 0.42  # chance is 1/3, and 180 rows deviate by 0.035


@pytest.mark.parametrize("name", METHODS)
def test_every_method_fits_a_handful_of_shots(tiny, logic, name):
    """A few rows can be learned by heart by any method that learns from labels at all."""
    method = made(name, tiny.fresh(), logic)
    shots = logic.draw(2, 0, None).train
    encoded = method.encode_labelled(shots)
    streams = method.streams(resources(shots, pairs_of(logic, ("fr", "zh"), 2)))
    batches = training_batches(method, encoded, streams, 6, 0, CPU)
    optimiser = torch.optim.AdamW(method.module.parameters(), lr=2e-3)
    method.module.train()
    for _ in range(40):
        optimiser.zero_grad()
        method.loss(next(batches)).backward()
        torch.nn.utils.clip_grad_norm_(method.module.parameters(), 1.0)
        optimiser.step()
    method.module.eval()
    found = predict(method, encoded, Session(CPU, token_budget=4096)).argmax(axis=1)
    assert found.tolist() == [shot.gold for shot in shots]
