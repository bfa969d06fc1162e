"""What a suite declared, judged: families, gates, looks, margins, and what is refused a verdict."""

import json

import numpy as np
import pytest
from hand_made import LABELS, predictions, record

from xlbench import Suite, XlbenchError
from xlbench.analysis import matching
from xlbench.analysis.declared import declarations, name_of
from xlbench.problem import Classification
from xlbench.records.analyses import FOLDER, keep_analysis, kept_analyses
from xlbench.records.index import Result
from xlbench.records.predictions import Summary, unit_scores
from xlbench.spec import parse

METHODS = ("finetune", "soft-prompt", "mpt")


def suite(**fields) -> Suite:
    run = {"task": "logic", "model": "tiny", "training": {"learning_rate": 1e-3, "steps": 2}}
    analysis = {"primary": ["mpt - soft-prompt"], "secondary": ["mpt - finetune"], **fields.pop("analysis", {})}
    asked = {"name": "s", "methods": METHODS, "shots": [4], "draws": 5, "run": run, "analysis": analysis, **fields}
    return parse(Suite, asked, "the suite")


def results(means: dict[str, float], draws: range = range(5), shots: int = 4, noise: float = 0.004) -> list[Result]:
    """Runs whose values are a method's mean, with a little that each draw does to each method."""
    found = []
    ramp = np.linspace(-0.1, 0.1, 40)
    for number, (method, mean) in enumerate(means.items()):
        for draw in draws:
            shift = noise * np.sin(3.0 * draw + number)
            one = record(method, {"en": mean, "fr": mean}, {"draw": draw, "shots": shots})
            found.append(Result(one, Summary({}, mean + shift + ramp, np.full(40, 1 / 3), "t")))
    return found


def said(asked: Suite, runs: list[Result]) -> str:
    (group,) = matching.group(runs, suites=[asked])
    return " ".join(" ".join(block) for block in declarations(group, group.suites))


def test_a_primary_contrast_that_differs_opens_the_secondary_ones():
    text = said(suite(), results({"finetune": 0.5, "soft-prompt": 0.6, "mpt": 0.8}))
    assert "primary mpt - soft-prompt, 5 draws: 20.0 points" in text.replace("19.9", "20.0").replace("20.1", "20.0")
    assert "secondary mpt - finetune" in text
    assert text.count(": differs") == 2
    assert "exploratory" in text


def test_a_primary_contrast_that_is_not_shown_leaves_the_secondary_ones_untested():
    text = said(suite(), results({"finetune": 0.5, "soft-prompt": 0.8, "mpt": 0.8}))
    assert ": not shown to differ; the same within 2.0 points" in text
    assert "secondary mpt - finetune" in text
    assert ": not tested;" in text


@pytest.mark.parametrize("draws", [3, 7])
def test_at_a_number_of_draws_that_was_not_planned_there_is_no_verdict(draws):
    text = said(suite(draws=5), results({"finetune": 0.5, "soft-prompt": 0.6, "mpt": 0.8}, range(draws)))
    if draws == 3:
        assert "5 draws were planned and 3 are there, so that there is no verdict" in text
        assert ": differs" not in text
    else:  # the suite's own five draws count, others do not
        assert "primary mpt - soft-prompt, 5 draws" in text


def test_a_declared_look_is_judged_at_its_own_level_and_says_so():
    asked = suite(analysis={"looks": [3]})
    text = said(asked, results({"finetune": 0.5, "soft-prompt": 0.6, "mpt": 0.8}, range(3), noise=0.0001))
    assert "an early look at 3 of 5 draws, at the level 0.00" in text
    assert "mpt - soft-prompt, 3 draws" in text


def test_later_shots_are_tested_where_the_ones_before_were_shown():
    runs = [
        *results({"finetune": 0.5, "soft-prompt": 0.8, "mpt": 0.8}, shots=4),
        *results({"finetune": 0.5, "soft-prompt": 0.6, "mpt": 0.8}, shots=16),
    ]
    first_few = said(suite(shots=[4, 16]), runs)
    assert "numbers of shots are tested in the order 4, 16" in first_few
    assert ": differs" not in first_few
    assert said(suite(shots=[16, 4]), runs).count(": differs") == 2


def test_other_methods_and_runs_on_the_board_change_no_declared_verdict():
    means = {"finetune": 0.5, "soft-prompt": 0.6, "mpt": 0.8}
    alone = said(suite(), results(means))
    more = said(suite(), [*results({**means, "pct": 0.7}), *results(means, range(5, 9))])
    assert alone == more


def test_settings_are_compared_with_one_reference():
    asked = suite(
        methods=["mpt", {"method": "mpt", "config": {"alpha": 0.0}}, {"method": "mpt", "config": {"shared": True}}],
        analysis={"primary": [], "secondary": [], "reference": "mpt"},
    )
    runs = results({"mpt": 0.6})
    for config, mean in (({"alpha": 0.0}, 0.4), ({"shared": True}, 0.6)):
        for draw, one in enumerate(results({"mpt": mean})):
            other = record("mpt", {"en": mean, "fr": mean}, {"draw": draw, "config": config})
            runs.append(Result(other, one.summary))
    text = said(asked, runs)
    assert "Each setting against mpt by Dunnett's steps, 5 draws in common: mpt (alpha=0.0) -20.0" in text
    assert "p 0.000, differs" in text
    assert "mpt (shared=True) 0.0" in text


@pytest.mark.parametrize(
    ("analysis", "sentence"),
    [
        ({"primary": ["mpt"]}, "a contrast is two methods as 'mpt - soft-prompt', not 'mpt'"),
        ({"primary": ["mpt - mpt"]}, "a contrast is two methods"),
        ({"primary": ["mpt - pct"]}, "the analysis names 'pct'; the suite's methods are finetune, soft-prompt, mpt"),
        ({"looks": [5]}, "looks [5]: must be rising numbers of draws, two or more and before the last, 5"),
        ({"looks": [3, 2]}, "looks [3, 2]: must be rising"),
        ({"margin": 0}, "margin = 0"),
    ],
)
def test_a_mistaken_declaration_is_refused(analysis, sentence):
    with pytest.raises(XlbenchError) as fault:
        suite(analysis=analysis)
    assert sentence in str(fault.value)


def test_a_declaration_is_kept_once_and_read_again_and_a_broken_one_is_named(tmp_path):
    asked = suite()
    keep_analysis(tmp_path, name_of(asked), asked)
    keep_analysis(tmp_path, "nothing", suite(analysis={"primary": [], "secondary": []}))
    (file,) = (tmp_path / FOLDER).iterdir()
    before = file.read_bytes()
    keep_analysis(tmp_path, name_of(asked), asked)
    assert file.read_bytes() == before
    (tmp_path / FOLDER / "broken.json").write_text("{")
    (tmp_path / FOLDER / "list.json").write_text("[]")
    kept, faults = kept_analyses(tmp_path)
    assert kept == [asked]
    assert len(faults) == 2
    assert "analyses/broken.json cannot be read" in faults[0]
    assert json.loads(before)["analysis"]["primary"] == ["mpt - soft-prompt"]


def test_the_name_changes_with_what_is_declared_and_not_with_the_description():
    assert name_of(suite(description="other")) == name_of(suite())
    assert name_of(suite(draws=6)) != name_of(suite())
    assert name_of(suite(analysis={"margin": 3.0})) != name_of(suite())


def test_a_suite_of_other_runs_says_nothing_of_a_group():
    asked = suite(run={"task": "logic", "model": "tiny", "training": {"steps": 3}})
    assert said(asked, results({"finetune": 0.5, "soft-prompt": 0.6, "mpt": 0.8})) == ""


def test_predictions_of_real_shape_are_judged_too():
    runs = []
    for method, accuracy in (("finetune", 0.5), ("soft-prompt", 0.5), ("mpt", 0.9)):
        for draw in range(5):
            one = record(method, {"en": accuracy, "fr": accuracy}, {"draw": draw})
            table = predictions(accuracy, draw)

            runs.append(Result(one, unit_scores(table, Classification(LABELS)).summary))
    assert "mpt - soft-prompt, 5 draws" in said(suite(), runs)
