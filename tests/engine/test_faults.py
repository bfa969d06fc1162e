"""Plug-ins that misbehave, clocks that jump, ids that are damaged: named with their line, and nothing else lost."""

import datetime
import itertools
import re
import warnings
from pathlib import Path

import pytest
from small_data import plugin

from xlbench import Store, Suite
from xlbench.comparison.compare import run_suite
from xlbench.host.progress import Progress
from xlbench.records.vetting import vet

SHARED = {
    "task": "logic", "model": "tiny", "languages": ("en", "fr"), "test_units": 4,
    "training": {"steps": 1, "checkpoints": 1},
}  # fmt: skip
LOSS = "return nn.functional.cross_entropy(self.logits(batch).float(), batch.labels)"
SCORE = "return self.logits(batch).float().log_softmax(-1)"
HEAD = "self.head = nn.Linear(backbone.dimension, len(task.labels))"


pytestmark = pytest.mark.usefixtures("own_registry")


class Said(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def suite(*methods: str, **run) -> Suite:
    return Suite(methods=methods, shots=(1,), run={**SHARED, **run})


# Plug-ins

BROKEN = {  # what stands in the plug-in's file, by what is said of it, and the code whose line is named
    "raises": (LOSS, 'raise RuntimeError("it broke")', "RuntimeError: it broke", 'raise RuntimeError("it broke")'),
    "raises-in-torch": (
        LOSS, "return self.head(batch.ids[:, :1].float()).sum()", "RuntimeError: mat1 and mat2", "return self.head(bat",
    ),
    "has-no-loss": (
        LOSS, "self.logits(batch)", "method has-no-loss: loss gave None; it must give a scalar", "def loss(",
    ),
    "has-a-loss-a-row": (
        LOSS, LOSS.replace("labels)", "labels, reduction='none')"), "loss gave a tensor of shape (", "def loss(",
    ),
    "gives-nan": (SCORE, SCORE + ' * float("nan")', "method gives-nan: score gave NaN (first for row 0", "def score("),
    "gives-some-nan": (
        SCORE, "found = self.logits(batch).float()\n        found[-1, 0] = float('nan')\n        return found",
        "method gives-some-nan: score gave NaN", "def score(",
    ),
    "gives-a-row-less": (SCORE, SCORE + "[1:]", "method gives-a-row-less: score gave (", "def score("),
    "gives-a-label-more": (
        HEAD, "self.head = nn.Linear(backbone.dimension, 1 + len(task.labels))", "score gave (", "def score(",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_plug_in_that_breaks_its_contract_is_named_with_its_line_and_has_no_score(name, runtime, tmp_path):
    old, new, words, code = BROKEN[name]
    file = plugin(tmp_path / f"{name}.py", name, (old, new))
    (line,) = [number for number, text in enumerate(file.read_text().splitlines(), 1) if code in text]
    found = run_suite(suite(name, "finetune"), runtime.model_copy(update={"plugins": (str(file),)}))
    assert [one.spec.method for one in found.records] == ["finetune"]
    (sentence,) = found.failed
    assert sentence.startswith(f"{name}, logic, 1 shots, draw 0, seed 0: ")
    assert words in sentence
    assert sentence.endswith(f"({file.name}:{line})")
    (failed,) = [one for one in Store(runtime.runs).records() if one.status == "failed"]
    assert failed.by_language == {}
    assert failed.error.endswith(sentence[sentence.rindex("(") :])
    assert [one.record.spec.method for one in vet(Store(runtime.runs)).results] == ["finetune"]


def test_too_few_logits_in_a_loss_are_named_with_their_shape_whoever_wrote_the_loss(runtime, tmp_path):
    """The score, padded by hand, has a label for each; the loss has none for the third."""
    few = (HEAD, "self.head = nn.Linear(backbone.dimension, 2)")
    padded = (SCORE, "return nn.functional.pad(self.logits(batch).float(), (0, 1)).log_softmax(-1)")
    for name, loss in (("own-loss", LOSS), ("usual-loss", "return super().loss(batch)")):
        file = plugin(tmp_path / f"{name}.py", name, few, padded, (LOSS, loss))
        (sentence,) = run_suite(suite(name), runtime.model_copy(update={"plugins": (str(file),)})).failed
        assert (
            f": method {name}: logits gave (3, 2) for a batch of 3 rows; for task logic it must give (3, 3) ("
            in sentence
        )


def test_a_method_that_gives_two_logits_a_choice_is_told_the_shape_of_one(runtime, tmp_path):
    usual = (LOSS, "return super().loss(batch)"), (SCORE, "return super().score(batch)")
    file = plugin(tmp_path / "two.py", "two", (HEAD, "self.head = nn.Linear(backbone.dimension, 2)"), *usual)
    plugins = (str(file), str(Path(__file__).parents[1] / "probes.py"))
    asked = suite("two", task="probe-choice")
    (sentence,) = run_suite(asked, runtime.model_copy(update={"plugins": plugins})).failed
    assert re.search(r"logits gave \((\d+), 2\) for a batch of 8 rows; .* must give \(\1,\) or \(\1, 1\) \(", sentence)


def test_a_plug_in_that_says_the_same_of_every_row_is_at_chance_and_no_fault(runtime, tmp_path):
    constant = SCORE.replace("return ", "return 0 * ")
    file = plugin(tmp_path / "constant.py", "constant", (SCORE, constant))
    found = run_suite(suite("constant"), runtime.model_copy(update={"plugins": (str(file),)}))
    assert found.failed == []
    assert found.records[0].by_language == {"en": pytest.approx(1 / 3), "fr": pytest.approx(1 / 3)}
    assert vet(Store(runtime.runs)).left_out == ()


# Clocks


def test_a_clock_that_jumps_back_and_forth_costs_nothing(runtime, monkeypatch, tmp_path):
    """The clock of the day goes back an hour, and then on a day, each time that it is asked."""
    jumps = itertools.cycle((-3600, 86_400, -90_000))
    now = [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)]

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            now[0] += datetime.timedelta(seconds=next(jumps))
            return now[0]

    for module in ("engine.execute", "comparison.watch"):
        monkeypatch.setattr(f"xlbench.{module}.datetime", Jumping)
    monkeypatch.setattr("xlbench.records.leftovers.time.time", lambda: Jumping.now().timestamp())
    said = Said()
    asked = Suite(methods=("finetune", "soft-prompt"), shots=(1,), draws=2, run=SHARED)
    found = run_suite(asked, runtime.model_copy(update={"log_json": tmp_path / "log"}), said)
    assert (found.computed, found.failed) == (4, [])
    assert all(one.seconds >= 0 and min(one.costs.values()) >= 0 for one in found.records)
    assert vet(Store(runtime.runs)).left_out == ()
    left = [sentence.rpartition(", about ")[2] for sentence in said.sentences if sentence.endswith(" left")]
    assert len(left) == 4
    assert left[-1] == "0 s left"
    assert not [words for words in left if words.startswith("-")]
    assert run_suite(asked, runtime).computed == 0


# Ids on disk


def test_a_flipped_byte_in_cached_ids_is_said_and_repaired_and_changes_nothing(runtime, tmp_path, monkeypatch):
    monkeypatch.setenv("XLBENCH_CACHE", str(tmp_path / "ids"))
    asked = suite("finetune", test_units=40)
    first = run_suite(asked, runtime)
    files = sorted((tmp_path / "ids").iterdir())
    assert files
    for file in files:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    elsewhere = runtime.model_copy(update={"runs": tmp_path / "elsewhere"})
    with pytest.warns(UserWarning, match="are damaged; they are made again"):
        second = run_suite(asked, elsewhere)
    mine, its = (one.runs / first.records[0].id / "predictions.parquet" for one in (runtime, elsewhere))
    assert mine.read_bytes() == its.read_bytes()
    assert second.records[0].by_language == first.records[0].by_language
    assert sorted((tmp_path / "ids").iterdir()) == files
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run_suite(asked, runtime.model_copy(update={"runs": tmp_path / "third"}))
