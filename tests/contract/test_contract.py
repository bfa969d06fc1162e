"""The contract: every registered method and task keeps it, and what breaks it is caught, not run."""

from dataclasses import replace

import pytest
from small_data import ON_TINY, plugin, write_ntrex, write_xnli
from typer.testing import CliRunner

from xlbench import XlbenchError, registry
from xlbench.cli import app
from xlbench.cli.plugins.check import check
from xlbench.cli.plugins.method_points import Sample, method_points
from xlbench.engine.train import generator
from xlbench.method import Resources
from xlbench.sources import DataSource

LOSS = "return nn.functional.cross_entropy(self.logits(batch).float(), batch.labels)"
SCORE = "return self.logits(batch).float().log_softmax(-1)"
ENCODE = 'return self.in_template("pair", rows, language)'
BUILD = 'return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head})'
DOCSTRING = '"""The mean of the last hidden states, and a linear layer."""'
CLASS = "class MeanPool(Method):"


pytestmark = pytest.mark.usefixtures("own_registry")


OTHER_KINDS = [
    (name, task)
    for name in registry.names("method")
    for task in ("logic-choice", "logic-tags")
    if type(registry.get("task", task).problem) in registry.get("method", name).solves
]


@pytest.mark.parametrize(("name", "task"), OTHER_KINDS)
def test_shipped_methods_keep_the_contract_on_every_kind_that_they_solve(name, task):
    sample = Sample(registry.get("task", task)(), DataSource(None), None, ON_TINY.get(name, {}))
    for point, hold in method_points(registry.get("method", name), sample):
        answer = hold()
        assert not answer or getattr(answer, "ok", False), (point, answer)


@pytest.mark.parametrize("name", registry.names("method"))
def test_every_method_keeps_the_contract(name):
    findings = check(name, settings=ON_TINY.get(name))
    assert [(finding.point, finding.why) for finding in findings if not finding.ok] == []
    assert len(findings) > 10


def test_the_task_without_data_keeps_the_contract():
    assert [(finding.point, finding.why) for finding in check("logic") if not finding.ok] == []


def test_xnli_s_rows_keep_the_contract_in_the_languages_of_a_small_folder(tmp_path, monkeypatch):
    write_ntrex(write_xnli(tmp_path))
    monkeypatch.setattr(registry.get("task", "xnli"), "languages", ("en", "fr", "sw"))
    findings = check("xnli", data_root=tmp_path)
    assert [(finding.point, finding.why) for finding in findings if not finding.ok] == []


def test_a_plug_in_that_works_passes(tmp_path):
    registry.load_plugin(str(plugin(tmp_path / "mine.py", "mine")))
    assert all(finding.ok for finding in check("mine"))


def test_parallel_pairs_that_were_not_asked_for_are_no_empty_pairs():
    resources = Resources((), generator(0, "resources"))
    for read in (lambda: resources["parallel"], lambda: resources.parallel):
        with pytest.raises(XlbenchError, match="'parallel' was not asked for; declare it in the method's `needs`"):
            read()
    assert replace(resources, loaded={"parallel": {}}).parallel == {}


HELD = {
    "a list": "[nn.Linear(2, 2)]",
    "a tuple in a dict": '{"a": (1, nn.Parameter(__import__("torch").zeros(2)))}',
    "a bare tensor": '__import__("torch").zeros(2, requires_grad=True)',
}


@pytest.mark.parametrize("held", HELD)
def test_what_would_never_train_is_found_wherever_a_method_holds_it(held, tmp_path):
    inside = "self.parts = [self.head, {'deep': self.head.weight}, backbone.encoder]\n        "
    broken = plugin(tmp_path / "mine.py", "mine", (BUILD, f"{inside}self.heads = {HELD[held]}\n        {BUILD}"))
    registry.load_plugin(str(broken))
    said = [finding.why for finding in check("mine") if not finding.ok]
    assert said == ["heads would never train, for the module does not hold it"]


def test_a_method_that_learns_in_fit_is_not_asked_for_a_head_outside_of_its_module(tmp_path):
    fit = "    def fit(self, resources):\n        pass\n\n    def loss"
    file = plugin(tmp_path / "mine.py", "mine", ("    def loss", fit), (', "head": self.head', ""))
    registry.load_plugin(str(file))
    assert [finding.why for finding in check("mine") if not finding.ok] == []


# What breaks it: the text of a working method, with one thing changed

BROKEN = {
    "no docstring": (DOCSTRING, "", "docstring"),
    "a setting without a description": (
        DOCSTRING,
        DOCSTRING
        + "\n\n    class Config(__import__('xlbench.method').method.MethodConfig):\n        rate: float = 1.0",
        "without a default or description: rate",
    ),
    "build raises": (BUILD, 'raise OSError("no such layer")', "OSError: no such layer"),
    "nothing trains": (BUILD, BUILD + ".requires_grad_(False)", "nothing trains"),
    "encode raises": (ENCODE, 'raise KeyError("template")', "KeyError: 'template'"),
    "encode is random": (
        ENCODE,
        'e = self.in_template("pair", rows, language)\n'
        "        import random\n        random.shuffle(e.ids)\n        return e",
        "two calls with the same rows differ",
    ),
    "encode loses rows": (ENCODE, ENCODE.replace("rows", "rows[1:]"), "rows"),
    "loss is a vector": (LOSS, LOSS[:-1] + ', reduction="none")', "not one finite number"),
    "loss is NaN": (LOSS, LOSS + ' * float("nan")', "not one finite number"),
    "loss has no gradient": (LOSS, LOSS + ".detach()", "does not require grad"),
    "loss raises": (LOSS, "raise ZeroDivisionError", "ZeroDivisionError"),
    "score has a row too few": (SCORE, SCORE + "[1:]", "it must give (12, 3)"),
    "score has a label too few": (SCORE, SCORE + "[:, 1:]", "it must give (12, 3)"),
    "score is one number": (SCORE, SCORE + ".sum()", "it must give (12, 3)"),
    "score is NaN": (SCORE, SCORE + ' * float("nan")', "score gave NaN"),
    "scores are no log-probabilities": (SCORE, SCORE.replace("log_softmax(-1)", "softmax(-1)"), "above 0"),
    "scores depend on the batch": (SCORE, SCORE.replace(".float()", ".float().sub(batch.attention.shape[1])"
                                   ".mul(len(batch))"), "they differ by"),
    "scores are random": (SCORE, SCORE.replace(".float()", ".float().mul(self.noise())"), "they differ by"),
    "score raises": (SCORE, 'raise IndexError("label")', "IndexError: label"),
    "score changes the weights": (SCORE, f"self.head.bias.data += 1e-6\n        {SCORE}", "score changed head.bias"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_check_fails_on_a_broken_method_and_says_why(tmp_path, fault):
    old, new, why = BROKEN[fault]
    noise = "\n    def noise(self):\n        import torch\n\n        return torch.rand(1)\n"
    file = plugin(tmp_path / "broken.py", "broken", (old, new), ("    def loss", noise.lstrip("\n") + "\n    def loss"))
    done = CliRunner().invoke(app, ["check", "broken", "--plugin", str(file)])
    assert done.exit_code == 1, (done.output, done.exception)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILS ")]
    assert failed
    assert why in "\n".join(failed)
    assert "Traceback" not in done.output


def test_a_class_that_is_no_method_fails_the_check(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from xlbench import register_method\n@register_method('mine')\nclass Mine:\n    '''Nothing.'''\n"
    )
    done = CliRunner().invoke(app, ["check", "mine", "--plugin", str(tmp_path / "mine.py")])
    assert done.exit_code == 1
    assert "Mine is no Method" in done.stdout


TASK = '''
from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.task import Row


@register_task("mine")
class Mine(NLITask):
    """Numbers."""

    languages = ("en", "fr")
    license = "MIT"
    citation = "none"

    def rows(self, split, language, source):
        numbers = [(i, i // 3) for i in range(24)]
        return [
            Row(f"{split}-{i}", (f"{language} {split} {p}.", f"{language} {split} {i} so."), i % 3, language, f"{p}")
            for i, p in numbers
        ]
'''

BROKEN_TASKS = {
    "it names no licence": ('license = "MIT"', "", "no license"),
    "the source is none of its languages": ('("en", "fr")', '("fr", "de")', "en"),
    "a template is missing in a language": ('("en", "fr")', '("en", "fr", "xx")', "xx"),
    "a label has no rows": ("i % 3,", "i % 2,", "none of 'contradiction'"),
    "row ids are not unique": ('f"{split}-{i}"', '"same"', "train split in en, row same: its id is there twice"),
    "a row lacks a text": (', f"{language} {split} {i} so.")', ",)", "train-0"),
    "rows are random": ("return [", "import random\n        return [Row(str(random.random()), r.texts, r.gold, "
                         "r.language, r.unit) for r in [", "another reading of train gives other rows"),
    "test sentences are in train": ("{language} {split}", "{language}", "is in test row"),
    "rows raise": ("return [", "raise OSError('no file')\n        return [", "OSError: no file"),
}  # fmt: skip


def test_a_task_that_works_passes(tmp_path):
    (tmp_path / "mine.py").write_text(TASK)
    registry.load_plugin(str(tmp_path / "mine.py"))
    assert [(finding.point, finding.why) for finding in check("mine") if not finding.ok] == []


@pytest.mark.parametrize("fault", BROKEN_TASKS)
def test_check_fails_on_a_broken_task_and_says_why(tmp_path, fault):
    old, new, why = BROKEN_TASKS[fault]
    assert old in TASK
    text = TASK.replace(old, new)
    if "random" in new:
        text = text.rstrip() + "]\n"
    (tmp_path / "mine.py").write_text(text)
    done = CliRunner().invoke(app, ["check", "mine", "--plugin", str(tmp_path / "mine.py")])
    assert done.exit_code == 1, (done.output, done.exception)
    assert why in "\n".join(line for line in done.stdout.splitlines() if line.startswith("FAILS "))


def test_rows_that_are_not_aligned_over_the_languages_are_a_note(tmp_path):
    old, new = "i % 3,", "(i + (language == 'fr')) % 3,"
    assert old in TASK
    (tmp_path / "mine.py").write_text(TASK.replace(old, new))
    registry.load_plugin(str(tmp_path / "mine.py"))
    findings = {finding.point: finding for finding in check("mine")}
    assert all(finding.ok for finding in findings.values())
    told = findings["test rows are not aligned over the languages"]
    assert told.note
    assert "row test-0 of fr has another answer or unit in en" in told.why


# What a task's check says of the methods

REVIEWS = '''
from xlbench.registry import register_task
from xlbench.task import Row, Task

LANGUAGES = ("en", "fr")


@register_task("reviews")
class Reviews(Task):
    """Single texts."""

    languages, labels, fields, unit = LANGUAGES, ("bad", "plain", "good"), ("text",), "row"
    license = citation = "none"
    templates = {"soft": dict.fromkeys(LANGUAGES, "{text.} . <prompt> <mask> .")}
    label_words = {"en": ("yes", "maybe", "no")}

    def rows(self, split, language, source):
        tag = {"train": "tall", "validation": "big", "test": "small"}[split]
        return [
            Row(f"{split}-{noun}-{label}", (f"{tag} {noun} {word} {language}",), label, language, f"{noun}-{label}")
            for noun in "lamp boat door cup tree".split()
            for label, word in enumerate(("awful", "plain", "nice"))
        ]
'''


OF_NO_WORDS = 'LANGUAGES = ("en", "fr")', 'LANGUAGES = ("en", "ace")'  # no template has Acehnese words


def lines_of(tmp_path, edits=(), *arguments: str, name: str = "reviews") -> tuple[int, list[str]]:
    """The exit code and the lines of a check, on the task of REVIEWS with some of its text changed."""
    text = REVIEWS
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "reviews.py").write_text(text)
    done = CliRunner().invoke(app, ["check", name, "--plugin", str(tmp_path / "reviews.py"), *arguments])
    assert not done.stderr
    return done.exit_code, done.stdout.splitlines()


def test_a_task_s_check_says_of_each_method_whether_it_runs(tmp_path):
    code, lines = lines_of(tmp_path, [OF_NO_WORDS])
    assert code == 0
    assert "ok    soft-prompt runs" in lines
    assert "note  mpt runs: with parallel text: give --parallel, the task names none" in lines
    assert "ok    finetune runs" in lines  # `pair` is a task's texts one after the other, where it does not say
    assert "note  pct does not run: task reviews has its template in one language only" in lines


def test_general_templates_in_two_languages_words_are_enough_for_pct(tmp_path):
    _, lines = lines_of(tmp_path)  # French has words for question and answer
    assert "ok    pct runs" in lines


@pytest.mark.parametrize(
    ("part", "edit"), [("<mask>", ("<prompt> <mask>", "<prompt>")), ("<prompt>", ("<prompt> <mask>", "<mask>"))]
)
def test_a_template_that_lacks_what_a_method_reads_fails_the_check(tmp_path, part, edit):
    code, lines = lines_of(tmp_path, [edit])
    (line,) = [line for line in lines if line.startswith("FAILS soft-prompt")]
    assert line.startswith(
        f"FAILS soft-prompt runs: task reviews, template 'soft', en: '{{text.}} . {edit[1]} .' has no {part}, which "
        "method soft-prompt reads; add it"
    )
    assert code == 1


@pytest.mark.parametrize("words", [("yes", "no"), ("yes", "maybe", "no", "the")])
def test_label_words_are_as_many_as_the_labels(tmp_path, words):
    code, lines = lines_of(tmp_path, [('("yes", "maybe", "no")', repr(words))])
    assert (
        f"FAILS every language with label words has one for each label: en has {len(words)} words for 3 labels" in lines
    )
    assert code == 1


@pytest.mark.parametrize("word", ["awful", "ខ្មែរ"])  # of several pieces; of none
def test_label_words_that_tiny_lacks_are_no_fault_of_the_task_s(tmp_path, word):
    edits = [('("yes", "maybe", "no")', repr(("yes", "maybe", word)))]
    code, lines = lines_of(tmp_path, edits)
    (line,) = [line for line in lines if "the model tiny lacks a label word" in line]
    assert line.startswith("note ")
    assert word in line
    assert "--model" in line
    assert (code, [line for line in lines if line.startswith("FAILS")]) == (0, [])
    code, lines = lines_of(tmp_path, edits, "--model", "tiny")
    (line,) = [line for line in lines if line.startswith("FAILS the model tiny knows the source's label words")]
    assert word in line
    assert code == 1


def test_settings_reach_the_methods_of_a_check(tmp_path):
    edits = [('("yes", "maybe", "no")', '("yes", "maybe", "awful")')]
    code, lines = lines_of(tmp_path, edits, "--model", "tiny", "--set", "multi_token=mean")
    assert "ok    the model tiny knows the source's label words" in lines
    assert code == 0
    for name in ("reviews", "soft-prompt"):
        with pytest.raises(XlbenchError, match=f"'multi_tokn' for .* {name}; did you mean 'multi_token'"):
            check(name, settings={"multi_tokn": "mean"})
        with pytest.raises(XlbenchError, match=r"the config of method .*: prompt_length = 0: "):
            check(name, settings={"prompt_length": 0})


def test_a_model_that_is_not_there_is_a_mistake():
    with pytest.raises(XlbenchError, match=r"the model folder \./nowhere does not exist"):
        check("finetune", model="./nowhere")


def test_a_method_is_skipped_on_a_task_that_it_does_not_support(tmp_path):
    code, lines = lines_of(tmp_path, [OF_NO_WORDS], "--task", "reviews", name="pct")
    assert lines[-1] == "note  it is skipped: task reviews has its template in one language only"
    assert code == 0


def test_a_method_that_breaks_its_own_contract_fails_its_own_check_and_no_task_s(tmp_path):
    registry.load_plugin(str(plugin(tmp_path / "broken.py", "broken", (LOSS, "raise ZeroDivisionError"))))
    findings = {finding.point: finding for finding in check("logic")}
    assert findings["broken breaks"].note
    assert "see `xlbench check broken --task logic`" in findings["broken breaks"].why
    assert all(finding.ok for finding in findings.values())


def test_unknown_names_are_mistakes_not_failures():
    with pytest.raises(XlbenchError, match="unknown method or task 'nothing'"):
        check("nothing")
    with pytest.raises(XlbenchError, match="unknown task 'nothing'"):
        check("finetune", "nothing")
