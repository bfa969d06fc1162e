"""Records as lines of text: which ones, in what order, and what is said of those that cannot be read."""

import os
import re
import shutil
from operator import ge, gt, le, lt
from typing import get_type_hints

import pytest
from hand_made import record, sound
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from xlbench import Store, XlbenchError
from xlbench.cli import app
from xlbench.cli.plugin_commands import list_command
from xlbench.records import index
from xlbench.records.query import FIELDS, condition, lines_of
from xlbench.records.record import as_row
from xlbench.records.vetting import stored, vet

RECORDS = [
    record("mpt", {"en": 0.5, "fr": 0.3}, {"shots": 4, "draw": 1}),
    record("pct", {"en": 0.7, "fr": 0.5}, {"shots": 16, "config": {"alpha": 0.3, "beta": 2}}),
    record("mpt", {"en": 0.9, "fr": 0.7}, {"shots": "all"}),
    record("mpt", {"en": 0.6, "fr": 0.4}, {"shots": 4, "draw": 2}, status="failed"),
]
FAILED = RECORDS[3].model_copy(update={"scores": {}, "error": "it broke"})


@pytest.fixture
def store(tmp_path):
    kept = Store(tmp_path / "runs")
    for one in RECORDS[:3]:
        kept.write(one, sound(one))
    kept.write(FAILED)
    return kept


def ids(store: Store, *where: str) -> set[str]:
    (head, *lines), unreadable = lines_of(store, where)
    assert head.split()[:3] == ["record", "status", "task"]
    assert unreadable == ()
    return {line.split()[0] for line in lines}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ((), {0, 1, 2, 3}),
        (("method=mpt",), {0, 2, 3}),
        (("method=pct, mpt",), {0, 1, 2, 3}),
        (("method!=mpt",), {1}),
        (("method!=mpt,pct",), set()),
        (("shots=4,16",), {0, 1, 3}),
        (("shots=all",), {2}),
        (("shots=4.0",), {0, 3}),
        (("shots>4",), {1, 2}),  # all are more than any number
        (("shots<=16",), {0, 1, 3}),
        (("method==mpt",), {0, 2, 3}),
        (("score=0.6000",), {1}),  # as it is shown
        (("seed=0.0", "draw!=1,2"), {1, 2}),
        (("score>0.5",), {1, 2}),
        (("score>=0.6", "score<0.7"), {1}),
        (("score<=0.4",), {0}),  # a run that failed has none
        (("score=",), {3}),
        (("status=failed",), {3}),
        (("config=alpha=0.3, beta=2",), {1}),  # as it is shown
        (("config!=alpha=0.3, beta=2",), {0, 2, 3}),
        (("config=",), {0, 2, 3}),
        ((" draw = 1 ", "method=mpt"), {0}),
        (("steps=2",), {0, 1, 2, 3}),
        (("steps>2",), set()),
        (("units=2", "languages=en,fr", "precision=fp32"), {0, 1, 2, 3}),
        (("languages=en",), set()),
        (("learning_rate=1e-3",), {0, 1, 2, 3}),
        (("learning_rate<0.001",), set()),
    ],
    ids=str,
)
def test_the_records_that_meet_all_conditions_are_listed(store, where, expected):
    assert ids(store, *where) == {RECORDS[at].id for at in expected}


def test_lines_stand_in_the_order_of_ids_with_their_columns_below_each_other(store):
    (head, *lines), _ = lines_of(store)
    assert [line.split()[0] for line in lines] == sorted(one.id for one in RECORDS)
    end = head.index("score") + len("score")
    cells = {line.split()[0]: line[end - 6 : end].strip() for line in lines}
    assert [cells[one.id] for one in RECORDS] == ["0.4000", "0.6000", "0.8000", "–"]


def test_steps_are_those_that_the_epochs_made_where_none_were_asked_for(store):
    asked = record("mpt", spec={"training": {"epochs": 3}}, selection={"steps": 36})
    assert condition("steps=36")(as_row(asked))
    assert not condition("steps=36")(as_row(RECORDS[0]))


def test_the_index_changes_nothing_but_what_is_read(store, monkeypatch):
    monkeypatch.setattr(index, "WORTH_KEEPING", 1)
    monkeypatch.setattr(index, "SETTLED", -10.0)
    before = lines_of(store)
    vet(store)
    read = []
    look = index.store.read_record
    monkeypatch.setattr("xlbench.records.vetting.read_record", lambda file: read.append(file.parent.name) or look(file))
    assert lines_of(store) == before
    assert read == [FAILED.id]  # the index holds what a board takes
    assert [one for _, one in stored(store)] == list(store.records())
    (store.root / index.FILE).unlink()
    assert lines_of(store) == before


def test_listing_writes_nothing(store):
    before = sorted(os.listdir(store.root)), os.stat(store.root).st_mtime_ns
    lines_of(store)
    assert (sorted(os.listdir(store.root)), os.stat(store.root).st_mtime_ns) == before


def test_a_record_that_cannot_be_read_is_said_and_the_others_are_listed(store):
    (store.path(RECORDS[0].id) / "record.json").write_text("{")
    done = CliRunner().invoke(app, ["list", "records", "--runs", str(store.root)])
    assert done.exit_code == 0
    assert {line.split()[0] for line in done.stdout.splitlines()[1:]} == {one.id for one in RECORDS[1:]}
    assert f"left out: the record {RECORDS[0].id}/record.json cannot be read" in done.stderr


def test_a_copy_in_another_folder_is_said_and_not_listed(store):
    shutil.copytree(store.path(RECORDS[0].id), store.root / "copy")
    (_, *lines), (sentence,) = lines_of(store)
    assert sorted(line.split()[0] for line in lines) == sorted(one.id for one in RECORDS)
    assert sentence.startswith(f"record copy is a copy of the record {RECORDS[0].id}, whose name its folder should")


def test_numbers_of_any_size_are_compared(tmp_path):
    store, large = Store(tmp_path), 10**400 + 1
    kept = record("mpt", {"en": 0.5}, {"seed": large})
    store.write(kept, sound(kept))
    for where, listed in (("seed>1", 1), (f"seed={large}", 1), (f"seed={large - 1}", 0), ("seed<1e9", 0)):
        assert len(lines_of(store, [where])[0]) == 1 + listed


def test_what_a_record_says_stands_on_its_own_line_as_plain_text(tmp_path):
    store = Store(tmp_path)
    kept = record("mpt\n\x1b[31m‮", {"en": 0.5})
    store.write(kept, sound(kept))
    (_, line), _ = lines_of(store)
    assert "mpt \\x1b[31m\\u202e" in line


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nothing", "--where takes a field and what it is, as method=mpt,pct or score>0.5, not 'nothing'"),
        ("metod=mpt", "--where metod=mpt: a record has no field 'metod'; it has record, status, task,"),
        ("score>high", "--where score>high: > takes a number, not 'high'"),
        ("score=>0.5", "--where takes a field and what it is"),
        ("draw=two", "--where draw=two: draw is a number, not 'two'"),
        ("started<2027", "--where started<2027: started is no number, and has no order; use = or !="),
        ("seconds<=nan", "--where seconds<=nan: <= takes a number, not 'nan'"),
    ],
    ids=str,
)
def test_a_condition_that_is_none_is_refused(store, where, said):
    with pytest.raises(XlbenchError) as fault:
        lines_of(store, [where])
    assert str(fault.value).startswith(said)


@given(st.text(max_size=30) | st.from_regex(rf"({'|'.join(FIELDS)})(=|!=|<|>=).{{0,9}}", fullmatch=True))
def test_any_text_is_a_condition_or_is_refused(text):
    try:
        meets = condition(text)
    except XlbenchError:
        return
    assert {meets(as_row(one)) for one in (*RECORDS, FAILED)} <= {True, False}


@given(st.sampled_from([(">", gt), ("<", lt), (">=", ge), ("<=", le)]), st.floats(-1, 2))
def test_numbers_are_ordered_as_numbers(sign, limit):
    said, compare = sign
    assert [condition(f"score{said}{limit!r}")(as_row(one)) for one in RECORDS] == [
        compare(one.mean, limit) for one in RECORDS
    ]


def test_the_examples_in_the_help_are_conditions():
    said = get_type_hints(list_command, include_extras=True)["where"].__metadata__[0].help
    examples = re.findall(r"\w+(?:!=|[=<>])[\w.,]*\w", said)
    assert [condition(example) is not None for example in examples] == [True] * 3
