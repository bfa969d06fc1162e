"""What is said of several groups together: over tasks, and by the languages of the shots, worked out by hand."""

import xml.etree.ElementTree as ET

import pytest
from hand_made import group, record, sound
from scipy import stats

from xlbench import Store
from xlbench.board.export import export
from xlbench.board.families import families, over_tasks
from xlbench.board.publish import publish
from xlbench.board.source_languages import matrices


def run(source, accuracies, method="mpt", draw=0, **spec):
    asked = {"draw": draw, "source": source and list(source), **spec}
    return record(method, dict(zip(("en", "fr", "sw"), accuracies, strict=True)), asked,
                  source_language=source[0] if source else "en")  # fmt: skip


MATRIX = [
    *(run(None, (0.8, 0.6, value), draw=draw) for draw, value in enumerate((0.4, 0.5))),
    *(run(("fr",), (0.7, 0.8, value), draw=draw) for draw, value in enumerate((0.5, 0.7))),
]


def test_a_row_a_source_and_the_languages_that_no_shots_are_in_by_themselves():
    """Over draws .4 and .5: .45 ± 12.706 · .05, a half-width of 63.5 points; .5 and .7 the same twice."""
    (found,) = matrices(group(MATRIX))
    (grid,) = found.grids
    assert grid.head == ["shots in", "method", "shots", "en", "fr", "sw", "others"]
    half = stats.t.ppf(0.975, 1) * 5
    assert grid.rows == [
        ["en", "mpt", "4", "80.0 ± 0.0", "60.0 ± 0.0", f"45.0 ± {half:.1f}", f"45.0 ± {half:.1f}"],
        ["fr", "mpt", "4", "70.0 ± 0.0", "80.0 ± 0.0", f"60.0 ± {2 * half:.1f}", f"60.0 ± {2 * half:.1f}"],
    ]
    assert found.heat_map.cells == [pytest.approx([80, 60, 45, 45]), pytest.approx([70, 80, 60, 60])]


def test_one_draw_has_no_interval_and_several_sources_are_one_row():
    (found,) = matrices(group([run(None, (0.8, 0.6, 0.4)), run(("en", "fr"), (0.9, 0.9, 0.5))]))
    assert [row[0] for row in found.grids[0].rows] == ["en", "en, fr"]
    assert found.grids[0].rows[1][3:] == ["90.0", "90.0", "50.0", "50.0"]


def test_where_every_language_has_shots_there_are_no_others():
    (found,) = matrices(group([run((code,), (0.8, 0.6, 0.4)) for code in ("en", "fr", "sw")]))
    assert {row[-1] for row in found.grids[0].rows} == {"–"}


@pytest.mark.parametrize("change", [{"model": "other"}, {"test_units": 3}, {"selection": "last"}])
def test_what_differs_in_more_than_the_source_makes_no_matrix(change):
    assert matrices(group([run(None, (0.8, 0.6, 0.4)), run(("fr",), (0.8, 0.6, 0.4), **change)])) == []


def test_a_method_with_one_source_stands_beside_those_with_two_but_makes_no_matrix_alone():
    alone = run(None, (0.8, 0.6, 0.4), "finetune")
    assert matrices(group([alone, run(("fr",), (0.8, 0.6, 0.4), "pct")])) == []
    (found,) = matrices(group([alone, *MATRIX]))
    assert [row[:2] for row in found.grids[0].rows] == [["en", "finetune"], ["en", "mpt"], ["fr", "mpt"]]


@pytest.fixture
def store(tmp_path):
    kept = Store(tmp_path / "runs")
    tasks = [
        record(method, {"en": value, "fr": value}, {"task": task, "draw": draw}, {"test_data": task})
        for method, value in (("finetune", 0.5), ("mpt", 0.8))
        for task in ("logic", "xnli")
        for draw in range(2)
    ]
    for one in [*MATRIX, *tasks]:
        kept.write(one, sound(one))
    return kept


def test_boards_page_and_exports_have_both(tmp_path, store):
    done = publish(store.root, tmp_path / "board")
    text, page = (done.files[number].read_text(encoding="utf-8") for number in (0, 1))
    assert "## Over tasks: logic, xnli on tiny\n" in text
    assert "| mpt | – | 2 of 2 |\n| finetune | 0 of 2 | – |\n" in text
    assert "2 tasks cannot support a ranking of close methods over others." in text
    assert "## Languages of the shots: logic on tiny\n" in text
    assert "| fr | mpt | 4 | 70.0 ± 0.0 |" in text
    assert "Languages of the shots: <bdi>logic on tiny</bdi></h2>" in page
    picture = next(file for file in done.files if file.name.endswith("-sources.svg"))
    assert "fr: mpt, 4 shots" in "".join(ET.parse(picture).getroot().itertext())
    assert "the languages of the shots and of the test, logic on tiny" in page
    rows = export(store.root, "json", "wins")[0]
    assert '"finetune":"2 of 2"' in rows.replace(" ", "").replace("2of2", "2 of 2")
    assert export(store.root, "csv", "sources")[0].startswith("comparison,shots in,method,shots,en,fr,sw,others\n")
    assert "over tasks" in export(store.root, "latex", "over-tasks")[0]


def test_boards_of_one_task_and_source_have_neither():
    assert families(group([run(None, (0.8, 0.6, 0.4))])) == []
    assert over_tasks(group([run(None, (0.8, 0.6, 0.4))])) == []
