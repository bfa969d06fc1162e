"""The contract: every registered method and task keeps it, and what breaks it is caught, not run."""

import pytest
from small_data import plugin, registry_as_it_was, write_ntrex, write_xnli
from typer.testing import CliRunner

from xlbench import XlbenchError, registry
from xlbench.cli import app
from xlbench.cli.check import check

LOSS = "return nn.functional.cross_entropy(self.logits(batch).float(), batch.labels)"
SCORE = "return self.logits(batch).float().log_softmax(-1)"
ENCODE = 'return self.in_template("pair", rows, language)'
BUILD = 'return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head})'
DOCSTRING = '"""The mean of the last hidden states, and a linear layer."""'
CLASS = "class MeanPool(Method):"


@pytest.fixture(autouse=True)
def _own_registry():
    with registry_as_it_was():
        yield


@pytest.mark.parametrize("name", registry.names("method"))
def test_every_method_keeps_the_contract(name):
    findings = check(name)
    assert [(finding.what, finding.why) for finding in findings if not finding.ok] == []
    assert len(findings) > 10


def test_the_task_without_data_keeps_the_contract():
    assert [(finding.what, finding.why) for finding in check("logic") if not finding.ok] == []


def test_xnli_s_rows_keep_the_contract_in_the_languages_of_a_small_folder(tmp_path, monkeypatch):
    write_ntrex(write_xnli(tmp_path))
    monkeypatch.setattr(registry.get("task", "xnli"), "languages", ("en", "fr", "sw"))
    findings = check("xnli", data_root=tmp_path)
    assert [(finding.what, finding.why) for finding in findings if not finding.ok] == []


def test_a_plug_in_that_works_passes(tmp_path):
    registry.load_plugin(str(plugin(tmp_path / "mine.py", "mine")))
    assert all(finding.ok for finding in check("mine"))


# What breaks it: the text of a working method, with one thing changed

BROKEN = {
    "no docstring": (DOCSTRING, "", "docstring"),
    "a setting without a description": (
        DOCSTRING,
        DOCSTRING
        + "\n\n    class Config(__import__('xlbench.method').method.MethodConfig):\n        rate: float = 1.0",
        "without a default or description: rate",
    ),
    "the task is not supported": ("return None", 'return "never"', "never"),
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
    "a label has no rows": ("i % 3,", "i % 2,", "none of contradiction"),
    "row ids are not unique": ('f"{split}-{i}"', '"same"', "train, validation, test"),
    "a row lacks a text": (', f"{language} {split} {i} so.")', ",)", "train-0"),
    "languages are not aligned": ("i % 3,", "(i + (language == 'fr')) % 3,", "fr and en differ"),
    "a draw is random": ("return [", "import random\n        return [Row(str(random.random()), r.texts, r.gold, "
                         "r.language, r.unit) for r in [", "differ"),
    "test sentences are in train": ("{language} {split}", "{language}", "is in test row"),
    "rows raise": ("return [", "raise OSError('no file')\n        return [", "OSError: no file"),
}  # fmt: skip


def test_a_task_that_works_passes(tmp_path):
    (tmp_path / "mine.py").write_text(TASK)
    registry.load_plugin(str(tmp_path / "mine.py"))
    assert [(finding.what, finding.why) for finding in check("mine") if not finding.ok] == []


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


def test_unknown_names_are_mistakes_not_failures():
    with pytest.raises(XlbenchError, match="unknown method or task 'nothing'"):
        check("nothing")
    with pytest.raises(XlbenchError, match="unknown task 'nothing'"):
        check("finetune", "nothing")
