"""Tasks as tables: files as people have them, labels, keys, units, splits of one file, and what is refused."""

import csv
import json
from collections import Counter
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_data import write

from xlbench import XlbenchError
from xlbench.language_codes import language_of, script_of
from xlbench.problem import MultipleChoice, TokenLabelling, label_number
from xlbench.sources import DataSource
from xlbench.table_task import TableTask
from xlbench.wording import template, words_of

LABELS = ("bad", "good")
TEXTS = [f"thing {number} is so" for number in range(12)]
ROWS = {"text": TEXTS, "label": [LABELS[number % 2] for number in range(12)]}


class Reviews(TableTask):
    """Texts of two labels."""

    name = "reviews"
    languages = ("en", "de")
    labels, fields = LABELS, ("text",)
    dataset = "me/reviews"


def folder_of(root: Path, language: str = "en", split: str = "test") -> Path:
    made = root / "me/reviews" / language
    made.mkdir(parents=True, exist_ok=True)
    return made / split


def as_csv(file: Path, delimiter: str = ",", end: str = "\r\n") -> None:
    with file.open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator=end)
        writer.writerow(ROWS)
        writer.writerows(zip(*ROWS.values(), strict=True))


def as_jsonl(file: Path) -> None:
    rows = [dict(zip(ROWS, values, strict=True)) for values in zip(*ROWS.values(), strict=True)]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")


def as_shards(file: Path) -> None:
    table = pa.table(ROWS)
    for number in range(2):
        pq.write_table(table.slice(6 * number, 6), file.with_name(f"test-0000{number}-of-00002.parquet"))


@pytest.mark.parametrize(
    "made",
    [
        lambda file: write(file.with_suffix(".parquet"), **ROWS),
        lambda file: as_csv(file.with_suffix(".csv")),
        lambda file: as_csv(file.with_suffix(".csv"), ";", "\n"),
        lambda file: as_csv(file.with_suffix(".tsv"), "\t"),
        lambda file: as_jsonl(file.with_suffix(".jsonl")),
        as_shards,
        lambda file: pq.write_table(
            pa.table({"text": pa.array(TEXTS, pa.large_string()), "label": pa.array(ROWS["label"]).dictionary_encode()}),  # noqa: E501
            file.with_suffix(".parquet"),
        ),
        lambda file: pq.write_table(
            pa.table({"text": TEXTS, "label": pa.array([n % 2 for n in range(12)], pa.int8())}),
            file.with_suffix(".parquet"),
        ),
        lambda file: write(file.with_suffix(".parquet"), text=TEXTS, label=[float(n % 2) for n in range(12)]),
        lambda file: write(file.with_suffix(".parquet"), text=TEXTS, label=[f" {LABELS[n % 2]} " for n in range(12)]),
    ],
    ids=["parquet", "csv", "semicolons", "tsv", "jsonl", "shards", "large", "int8", "floats", "spaces"],
)  # fmt: skip
def test_rows_are_read_from_files_as_people_have_them(tmp_path, made):
    made(folder_of(tmp_path))
    rows = Reviews().read("test", "en", DataSource(tmp_path))
    assert [row.texts for row in rows] == [(text,) for text in TEXTS]
    assert [row.gold for row in rows] == [number % 2 for number in range(12)]
    assert [row.id for row in rows] == [f"test-{number}" for number in range(12)]


def with_names(file: Path, names: list[str], labels: list[int]) -> None:
    """A file of datasets', whose label is a ClassLabel."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    datasets.Dataset.from_dict({"text": TEXTS, "label": labels}, features=features).to_parquet(str(file))


def test_a_class_label_s_numbers_stand_for_its_names(tmp_path):
    with_names(folder_of(tmp_path).with_suffix(".parquet"), ["good", "bad"], [1 - n % 2 for n in range(12)])
    rows = Reviews().read("test", "en", DataSource(tmp_path))
    assert [row.gold for row in rows] == [number % 2 for number in range(12)]


def test_a_class_label_of_other_names_is_refused(tmp_path):
    with_names(folder_of(tmp_path).with_suffix(".parquet"), ["fine", "poor"], [0] * 12)
    with pytest.raises(XlbenchError, match=r"row 0: the file calls label 0 'fine', which is none of the task's labels"):
        Reviews().read("test", "en", DataSource(tmp_path))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (-1, "it has no label"),
        (None, "it has no label"),
        ("awful", "unknown label 'awful'; known: 0 bad, 1 good"),
        (0.5, "unknown label 0.5"),
        (2, "unknown label 2"),
        (True, "unknown label True"),
    ],
)
def test_a_label_that_is_none_says_what_it_is(value, sentence):
    with pytest.raises(ValueError, match=sentence):
        label_number(value, LABELS)


@given(st.sampled_from(LABELS), st.sampled_from(["{}", " {} ", "{}\n"]))
def test_a_map_of_values_is_followed(label, around):
    values = {"x": "bad", "1": "good"}
    written = {"bad": "x", "good": "1"}[label]
    assert LABELS[label_number(around.format(written), LABELS, (), values)] == label


def test_a_value_that_the_map_misses_names_file_row_and_value(tmp_path):
    class Mapped(Reviews):
        """With a map."""

        label_values = {"0": "bad"}  # noqa: RUF012

    write(folder_of(tmp_path).with_suffix(".parquet"), text=TEXTS[:2], label=[0, 7])
    with pytest.raises(XlbenchError, match=r"test\.parquet, row 1: unknown label 7.*the task maps '0'"):
        Mapped().read("test", "en", DataSource(tmp_path))


def test_an_unknown_column_names_those_there_are(tmp_path):
    write(folder_of(tmp_path).with_suffix(".parquet"), review=TEXTS, label=[0] * 12)
    with pytest.raises(XlbenchError, match="has no column 'text'; it has review, label"):
        Reviews().read("test", "en", DataSource(tmp_path))


@pytest.mark.parametrize("suffix", [".csv", "-00000-of-00003.parquet"])
def test_two_files_of_one_split_or_a_shard_too_few_are_refused(tmp_path, suffix):
    file = folder_of(tmp_path)
    if suffix == ".csv":
        write(file.with_suffix(".parquet"), **ROWS)
        as_csv(file.with_suffix(".csv"))
    else:
        write(file.with_name(f"test{suffix}"), **ROWS)
    with pytest.raises(XlbenchError, match=r"keep one of them|1 shards of test, which say that they are of \[3\]"):
        Reviews().read("test", "en", DataSource(tmp_path))


def test_a_blank_row_names_file_and_row_or_is_left_out_and_counted(tmp_path):
    class Lenient(Reviews):
        """Leaves blank rows out."""

        drop_blank, blanks = True, ("NS",)

    write(folder_of(tmp_path).with_suffix(".parquet"), text=["a b", "  ", "NS", "c d"], label=[0, 1, 0, 1])
    with pytest.raises(XlbenchError, match=r"row 1: the text is empty; .*drop_blank"):
        Reviews().read("test", "en", DataSource(tmp_path))
    assert [row.id for row in Lenient().read("test", "en", DataSource(tmp_path))] == ["test-0", "test-3"]
    notes = Lenient().reading_notes("test", "en", DataSource(tmp_path))
    assert notes == ("2 test rows in en are left out, for a text of theirs is empty",)


def test_rows_of_one_key_meet_whatever_their_order_and_others_are_left_out(tmp_path):
    class Keyed(Reviews):
        """Rows by id."""

        key, shared_keys_only = ("id",), True

    write(folder_of(tmp_path, "en").with_suffix(".parquet"), id=[1, 2, 3], text=["a", "b", "c"], label=[0, 1, 0])
    write(folder_of(tmp_path, "de").with_suffix(".parquet"), id=[3, 2], text=["C", "B"], label=[0, 1])
    sides = {language: Keyed().read("test", language, DataSource(tmp_path)) for language in ("en", "de")}
    assert {language: {row.id for row in rows} for language, rows in sides.items()} == {
        "en": {"test-2", "test-3"},
        "de": {"test-2", "test-3"},
    }
    assert "1 of 3 test rows in en" in Keyed().reading_notes("test", "en", DataSource(tmp_path))[0]


def test_splits_of_one_file_divide_its_units(tmp_path):
    class Dealt(Reviews):
        """All in one file; two rows a unit."""

        split_names = dict.fromkeys(("train", "validation", "test"), "all")
        unit_column = "unit"

    for language in ("en", "de"):
        write(
            folder_of(tmp_path, language, "all").with_suffix(".parquet"), label=[n % 2 for n in range(200)],
            text=[f"{language} {number}" for number in range(200)], unit=[number // 2 for number in range(200)],
        )  # fmt: skip
    source = DataSource(tmp_path)
    units = {
        (split, language): {row.unit.removeprefix(f"{split}-") for row in Dealt().read(split, language, source)}
        for split in ("train", "validation", "test")
        for language in ("en", "de")
    }
    assert set.union(*(units[split, "en"] for split in ("train", "validation", "test"))) == set(map(str, range(100)))
    assert sum(len(units[split, "en"]) for split in ("train", "validation", "test")) == 100
    assert all(units[split, "en"] == units[split, "de"] for split in ("train", "validation", "test"))
    assert 45 <= len(units["train", "en"]) <= 75


def test_a_pool_drops_what_stands_in_the_test_and_takes_all_of_a_rare_class(tmp_path):
    source = DataSource(tmp_path)
    for split, texts in (("train", TEXTS), ("validation", [f"dev {n}" for n in range(12)]), ("test", TEXTS[:3])):
        write(
            folder_of(tmp_path, "en", split).with_suffix(".parquet"),
            text=texts,
            label=[n % 2 for n in range(len(texts))],
        )
    tested = set(TEXTS[:3])
    draw = Reviews().draw(4, 0, source, is_tested=lambda row: row.texts[0] in tested)
    assert not {row.texts[0] for row in draw.train} & tested
    assert draw.left_out == 3
    assert Counter(row.gold for row in draw.train) == {0: 4, 1: 4}
    most = Reviews().draw(6, 0, source, is_tested=lambda row: row.texts[0] in tested)
    assert Counter(row.gold for row in most.train) == {0: 4, 1: 5}
    assert most.notes[0].startswith("of class 'bad' the train pool in en has 4 rows, fewer than the 6 shots")


class Chosen(TableTask):
    """Choices, the first of which is 1."""

    name = "chosen"
    languages, problem, fields = ("en",), MultipleChoice(), ("start",)
    dataset, choice_columns, first_choice = "me/reviews", ("one", "two"), 1


class Tagged(TableTask):
    """Words with tags, of which one is left out."""

    name = "tagged"
    languages, fields = ("en",), ("words",)
    problem = TokenLabelling(("N", "V"))
    dataset, label_values, drop_tags = "me/reviews", {"0": "N", "1": "_", "2": "V"}, ("_",)
    columns = {"words": "tokens"}  # noqa: RUF012


def test_choices_and_tags_are_read_from_columns(tmp_path):
    file = folder_of(tmp_path).with_suffix(".parquet")
    write(file, start=["a", "b"], one=["x", "x"], two=["y", "y"], label=["1", "2"])
    rows = Chosen().read("test", "en", DataSource(tmp_path))
    assert [(row.choices, row.gold) for row in rows] == [(("x", "y"), 0), (("x", "y"), 1)]
    (tmp_path / "tags").mkdir()
    write(folder_of(tmp_path / "tags").with_suffix(".parquet"), tokens=[["he", "du", "runs"]], label=[[0, 1, 2]])
    (row,) = Tagged().read("test", "en", DataSource(tmp_path / "tags"))
    assert (row.texts, row.gold) == (("he", "runs"), (0, 1))


@pytest.mark.parametrize(
    ("task", "columns", "sentence"),
    [
        (Chosen, {"start": ["a"], "one": ["x"], "two": [""], "label": ["1"]}, "row 0: a choice is empty"),
        (Chosen, {"start": ["a"], "one": ["x"], "two": ["y"], "label": ["3"]}, "row 0: the right choice is 2"),
        (Chosen, {"start": ["a"], "one": ["x"], "two": ["y"], "label": ["yes"]}, "the right choice is 'yes', no whole"),
        (Tagged, {"tokens": [["a", "b"]], "label": [[0]]}, "row 0: it has 2 words and 1 tags"),
        (Tagged, {"tokens": [["a"]], "label": [[9]]}, "row 0: unknown label 9"),
    ],
)
def test_choices_and_tags_that_do_not_fit_are_refused(tmp_path, task, columns, sentence):
    write(folder_of(tmp_path).with_suffix(".parquet"), **columns)
    with pytest.raises(XlbenchError, match=sentence):
        task().read("test", "en", DataSource(tmp_path))


@pytest.mark.parametrize(
    ("code", "language", "script"),
    [("zh-CN", "zh", ""), ("sr-Latn", "sr", "Latn"), ("eng_Latn", "en", "Latn"), ("jp", "ja", ""),
     ("quy_Latn", "quy", "Latn"),
     ("sw-KE", "sw", ""), ("en", "en", ""), ("english", "english", ""), ("nqo_Nkoo", "nqo", "Nkoo")],
)  # fmt: skip
def test_codes_of_datasets_name_a_language(code, language, script):
    assert (language_of(code), script_of(code)) == (language, script)


def test_general_templates_are_in_the_language_s_own_words():
    assert template("question", ("text",), "deu_Latn") == "{text}<sep>Antwort: <mask>"
    assert template("question", ("a", "b"), "eu") == "{a}<sep>galdera: {b}? Erantzuna: <mask>"
    assert template("question", ("text",), "bug") == "{text}<sep>Answer: <mask>"  # no Buginese words are known
    assert template("soft", ("a", "b"), "en") == "{a.} . {b.} ? <prompt> <mask> ."
    assert template("soft", ("text",), "en") == "{text.} . <prompt> <mask> ."
    assert words_of("ja").because == "なぜなら"
