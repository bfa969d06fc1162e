"""Token ids on disk: the same as made anew, made once, and never believed where they are damaged."""

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlbench.host import array_cache as cache
from xlbench.prompts import WORTH_KEEPING, Encoded, Template, TextEncoder
from xlbench.sources import DataSource


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XLBENCH_CACHE", str(tmp_path / "ids"))
    return tmp_path / "ids"


def made(values, calls):
    def make():
        calls.append(1)
        return np.array(values, dtype=np.int32)

    return make


def test_an_array_is_made_once_and_mapped_after(place):
    calls = []
    first, second = cache.array("k", made([1, 2], calls)), cache.array("k", made([1, 2], calls))
    assert first.tolist() == second.tolist() == [1, 2]
    assert len(calls) == 1
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    assert [file.suffix for file in place.iterdir()] == [".npy"]


def test_other_keys_are_other_arrays(place):
    assert cache.array("a", made([1], [])).tolist() != cache.array("ab", made([2], [])).tolist()
    assert cache.array("a", made([3], [])).tolist() == [1]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_file_is_noticed_said_and_made_again(place, damage):
    cache.array("k", made(range(100), []))
    (file,) = place.iterdir()
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes({"flip": bytes(content), "cut": bytes(content[:-20]), "empty": b"", "text": b"no array"}[damage])
    calls = []
    with pytest.warns(UserWarning, match="are damaged; they are made again"):
        assert cache.array("k", made(range(100), calls)).tolist() == list(range(100))
    assert len(calls) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.array("k", made([], calls)).tolist() == list(range(100))
    assert len(calls) == 1


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XLBENCH_CACHE", str(tmp_path / "file" / "ids"))
    with pytest.warns(UserWarning, match="set XLBENCH_CACHE to a folder that can be written"):
        assert cache.array("k", made([7], [])).tolist() == [7]


def test_an_empty_setting_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XLBENCH_CACHE", "")
    monkeypatch.chdir(tmp_path)
    calls = []
    for _ in range(2):
        cache.array("k", made([7], calls))
    assert len(calls) == 2
    assert not list(tmp_path.iterdir())


def test_many_who_make_it_at_once_get_the_same_and_leave_one_file(place):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.array("k", made(range(1000), [])).tolist(), range(32)))
    assert all(one == list(range(1000)) for one in found)
    assert len(list(place.iterdir())) == 1


def test_many_processes_at_once(place):
    code = (
        "import numpy as n; from xlbench.host.array_cache import array; print(array('k', lambda: n.arange(5000)).sum())"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert {process.communicate(timeout=60)[0].strip() for process in running} == {str(sum(range(5000)))}
    assert len(list(place.iterdir())) == 1


@given(st.lists(st.lists(st.integers(-64, 2**31 - 1), min_size=1, max_size=9), max_size=8), st.data())
def test_packing_is_undone_by_unpacking(rows, data):
    places = [data.draw(st.lists(st.integers(-1, 9), min_size=len(rows), max_size=len(rows))) for _ in range(2)]
    encoded = Encoded([np.array(row) for row in rows], *map(np.array, places), np.zeros(len(rows), dtype=int))
    again = Encoded.unpacked(encoded.packed())
    assert [row.tolist() for row in again.ids] == rows
    assert again.lengths.tolist() == [len(row) for row in rows]
    assert [again.read_at.tolist(), again.second_at.tolist()] == places


def template_of(logic, name, language):
    return Template(logic.template(name, language), logic.fields, f"{name}, {language}")


def texts_of(logic, language, count=WORTH_KEEPING):
    return [row.texts for row in logic.rows("test", language, DataSource(None))[:count]]


def test_cached_ids_are_those_made_anew(place, tiny, logic):
    text = tiny.text(128)
    for name, language in (("soft", "en"), ("question", "th"), ("pair", "ar")):
        template = template_of(logic, name, language)
        texts = texts_of(logic, language)
        anew = text._encode(template, texts, 4)
        for _ in range(2):
            found = text.encode(template, texts, 4)
            assert [row.tolist() for row in found.ids] == [row.tolist() for row in anew.ids]
            assert found.read_at.tolist() == anew.read_at.tolist()
            assert found.second_at.tolist() == anew.second_at.tolist()
    assert len(list(place.iterdir())) == 3


def test_whatever_changes_the_ids_changes_the_key(place, tiny, logic):
    template, texts = template_of(logic, "soft", "en"), texts_of(logic, "en")
    other = template_of(logic, "soft", "fr")
    TextEncoder(tiny.tokenizer, 128).encode(template, texts, 4)
    for number, (encoder, asked, rows, vectors) in enumerate(
        [
            (TextEncoder(tiny.tokenizer, 64), template, texts, 4),
            (TextEncoder(tiny.tokenizer, 128), template, texts, 5),
            (TextEncoder(tiny.tokenizer, 128), template, texts[::-1], 4),
            (TextEncoder(tiny.tokenizer, 128), template, [(a + b, "") for a, b in texts], 4),
            (TextEncoder(tiny.tokenizer, 128), template_of(logic, "question", "en"), texts, 4),
        ],
        start=2,
    ):
        encoder.encode(asked, rows, vectors)
        assert len(list(place.iterdir())) == number
    TextEncoder(tiny.tokenizer, 128).encode(other, texts, 4)  # the same words in every language
    assert len(list(place.iterdir())) == 6


def test_few_rows_are_not_kept(place, tiny, logic):
    tiny.text(128).encode(template_of(logic, "soft", "en"), texts_of(logic, "en", WORTH_KEEPING - 1), 4)
    assert not place.exists()
