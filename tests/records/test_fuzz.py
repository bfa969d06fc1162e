"""Whatever is typed, read or found: an answer or one sentence, never a traceback.

Some hundreds of examples here; `make fuzz` tries 10,000 of each.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_made import group, record, sound
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from xlbench import RunSpec, Store, Suite, XlbenchError, sources
from xlbench.board.export import citations
from xlbench.board.markdown import markdown
from xlbench.board.results import results
from xlbench.cli import app
from xlbench.host.plain_text import listed
from xlbench.records.lookup import differences, find_record
from xlbench.records.query import lines_of
from xlbench.records.vetting import vet
from xlbench.spec import parse
from xlbench.spec.words import method_choices, run_fields
from xlbench.spec.words import settings as option_settings
from xlbench.task import rows_of

fuzz = settings(deadline=None, suppress_health_check=list(HealthCheck))

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def said_well(call, *arguments: Any, **named: Any) -> Any:
    """What a call gives; None where it refuses, in one sentence that is not endless."""
    try:
        return call(*arguments, **named)
    except XlbenchError as fault:
        words = str(fault)
    assert words.strip()
    return None


# Specs and suites

FIELDS = sorted(RunSpec.model_fields)


@fuzz
@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=10), VALUES, max_size=6))
def test_a_spec_of_anything(fields):
    ordinary = {"method": "mpt", "shots": 1}
    found = said_well(parse, RunSpec, {**ordinary, **fields}, "the command line")
    if found is not None:
        assert RunSpec.model_validate(found.model_dump()) == found
        assert found.model_name


TOML = st.lists(
    st.sampled_from(["methods", "shots", "draws", "run", "[run]", "[run.training]", "task", "=", '"mpt"', "[", "]", "{",
                     "}", ",", "\n", "\n", "1", "-1", "1e999", "nan", "true", ".", '"""', "'", "#", "1979-05-27", "é"])
    | st.text(max_size=4),
    max_size=30,
).map(" ".join)  # fmt: skip


@fuzz
@given(TOML | st.sampled_from(["[" * 5000, "a=" + "[" * 5000, "a" + ".a" * 9999 + "=1", "a=" + "9" * 5000, "\ufeff"]))
def test_a_suite_of_anything(text):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mine.toml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        suite = said_well(Suite.read, file)
        if suite is not None:
            said_well(lambda: next(suite.cells()))


@fuzz
@given(st.text('=,()"\\abc.10-[]{}\n é\x00', max_size=30) | st.sampled_from(["a=" + "[" * 999, "a=" + "9" * 5000]))
def test_options_of_anything(text):
    said_well(method_choices, text)
    said_well(option_settings, [text])
    said_well(listed, text)
    options = dict.fromkeys(["model", "revision", "test_units", "split", "max_length", "precision", "selection",
                             "parallel", "parallel_size", "languages", "steps", "epochs", "batch_size",
                             "learning_rate", "warmup", "checkpoints"])  # fmt: skip
    said_well(run_fields, {**options, "tune": [text], "with_": None})
    said_well(run_fields, {**options, "tune": None, "with_": [text]})


# Data

CELLS = {
    "premise": st.lists(st.text(max_size=10) | st.none(), min_size=3, max_size=3),
    "hypothesis": st.lists(st.text(max_size=10), min_size=3, max_size=3) | st.just([b"\xff", b"", b"a"]),
    "label": st.lists(st.integers(-1, 3) | st.none(), min_size=3, max_size=3)
    | st.just([True, False, True])
    | st.just([0.0, 1.0, float("nan")])
    | st.just(["0", "1", "2"])
    | st.just([[0], [1], []]),
    "odd": st.just([{"a": 1}, {"a": 2}, None]),
}


@fuzz
@given(st.fixed_dictionaries({}, optional=CELLS), st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_data_of_anything(columns, at, byte, damaged):
    sources.read_files.cache_clear()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "me" / "rows" / "en" / "train.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(pa.table(columns), file)
        if damaged:
            content = bytearray(file.read_bytes())
            content[at % len(content)] = byte
            file.write_bytes(content)
        asked = ("premise", "hypothesis", "label")
        table = said_well(sources.DataSource(Path(folder)).table, "me/rows", "en", "train", asked)
        if table is not None:
            ids = [str(number) for number in range(len(table))]
            said_well(rows_of, table, asked[:2], ("a", "b", "c"), "en", "train", ids)


# Records

KEPT = [
    record(method, {"en": 0.5, "fr": 0.4}, {"draw": draw, **more}, phenomena={"negation": {"en": 0.5}},
           versions={"torch": "2"}, selection=selection)
    for method, draw, more, selection in (
        ("finetune", 0, {}, {}), ("mpt", 0, {}, {}), ("mpt", 1, {"trials": 2}, {
            "chosen": 0, "trials": [{"config": {}, "dev_score": 0.5, "dev_loss": 1.0, "seconds": 1.0}]}),
    )
]  # fmt: skip


def places(value: Any, here: tuple = ()) -> list[tuple]:
    """Where in a record something stands."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, part in inner for place in places(part, (*here, key)))]


def like(value: Any) -> st.SearchStrategy:
    """Values of a kind, which are read where others are refused."""
    if isinstance(value, bool) or value is None:
        return st.booleans()
    if isinstance(value, int | float):
        return st.integers(0, 9) | st.floats(0, 1) | st.floats()
    if isinstance(value, str):
        return st.text(max_size=20) | st.sampled_from(["..", "a/b", "<script>", "|", "\u202e", "x" * 10_000])
    return st.just(value) | st.just(type(value)())


@st.composite
def mutated(draw) -> bytes:
    """A record's JSON with a value replaced, a field taken away or added, or bytes changed."""
    fields = json.loads(json.dumps(draw(st.sampled_from(KEPT)).model_dump(mode="json")))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 2, 3, 9]))):  # of many faults only the first is ever met
        *outer, last = draw(st.sampled_from([place for place in places(fields) if place] or [("id",)]))
        inner = fields
        for key in outer:
            inner = inner[key]
        if draw(st.integers(0, 3)):
            inner[last] = draw(like(inner[last]) | VALUES)
        else:
            inner.pop(last, None) if isinstance(inner, dict) else inner.pop(last)
    content = bytearray(json.dumps(fields).encode())
    for _ in range(draw(st.sampled_from([0, 0, 1]))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


@fuzz
@given(mutated())
def test_a_record_of_anything(content):
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        good = KEPT[0]
        store.write(good, sound(good))
        (store.root / "odd").mkdir()
        (store.root / "odd" / "record.json").write_bytes(content)
        said = said_well(find_record, "odd", store.root)
        if said is not None:
            (store.root / "odd").rename(store.root / "moved")
            pq.write_table(sound(KEPT[1]), store.root / "moved" / "predictions.parquet")
            free = said.id not in {".", "..", good.id} and not {"/", "\0"} & set(said.id)
            if free and 0 < len(said.id.encode()) < 200:
                (store.root / "moved").rename(store.root / said.id)
            differences(good, said)
            from xlbench.cli.terminal import show_record

            show_record(said, "here")
        lines, unreadable = lines_of(store, ["status=finished", "score>=0"])
        assert good.id in {line.split()[0] for line in lines}
        assert len(lines) + len(unreadable) <= 3
        found = vet(store)
        assert good.id in {one.id for one in found.records}
        if len(found.records) > 1:  # the board of the good one alone is always the same
            markdown(group(found.results))
        results(found.records)
        citations(found.records)


@fuzz
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_predictions_with_another_byte_are_the_same_or_left_out(at, byte):
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for one in KEPT[:2]:
            store.write(one, sound(one))
        before = store.predictions(KEPT[1].id)
        file = store.path(KEPT[1].id) / "predictions.parquet"
        content = bytearray(file.read_bytes())
        content[at % len(content)] = byte
        file.write_bytes(content)
        found = vet(store)
        assert KEPT[0].id in {one.id for one in found.records}
        if len(found.records) == 2:
            assert store.predictions(KEPT[1].id).equals(before)


# Command lines

WORDS = st.sampled_from(
    ["--method", "--methods", "--task", "--shots", "--runs", "--suite", "--set", "--with", "--tune", "--model",
     "--plan", "--languages", "--data-root", "--plugin", "--format", "--together", "--draws", "--version", "--help",
     "--quiet", "mpt", "finetune", "logic", "tiny", "demo", "nosuch", "en", "xx", "1", "-1", "9" * 5000, "a" * 10_000,
     "~nobody/x", "a=1", "a=[" * 600, "", "\x1b[31m", "\u202e", "..", "/dev/null", "/proc", "[/red]", "methods",
     "tasks", "suites"]
) | st.text(max_size=6)  # fmt: skip


def stopped(*_):
    """In place of a run: as if it were stopped with Ctrl-C."""
    raise KeyboardInterrupt


COMMANDS = st.sampled_from(["run", "compare", "plan", "leaderboard", "list", "show", "check", "diff", "export", "cite"])


@settings(fuzz, max_examples=max(50, settings.default.max_examples // 2))
@given(COMMANDS, st.lists(WORDS, max_size=5))
def test_a_command_line_of_anything(command, words):
    with pytest.MonkeyPatch.context() as patched, tempfile.TemporaryDirectory() as folder:
        patched.chdir(folder)
        patched.setattr("xlbench.engine.execute._compute", stopped)
        patched.setattr("xlbench.cli.plugins.check.check", lambda *_: [])
        done = CliRunner().invoke(app, [command, *words])
    assert done.exit_code in {0, 2, 130}, (done.output, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert "failed:" not in done.stderr
    assert done.stderr.count("error: ") == (done.exit_code == 2)
    assert not any(char in done.output for char in "\x1b\x9b\u202e\x07")
