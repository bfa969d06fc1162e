"""Dictionaries by hand: IBM model 1, Dice, MUSE's files, and texts in which words are switched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlbench import registry
from xlbench.corpora import Pair
from xlbench.dictionaries import WordSource, dice, induced, read_muse, switched, translation_table, words_in
from xlbench.errors import XlbenchError
from xlbench.resources import Surroundings
from xlbench.sources import DataSource

THREE = [("the house", "das haus"), ("the book", "das buch"), ("a book", "ein buch")]
PARTED = [(ours.split(), theirs.split()) for ours, theirs in THREE]


def random(seed=0):
    return np.random.default_rng(seed)


def test_ibm_model_1_after_two_iterations_by_hand():
    table = translation_table(PARTED, iterations=2, null=False)
    assert table["the", "das"] == pytest.approx(7 / 11)
    assert table["house", "haus"] == pytest.approx(4 / 7)


@pytest.mark.parametrize("null", [True, False])
def test_what_a_word_is_translated_as_adds_up_to_one(null):
    table = translation_table(PARTED, null=null)
    assert {s for s, _ in table} == {"the", "house", "a", "book"}
    for word in ("the", "house", "a", "book"):
        assert sum(p for (s, _), p in table.items() if s == word) == pytest.approx(1)


def test_dice_by_hand():
    table = dice(PARTED)
    assert table["house", "das"] == pytest.approx(2 / 3)
    assert table["the", "das"] == 1


@pytest.mark.parametrize("align", ["ibm1", "dice"])
def test_words_that_are_there_twice_and_choose_each_other_stay(align):
    assert induced(PARTED, align) == {"the": ("das",), "book": ("buch",)}
    assert induced([], align) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't stop-and go.", ["don't", "stop-and", "go"]),
        ("'quoted' - apart", ["quoted", "apart"]),
        ("हिन्दी में लिखो।", ["हिन्दी", "में", "लिखो"]),  # vowel signs are in their words
        ("3.5 km", ["3", "5", "km"]),
        ("…", []),
    ],
)
def test_words_are_runs_of_letters_marks_and_digits(text, words):
    assert words_in(text) == words


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abc"), max_size=4), st.lists(st.sampled_from("xyz"), max_size=4)),
        max_size=6,
    )
)
def test_a_dictionary_has_one_word_of_the_other_side_for_some_of_this(parted):
    for s, translations in induced(parted).items():
        assert len(translations) == 1
        assert any(s in ours and translations[0] in theirs for ours, theirs in parted)


def test_a_language_without_spaces_is_parted_by_the_tokenizer():
    pairs = tuple(Pair(str(n), "zh", ("the cat", "a dog"), ("猫了", "狗了")) for n in range(2))
    found = WordSource("en", "zh", pairs=pairs).dictionary(list, "letters")
    assert set(found) <= {"the", "cat", "a", "dog"}
    assert {word for several in found.values() for word in several} <= set("猫狗了")


# Files


def test_muse_files_have_several_words_for_one_and_no_word_twice_the_same(tmp_path):
    file = tmp_path / "en-de.txt"
    file.write_text("\ufeffHouse haus\nhouse\tgebäude\nradio radio\n\n")
    assert read_muse(file) == (("house", "haus"), ("house", "gebäude"))
    assert WordSource("en", "de", entries=read_muse(file)).dictionary(list, "") == {"house": ["haus", "gebäude"]}


@pytest.mark.parametrize("line", ["alone", "three words here", "\t"])
def test_a_line_that_is_no_entry_is_named(tmp_path, line):
    file = tmp_path / "en-de.txt"
    file.write_text(f"house haus\n{line}\n")
    if not line.strip():
        assert len(read_muse(file)) == 1
        return
    with pytest.raises(XlbenchError, match=r"en-de\.txt, line 2"):
        read_muse(file)


def test_files_come_before_parallel_text_and_a_language_with_neither_is_absent(tmp_path, logic):
    (tmp_path / "muse").mkdir()
    (tmp_path / "muse" / "en-fr.txt").write_text("cat chat\n")
    resource = registry.get("resource", "dictionary")
    around = Surroundings(logic, ("en", "fr", "de"), (), DataSource(tmp_path))
    found = resource(resource.Settings(size=20)).load(around)
    assert found["fr"].entries == (("cat", "chat"),)
    assert not found["de"].entries
    assert len(found["de"].pairs) == 20
    with pytest.raises(XlbenchError, match="no folder"):
        resource(resource.Settings(folder=str(tmp_path / "other"))).load(around)


# Switching


def test_with_every_word_known_and_rate_one_each_is_switched():
    assert switched(["a", "a"], [{"a": ["b"]}], 1.0, random()) == ["b", "b"]
    four = ["the", "big", "cat", "sleeps"]
    known = {word: [word.upper() * 2] for word in four}
    assert switched(four, [known], 1.0, random()) == [word.upper() * 2 for word in four]


def test_case_and_edges_play_no_part_in_looking_up_and_edges_are_put_back():
    assert switched(["“The", "CAT!”", "…"], [{"the": ["le"], "cat": ["chat"]}], 1.0, random()) == ["“le", "chat!”", "…"]
    assert switched(["cat!"], [{"cat": ["chat"]}], 1.0, random(), edges=False) == ["cat!"]


def test_a_language_is_drawn_again_while_it_lacks_the_word():
    languages = [{}] * 9 + [{"a": ["b"]}]
    once = sum(switched(["a"] * 400, languages, 1.0, random(), 0).count("b") for _ in range(1)) / 400
    again = switched(["a"] * 400, languages, 1.0, random(), 10).count("b") / 400
    assert once == pytest.approx(0.1, abs=0.05)
    assert again == pytest.approx(1 - 0.9**11, abs=0.08)


@given(st.lists(st.sampled_from(["a", "b", "z"])), st.floats(0, 1), st.integers(0, 5))
def test_a_text_keeps_its_length_and_changes_known_words_alone(tokens, rate, seed):
    found = switched(tokens, [{"a": ["x"], "b": ["y"]}], rate, random(seed))
    assert len(found) == len(tokens)
    assert all(new == old or (old, new) in {("a", "x"), ("b", "y")} for old, new in zip(tokens, found, strict=True))
    assert switched(tokens, [{"a": ["x"]}], 0.0, random(seed)) == tokens
    assert switched(tokens, [], 1.0, random(seed)) == tokens
