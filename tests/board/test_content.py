"""The board: numbers worked out by hand from records written by hand, and what may not share a table."""

import random
import re

import pyarrow as pa
import pytest
from hand_made import COSTS, IDENTITY, group, record
from hypothesis import given
from hypothesis import strategies as st

from xlbench import Store, XlbenchError
from xlbench.analysis.statistics import OVER_DRAWS, Interval
from xlbench.board.blocks import interval, percent
from xlbench.board.content import score_rows
from xlbench.board.markdown import escape, markdown, write
from xlbench.board.page import write_page
from xlbench.board.selection_policies import side_by_side
from xlbench.cli.terminal import show_board
from xlbench.records.index import Result

PREDICTIONS = pa.table({"row_id": ["a"]})


def keep(tmp_path, *records, runs="runs"):
    """The records in a folder, and the board that is written from them."""
    for one in records:
        Store(tmp_path / runs).write(one, PREDICTIONS)
    store = Store(tmp_path / runs)
    return write(group(store), tmp_path / f"{runs}-board").read_text(encoding="utf-8")


def lines_of(text: str, first: str) -> list[list[str]]:
    """The rows of the markdown table whose head starts with `first`, cell by cell."""
    head = next(at for at, line in enumerate(text.splitlines()) if line.startswith(f"| {first} |"))
    rows = []
    for line in text.splitlines()[head:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


FOUR = (
    record("finetune", {"en": 0.50, "fr": 0.40, "sw": 0.30}, {"draw": 0}),
    record("finetune", {"en": 0.60, "fr": 0.50, "sw": 0.10}, {"draw": 1}),
    record("mpt", {"en": 0.80, "fr": 0.60, "sw": 0.40}, {"draw": 0}, costs={**COSTS, "training_seconds": 4.0}),
    record("mpt", {"en": 0.70, "fr": 0.30, "sw": 0.20}, {"draw": 1}, costs={**COSTS, "training_seconds": 8.0}),
)


def test_scores_worked_out_by_hand(tmp_path):
    """finetune: means .40 and .40; sources .5, .6; targets .35, .30; gaps .15, .30.
    mpt: means .60 and .40; sources .8, .7; targets .50, .25; gaps .30, .45."""
    assert lines_of(keep(tmp_path, *FOUR), "method") == [
        ["method", "mean accuracy", "range of runs", "source", "target mean", "gap", "runs"],
        ["mpt", "50.0", "40.0 – 60.0", "75.0", "37.5", "37.5", "2 draws, untuned"],
        ["finetune", "40.0", "40.0 – 40.0", "55.0", "32.5", "22.5", "2 draws, untuned"],
    ]


def test_languages_worked_out_by_hand(tmp_path):
    assert lines_of(keep(tmp_path, *FOUR), "accuracy") == [
        ["accuracy", "en", "fr", "sw"],
        ["mpt", "75.0", "45.0", "30.0"],
        ["finetune", "55.0", "45.0", "20.0"],
    ]


def test_costs_worked_out_by_hand(tmp_path):
    """What these records lack is a dash; dev and energy, which not every run has, are no columns then."""
    rows = lines_of(keep(tmp_path, *FOUR), "cost")
    times = ["cost", "set-up s", "training s", "test s", "test rows/s", "training TFLOP", "test TFLOP"]
    assert rows[0] == [*times, "trainable parameters", "all parameters", "stored MiB", "peak memory MiB"]
    assert rows[1] == ["mpt", "–", "6.0", "1.0", "12", "–", "–", "10", "20", "–", "3"]
    assert rows[2] == ["finetune", "–", "2.0", "1.0", "12", "–", "–", "10", "20", "–", "3"]


def test_work_storage_and_energy_worked_out_by_hand(tmp_path):
    more = {
        "setup_seconds": 0.5, "evaluation_seconds": 1.5, "training_flops": 12.34e12, "evaluation_flops": 1e9,
        "test_flops": 1.5e15, "trained_bytes": 2.0**18, "energy_joules": 42_000.0,
    }  # fmt: skip
    records = (record("mpt", costs={**COSTS, **more}), record("finetune", costs={**COSTS, "energy_joules": 500.0}))
    head, *rows = lines_of(keep(tmp_path, *records), "cost")
    shown = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert {name: shown["mpt"][name] for name in head if name.endswith(("s", "TFLOP", "MiB", "kJ"))} == {
        "set-up s": "0.5", "training s": "2.0", "dev s": "1.5", "test s": "1.0", "test rows/s": "12",
        "training TFLOP": "12.3", "dev TFLOP": "0.00100", "test TFLOP": "1,500", "trainable parameters": "10",
        "all parameters": "20", "stored MiB": "0.250", "peak memory MiB": "3", "energy kJ": "42.0",
    }  # fmt: skip
    assert (shown["finetune"]["energy kJ"], shown["finetune"]["dev s"]) == ("0.500", "–")


def test_phenomena_worked_out_by_hand(tmp_path):
    phenomena = ({"counting": {"en": 0.2, "fr": 0.4}}, {"counting": {"en": 0.6, "fr": 0.8}})
    records = [record(spec={"draw": draw}, phenomena=kinds) for draw, kinds in enumerate(phenomena)]
    assert lines_of(keep(tmp_path, *records), "phenomenon") == [["phenomenon", "counting"], ["finetune", "50.0"]]


def test_a_language_that_one_record_lacks_is_a_dash(tmp_path):
    rows = lines_of(keep(tmp_path, record("finetune", {"fr": 0.5})), "method")
    assert rows[1] == ["finetune", "50.0", "50.0 – 50.0", "–", "50.0", "–", "1 draw, untuned"]


def test_each_number_of_shots_has_its_table(tmp_path):
    records = [record(spec={"shots": shots}, accuracy={"en": shots / 100}) for shots in (16, 4)]
    text = keep(tmp_path, *records)
    assert re.findall(r"^### (.*)$", text, re.M) == ["4 shots per class", "16 shots per class"]
    assert text.index("| finetune | 4.0 |") < text.index("| finetune | 16.0 |")


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ({"kind": "classification"}, "4 shots per class"),
        ({"kind": "multiple-choice", "most": 2}, "4 shots per class"),
        ({"kind": "multiple-choice", "most": 0}, "4 shots"),
        ({"kind": "token-labelling"}, "4 shots"),
    ],
)
def test_shots_are_said_per_class_only_where_they_are_drawn_so(tmp_path, capsys, problem, said):
    groups = group([record(problem={"labels": ["a", "b"], "metrics": ["accuracy"], **problem})])
    assert re.findall(r"^### (.*)$", markdown(groups), re.M) == [said]
    assert f"<h3>{said}</h3>" in write_page(groups, tmp_path, "").read_text(encoding="utf-8")
    show_board([Result(one) for one in groups[0].records])
    assert f"logic on tiny, {said}\n" in re.sub(r" *\n", "\n", capsys.readouterr().out)


def test_a_setting_that_differs_makes_a_line_of_its_own(tmp_path):
    records = (record("mpt", spec={"config": {"alpha": 0.3, "steps": 2}}), record("mpt"))
    assert {row[0] for row in lines_of(keep(tmp_path, *records), "method")[1:]} == {"mpt", "mpt (alpha=0.3, steps=2)"}


def test_the_word_percent():
    assert [percent(value) for value in (0, 1, 1 / 3, 0.12345, None)] == ["0.0", "100.0", "33.3", "12.3", "–"]


# Determined by the records alone


def test_the_same_records_give_the_same_bytes_in_any_order(tmp_path):
    boards = set()
    for number in range(4):
        records = [*FOUR, record(spec={"shots": 16}), record(spec={"model": "other"})]
        random.Random(number).shuffle(records)
        boards.add(keep(tmp_path, *records, runs=f"runs{number}"))
    assert len(boards) == 1


def test_ties_are_in_the_order_of_names(tmp_path):
    records = [record(name) for name in ("pct", "finetune", "mpt")]
    assert [row[0] for row in lines_of(keep(tmp_path, *records), "method")[1:]] == ["finetune", "mpt", "pct"]


def test_writing_again_replaces_the_board_and_leaves_nothing_beside_it(tmp_path):
    first = keep(tmp_path, *FOUR)
    again = keep(tmp_path)
    assert again == first
    assert [path.name for path in (tmp_path / "runs-board").iterdir()] == ["README.md"]


def test_words_about_the_board_stand_above_it(tmp_path):
    (tmp_path / "runs-board").mkdir()
    (tmp_path / "runs-board" / "ABOUT.md").write_text("What was run, and on what.\n")
    assert keep(tmp_path, *FOUR).startswith("# Leaderboard\n\nWhat was run, and on what.\n\n## logic on tiny\n")


def test_failed_records_are_on_no_board(tmp_path):
    failed = record("mpt", accuracy={"en": 0.99}, status="failed", error="e")
    assert "mpt" not in keep(tmp_path, record("finetune"), failed)


@pytest.mark.parametrize("records", [[], [record(status="failed")]])
def test_no_finished_record_is_said(tmp_path, records):
    (tmp_path / "runs").mkdir()
    with pytest.raises(XlbenchError, match="there is no finished record to make a board of"):
        keep(tmp_path, *records)
    assert not (tmp_path / "runs-board").exists()


def test_a_broken_record_is_named(tmp_path):
    keep(tmp_path, record())
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "record.json").write_text("{")
    with pytest.raises(XlbenchError, match=r"the record .*broken/record\.json cannot be read"):
        keep(tmp_path)


# What may share a table


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"task": "xnli"}}, {"spec": {"model": "large"}}, {"spec": {"split": "zhao-schuetze"}},
        {"spec": {"test_units": 3}}, {"spec": {"tune": "lora"}}, {"spec": {"lora": {"rank": 2}}},
        {"spec": {"max_length": 64}}, {"spec": {"precision": "bf16"}}, {"spec": {"selection": "last"}},
        {"spec": {"selection": "oracle-target-dev"}}, {"spec": {"languages": ["en", "fr", "sw"]}},
        {"spec": {"trials": 2}},
        {"spec": {"training": {"steps": 3, "learning_rate": 1e-3}}},
        {"spec": {"training": {"steps": 2, "learning_rate": 2e-3}}},
        {"spec": {"training": {"steps": 2, "learning_rate": 1e-3, "batch_size": 8}}},
        {"spec": {"training": {"steps": 2, "learning_rate": 1e-3, "checkpoints": 2}}},
        {"spec": {"training": {"steps": 2, "learning_rate": 1e-3, "warmup": 0.1}}},
        {"identity": {"protocol": "1"}}, {"identity": {"task_version": "2"}}, {"identity": {"test_data": "t1"}},
        {"identity": {"revision": "sha256:1"}},
    ],
    ids=str,
)  # fmt: skip
def test_records_that_differ_in_what_must_be_equal_share_no_table(tmp_path, change):
    groups = group([record("finetune"), record("mpt", **change)])
    assert len(groups) == 2
    assert all(len(table.lines) == 1 for one in groups for table in one.tables)


@pytest.mark.parametrize(
    "change",
    [{"spec": {"seed": 0}}, {"identity": {"method_source": "m1"}}, {"identity": {"data": "d1"}},
     {"environment": {"device": "cuda", "device_name": "a GPU"}},
     {"spec": {"resources": {"parallel": {"corpus": "paws-x"}}}}],
    ids=str,
)  # fmt: skip
def test_records_that_differ_in_what_a_method_is_share_a_table(change):
    (one,) = group([record("finetune"), record("mpt", **change)])
    assert [line.method for line in one.tables[0].lines] == ["finetune", "mpt"]


def test_one_table_s_methods_with_two_parallel_corpora_say_which():
    corpora = [{"resources": {"parallel": {"corpus": name, "size": 1000}}} for name in ("paws-x", "ntrex-128")]
    (one,) = group([record("finetune"), *(record("mpt", spec=spec) for spec in corpora)])
    assert [line.method for line in one.tables[0].lines] == [
        "finetune",
        "mpt (parallel=ntrex-128, 1000 pairs)",
        "mpt (parallel=paws-x, 1000 pairs)",
    ]
    assert one.tables[0].left_out == ()


def test_a_draw_that_one_method_lacks_counts_for_the_other_and_the_runs_are_shown_as_they_are(tmp_path):
    extra = record("finetune", {"en": 1.0, "fr": 1.0, "sw": 1.0}, {"draw": 2})
    text = keep(tmp_path, *FOUR, extra)
    rows = {row[0]: row for row in lines_of(text, "method")[1:]}
    assert rows["finetune"] == ["finetune", "60.0", "40.0 – 100.0", "70.0", "55.0", "15.0", "3 draws, untuned"]
    assert rows["mpt"][-1] == "2 draws, untuned"
    assert "Left out" not in text


def test_several_seeds_of_a_draw_are_one_draw(tmp_path):
    """Draw 0 with 0.2 and 0.4, draw 1 with 0.6: 45.0, not 40.0."""
    cells = (((0, 0), 0.2), ((0, 1), 0.4), ((1, 0), 0.6))
    runs = [record(accuracy={"en": value, "fr": value}, spec={"draw": d, "seed": s}) for (d, s), value in cells]
    row = lines_of(keep(tmp_path, *runs), "method")[1]
    assert (row[1], row[-1]) == ("45.0", "3 of 2 draws, untuned")


@pytest.mark.parametrize("spec", [{"trials": 4}, {"protocol": "pct", "split": None}])
def test_what_was_tuned_or_runs_as_its_source_has_it_is_not_untuned(tmp_path, spec):
    assert "untuned" not in keep(tmp_path, record(spec=spec))


def test_the_same_draw_of_other_shots_is_not_compared(tmp_path):
    """Draw 0 of a folder with fewer training rows is not draw 0 of the hub."""
    text = keep(tmp_path, record("finetune", identity={"shots": "a"}), record("mpt", identity={"shots": "b"}))
    assert "| difference |" not in text


def test_methods_with_no_draw_in_common_stand_in_the_table_and_have_no_difference(tmp_path):
    text = keep(tmp_path, record("finetune", spec={"draw": 0}), record("mpt", spec={"draw": 1}))
    assert [row[0] for row in lines_of(text, "method")[1:]] == ["finetune", "mpt"]
    assert "| difference |" not in text


def test_a_record_of_older_source_gives_way_to_the_newer_and_it_is_said(tmp_path):
    old = record(accuracy={"en": 0.1}, identity={"method_source": "m1"}, started="2026-01-01T00:00:00+00:00")
    new = record(accuracy={"en": 0.9}, identity={"method_source": "m2"}, started="2026-01-02T00:00:00+00:00")
    text = keep(tmp_path, new, old)
    assert lines_of(text, "method")[1][1] == "90.0"
    assert f"record {old.id} is superseded by {new.id}" in text


def test_the_oracle_is_named_and_never_ranked(tmp_path):
    asked = {"selection": "oracle-target-dev"}
    text = keep(tmp_path, record("a", {"en": 0.1}, asked), record("b", {"en": 0.9}, asked))
    assert "**Oracle**" in text
    assert "never ranked" in text
    assert [row[0] for row in lines_of(text, "method")[1:]] == ["a", "b"]


def test_under_a_protocol_too_the_oracle_shares_no_table_and_no_place():
    """The protocol's methods may be selected each in its own way, but none on target labels."""
    asked = {"protocol": "pct", "split": None}
    others = [record("a", spec=asked), record("b", {"en": 0.7, "fr": 0.7}, {**asked, "selection": "last"})]
    oracle = record("b", {"en": 0.9, "fr": 0.9}, {**asked, "selection": "oracle-target-dev"})
    groups = group([*others, oracle])
    assert sorted((one.oracle, [line.method for line in one.tables[0].lines]) for one in groups) == [
        (False, ["a", "b"]), (True, ["b"]),
    ]  # fmt: skip
    assert side_by_side(groups) == []


def test_a_table_can_be_had_as_rows():
    (one,) = group(FOUR)
    head, rows = score_rows(one.tables[0])
    assert len(head) == len(rows[0]) == len(rows[1])
    assert rows[0][0] == "mpt"


# What plug-ins and records may call things

NASTY = "<script>alert(1)</script>|x|\n# head [l](http://e) `c` *b* _i_ \\ \x1b[31m ![i](x)"


@given(st.text(max_size=60))
def test_escaped_text_is_one_line_without_markup(text):
    found = escape(text)
    assert found.isprintable() or not found
    assert not re.search(r"[<>|]", found)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_{}\[\]]", found.replace("&#", ""))


def test_a_sign_that_is_spelt_as_an_entity_is_read_as_itself():
    assert escape("p < 0.001 | #1") == "p &#60; 0.001 &#124; \\#1"


def test_a_mark_of_direction_is_spelt_in_markdown_as_on_the_page():
    assert escape("a\u202eb\tc") == "a\\\\u202eb c"


def test_escaped_text_ends():
    assert len(escape("a" * 10_000)) == 200


def test_nothing_that_a_record_says_becomes_markup(tmp_path):
    """Method names cannot hold such text, but a record is a file that anybody can write."""
    nasty = record(
        NASTY, {"en": 0.5, NASTY: 0.5}, {"task": NASTY, "model": NASTY, "config": {"word": NASTY}, "split": NASTY},
        {"revision": NASTY}, phenomena={NASTY: {"en": 0.5}}, environment={"device": NASTY, "device_name": NASTY},
    )  # fmt: skip
    other = record(
        NASTY, {"en": 0.5, NASTY: 0.5}, {**nasty.spec.model_dump(), "draw": 1}, {**IDENTITY, "revision": NASTY}
    )
    text = keep(tmp_path, nasty, other)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "[l](" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    heads = {"method": 7, "accuracy": 3, "phenomenon": 2, "training": 6, "cost": 11}
    for line in tables:
        assert line.count("|") - 1 in heads.values()
    assert len(lines_of(text, "accuracy")[0]) == 3


@pytest.mark.parametrize(
    ("low", "high", "least", "shown"),
    [
        (0.123, 0.456, 0.0, "12.3 – 45.6"),
        (-0.2, 1.7, 0.0, "0.0 – 100.0"),
        (-2.2, 2.2, -1.0, "-100.0 – 100.0"),
        (-0.0004, 0.0004, -1.0, "0.0 – 0.0"),
    ],
)
def test_an_interval_is_no_wider_than_what_is_possible(low, high, least, shown):
    assert interval(Interval((low + high) / 2, low, high, OVER_DRAWS), least) == shown
