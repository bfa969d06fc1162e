"""What others published: shown beside ours only where task, method, shots and languages are the same."""

import pytest
from hand_made import group, record, sound

from xlbench import RunSpec, Runtime, Store, registry, run
from xlbench.board.markdown import write
from xlbench.literature import all_figures, all_leaks, figures, known_leaks, method_families

LANGUAGES = tuple(sorted(registry.get("task", "xnli").languages))
ASKED = {"task": "xnli", "shots": 16, "languages": LANGUAGES}


def board(tmp_path, *records):
    store = Store(tmp_path / "runs")
    for one in records:
        store.write(one, sound(one))
    return write(group(store), tmp_path).read_text(encoding="utf-8")


def ours(method, **changes):
    asked = {**ASKED, **changes}
    return record(method, dict.fromkeys(asked["languages"], 0.5), asked)


def test_the_table_names_tasks_methods_and_languages_that_there_are():
    for one in all_figures():
        assert one.languages <= set(registry.get("task", one.task).languages)
        assert one.method in registry.names("method")
        assert one.reference.startswith(one.source.split(" 2")[0])
    assert all(one.task in registry.names("task") and one.what and one.source for one in all_leaks())


def test_every_method_that_ships_stands_in_one_family():
    listed = [name for family in method_families() for name in family.methods]
    assert len(listed) == len(set(listed))
    assert {*registry.names("method")} <= set(listed)


def test_a_family_says_truly_what_its_methods_need():
    """Those of one family ask for the same resources; the families without data ask for none."""
    for family in method_families():
        needs = {registry.get("method", name).needs for name in family.methods if name in registry.names("method")}
        assert len(needs) <= 1, family.name
        wanted = {"Parallel": {"parallel"}, "Dictionaries": {"dictionary"}, "Text": {"unlabelled"}}
        assert needs <= {frozenset(wanted.get(family.name.split()[0], set()))} or family.name == "Translations"


def test_figures_are_the_published_ones():
    found = {(one.method, one.accuracy) for one in all_figures()}
    assert found == {
        ("finetune", 33.74),
        ("finetune", 34.99),
        ("soft-prompt", 38.79),
        ("discrete-prompt", 36.43),
        ("dpa", 46.54),
    }


def test_published_figures_stand_beside_ours_in_a_column_that_says_so(tmp_path):
    text = board(tmp_path, ours("finetune"), ours("soft-prompt"), ours("mpt"))
    head, _, *rows = [line for line in text.splitlines() if line.startswith("|")][:5]
    assert head.endswith("| runs | published, other protocol |")
    assert {row.split(" | ")[0][2:]: row.split(" | ")[-1] for row in rows} == {
        "finetune": "33.74 (Zhao & Schütze 2021); 34.99 (Zhou et al. 2023) |",
        "soft-prompt": "38.79 (Zhao & Schütze 2021) |",
        "mpt": "– |",
    }
    assert "Published: means over the same languages with XLM-RoBERTa-base, one draw of the shots" in text


@pytest.mark.parametrize(
    "change",
    [{"shots": 4}, {"task": "logic"}, {"languages": LANGUAGES[1:]}, {"config": {"head": "other"}},
     {"selection": "oracle-target-dev"}],
    ids=str,
)  # fmt: skip
def test_a_figure_of_something_else_is_not_shown(tmp_path, change):
    assert "ublished" not in board(tmp_path, ours("finetune", **change))


def test_figures_ask_for_the_same_languages_in_any_order():
    assert len(figures(RunSpec(method="finetune", **{**ASKED, "languages": LANGUAGES[::-1]}))) == 2
    assert figures(RunSpec(method="finetune", **{**ASKED, "languages": None})) == []


# Leaks


@pytest.mark.parametrize(
    ("task", "model", "leaks"),
    [("logic", "tiny", True), ("xnli", "tiny", False), ("logic", "me5-small-mlm", False),
     ("xnli", "me5-small-mlm", True), ("xnli", "intfloat/multilingual-e5-base", True),
     ("xnli", "joeddav/xlm-roberta-large-xnli", True), ("xnli", "xlm-roberta-base", False)],
)  # fmt: skip
def test_a_leak_is_known_by_task_and_model(task, model, leaks):
    found = known_leaks(RunSpec(method="finetune", shots=4, task=task, model=model))
    assert len(found) == leaks
    assert all(sentence.startswith("Known leak: ") for sentence in found)


def test_the_board_says_it_of_old_records_too(tmp_path):
    (sentence,) = known_leaks(record().spec)
    assert f"{sentence}." in board(tmp_path, record()).replace("\\", "")
    assert "Known leak" not in board(tmp_path / "other", record(spec={"model": "other"}))


def test_a_run_that_uses_a_leak_says_so_in_its_notes(tmp_path):
    spec = RunSpec(
        method="finetune", task="logic", model="tiny", shots=1, test_units=2, languages=("en", "fr"),
        training={"steps": 1, "checkpoints": 1},
    )  # fmt: skip
    found = run(spec, Runtime(runs=tmp_path, device="cpu"))
    assert found.notes[0] == known_leaks(spec)[0]
    assert found.contamination["shared"] == 0
    assert found.contamination["ids"] == []
    assert found.contamination["test_sentences"] > 0
    assert Store(tmp_path).find(found.id) == found
