"""The shipped classification: whole, with its source, relatives together; and the distance made from it."""

import re
from importlib.resources import files
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlbench import registry
from xlbench.analysis.languages import by_family, distance, language, languages, script

LINES = (files("xlbench.analysis") / "languages.tsv").read_text(encoding="utf-8").splitlines()
XNLI = ("en", "de", "fr", "es", "el", "bg", "ru", "hi", "ur", "ar", "tr", "sw", "vi", "th", "zh")
KNOWN = sorted({*XNLI, *(code for name in ("sib-200", "xcopa") for code in registry.get("task", name).languages)})


@pytest.mark.parametrize("name", registry.names("task"))
def test_every_language_of_the_shipped_tasks_is_there(name):
    assert [code for code in registry.get("task", name).languages if language(code) is None] == []


def test_the_file_names_its_sources_and_licences():
    head = " ".join(line for line in LINES if line.startswith("#"))
    assert "Glottolog 5.3" in head
    assert "CC BY 4.0" in head
    assert "Unicode License V3" in head


def test_a_line_is_a_glottocode_behind_its_group_and_a_code_is_there_once():
    seen, codes = set(), []
    for line in LINES:
        if not line.startswith("#"):
            glottocode, group, iso, written, name = line.split("\t")
            assert re.fullmatch(r"[a-z0-9]{4}[0-9]{4}", glottocode)
            assert group == "-" or group in seen
            assert re.fullmatch(r"[a-z]{3}|-", iso)
            assert re.fullmatch(r"[A-Z][a-z]{3}|-", written)
            assert name == name.strip() != ""
            seen.add(glottocode)
            codes += [iso] if iso != "-" else []
    assert len(codes) == len(set(codes)) == len(languages()) > 7000


@pytest.mark.parametrize(
    ("code", "name", "family", "branch", "written"),
    [
        ("en", "English", "Indo-European", "Germanic", "Latn"),
        ("hi", "Hindi", "Indo-European", "Indo-Aryan", "Deva"),
        ("ar", "Standard Arabic", "Afro-Asiatic", "Semitic", "Arab"),
        ("swh_Latn", "Swahili", "Atlantic-Congo", "Southern Bantoid", "Latn"),
        ("zh-CN", "Mandarin Chinese", "Sino-Tibetan", "Sinitic", "Hans"),
        ("zho_Hant", "Mandarin Chinese", "Sino-Tibetan", "Sinitic", "Hant"),
        ("sr-Latn", "Serbian Standard", "Indo-European", "Balto-Slavic", "Latn"),
        ("qu", "Quechuan", "Quechuan", "Quechuan", "Latn"),
        ("eu", "Basque", "Basque", "Basque", "Latn"),
    ],
)
def test_codes_that_the_hub_has_are_languages(code, name, family, branch, written):
    found = language(code)
    assert (found.name, found.family, found.branch, script(code)) == (name, family, branch, written)


def test_a_code_of_no_language_is_none_and_has_no_script():
    assert language("xx") is language("english") is None
    assert script("xx") == ""


def test_a_name_of_a_family_is_one_family_and_groups_stand_together():
    """The languages of any group stand side by side in the file, and a family's name is one path's beginning."""
    rows = list(languages().values())
    assert [row.place for row in rows] == sorted(row.place for row in rows)
    first: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        for group in row.path:
            first.setdefault(group, []).append(number)
    assert all(after == now + 1 for numbers in first.values() for now, after in pairwise(numbers))
    assert len({row.path[0] for row in rows}) == len({(row.path[0], row.family) for row in rows})


def test_distances_from_english_by_hand():
    """English is in 12 groups, itself included; German is in 5 of them, other Indo-European languages in 2."""
    assert distance("en", "de") == pytest.approx(7 / 12)
    for code in ("fr", "es", "el", "bg", "ru", "hi", "ur"):
        assert distance("en", code) == pytest.approx(10 / 12)
    for code in ("ar", "tr", "sw", "vi", "th", "zh"):
        assert distance("en", code) == 1.0


def test_an_unknown_language_has_no_distance():
    assert distance("en", "xx") is None
    assert distance("xx", "en") is None


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.sampled_from(KNOWN))
def test_a_distance_is_a_share_and_goes_by_the_last_group_in_common(source, near, far):
    first, second = distance(source, near), distance(source, far)
    assert first is not None
    assert second is not None
    assert 0 <= first <= 1
    assert (first == 0) == (language(source).path[-1] in language(near).path)
    assert (first == 1) == (language(source).path[0] != language(near).path[0])
    shared = [len(set(language(source).path) & set(language(other).path)) for other in (near, far)]
    assert (first < second) == (shared[0] > shared[1])


@given(st.sets(st.sampled_from([*KNOWN, "xx", "zz"])))
def test_unknown_languages_come_last_by_name(codes):
    ordered = by_family(codes)
    assert set(ordered) == codes
    unknown = [code for code in ordered if code not in KNOWN]
    assert ordered[len(ordered) - len(unknown) :] == sorted(unknown)
