"""The prediction engine: the rows' order, and scores that do not depend on the batches."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data import ASKS, ON_TINY

from xlbench import registry
from xlbench.batching import collate
from xlbench.engine.execute import _train
from xlbench.engine.predict import predict
from xlbench.engine.prepare import prepare
from xlbench.engine.session import Session
from xlbench.engine.train import training_batches
from xlbench.errors import XlbenchError
from xlbench.host.progress import Progress
from xlbench.method import Method, Resources
from xlbench.problem import Classification
from xlbench.prompts import Encoded
from xlbench.spec import RunSpec, Runtime, Training

CPU = torch.device("cpu")
METHODS = registry.names("method")
LOOKS_UP = {"sentence-encoder"}  # kept vectors by the ids of a batch, which it asks for


class Echo(Method):
    """Scores that are the row's first token and its length; `spoil` changes what a batch gives."""

    name = "echo"

    def score(self, batch):
        found = torch.stack([batch.ids[:, 0], batch.attention.sum(1), batch.language], dim=1)
        return self.spoil(found.float())

    spoil = staticmethod(lambda scores: scores)


def rows(lengths: list[int]) -> Encoded:
    numbers = np.arange(len(lengths))
    return Encoded([np.full(n, i) for i, n in zip(numbers, lengths, strict=True)], numbers, numbers, numbers % 5)


def echo(tiny, logic, encoded: Encoded, budget: int = 20, spoil=None) -> np.ndarray:
    method = Echo(Echo.Config(), tiny, logic, ("en",))
    if spoil is not None:
        method.spoil = spoil
    return predict(method, encoded, Session(CPU, token_budget=budget))


def test_scores_come_in_the_order_of_the_rows(tiny, logic):
    lengths = [3, 9, 1, 40, 9, 2, 7]
    found = echo(tiny, logic, rows(lengths))
    assert found.dtype == np.float32
    assert found.tolist() == [[i, n, i % 5] for i, n in enumerate(lengths)]


def test_no_rows_give_no_scores(tiny, logic):
    assert len(echo(tiny, logic, rows([]))) == 0


@pytest.mark.parametrize(
    "spoil", [lambda s: s[:, :2], lambda s: s[:1], lambda s: s[:, 0], lambda s: s.T, lambda s: s[None]]
)
def test_scores_of_the_wrong_shape_are_refused(tiny, logic, spoil):
    with pytest.raises(XlbenchError, match=r"method echo: score gave .* for a batch of 4 rows; .* must give \(4, 3\)"):
        echo(tiny, logic, rows([5, 5, 5, 5]), spoil=spoil)


def test_nan_scores_are_refused_and_the_row_is_named(tiny, logic):
    def spoil(scores):
        return torch.where(scores[:, :1] == 2, torch.nan, scores)

    with pytest.raises(XlbenchError, match=r"method echo: score gave NaN \(first for row 2 of 4\)"):
        echo(tiny, logic, rows([5, 6, 1, 9]), spoil=spoil)


def test_progress_hears_of_every_row_of_the_test_and_of_no_other(tiny, logic):
    class Counter(Progress):
        rows = 0

        def step(self, count=1, **facts):
            self.rows += count

    method, encoded = Echo(Echo.Config(), tiny, logic, ("en",)), rows([5, 6, 1, 9, 30])
    for stage, heard in (("evaluation", 0), ("test", 5)):
        progress = Counter()
        predict(method, encoded, Session(CPU, token_budget=20, progress=progress), stage)
        assert progress.rows == heard


def test_accuracy_is_the_share_of_rows_whose_likeliest_label_is_gold():
    scores = np.log([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3]])
    assert Classification(("a", "b", "c")).scores([0, 2, 1, 0], scores) == {"accuracy": 0.75}


@pytest.fixture(scope="module")
def methods(tiny, logic) -> dict[str, Method]:
    """Each method as it stands before training, heads and prompts made larger so that scores differ."""
    made = {}
    for name in METHODS:
        torch.manual_seed(0)
        method_class = registry.get("method", name)
        config = method_class.Config(**ON_TINY.get(name, {}))
        method = method_class(config, tiny.fresh(), logic, ("en", "fr", "zh"))
        module = method.build(method.backbone, logic).eval()
        for key, value in module.named_parameters():
            if key.startswith(("head", "prompt", "translators")) and value.dim() > 1:
                value.data *= 5
        made[name] = method
    return made


def several_languages(method: Method, logic) -> Encoded:
    parts = [method.encode_labelled(logic.test(language, None)[:24]) for language in ("en", "zh", "fr")]
    return Encoded.join(parts)


@pytest.fixture(scope="module")
def alone(methods, logic) -> dict[str, tuple[Encoded, np.ndarray]]:
    """Each method's rows in three languages, and their log-probabilities, every row in a batch of its own."""
    encoded = {name: several_languages(method, logic) for name, method in methods.items()}
    return {name: (rows, predict(methods[name], rows, Session(CPU, token_budget=1))) for name, rows in encoded.items()}


@pytest.mark.parametrize("name", METHODS)
def test_rows_alone_are_scored_with_probabilities_that_differ(alone, name):
    _, scores = alone[name]
    assert np.allclose(np.exp(scores).sum(axis=1), 1, atol=1e-5)
    assert scores.std(axis=0).max() > 1e-3


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budget=st.integers(1, 8192), seed=st.integers(0, 2**32 - 1))
def test_log_probabilities_do_not_depend_on_the_batches_or_the_order_of_rows(methods, alone, name, budget, seed):
    encoded, scores = alone[name]
    order = np.random.default_rng(seed).permutation(len(encoded))
    found = predict(methods[name], encoded.taken(order), Session(CPU, token_budget=budget))
    np.testing.assert_allclose(found, scores[order], atol=3e-5, rtol=2e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU: bf16 is compared with fp32 on one")
@pytest.mark.parametrize("method", METHODS)
def test_bf16_on_a_gpu_costs_less_than_a_fifth_of_a_point(logic, method, tmp_path):
    """Accuracy over all test rows of the 15 languages, trained once and scored in both precisions."""
    spec = RunSpec(
        method=method, config=ON_TINY.get(method, {}), task="logic", model="tiny", shots=16, precision="fp32",
        training=Training(steps=20), **ASKS.get(method, {}),
    )  # fmt: skip
    runtime = Runtime(runs=tmp_path, device="cuda")
    prepared = prepare(spec, runtime)
    trained = _train(prepared, runtime, Session(prepared.device), prepared.configurations[0], 0).method
    rows = [row for side in prepared.episode.test.rows.by_language.values() for row in side]
    gold, encoded = [row.gold for row in rows], trained.encode_labelled(rows)
    fp32, bf16 = (
        logic.problem.scores(gold, predict(trained, encoded, Session(prepared.device, kind, 8192)))["accuracy"]
        for kind in ("fp32", "bf16")
    )
    assert abs(fp32 - bf16) < 0.002


def test_predicting_leaves_no_gradients(methods, logic):
    method = methods["finetune"]
    predict(method, several_languages(method, logic), Session(CPU, token_budget=4096))
    assert all(value.grad is None for value in method.backbone.parameters())
    assert all(value.grad is None for value in method.head.parameters())


@pytest.mark.parametrize(
    ("name", "label_words"),
    [
        (name, words)
        for name in sorted({*METHODS} - LOOKS_UP)
        for words in (
            ("source", "target") if "label_words" in registry.get("method", name).Config.model_fields else ("",)
        )
    ],
)
def test_what_a_method_computes_of_a_batch_waits_for_no_device(name, label_words, tmp_path):
    """On the meta device nothing is computed, so that whoever asks it for a number is told off."""
    asked = {"label_words": label_words, "multi_token": "mean"} if label_words else {}
    spec = RunSpec(
        method=name, task="logic", model="tiny", shots=2, config=asked, test_units=2, tune="all", **ASKS.get(name, {})
    )
    prepared, meta = prepare(spec, Runtime(runs=tmp_path)), torch.device("meta")
    assert prepared.spec.languages is not None
    backbone = prepared.backbone.fresh().to(meta)
    backbone.decoder.weight = backbone.word_embeddings()  # which come apart on the way there
    method = prepared.method_class(prepared.config, backbone, prepared.task, prepared.spec.languages)
    module = method.build(backbone, prepared.task).to(meta)
    everything = method.encode_labelled(
        [row for side in prepared.episode.test.rows.by_language.values() for row in side]
    )
    batch = collate(everything, np.arange(len(everything)), backbone.tokenizer.pad_token_id, meta)
    assert batch.padding > 0
    with torch.inference_mode():
        assert method.score(batch).shape == (len(everything), 3)
    train = prepared.episode.shots.train
    shots = method.encode_labelled(train)
    streams = method.streams(Resources(train, np.random.default_rng(0), prepared.resources))
    step = next(training_batches(method, shots, streams, 4, 0, meta))
    assert set(step.streams) == set(streams)
    method.loss(step).backward()
    assert any(value.grad is not None for value in module.parameters())
