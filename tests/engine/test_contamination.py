"""The guard: no test sentence among what a method learns from, however it is written."""

import string
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from small_data import PREMISES, write, write_ntrex, write_xnli, xnli_file, xnli_rows

from xlbench import RunSpec, Runtime, XlbenchError, registry, run
from xlbench.corpora import Pair
from xlbench.engine.contamination import TestSentences, check, normalised, texts_of, without_shared
from xlbench.problem import Classification, MultipleChoice, TokenLabelling
from xlbench.task import Row

# Normalisation


@given(st.text(max_size=40))
@example("ﬁ ſ İ ΐ ǰ ς Σ ẞ ŉ")
@example("\u0345\u0300")
@example("\u00df\u0301")
@example("´x")
def test_normalising_twice_is_normalising_once(text):
    assert normalised(normalised(text)) == normalised(text)


@given(st.text(max_size=40))
@example("\u1e9e ß SS")
@example("ͅΑ")
def test_unicode_forms_do_not_matter(text):
    whole = unicodedata.normalize("NFKC", text)
    assert normalised(whole) == normalised(text)
    assert normalised(unicodedata.normalize("NFKD", text)) == normalised(text)


@given(st.text(alphabet=string.ascii_letters + "äöüßéçñжшΩλ ", max_size=40))
def test_case_does_not_matter(text):
    assert normalised(text.upper()) == normalised(text.lower()) == normalised(text)


@given(
    st.lists(st.text(alphabet="abcдя中ไ", min_size=1), min_size=1),
    st.text(alphabet=".,;:!?-–—'\"«»“”()…。、？،؟$+ \t\n"),
)
def test_punctuation_and_white_space_do_not_matter(words, between):
    assert normalised(f"{between} ".join(words) + between) == " ".join(words)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World!", "hello world"),
        ("ＦＵＬＬ width", "full width"),
        ("Straße", "STRASSE"),
        ("don't", "don’t"),
        ("“Quoted”", "'quoted'"),
        ("a  b\u00a0c\nd", "a b c d"),
        ("e\u0301t\u00e9", "\u00e9te\u0301"),
        ("你好。", "你好"),
    ],
)
def test_what_counts_as_the_same_sentence(one, other):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(("one", "other"), [("5 cats", "6 cats"), ("resume", "résumé"), ("a b", "ab"), ("not", "")])
def test_what_counts_as_another_sentence(one, other):
    assert normalised(one) != normalised(other)


# The guard


def row(id_: str, *texts: str) -> Row:
    return Row(id_, texts, 0, "en", id_)


PLAIN = Classification(("a", "b"))
TEST = TestSentences.of(PLAIN, [row("t1", "The fox sleeps.", "It dreams."), row("t2", "A bear sings.", "...")])
CLEAN = row("ok", "Nothing of the kind.", "Nor this.")


def texts(*rows: Row) -> list[tuple[str, str]]:
    return texts_of(PLAIN, rows)


def pairs(*made: Pair) -> list[tuple[str, str]]:
    """The texts of pairs, as the resource gives them to the guard."""
    parallel = registry.get("resource", "parallel")
    return list(parallel(parallel.Settings()).texts({one.language: [one] for one in made}))


def test_clean_text_passes_and_is_counted():
    parallel = pairs(Pair("p", "fr", ("One.", "Two."), ("Un.", "Deux.")))
    learning = {"train": texts(CLEAN), "dev": texts(CLEAN, CLEAN), "parallel": parallel}
    assert check(TEST, learning) == {"train": 2, "dev": 4, "parallel": 4}


def test_the_words_of_a_row_whose_words_are_labelled_are_one_text():
    words = Row("w", ("The", "fox", "sleeps", "."), np.array([0, 1, 0, 0]), "en", "w")
    said = texts_of(TokenLabelling(("O", "X")), [words])
    assert said == [("w", "The fox sleeps .")]
    with pytest.raises(XlbenchError, match=r"1 train rows share .*: w \(test row t1\)"):
        check(TEST, {"train": said})


def choosing(id_: str, text: str, *choices: str) -> Row:
    return Row(id_, (text,), 0, "en", id_, "", choices)


def test_a_choice_that_is_a_test_row_s_text_is_found_and_an_answer_of_many_rows_is_none():
    problem = MultipleChoice()
    test = TestSentences.of(
        problem, [choosing("t1", "The fox sleeps.", "yes", "no"), choosing("t2", "Why?", "so", "no")]
    )
    learning = [choosing("l1", "Who?", "the fox SLEEPS", "yes"), choosing("l2", "Where?", "yes", "no")]
    assert test.shared_with(texts_of(problem, learning)) == [("l1", "t1")]
    assert [row.id for row in without_shared(test, problem, learning)] == ["l2"]
    with pytest.raises(XlbenchError, match=r"1 dev rows share a sentence with the test rows: l1 \(test row t1\)"):
        check(test, {"train": texts_of(problem, learning[1:]), "dev": texts_of(problem, learning)})


def test_a_sentence_of_nothing_but_punctuation_is_no_match():
    assert check(TEST, {"train": texts(row("r", "…", "!!!"))}) == {"train": 2}


@pytest.mark.parametrize("purpose", ["train", "dev", "parallel"])
def test_a_shared_sentence_is_refused_naming_both_rows(purpose):
    clean = Pair("p", "sw", ("x", "y"), ("z", "w"))
    learning = {"train": texts(CLEAN), "dev": texts(CLEAN), "parallel": pairs(clean)}
    if purpose == "parallel":
        learning["parallel"] = pairs(clean, Pair("guilty", "fr", ("x", "y"), ("THE FOX, sleeps", "w")))
    else:
        learning[purpose] = texts(CLEAN, row("guilty", "x", "the fox sleeps"))
    with pytest.raises(XlbenchError) as fault:
        check(TEST, learning)
    assert f"1 {purpose} rows share a sentence with the test rows: guilty (test row t1)" in str(fault.value)


def test_many_shared_sentences_are_counted_and_the_first_named():
    guilty = [row(f"g{number}", "It dreams") for number in range(8)]
    with pytest.raises(XlbenchError, match=r"8 train rows share .*g0 \(test row t1\), .*g4 .* and 3 more;") as fault:
        check(TEST, {"train": texts(*guilty)})
    assert "g5" not in str(fault.value)


# In a run


def refused(root, runs, **fields) -> str:
    asked = {"task": "xnli", "model": "tiny", "languages": ("en", "fr")}
    with pytest.raises(XlbenchError) as fault:
        run(RunSpec(**{**asked, **fields}), Runtime(data_root=root, runs=runs, device="cpu"))
    return str(fault.value)


def test_a_run_whose_shots_hold_a_test_sentence_writes_nothing(tmp_path):
    write_xnli(tmp_path / "data")
    columns = xnli_rows("en", PREMISES["train"][:4])
    columns["hypothesis"][3] = "the BEAR is asleep!"
    write(xnli_file(tmp_path / "data", "en", "train"), **columns)
    message = refused(tmp_path / "data", tmp_path / "runs", method="finetune", shots=4)  # all that there are
    assert "1 train rows share a sentence with the test rows: train-3 (test row test-6)" in message
    assert not (tmp_path / "runs").exists()


def test_a_run_whose_parallel_text_holds_a_translated_test_sentence_writes_nothing(tmp_path):
    write_ntrex(write_xnli(tmp_path / "data"))
    texts = [f"Story {number}." for number in range(4)]
    write(
        tmp_path / "data" / "ntrex-128.parquet",
        en=texts,
        fr=["Un.", "Deux.", "L'ours est endormi", "Le hibou est endormi"],
    )
    message = refused(tmp_path / "data", tmp_path / "runs", method="mpt", shots=2)
    assert "parallel rows share a sentence with the test rows: ntrex-128-2 (test row test-3)" in message
    assert not (tmp_path / "runs").exists()


def test_the_oracle_s_dev_rows_that_are_test_sentences_are_counted_and_named_and_a_note_says_so(tmp_path):
    root = write_xnli(tmp_path / "data")
    columns = xnli_rows("fr", PREMISES["validation"])
    columns["hypothesis"] = ["Le ours est endormi!" if index % 3 == 0 else text
                             for index, text in enumerate(columns["hypothesis"])]  # fmt: skip
    write(xnli_file(root, "fr", "validation"), **columns)
    asked = {
        "task": "xnli", "model": "tiny", "languages": ("en", "fr"), "method": "finetune", "shots": 1,
        "training": {"steps": 1, "checkpoints": 1},
    }  # fmt: skip
    runtime = Runtime(data_root=root, runs=tmp_path / "runs", device="cpu")
    oracle = run(RunSpec(selection="oracle-target-dev", **asked), runtime)
    assert oracle.contamination["compared"]["target dev"] == 6  # two texts of three rows, in French
    assert oracle.contamination["shared"] == 1
    ((ours, theirs),) = oracle.contamination["ids"]
    assert ours.startswith("validation-")
    assert theirs == "test-6"
    assert (
        "sentences of the oracle's dev rows that are test sentences too: 1; the ids are in the record" in oracle.notes
    )
    assert "endormi" not in oracle.model_dump_json()
    ordinary = run(RunSpec(**asked), runtime)
    assert ordinary.contamination["shared"] == 0
    assert "target dev" not in ordinary.contamination["compared"]
    assert not any("oracle" in note for note in ordinary.notes)
