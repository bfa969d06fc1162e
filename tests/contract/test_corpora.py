"""Parallel corpora by name: pairs joined by id or by line, and languages that a corpus lacks."""

from pathlib import Path

import pytest
from small_data import write, write_ntrex, write_paws_x, write_xnli

from xlbench import RunSpec, Runtime, XlbenchError
from xlbench.corpora import CORPORA, Pair, ntrex, paws_x
from xlbench.engine.prepare import prepare
from xlbench.sources import DataSource

REAL = Path(__file__).parents[3] / "shared" / "data"
real = pytest.mark.skipif(not (REAL / "ntrex-128.parquet").is_file(), reason=f"no real data under {REAL}")


@pytest.fixture
def folder(tmp_path):
    write_paws_x(tmp_path)
    write_ntrex(tmp_path)
    return DataSource(tmp_path)


def test_paws_x_joins_by_id_not_by_line(folder):
    pairs = paws_x("en", "fr", 100, folder)
    assert [pair.id for pair in pairs] == [
        "paws-x-validation-3", "paws-x-validation-4", "paws-x-validation-5", "paws-x-test-2",
    ]  # fmt: skip
    assert pairs[0] == Pair(
        "paws-x-validation-3",
        "fr",
        ("Paper validation 3 was signed in Rome.", "Paper validation 3 bis was signed in Rome."),
        ("L'acte validation 3 fut signé à Rome.", "L'acte validation 3 bis fut signé à Rome."),
    )


def test_paws_x_takes_as_many_as_asked_for(folder):
    assert paws_x("en", "fr", 2, folder) == paws_x("en", "fr", 100, folder)[:2]


@pytest.mark.parametrize("language", ["sw", "th", "xx"])
def test_paws_x_has_no_pairs_for_a_language_that_it_lacks(folder, language):
    assert paws_x("en", language, 100, folder) == []


def test_paws_x_leaves_out_rows_that_were_not_translated(tmp_path):
    write_paws_x(tmp_path)
    for split in ("validation", "test"):
        write(
            tmp_path / "google-research-datasets" / "paws-x" / "fr" / f"{split}.parquet",
            id=[1, 2], sentence1=["", "Un acte."], sentence2=["Un acte.", None],
        )  # fmt: skip
    assert paws_x("en", "fr", 100, DataSource(tmp_path)) == []


def test_ntrex_pairs_each_sentence_with_the_next_and_starts_afresh(folder):
    pairs = ntrex("en", "fr", 100, folder)
    assert [pair.id for pair in pairs] == [f"ntrex-128-{number}" for number in (0, 2, 1, 3)]
    assert pairs[0].source == ("Story 0 begins here.", "Story 1 begins here.")
    assert pairs[0].target == ("L'histoire 0 commence ici.", "L'histoire 1 commence ici.")
    assert all(pair.language == "fr" for pair in pairs)


def test_a_small_size_covers_as_much_text_as_it_can(folder):
    pairs = ntrex("en", "fr", 2, folder)
    assert len({text for pair in pairs for text in pair.source}) == 4


def test_ntrex_has_no_pairs_for_a_language_without_a_column(folder):
    assert ntrex("en", "th", 100, folder) == []


def test_ntrex_leaves_out_sentences_that_are_missing(tmp_path):
    write(tmp_path / "ntrex-128.parquet", en=["A.", "B.", "C.", "D."], fr=["A'.", None, "C'.", "D'."])
    assert [pair.id for pair in ntrex("en", "fr", 100, DataSource(tmp_path))] == ["ntrex-128-2"]


@pytest.mark.parametrize("corpus", sorted(CORPORA))
def test_a_corpus_that_is_not_in_the_folder_names_the_path(corpus, tmp_path):
    with pytest.raises(XlbenchError, match=rf"no data file {tmp_path}/.*{corpus}.*\.parquet"):
        CORPORA[corpus]("en", "fr", 10, DataSource(tmp_path))


def test_ntrex_without_a_data_root_says_how_to_get_it():
    with pytest.raises(XlbenchError, match=r"ntrex-128\.parquet is on no dataset hub; give --data-root DIR"):
        ntrex("en", "fr", 10, DataSource(None))


# Asked for by a run


def prepared(root: Path, **fields):
    asked = {"method": "mpt", "task": "xnli", "model": "tiny", "shots": 2, "languages": ("en", "fr", "sw")}
    if fields.get("method", "mpt") == "mpt":
        asked["config"] = {"words": "yes-no"}  # tiny does not know `right`
    return prepare(RunSpec(**{**asked, **fields}), Runtime(data_root=root, device="cpu"))


def test_unknown_corpus_gets_a_near_miss_and_the_list(tmp_path):
    with pytest.raises(XlbenchError) as fault:
        prepared(write_xnli(tmp_path), parallel="pawsx")
    assert str(fault.value) == "unknown parallel corpus 'pawsx'; did you mean 'paws-x'? known: ntrex-128, paws-x"


def test_a_task_that_brings_a_corpus_offers_it():
    with pytest.raises(XlbenchError, match=r"unknown parallel corpus 'logik'; did you mean 'logic'"):
        prepared(None, task="logic", parallel="logik")


def test_a_run_gets_the_pairs_that_each_language_has(tmp_path):
    write_paws_x(write_xnli(tmp_path))
    found = prepared(tmp_path, parallel="paws-x", parallel_size=3)
    assert {language: len(pairs) for language, pairs in found.resources["parallel"].items()} == {"fr": 3}


def test_the_default_corpus_is_the_task_s(tmp_path):
    write_ntrex(write_xnli(tmp_path))
    found = prepared(tmp_path)
    assert found.spec.resources == {"parallel": {"corpus": "ntrex-128", "size": 1000}}
    assert {language: len(pairs) for language, pairs in found.resources["parallel"].items()} == {"fr": 4, "sw": 4}


def test_a_method_that_needs_no_pairs_gets_none_and_its_record_names_no_corpus(tmp_path):
    found = prepared(write_xnli(tmp_path), method="finetune", parallel="paws-x")
    assert found.resources == {}
    assert found.spec.resources == {}


@real
@pytest.mark.parametrize("language", ["de", "es", "fr", "zh"])
def test_real_paws_x_has_more_than_3000_pairs_in_its_four_languages_of_xnli(language):
    pairs = paws_x("en", language, 10_000, DataSource(REAL))
    assert len(pairs) > 3000
    assert len({pair.id for pair in pairs}) == len(pairs)


@real
def test_real_ntrex_has_1996_pairs_in_every_language_of_xnli():
    for language in ("ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"):
        assert len(ntrex("en", language, 10_000, DataSource(REAL))) == 1996
