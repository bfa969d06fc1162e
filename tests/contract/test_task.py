"""Tasks: the few-shot draw, the test subset, and XNLI read from a small folder and from the real one."""

import hashlib
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import PREMISES, SENTENCES, write, write_few_shot_splits, write_xnli, xnli_file, xnli_rows

from xlbench import XlbenchError, registry
from xlbench.sources import DataSource
from xlbench.task import Row, Task

REAL = Path(__file__).parents[3] / "shared" / "data"
real = pytest.mark.skipif(not (REAL / "facebook" / "xnli").is_dir(), reason=f"no real data under {REAL}")
NOWHERE = DataSource()


@cache
def numbers(split: str, language: str) -> tuple[Row, ...]:
    """60 rows, three a premise, one of each of three labels."""
    return tuple(
        Row(f"{split}-{i}", (f"{language} {split} {i}",), i % 3, language, f"{split}-premise-{i // 3}")
        for i in range(60)
    )


class Numbers(Task):
    """A task made of numbers."""

    name = "numbers"
    languages = ("en", "fr")
    labels = ("a", "b", "c")
    fields = ("text",)

    def rows(self, split, language, source):
        return numbers(split, language)


# Draws


@given(shots=st.integers(1, 20), number=st.integers(0, 10_000))
def test_a_draw_has_the_shots_of_each_class_from_disjoint_pools(shots, number):
    draw = Numbers().draw(shots, number, NOWHERE)
    for rows, split in ((draw.train, "train"), (draw.dev, "validation")):
        assert Counter(row.gold for row in rows) == {0: shots, 1: shots, 2: shots}
        assert len({row.id for row in rows}) == 3 * shots
        assert all(row.id.startswith(f"{split}-") and row.language == "en" for row in rows)
    assert not {row.texts for row in draw.train} & {row.texts for row in draw.dev}


@given(shots=st.integers(1, 20), number=st.integers(0, 10_000))
@settings(max_examples=25)
def test_a_draw_is_a_function_of_task_shots_and_number(shots, number):
    assert Numbers().draw(shots, number, NOWHERE) == Numbers().draw(shots, number, DataSource(Path("elsewhere")))


@given(st.integers(3, 15), st.lists(st.integers(0, 1000), min_size=2, max_size=2, unique=True))
@settings(max_examples=50)
def test_draws_differ_by_number(shots, pair):
    first, second = (Numbers().draw(shots, number, NOWHERE) for number in pair)
    assert {row.id for row in (*first.train, *first.dev)} != {row.id for row in (*second.train, *second.dev)}


def test_draws_differ_by_task_name():
    class Other(Numbers):
        """The same rows under another name."""

        name = "other"

    assert Other().draw(4, 0, NOWHERE) != Numbers().draw(4, 0, NOWHERE)


def test_a_draw_is_the_same_on_every_machine():
    """The rows that this draw had when it was written; a change makes every record incomparable."""
    draw = Numbers().draw(3, 1, NOWHERE)
    ids = " ".join(row.id for row in (*draw.train, *draw.dev))
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == "523ebddd4765bb9d"


def test_every_row_of_a_class_can_be_drawn():
    seen = {row.id for number in range(200) for row in Numbers().draw(1, number, NOWHERE).train}
    assert len(seen) > 55


@pytest.mark.parametrize("split", ["train", "validation"])
def test_more_shots_than_the_pool_has(split):
    class Poor(Numbers):
        """A task with one row of class b less in one split."""

        def rows(self, asked, language, source):
            rows = numbers(asked, language)
            return [row for row in rows if row.id != f"{split}-1"] if asked == split else rows

    with pytest.raises(XlbenchError) as fault:
        Poor().draw(20, 0, NOWHERE)
    assert str(fault.value) == (
        f"--shots 20 is more than the 19 rows of class 'b' in the {split} pool of task numbers in en"
    )


def test_target_dev_is_the_dev_rows_in_the_other_languages():
    dev = Numbers().draw(2, 0, NOWHERE).dev
    found = Numbers().target_dev(dev, ["fr"], NOWHERE)
    assert [row.id for row in found["fr"]] == [row.id for row in dev]
    assert {row.language for row in found["fr"]} == {"fr"}


def test_target_dev_that_a_language_lacks():
    lost = Row("validation-none", ("text",), 0, "en", "p")
    with pytest.raises(XlbenchError, match="task numbers has no validation row validation-none in fr"):
        Numbers().target_dev([lost], ["fr"], NOWHERE)


# Target shots


@pytest.mark.parametrize("change", ["other rows", "other units", "a row less"])
def test_target_shots_of_a_language_whose_rows_are_apart_are_drawn_from_its_own_rows(change):
    class Uneven(Numbers):
        """Three languages, of which the last has rows that are no translations of the others'."""

        languages = ("en", "fr", "sw")

        def rows(self, split, language, source):
            rows = numbers(split, language)
            if language != "sw":
                return rows
            if change == "a row less":
                return rows[:-1]
            if change == "other units":
                return [replace(row, unit=f"own-{row.unit}") for row in rows]
            return [replace(row, gold=(row.gold + number // 3) % 3) for number, row in enumerate(rows)]

    for number in range(16):
        found = Uneven().draw(2, number, NOWHERE, target_shots=4, targets=["fr", "sw"]).target_train
        for language, rows in found.items():
            assert Counter(row.gold for row in rows) == {0: 4, 1: 4, 2: 4}
            assert {row.language for row in rows} == {language}
        assert [row.id for row in found["fr"]] != [row.id for row in found["sw"]]
        alone = Numbers().draw(2, number, NOWHERE, target_shots=4, targets=["fr"]).target_train
        assert found["fr"] == alone["fr"]


# Test rows


@given(premises=st.integers(1, 20))
@settings(max_examples=20)
def test_a_subset_has_whole_premises_the_same_in_every_language(premises):
    ours, theirs = (Numbers().test(language, NOWHERE, premises) for language in ("en", "fr"))
    assert [row.id for row in ours] == [row.id for row in theirs]
    assert set(Counter(row.unit for row in ours).values()) == {3}
    assert len({row.unit for row in ours}) == premises


@given(st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=25)
def test_a_larger_subset_contains_every_smaller_one(one, other):
    small, large = ({row.id for row in Numbers().test("en", NOWHERE, premises)} for premises in sorted((one, other)))
    assert small <= large


def test_subset_rows_keep_their_order():
    whole = [row.id for row in Numbers().test("en", NOWHERE)]
    part = [row.id for row in Numbers().test("en", NOWHERE, 7)]
    assert part == [id_ for id_ in whole if id_ in set(part)]


def test_more_test_units_than_there_are():
    more = r"--test-units 21 is more than the 20 test units \(each a premise\) of task numbers in en"
    with pytest.raises(XlbenchError, match=more):
        Numbers().test("en", NOWHERE, 21)


def test_unknown_language_lists_those_there_are():
    with pytest.raises(XlbenchError, match="unknown language 'xx' for task numbers; it has en, fr"):
        Numbers().check_languages(["en", "xx"])
    assert Numbers().check_languages(None) == ("en", "fr")
    assert Numbers().check_languages(["fr"]) == ("fr",)


def test_unknown_split():
    with pytest.raises(XlbenchError, match="unknown split 'mine' for task numbers; known: none"):
        Numbers().draw(1, 0, NOWHERE, "mine")


class Given(Numbers):
    """The numbers, some row of which is as a test wants it, from a generator."""

    name = "given"

    def rows(self, split, language, source):
        def row(at: Row):
            return self.odd(at) if at.id == "test-3" else at

        return (row(at) for at in numbers(split, language))


@pytest.mark.parametrize(
    ("odd", "said"),
    {
        "no id": ({"id": None}, "row number 3: its id is None, no name"),
        "an id that is a number": ({"id": 7}, "row 7: its id is 7, no name"),
        "an id with a NUL": ({"id": "a\0"}, r"row a\x00: its id 'a\x00' has the character NUL, which is lost"),
        "an empty unit": ({"unit": ""}, "row test-3: its unit is '', no name"),
        "no phenomenon": ({"phenomenon": None}, "row test-3: its phenomenon is None, no name"),
        "one text alone": ({"texts": "en"}, "row test-3: its texts are 'en', not a tuple of texts"),
        "no choices": ({"choices": None}, "row test-3: its choices are None, not a tuple of texts"),
        "half a character": ({"texts": ("a \ud800",)}, r"row test-3: '\ud800' is half a character"),
        "a dict": (None, "row number 3: it is a dict, not an xlbench.task.Row"),
    }.values(),
)
def test_an_odd_row_is_named_with_its_split_and_language(odd, said, monkeypatch):
    changed = {"odd": staticmethod(lambda row: {} if odd is None else replace(row, **odd))}
    with pytest.raises(XlbenchError, match=re.escape(f"task given, test split in en, {said}")):
        type("Given", (Given,), changed)().test("en", NOWHERE)


def test_rows_may_come_from_a_generator():
    as_it_is = type("Given", (Given,), {"odd": staticmethod(lambda row: row)})()
    assert as_it_is.test("en", NOWHERE) == list(numbers("test", "en"))


# XNLI


@pytest.fixture
def xnli():
    return registry.get("task", "xnli")()


@pytest.fixture
def folder(tmp_path):
    write_few_shot_splits(tmp_path)
    return write_xnli(tmp_path)


def test_xnli_reads_a_folder_laid_out_like_the_hub(xnli, folder):
    rows = xnli.test("fr", DataSource(folder))
    assert [row.texts for row in rows[:2]] == [
        ("Le renard dort près du fleuve.", "Le renard est endormi."),
        ("Le renard dort près du fleuve.", "Le renard rêve de poisson."),
    ]
    assert [row.gold for row in rows] == [0, 1, 2] * 4


def test_xnli_premise_ids_come_from_the_aligned_rows(xnli, folder):
    source = DataSource(folder)
    ids = {language: [row.unit for row in xnli.test(language, source)] for language in SENTENCES}
    assert ids["en"] == ids["fr"] == ids["sw"]
    assert ids["en"] == [f"test-premise-{number}" for number in range(4) for _ in range(3)]


def test_xnli_premises_are_the_source_s_where_a_translation_says_it_in_two_ways(xnli, folder):
    columns = xnli_rows("fr", PREMISES["test"])
    columns["premise"][1] = "Un renard dort au bord du fleuve."
    write(xnli_file(folder, "fr", "test"), **columns)
    assert Counter(row.unit for row in xnli.test("fr", DataSource(folder)))["test-premise-0"] == 3


def test_xnli_draws_dev_from_validation_and_never_tests_it(xnli, folder):
    source = DataSource(folder)
    draw = xnli.draw(3, 0, source)
    assert {row.id.split("-")[0] for row in draw.train} == {"train"}
    assert {row.id.split("-")[0] for row in draw.dev} == {"validation"}
    tested = {row.texts for row in xnli.test("en", source)}
    assert not tested & {row.texts for row in (*draw.train, *draw.dev)}
    assert not tested & {row.texts for row in xnli.rows("validation", "en", source)}


def test_xnli_languages_of_different_lengths_are_refused(xnli, folder):
    columns = xnli_rows("fr", PREMISES["test"])
    write(xnli_file(folder, "fr", "test"), **{name: values[:-1] for name, values in columns.items()})
    with pytest.raises(XlbenchError, match="has 11 rows but en has 12; the languages must be aligned"):
        xnli.test("fr", DataSource(folder))


def test_xnli_languages_in_different_orders_are_refused(xnli, folder):
    columns = xnli_rows("fr", PREMISES["test"])
    write(xnli_file(folder, "fr", "test"), **{name: values[1:] + values[:1] for name, values in columns.items()})
    with pytest.raises(XlbenchError, match=r"fr/test\.parquet.*row 0.*aligned"):
        xnli.test("fr", DataSource(folder))


def test_zhao_schuetze_is_the_published_draw_whatever_the_number(xnli, folder):
    source = DataSource(folder)
    draw = xnli.draw(2, 0, source, "zhao-schuetze")
    premises = [xnli_rows("en", animals)["premise"] for animals in (range(17, 19), range(5, 7))]
    assert [[row.texts[0] for row in rows] for rows in (draw.train, draw.dev)] == premises
    assert Counter(row.gold for row in draw.train) == Counter(row.gold for row in draw.dev) == {0: 2, 1: 2, 2: 2}
    assert draw == xnli.draw(2, 5, source, "zhao-schuetze")


def test_zhao_schuetze_lists_the_shots_it_has(xnli, folder):
    with pytest.raises(XlbenchError, match=r"--split zhao-schuetze has no --shots 3; it has 1, 2$"):
        xnli.draw(3, 0, DataSource(folder), "zhao-schuetze")


def test_unknown_split_of_xnli_gets_a_near_miss(xnli, folder):
    with pytest.raises(XlbenchError, match="unknown split 'zhao-schutze' for task xnli; did you mean 'zhao-schuetze'"):
        xnli.draw(1, 0, DataSource(folder), "zhao-schutze")


def test_a_published_split_without_a_data_root_says_so(xnli):
    with pytest.raises(XlbenchError, match="is on no dataset hub; give --data-root DIR"):
        xnli.draw(1, 0, DataSource(None), "zhao-schuetze")


# The real data, where there is some


@real
@pytest.mark.parametrize("language", ["en", "sw"])
def test_real_xnli_has_1670_premises_of_three_rows(xnli, language):
    rows = xnli.test(language, DataSource(REAL))
    groups = Counter(row.unit for row in rows)
    assert len(groups) == 1670
    assert set(groups.values()) == {3}
    assert Counter(row.gold for row in rows) == {0: 1670, 1: 1670, 2: 1670}


@real
def test_real_xnli_draws_are_balanced_and_differ(xnli):
    source = DataSource(REAL)
    first, second = (xnli.draw(16, number, source) for number in (0, 1))
    for rows in (first.train, first.dev, second.train, second.dev):
        assert Counter(row.gold for row in rows) == {0: 16, 1: 16, 2: 16}
    assert {row.id for row in first.train} != {row.id for row in second.train}


@real
@pytest.mark.parametrize("shots", [1, 2, 4, 8, 16, 32, 64, 128, 256])
def test_real_published_splits_are_balanced(xnli, shots):
    draw = xnli.draw(shots, 0, DataSource(REAL), "zhao-schuetze")
    for rows in (draw.train, draw.dev):
        assert Counter(row.gold for row in rows) == {0: shots, 1: shots, 2: shots}
