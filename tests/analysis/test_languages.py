"""The shipped classification: whole, with its source, relatives together; and the distance made from it."""

import json
import re
from importlib.resources import files
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlbench import registry
from xlbench.analysis.languages import by_family, distance, languages

KNOWN = sorted(languages())
FILE = json.loads((files("xlbench.analysis") / "languages.json").read_text(encoding="utf-8"))


def test_every_language_of_the_shipped_tasks_is_there():
    for name in ("logic", "xnli"):
        assert set(registry.get("task", name).languages) <= set(KNOWN)


def test_the_file_names_its_source_licence_and_making():
    assert FILE["source"].startswith("Glottolog")
    assert FILE["licence"].startswith("CC BY 4.0")
    assert "languoids/tree" in " ".join(FILE["made"])


@pytest.mark.parametrize("code", KNOWN)
def test_a_path_is_made_of_glottocodes_and_has_a_commit(code):
    one = FILE["languages"][code]
    groups = one["path"].split("/")
    assert len(set(groups)) == len(groups) > 2
    assert all(re.fullmatch(r"[a-z]{4}[0-9]{4}", group) for group in groups)
    assert re.fullmatch(r"[0-9a-f]{40}", one["commit"])


def test_a_name_of_a_family_is_one_family_and_groups_stand_together():
    """The languages of any group, and of any name, stand side by side in the file."""
    rows = [(one.path, one.family, one.branch) for one in languages().values()]
    marks = {group for path, _, _ in rows for group in path} | {name for _, *names in rows for name in names}
    for mark in marks:
        inside = [mark in (*path, family, branch) for path, family, branch in rows]
        assert sum(now != after for now, after in pairwise([False, *inside, False])) == 2
    assert len({(path[0], family) for path, family, _ in rows}) == len({family for _, family, _ in rows})


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
    assert (first == 0) == (source == near)
    assert (first == 1) == (languages()[source].family != languages()[near].family)
    shared = [len(set(languages()[source].path) & set(languages()[other].path)) for other in (near, far)]
    assert (first < second) == (shared[0] > shared[1])


@given(st.sets(st.sampled_from([*KNOWN, "aa", "zz"])))
def test_unknown_languages_come_last_by_name(codes):
    ordered = by_family(codes)
    assert set(ordered) == codes
    unknown = [code for code in ordered if code not in KNOWN]
    assert ordered[len(ordered) - len(unknown) :] == sorted(unknown)
