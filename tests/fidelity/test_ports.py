"""Each method of the harness against a port of what was published: ids, loss, gradients, trained scores to 1e-5."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from ports import Port
from torch import nn
from torch.nn.functional import log_softmax

from xlbench import registry
from xlbench.backbone import TINY, Backbone
from xlbench.batching import collate
from xlbench.corpora import Pair
from xlbench.engine.predict import predict
from xlbench.engine.session import Session
from xlbench.engine.train import fit, training_batches
from xlbench.method import Method, Resources
from xlbench.prompts import Encoded, PromptEncoder
from xlbench.spec import ResolvedTraining, RunSpec
from xlbench.task import Row, Task

METHODS = ("finetune", "soft-prompt", "pct", "mpt")
PROTOCOLS = ("matched", "zhao-schuetze", "pct")
WORDS = ("yes", "maybe", "no")
CPU, STEPS, ALPHA = torch.device("cpu"), 3, 0.5
ROWS = [
    ("Anna visited Paris but not Rome.", "Anna visited Paris.", 0),
    ("Anna visited Paris.", "Omar visited Rome.", 1),
    ("Omar did not visit Rome.", "Omar visited Rome.", 2),
]
TARGETS = {
    "fr": [("Anna a visité Paris.", "Omar a visité Rome.", 0), ("Omar n'a pas visité Rome.", "Anna a visité Rome.", 0),
           ("Anna a visité Rome.", "Anna a visité Paris.", 0)],
    "sw": [("Anna alitembelea Paris.", "Omar alitembelea Roma.", 0),
           ("Omar hakutembelea Roma.", "Anna alitembelea Roma.", 0),
           ("Anna alitembelea Roma.", "Anna alitembelea Paris.", 0)],
}  # fmt: skip


class Both:
    """A method of the harness, and its port with the same weights."""

    def __init__(self, name: str, tiny: Backbone, logic: Task, protocol: str) -> None:
        torch.manual_seed(0)
        spec = RunSpec(method=name, shots=1, protocol=protocol, task="xnli")
        self.asked = {**spec.training.model_dump(), "learning_rate": spec.training.learning_rate or 1e-5}
        config = {**spec.config, **({"head_dropout": 0.0} if name == "finetune" else {})}
        config |= {"alpha": ALPHA} if name == "mpt" else {}
        method_class = registry.get("method", name)
        self.method: Method = method_class(method_class.Config(**config), tiny.fresh(), logic, ("en", "fr", "sw"), 64)
        self.module = self.method.build(self.method.backbone, logic)
        pretrained = self.method.backbone.pretrained()
        fresh = {key: value for key, value in self.module.named_parameters() if id(value) not in pretrained}
        self.port = Port(TINY, WORDS, fresh)
        self.name, self.protocol = name, protocol
        self.shots = [Row(f"r{n}", row[:2], row[2], "en", f"u{n}") for n, row in enumerate(ROWS)]
        pairs = {
            language: [Pair(f"{language}{n}", language, ROWS[n][:2], row[:2]) for n, row in enumerate(rows)]
            for language, rows in TARGETS.items()
        }
        loaded = {"parallel": pairs} if name == "mpt" else {}
        self.resources = Resources(self.shots, np.random.default_rng(0), loaded)
        self.encoded = self.method.encode_labelled(self.shots)
        self.streams = self.method.streams(self.resources)

    def others(self) -> list[str]:
        """The language of each shot's second view, in which the harness drew it."""
        return [self.method.task.languages[index] for index in self.streams["augmented"].encoded.language]

    def loss(self) -> torch.Tensor:
        """The port's loss on all rows and pairs."""
        if self.name == "finetune":
            return self.port.finetune(ROWS)
        if self.name == "soft-prompt":
            return self.port.soft_prompt(ROWS)
        if self.name == "pct":
            return self.port.pct(ROWS, self.others())
        pairs = [(language, ROWS[n], row) for language, rows in TARGETS.items() for n, row in enumerate(rows)]
        return self.port.mpt(ROWS, pairs, ALPHA)

    def ids(self) -> list[list[int]]:
        """The port's ids of the shots."""
        if self.name == "finetune":
            return [self.port.pair(row) for row in ROWS]
        if self.name == "pct":
            return [self.port.question(row, "en") for row in ROWS]
        return [self.port.soft(row, 4) for row in ROWS]

    def logits(self, row, language: str) -> torch.Tensor:
        """The port's logits of a row at test time, over the labels or over the vocabulary."""
        port = self.port
        if self.name == "finetune":
            return port.head(port.pair(row))
        if self.name == "pct":
            return port.at_mask(port.question(row, language))
        vectors = port.translated(language) if self.name == "mpt" and language != "en" else port.prompt()
        return port.at_mask(port.soft(row, 4), vectors)[port.label_ids]

    def counterpart(self) -> dict[str, torch.Tensor]:
        """The port's weights by the names that the harness has for them."""
        named = dict(self.port.model.named_parameters())
        found = dict(self.port.fresh)
        for key, _ in self.module.named_parameters():
            if key in found:
                continue
            short = re.sub(r"(layer\.\d+)\.layer\.", r"\1.", key.removeprefix("backbone.").removeprefix("encoder."))
            short = short.replace("embeddings.word_embeddings.weight", "decoder.weight")  # they are tied
            candidates = (f"roberta.{short}", f"lm_head.{short.removeprefix('transform.')}")
            match = next((name for name in candidates if name in named), None)
            if match is not None:
                found[key] = named[match]
        return found


@pytest.fixture
def both(request, tiny, logic) -> Both:
    name, protocol = request.param
    return Both(name, tiny, logic, protocol)


def every(*names: str) -> list[tuple[str, str]]:
    return [(name, protocol) for name in names or METHODS for protocol in PROTOCOLS]


@pytest.mark.parametrize("both", every(), indirect=True, ids=str)
def test_ids_are_those_of_the_source(both):
    assert [ids.tolist() for ids in both.encoded.ids] == both.ids()
    if both.name == "pct":
        others = both.streams["augmented"].encoded.ids
        assert all(len(ids) for ids in others)


@pytest.mark.parametrize("both", [("pct", "matched")], indirect=True, ids=str)
def test_pcts_second_views_are_the_same_rows_in_another_language_s_template(both):
    spoken = [name for name in both.others() if name in ("fr", "sw")]
    for row, language, ids in zip(ROWS, both.others(), both.streams["augmented"].encoded.ids, strict=True):
        assert language != "en"
        if language in spoken:
            assert ids.tolist() == both.port.question(row, language)


def known_others(both: Both) -> None:
    """PCT's second views in languages whose templates the port has."""
    if both.name == "pct":
        rows = [replace(row, language=name) for row, name in zip(both.shots, ("fr", "sw", "fr"), strict=True)]
        stream = both.streams["augmented"]
        both.streams["augmented"] = replace(stream, encoded=both.method.encode_labelled(rows))


@pytest.mark.parametrize("both", every(), indirect=True, ids=str)
def test_loss_and_gradients_are_those_of_the_source(both):
    known_others(both)
    both.module.eval()
    batch = next(training_batches(both.method, both.encoded, both.streams, 6, 0, CPU))
    ours, theirs = both.method.loss(batch), both.loss()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    ours.backward()
    theirs.backward()
    counterpart = both.counterpart()
    for name, value in both.module.named_parameters():
        if value.grad is not None:
            other = counterpart[name].grad
            nothing = torch.zeros_like(value)
            torch.testing.assert_close(value.grad, nothing if other is None else other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("both", every(), indirect=True, ids=str)
def test_scores_after_training_are_those_of_the_source(both):
    known_others(both)
    both.method.backbone.eval()
    training = ResolvedTraining(**{**both.asked, "steps": STEPS, "batch_size": 6, "checkpoints": 1})
    fit(both.method, both.module, both.encoded, both.streams, lambda: (0, 0), training, "last", 0, Session(CPU))
    both.port.train(both.loss, STEPS, both.asked)
    for language in ("en", "fr", "sw"):
        rows = ROWS if language == "en" else TARGETS[language]
        encoded = both.method.encode_labelled([Row(f"t{n}", row[:2], 0, language, "u") for n, row in enumerate(rows)])
        found = predict(both.method, encoded, Session(CPU))
        with torch.no_grad():
            logits = torch.stack([both.logits(row, language) for row in rows])
        assert np.allclose(found, scored(both, logits), atol=2e-5), language


def scored(both: Both, logits: torch.Tensor) -> np.ndarray:
    """What the source scores labels by: over the labels, or over the vocabulary, where another word makes all wrong."""
    ids = both.port.label_ids
    if both.name != "pct":
        return log_softmax(logits, dim=-1).numpy()
    if both.protocol != "pct":
        return log_softmax(logits[:, ids], dim=-1).numpy()
    among = log_softmax(logits, dim=-1)[:, ids]
    return among.masked_fill(~torch.isin(logits.argmax(-1), torch.tensor(ids))[:, None], -torch.inf).numpy()


def test_a_prompt_begins_as_normal_numbers_and_its_vectors_differ():
    """As nn.Embedding: s.d. 1; at 0.02 the four vectors had a mean cosine of 0.998."""
    cosines = []
    for seed in range(5):
        torch.manual_seed(seed)
        vectors = PromptEncoder(4, 384)()
        cosine = nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=-1)
        cosines.append(float(cosine[np.triu_indices(4, 1)].mean()))
    assert np.mean(cosines) < 0.9


def test_a_batch_is_padded_and_gives_the_same_scores(tiny, logic):
    one = Both("soft-prompt", tiny, logic, "matched")
    assert isinstance(one.encoded, Encoded)
    batch = collate(one.encoded, [0, 1, 2], one.method.backbone.tokenizer.pad_token_id, CPU)
    alone = [collate(one.encoded, [n], one.method.backbone.tokenizer.pad_token_id, CPU) for n in range(3)]
    one.module.eval()
    with torch.no_grad():
        together, apart = one.method.score(batch), torch.cat([one.method.score(row) for row in alone])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)
