"""Every task that ships: what it declares fits together; its rows are read in the layout of its hub, and on real files
where there are any."""

from pathlib import Path

import pytest
from small_data import write, write_xnli

from xlbench import XlbenchError, registry
from xlbench.problem import Classification
from xlbench.prompts import Template
from xlbench.sources import DataSource
from xlbench.table_task import TableTask

REAL = Path(__file__).parents[3] / "shared" / "data"
NAMES = [name for name in registry.names("task") if issubclass(registry.get("task", name), TableTask)]
# task → a test language whose real file is there, rows and units of its test
THERE = {
    "kor-nli": ("ko", 5010, 1670), "myxnli": ("my", 5010, 1670), "xnli-eu": ("eu", 5010, 1670),
    "xnli-eu-native": ("eu", 621, 207), "ocnli": ("zh", 2950, 2165), "chinese-nli-probing": ("zh", 43270, 27461),
    "clcd": ("pt", 6996, 6996), "paws-x": ("zh", 1879, 1879), "sib-200": ("nqo_Nkoo", 204, 204),
    "nusax-senti": ("bug", 400, 400), "xcopa": ("th", 500, 500), "xwinograd": ("ja", 959, 480),
    "belebele": ("deu_Latn", 173, 95), "ud-pos": ("th", 1000, 1000),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_a_task_declares_fits_together(name):
    task = registry.get("task", name)()
    assert task.source in task.languages
    assert set(task.tested) <= set(task.languages)
    assert len(set(task.languages)) == len(task.languages)
    assert task.license
    assert task.citation
    assert task.__doc__
    for language in task.languages[:5]:
        for template in ("pair", *task.templates):
            text = task.template(template, language)
            assert text is not None
            Template(text, task.problem.fields(task.fields), name)
    if isinstance(task.problem, Classification):
        assert all(len(words) == len(task.labels) for words in task.label_words.values())
        assert len(task.words[task.source]) == len(task.labels)
    for other in (*task.rows_from.values(), *filter(None, [task.order_of])):
        assert registry.get("task", other).problem == task.problem


@pytest.mark.parametrize("name", THERE)
def test_real_files_have_the_rows_and_units_that_are_published(name):
    language, rows, units = THERE[name]
    task = registry.get("task", name)()
    if not REAL.is_dir():
        pytest.skip(f"no real data under {REAL}")
    read = task.read("test", language, DataSource(REAL))
    assert (len(read), len({row.unit for row in read})) == (rows, units)


def test_a_task_in_xnli_s_order_takes_its_ids_and_refuses_another_order(tmp_path):
    source = DataSource(write_xnli(tmp_path))
    english = registry.get("task", "xnli")().read("test", "en", source)
    columns = {"premise": [], "hypothesis": [], "label": []}
    for row in english:
        for name, value in zip(columns, (f"ko {row.id} a", f"ko {row.id} b", row.gold), strict=True):
            columns[name].append(value)
    file = tmp_path / "kakaobrain/kor_nli/xnli/test.parquet"
    write(file, **columns)
    task = registry.get("task", "kor-nli")()
    korean = task.read("test", "ko", source)
    assert [(row.id, row.unit, row.gold) for row in korean] == [(row.id, row.unit, row.gold) for row in english]
    assert task.read("test", "en", source) == english
    other = tmp_path / "other"
    write_xnli(other)
    write(
        other / "kakaobrain/kor_nli/xnli/test.parquet", **{name: side[1:] + side[:1] for name, side in columns.items()}
    )
    with pytest.raises(XlbenchError, match="row 0: the label is neutral and that of xnli in en entailment"):
        task.read("test", "ko", DataSource(other))


def test_xcopa_takes_its_question_from_a_language_in_which_it_is_right(tmp_path):
    rows = {"premise": ["The cup fell."], "choice1": ["x"], "choice2": ["y"], "label": [0], "idx": [7]}
    write(tmp_path / "cambridgeltl/xcopa/th/test.parquet", **rows, question=["effect"])
    write(tmp_path / "cambridgeltl/xcopa/et/test.parquet", **rows, question=["cause"])
    (row,) = registry.get("task", "xcopa")().read("test", "th", DataSource(tmp_path))
    assert row.texts == ("The cup fell เพราะ",)
    assert (row.choices, row.gold, row.id) == (("x", "y"), 0, "test-7")


def test_massive_s_slots_are_read_off_the_annotation():
    from xlbench.tasks.massive_slots import words_and_tags

    words, tags = words_and_tags("wake me at [time : nine am] on [date : friday]")
    assert words == ["wake", "me", "at", "nine", "am", "on", "friday"]
    assert tags == ["O", "O", "O", "B-time", "I-time", "O", "B-date"]
    assert words_and_tags("在[time : 九点]", by_character=True) == (["在", "九", "点"], ["O", "B-time", "I-time"])
    with pytest.raises(ValueError, match="unknown slot 'colour'"):
        words_and_tags("[colour : red]")


def test_mldoc_says_that_it_is_on_no_hub():
    with pytest.raises(XlbenchError, match="task mldoc is on no dataset hub, for its texts need a licence"):
        registry.get("task", "mldoc")().read("test", "en", DataSource())


def test_sib_names_topics_and_aligns_by_index(tmp_path):
    for language in ("eng_Latn", "nqo_Nkoo"):
        write(
            tmp_path / "Davlan/sib200" / language / "test-00000-of-00001.parquet",
            index_id=[9, 4], category=["travel", "science/technology"], text=[f"{language} a", f"{language} b"],
        )  # fmt: skip
    rows = registry.get("task", "sib-200")().read("test", "nqo_Nkoo", DataSource(tmp_path))
    assert [(row.id, row.gold) for row in rows] == [("test-9", 1), ("test-4", 0)]


def test_the_page_of_tasks_says_of_each_what_it_is():
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    shipped = {name: registry.get("task", name) for name in registry.names("task")}
    for name, task_class in shipped.items():
        if not task_class.__module__.startswith("xlbench.tasks."):
            continue  # another test's plug-in
        task = task_class()
        facts = f"{task.problem.kind} | {len(task.languages)}, from {task.source} | {task.unit}"
        assert f"| `{name}` | {facts} | {'yes' if task.aligned else 'no'} | {task.problem.metrics[0]} |" in page


def test_show_says_how_much_of_the_hypothesis_stands_in_the_premise(tmp_path):
    from xlbench.cli.plugins.describe import describe

    root = write_xnli(tmp_path)
    lines = [line for line in describe("xnli", None, ["en"], "tiny", root).splitlines() if "overlap" in line]
    # The fox sleeps near the river. / is asleep: the, fox of 4; dreams of fish: of 5; runs all day: of 5
    assert lines == [
        "en overlap: 43 % of the words of hypothesis in premise (entailment 50, neutral 40, contradiction 40)"
    ]
