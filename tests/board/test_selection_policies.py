"""Selection policies side by side, worked out by hand; the oracle apart, greyed, and never ranked."""

import pytest
from hand_made import group, record, sound

from xlbench import Store
from xlbench.board.markdown import write
from xlbench.board.page import write_page
from xlbench.board.selection_policies import side_by_side
from xlbench.spec import ORACLE


def run(method, policy, accuracy, draw=0, **spec):
    return record(method, {"en": accuracy, "fr": accuracy}, {"selection": policy, "draw": draw, **spec})


BOTH = [
    *(run("mpt", "source-dev", value, draw) for draw, value in enumerate((0.4, 0.6))),
    *(run("mpt", "last", value, draw) for draw, value in enumerate((0.5, 0.5, 1.0))),
    *(run("mpt", "average-last", value, draw) for draw, value in enumerate((0.6, 0.8))),
    run("mpt", ORACLE, 0.9, 0), run("mpt", ORACLE, 0.7, 1),
]  # fmt: skip


def test_means_over_the_runs_that_all_policies_of_a_row_have():
    """Draw 2 was run with `last` alone, so it counts for none: source-dev .5, last .5, average-last .7, oracle .8."""
    (found,) = side_by_side(group(BOTH))
    assert found.title == "logic on tiny"
    assert found.grids[0].head == [
        "selection",
        "shots",
        "runs",
        "source-dev",
        "last",
        "average-last",
        "oracle (not ranked)",
    ]
    assert found.grids[0].rows == [["mpt", "4", "2 runs", "50.0", "50.0", "70.0", "80.0"]]
    assert found.grids[0].apart == 6
    assert "a ceiling, not a result" in found.blocks[0][1]


def test_rows_are_in_the_order_of_names_and_shots_never_of_the_oracle():
    accuracies = {("a", "last"): 0.1, ("a", ORACLE): 0.2, ("b", "last"): 0.3, ("b", ORACLE): 0.9}
    records = [run(*name, value, shots=shots) for name, value in accuracies.items() for shots in (16, 4)]
    (found,) = side_by_side(group(records))
    assert [row[:2] for row in found.grids[0].rows] == [["a", "4"], ["b", "4"], ["a", "16"], ["b", "16"]]


def test_a_policy_that_a_method_lacks_is_a_dash_and_without_the_oracle_no_column_stands_apart():
    records = [run("a", "last", 0.1), run("a", "source-dev", 0.2), run("b", "last", 0.3), run("b", "average-last", 0.5)]
    (found,) = side_by_side(group([*records, run("alone", "last", 0.4)]))
    assert found.grids[0].rows == [["a", "4", "1 run", "20.0", "10.0", "–"], ["b", "4", "1 run", "–", "30.0", "50.0"]]
    assert found.grids[0].apart is None
    assert len(found.blocks[0]) == 1


def test_policies_with_no_run_in_common_are_dashes():
    (found,) = side_by_side(group([run("a", "last", 0.1, 0), run("a", "source-dev", 0.2, 1)]))
    assert found.grids[0].rows == [["a", "4", "0 runs", "–", "–"]]


@pytest.mark.parametrize("change", [{"model": "other"}, {"max_length": 64}, {"test_units": 3}])
def test_records_that_differ_in_more_than_the_policy_are_not_set_side_by_side(change):
    assert side_by_side(group([run("a", "last", 0.1), run("a", "source-dev", 0.2, **change)])) == []


def test_one_policy_alone_makes_no_table():
    assert side_by_side(group([run("a", "last", 0.1), run("b", "last", 0.2)])) == []


def test_both_boards_show_it_and_the_page_greys_the_oracle(tmp_path):
    store = Store(tmp_path / "runs")
    for one in BOTH:
        store.write(one, sound(one))
    groups = group(store)
    text = write(groups, tmp_path).read_text(encoding="utf-8")
    assert "## Selection policies: logic on tiny\n" in text
    assert "| mpt | 4 | 2 runs | 50.0 | 50.0 | 70.0 | 80.0 |" in text
    page = write_page(groups, tmp_path, "").read_text(encoding="utf-8")
    assert '<td class="soft"><bdi>80.0</bdi></td></tr>' in page
    assert page.count('<td class="soft">') == 1
    assert '<th scope="col" class="soft"><button type="button" disabled><bdi>oracle (not ranked)</bdi>' in page
    assert '<a href="#family-1">Selection policies: logic on tiny</a>' in page
    assert '<section id="family-1" aria-labelledby="family-1-name">' in page
