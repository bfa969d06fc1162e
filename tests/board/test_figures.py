"""The board's pictures: what they hold, that they are the same again, and what is said without matplotlib."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hand_made import COSTS, group, predictions, record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xlbench import Store, XlbenchError
from xlbench.board.figures.data import Point, figure_name, panels
from xlbench.board.figures.draw import NoFigures, on_front, write_figures
from xlbench.board.markdown import write
from xlbench.host.plain_text import plain
from xlbench.records.record import Record

pytest.importorskip("matplotlib", reason="figures are drawn by matplotlib, the extra plots")

LETTERS = "{http://www.w3.org/2000/svg}text"


def drawn(tmp_path: Path, *records: Record, truth: bool = True) -> dict[str, str]:
    """The figures of some records by kind, their predictions made up to about their accuracies, or broken."""
    store = Store(tmp_path / "runs")
    for number, one in enumerate(records):
        store.write(one, predictions(one.mean, number) if truth else None)
    files = write_figures(group(store), tmp_path / "board")
    return {file.stem.rsplit("-", 1)[1]: file.read_text(encoding="utf-8") for file in files}


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()).strip() for node in ElementTree.fromstring(svg).iter(LETTERS)]


def runs(*methods: str, shots: tuple[int, ...] = (4, 16), **spec: object) -> list[Record]:
    return [
        record(method, {"en": 0.5 + 0.1 * at, "sw": 0.4}, {"shots": number, "draw": draw, **spec},
               costs={**COSTS, "training_seconds": 1.0 + at})
        for at, method in enumerate(methods) for number in shots for draw in (0, 1)
    ]  # fmt: skip


def test_each_figure_parses_and_names_every_method_and_its_axes(tmp_path):
    figures = drawn(tmp_path, *runs("finetune", "mpt", "pct"))
    assert list(figures) == ["shots", "languages", "distance", "cost"]
    for svg in figures.values():
        said = " | ".join(texts(svg))
        assert all(name in said for name in ("finetune", "mpt", "pct", "logic on tiny"))
    assert {"shots per class (log scale)", "mean accuracy over languages, %", "chance", "4", "16"} <= set(
        texts(figures["shots"])
    )
    assert any(said.startswith("bands: 95 % intervals (other draws") for said in texts(figures["shots"]))
    assert {"en", "sw", "50.0", "60.0", "70.0", "40.0", "mpt, 16 shots"} <= set(texts(figures["languages"]))
    said = texts(figures["distance"])
    assert {"transfer gap: accuracy in en less that in the language, points", "sw", "1.00", "mpt, –"} <= set(said)
    assert any(each.startswith("distance: of the groups that Glottolog puts en in") for each in said)
    assert {"training time of a run, s", "hollow: off the front"} <= set(texts(figures["cost"]))


def test_shots_of_tagged_rows_are_not_said_per_class(tmp_path):
    tags = {"kind": "token-labelling", "labels": ["O", "B-X"], "metrics": ["accuracy"]}
    figures = drawn(tmp_path, *(one.model_copy(update={"problem": tags}) for one in runs("mpt")), truth=False)
    assert "shots (log scale)" in texts(figures["shots"])
    assert all({"4 shots", "16 shots"} <= set(texts(figures[kind])) for kind in ("distance", "cost"))


def test_the_same_records_give_the_same_bytes_in_any_order(tmp_path):
    records = runs("finetune", "mpt")
    for name, ordered in (("one", records), ("other", records[::-1])):
        store = Store(tmp_path / name / "runs")
        for one in ordered:
            store.write(one, predictions(one.mean, one.spec.draw))
        write_figures(group(store), tmp_path / name)
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name / "figures").iterdir()} for name in ("one", "other")
    )
    assert first == second
    assert not any(b"<dc:date>" in content for content in first.values())


def test_one_number_of_shots_and_no_intervals_can_be_drawn(tmp_path):
    figures = drawn(tmp_path, *runs("finetune", "mpt", shots=(4,)), truth=False)
    assert "finetune" in texts(figures["shots"])
    assert not any("95 %" in said for said in texts(figures["shots"]))


def test_a_language_that_a_run_lacks_is_a_dash_on_the_map(tmp_path):
    figures = drawn(tmp_path, record("a", {"en": 0.5}, {"languages": ["en", "sw"]}),
                    record("b", {"en": 0.5, "sw": 0.4}), truth=False)  # fmt: skip
    assert "–" in texts(figures["languages"])


def test_languages_stand_by_family_and_unknown_ones_last(tmp_path):
    figures = drawn(
        tmp_path, record(accuracy=dict.fromkeys(("xx", "zh", "sw", "ur", "hi", "de", "en"), 0.5)), truth=False
    )
    said = texts(figures["languages"])
    assert [each for each in said if len(each) == 2] == ["de", "en", "hi", "ur", "sw", "zh", "xx"]
    assert "Indo-European (Germanic de en, Indo-Aryan hi ur)" in " ".join(said)
    assert "unknown: xx" in " ".join(said)


def test_the_oracle_is_named_and_in_no_picture_that_ranks(tmp_path):
    figures = drawn(tmp_path, *runs("finetune", "mpt", selection="oracle-target-dev"))
    assert list(figures) == ["shots", "languages"]
    assert all("oracle" in " ".join(texts(svg)) for svg in figures.values())


def test_methods_without_a_common_draw_are_drawn_all_the_same(tmp_path):
    found = drawn(tmp_path, record("a", spec={"draw": 0}), record("b", spec={"draw": 1}), truth=False)
    assert {"shots", "languages"} <= found.keys()


def test_more_methods_than_colours_have_a_look_of_their_own(tmp_path):
    figures = drawn(tmp_path, *[record(f"m{number:02}") for number in range(20)], truth=False)
    assert {f"m{number:02}" for number in range(20)} <= set(texts(figures["cost"]))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=20) | st.sampled_from(["<b>&\"'", "$x^2$", "\u202eevil", "\x1b[31m", "a]]>b"]))
def test_a_name_is_text_in_the_picture_whatever_it_is(tmp_path, name):
    asked = record(name, {"en": 0.5, name: 0.4}, {"task": name})
    (one,) = group([asked])
    write_figures([one], tmp_path)
    said = texts((tmp_path / "figures" / figure_name(one, "shots")).read_text(encoding="utf-8"))
    assert " ".join(plain(name).split()) in [" ".join(each.split()) for each in said]


def test_the_map_s_numbers_stand_above_its_cells(tmp_path):
    svg = drawn(tmp_path, *runs("finetune", "mpt"))["languages"]
    assert svg.index('id="QuadMesh_1"') < svg.index(">40.0<")


# The numbers behind them


def test_panels_are_the_board_s_own_numbers(tmp_path):
    store = Store(tmp_path / "runs")
    for draw, accuracy in enumerate((0.6, 0.8)):
        store.write(record("mpt", {"en": accuracy}, {"draw": draw}), predictions(accuracy, draw))
    (panel,) = panels(group(store)[0])
    (point,) = panel.points
    assert (panel.shots, point.method, round(point.mean, 6), point.seconds) == (4, "mpt", 70.0, 2.0)
    assert panel.chance == pytest.approx(100 / 3)
    board = write(group(store), tmp_path / "board").read_text(encoding="utf-8")
    assert f"| mpt | {point.low:.1f} – {point.high:.1f} |" in board


def test_the_front_worked_out_by_hand():
    """b beats c (faster, better); d is as good as b and slower; e has no time; f is b's equal in both."""
    shown = [
        Point(name, mean, None, None, seconds)
        for name, mean, seconds in (
            ("a", 30, 1),
            ("b", 50, 2),
            ("c", 40, 3),
            ("d", 50, 4),
            ("e", 90, None),
            ("f", 50, 2),
        )
    ]
    assert [point.method for point in on_front(shown)] == ["a", "b", "f"]


# Files


def test_figures_of_an_earlier_board_are_gone_and_other_files_stay(tmp_path):
    drawn(tmp_path, *runs("finetune"))
    folder = tmp_path / "board" / "figures"
    (folder / "old-task-0a1b2c3d-shots.svg").write_text("old")
    (folder / "mine.svg").write_text("mine")
    names = {file.name for file in folder.iterdir()} - {"old-task-0a1b2c3d-shots.svg"}
    store = Store(tmp_path / "runs")
    write_figures(group(store), tmp_path / "board")
    assert {file.name for file in folder.iterdir()} == names


def test_names_of_figures_are_plain():
    one, other = group([record(spec={"task": "../../Ä <x>/\\", "model": "a/b"}), record(spec={"task": "z"})])
    assert re.fullmatch(r"x-a-b-[0-9a-f]{8}-cost\.svg", figure_name(one, "cost"))
    assert figure_name(one, "cost") != figure_name(other, "cost")


def test_a_board_without_matplotlib_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        NoFigures, match=r"^no figures were drawn, for matplotlib is not installed; .*xlbench\[plots\]$"
    ):
        drawn(tmp_path, record(), truth=False)
    assert not (tmp_path / "board").exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "figures").write_text("a file")
    with pytest.raises(XlbenchError, match="cannot write the board"):
        drawn(tmp_path, record(), truth=False)
