"""`xlbench predict`: on the run's own test texts it says what the record says; what cannot be scored says why."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from xlbench import RunSpec, Runtime, Store, Training, XlbenchError, registry, run
from xlbench.cli import app
from xlbench.comparison.own_rows import predicted
from xlbench.sources import DataSource

TASK = registry.get("task", "logic")()


@pytest.fixture(scope="module", params=["finetune", "mpt"])
def kept(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    runtime = Runtime(runs=folder / "runs", keep_weights=folder / "weights", device="cpu")
    spec = RunSpec(
        method=request.param, task="logic", model="tiny", shots=4, languages=("en", "sw"), test_units=8,
        training=Training(steps=3), selection="last",
    )  # fmt: skip
    record = run(spec, runtime)
    table = Store(folder / "runs").predictions(record.id).to_pandas()
    texts = {(name, row.id): row.texts for name in ("en", "sw") for row in TASK.rows("test", name, DataSource())}
    table = table.sample(frac=1, random_state=0, ignore_index=True)  # languages in no order
    premise, hypothesis = zip(
        *(texts[pair] for pair in zip(table["language"], table["row_id"], strict=True)), strict=True
    )
    table = table.assign(premise=premise, hypothesis=hypothesis)
    table[["premise", "hypothesis", "language"]].to_csv(folder / "rows.csv", index=False)
    return folder, record, table


def score(folder: Path, record, file: Path, **given) -> list[dict[str, str]]:
    runtime = Runtime(runs=folder / "runs", device="cpu")
    return list(csv.DictReader(io.StringIO(predicted(record.id, file, folder / "weights", runtime, **given))))


def test_its_own_test_texts_have_the_record_s_predictions(kept):
    folder, record, table = kept
    rows = score(folder, record, folder / "rows.csv")
    ours = np.array([[float(row[f"p_{label}"]) for label in TASK.labels] for row in rows])
    theirs = np.exp(table[[f"log_prob_{label}" for label in range(3)]].to_numpy())
    assert np.abs(ours - theirs).max() < 2e-6
    assert [row["label"] for row in rows] == [TASK.labels[at] for at in theirs.argmax(axis=1)]
    assert [row["language"] for row in rows] == table["language"].tolist()


@pytest.mark.parametrize(
    ("columns", "given", "says"),
    [
        ({"premise": ["a"], "language": ["en"]}, {}, "has no column 'hypothesis'; it has premise, language"),
        ({"premise": ["a"], "hypothesis": ["b"]}, {}, "has no column 'language'; it has premise, hypothesis; or"),
        ({"premise": ["a"], "hypothesis": ["b"]}, {"language": "de"}, "is of language 'de', and the run reads en, sw"),
        ({"premise": ["a", "a"], "hypothesis": ["b", " "]}, {"language": "en"}, "row 2 of "),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_scored_say_why(kept, tmp_path, columns, given, says):
    folder, record, _ = kept
    pd.DataFrame(columns).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(XlbenchError, match=re.escape(says)):
        score(folder, record, tmp_path / "rows.csv", **given)


def test_a_run_without_weights_is_one_sentence(kept, tmp_path):
    folder, record, _ = kept
    given = ["predict", record.id, folder / "rows.csv", "--weights", tmp_path, "--runs", folder / "runs"]
    done = CliRunner().invoke(app, [*map(str, given)])
    assert done.exit_code == 2
    assert "compute it with --keep-weights" in done.output


def test_the_command_writes_a_file_and_over_none(kept, tmp_path):
    folder, record, table = kept
    given = ["predict", record.id, folder / "rows.csv", "--weights", folder / "weights", "--runs", folder / "runs",
             "--out", tmp_path / "scored.csv"]  # fmt: skip
    done = CliRunner().invoke(app, [*map(str, given)])
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(tmp_path / "scored.csv")) == len(table)
    again = CliRunner().invoke(app, [*map(str, given)])
    assert again.exit_code == 2
    assert "is there already" in again.output
