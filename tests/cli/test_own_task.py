"""A user's own data: `xlbench new task`, its TOML, `check`, `run`, and what is said of mistakes."""

import csv
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xlbench.cli import app

WORDS = {"en": ("poor", "great"), "de": ("schlecht", "toll")}
RUN = ("--model", "tiny", "--shots", "2", "--steps", "2", "--device", "cpu", "--quiet")


@pytest.fixture
def folder(tmp_path: Path, own_registry, monkeypatch) -> Path:
    """Reviews in two languages, as a spreadsheet writes them, without dev rows."""
    data = tmp_path / "shop-reviews"
    data.mkdir()
    for language, words in WORDS.items():
        for split, number in (("train", 20), ("test", 6)):
            with (data / f"{split}_{language}.csv").open("w", newline="") as stream:
                writer = csv.writer(stream, delimiter=";")
                writer.writerow(["id", "review", "sentiment"])
                for row in range(number):
                    label = row % 2
                    writer.writerow([row, f"the {language} {split} lamp {row} is {words[label]}", ("no", "yes")[label]])
    monkeypatch.chdir(tmp_path)
    return data


def called(*arguments: str):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_folder_becomes_a_task_that_is_checked_and_run(folder):
    made = called("new", "task", folder)
    assert made.exit_code == 0, made.output
    file = folder / "shop-reviews.toml"
    said = tomllib.loads(file.read_text())
    assert said["languages"] == ["en", "de"]
    assert (said["labels"], said["label_column"], said["fields"]) == (["no", "yes"], "sentiment", ["review"])
    assert said["split_names"] == {"train": "train", "validation": "train", "test": "test"}
    assert (said["files"], said["key"], said["aligned"]) == ("{split}_{language}.csv", ["id"], True)
    assert "'sentiment'" in made.output
    checked = called("check", file)
    assert checked.exit_code == 0, checked.output
    assert "note  data in de: train: " in checked.output
    assert "ok    finetune runs" in checked.output
    assert "ok    soft-prompt runs" in checked.output
    ran = called("run", "--task", file, "--method", "soft-prompt", "--runs", folder / "runs", *RUN)
    assert ran.exit_code == 0, ran.output
    assert "soft-prompt on shop-reviews" in ran.output
    shown = called("show", "finetune", "--task", file, "--languages", "de")
    assert "<s> the de t est la m p" in shown.output
    again = called("new", "task", folder)
    assert again.exit_code == 2
    assert "is there already; give another place with --out" in again.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("label_column", '"mood"'), "has no column 'mood'; it has id, review, sentiment"),
        (("labels", '["no", "maybe"]'), "unknown label 'yes'; known: 0 no, 1 maybe"),
        (("files", '"{split}_{tongue}.csv"'), "has the hole {tongue}; known: language, split"),
        (("source", '"fr"'), "source names 'fr', which is none of the languages (en, de)"),
        (("labels", '["no"]'), "a classification task needs two or more, each once"),
        (("kinds", '"x"'), "unknown field 'kinds'"),
        (("files", '"{split}.{language}.csv"'), "for test in en"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(folder, change, sentence):
    called("new", "task", folder)
    file = folder / "shop-reviews.toml"
    name, value = change
    lines = [line for line in file.read_text().splitlines() if not line.startswith(f"{name} =")]
    file.write_text("\n".join([f"{name} = {value}", *lines]))
    ran = called("run", "--task", file, "--method", "finetune", "--runs", folder / "runs", *RUN)
    assert ran.exit_code == 2, ran.output
    assert sentence in ran.output.replace("\n", " ")
    assert not (folder / "runs").exists() or not any((folder / "runs").iterdir())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: folder / "nothing", "there is no file or folder"),
        (lambda folder: (folder / "empty").mkdir() or folder / "empty", "holds no file that is read"),
        (lambda folder: _write(folder / "rows.csv", "text,label\na b c,x\n"), "no language is told by the names"),
        (lambda folder: _write(folder / "en.csv", "one,two\n1,2\n3,4\n5,6\n"), "has no column that looks like labels"),
    ],
)
def test_what_cannot_be_guessed_is_said(folder, tmp_path, make, sentence):
    done = called("new", "task", make(tmp_path))
    assert done.exit_code == 2
    assert sentence in done.output.replace("\n", " ")


def _write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def test_a_method_that_lacks_text_without_labels_is_no_fault_of_the_task(folder):
    (folder / "train_de.csv").unlink()
    called("new", "task", folder)
    checked = called("check", folder / "shop-reviews.toml")
    assert checked.exit_code == 0, checked.output
    assert "note  self-training runs: with text: " in checked.output
    assert "resources.unlabelled.folder=DIR" in checked.output
