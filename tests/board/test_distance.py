"""The gap against language distance: its numbers by hand, what is left out, and that it says so."""

from itertools import pairwise

import pytest
from hand_made import group, record, sound
from hypothesis import given
from hypothesis import strategies as st
from test_figures import drawn, texts

from xlbench import Store
from xlbench.analysis.languages import languages
from xlbench.analysis.transfer_gap import gaps, left_out, placed, rank_correlation
from xlbench.board.figures.data import KINDS
from xlbench.board.figures.draw import WIDEST, spread
from xlbench.board.page import NOTES
from xlbench.board.publish import publish

SCORES = {"en": 0.8, "de": 0.75, "fr": 0.7, "sw": 0.5}


def test_gaps_are_points_below_the_source_averaged_over_a_method_s_own_draws():
    (one,) = group(
        [
            record("mpt", {"en": 0.8, "sw": 0.5}, {"draw": 0}),
            record("mpt", {"en": 0.6, "sw": 0.5}, {"draw": 1}),
            record("mpt", {"en": 0.9, "sw": 0.0}, {"draw": 2}),
            record("pct", {"en": 0.5, "sw": 0.6}, {"draw": 0}),
            record("pct", {"en": 0.5, "sw": 0.6}, {"draw": 1}),
        ]
    )
    found = gaps(one.tables[0].by_language, "en")
    assert {name: list(values) for name, values in found.items()} == {"mpt": ["sw"], "pct": ["sw"]}
    assert found["mpt"]["sw"] == pytest.approx(100 * (0.3 + 0.1 + 0.9) / 3)
    assert found["pct"]["sw"] == pytest.approx(-10.0)


def test_the_correlation_worked_out_by_hand():
    """Ranks 1, 2.5, 2.5, 4 against 2, 1, 3, 4: their deviations' products sum to 3, their squares to 4.5 and 5."""
    assert rank_correlation([0.1, 0.5, 0.5, 0.9], [3, 1, 5, 9]) == pytest.approx(3 / (4.5 * 5) ** 0.5)
    assert rank_correlation([0.1, 0.9], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1, 2, 3], [4, 4, 4]) is None


def test_the_figure_names_languages_methods_and_their_correlations(tmp_path):
    falling = {"en": 0.8, "de": 0.5, "fr": 0.7, "sw": 0.75}
    figures = drawn(tmp_path, record("finetune", SCORES), record("mpt", falling), truth=False)
    said = texts(figures["distance"])
    assert {"de", "fr", "sw", "0.58", "0.83", "1.00", "finetune, 1.00", "mpt, -1.00", "Spearman's ρ"} <= set(said)
    assert "en" not in said
    assert not any("left out" in each for each in said)


def test_languages_without_a_distance_are_named_and_left_out(tmp_path):
    figures = drawn(tmp_path, record("a", {**SCORES, "qq": 0.1, "xx": 0.2}), truth=False)
    said = texts(figures["distance"])
    assert "left out, for no distance is known: qq, xx" in said
    assert not {"qq", "xx"} & set(said)


def test_a_language_that_a_run_lacks_is_named():
    spec = {"languages": list(SCORES)}
    (one,) = group([record("a", SCORES, spec), record("b", {"en": 0.5, "fr": 0.4, "sw": 0.3}, spec)])
    assert set(placed(one)) == {"de", "fr", "sw"}
    assert left_out(one) == ["left out, for not every run was tested in them: de"]


def test_another_source_language_has_distances_of_its_own():
    (one,) = group([record(accuracy={"hi": 0.6, "ur": 0.5, "en": 0.5, "sw": 0.4}, source_language="hi")])
    far = placed(one)
    assert far["ur"] < far["en"] < far["sw"] == 1.0


def test_where_no_language_has_a_distance_there_is_no_figure_and_a_note(tmp_path):
    kept = record("a", {"en": 0.5, "qq": 0.4})
    Store(tmp_path / "runs").write(kept, sound(kept))
    board = publish(tmp_path / "runs", tmp_path / "board")
    assert board.notes == (
        "no figure of the gap against language distance for logic on tiny; left out, for no distance is known: qq",
    )
    assert not [file for file in board.files if file.name.endswith("-distance.svg")]


def test_a_run_in_the_source_alone_has_no_gap_to_draw(tmp_path):
    kept = record("a", {"en": 0.5})
    Store(tmp_path / "runs").write(kept, sound(kept))
    board = publish(tmp_path / "runs", tmp_path / "board")
    assert board.notes == ()
    assert not [file for file in board.files if file.name.endswith("-distance.svg")]


def test_the_page_shows_it_with_words_and_where_the_distances_are_from(tmp_path):
    kept = record("a", SCORES)
    Store(tmp_path / "runs").write(kept, sound(kept))
    publish(tmp_path / "runs", tmp_path / "board")
    page = (tmp_path / "board" / "index.html").read_text(encoding="utf-8")
    assert f'alt="{KINDS["distance"]}, logic on tiny; the numbers are in the tables below"' in page
    assert "Glottolog" in NOTES["distance"]
    assert set(NOTES) == set(KINDS)


@given(st.dictionaries(st.sampled_from(sorted(languages())[:300]), st.sampled_from([0.3, 0.5, 0.83, 1.0]), min_size=1))
def test_languages_never_share_a_place_and_stay_by_their_distance(distances):
    places = spread(distances)
    ordered = sorted(places, key=lambda name: places[name])
    assert [distances[name] for name in ordered] == sorted(distances.values())
    steps = [
        (distances[after] - distances[before], places[after] - places[before]) for before, after in pairwise(ordered)
    ]
    assert all(step > 0.01 for _, step in steps)
    assert all(step <= WIDEST + 1e-9 for far, step in steps if far == 0)
