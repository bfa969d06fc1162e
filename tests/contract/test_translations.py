"""Axes of a run: source languages, translations of shots and tests, no shots, target shots one after the other."""

import numpy as np
import pytest
from small_data import write_xnli

from xlbench import NotSupported, RunSpec, Runtime, XlbenchError, registry, run
from xlbench.engine.prepare import prepare
from xlbench.problem import problem_of
from xlbench.records.bucket import store_at
from xlbench.records.predictions import unit_scores
from xlbench.sources import DataSource

BUDGET = {"steps": 4, "checkpoints": 2, "learning_rate": 1e-3}


def asked(**fields) -> RunSpec:
    given = {"method": "finetune", "task": "logic", "model": "tiny", "shots": 2, "languages": ("en", "fr", "sw"),
             "test_units": 6, "training": BUDGET}  # fmt: skip
    return RunSpec(**given | fields)


def log_probs(record, runtime) -> dict[str, np.ndarray]:
    """Log-probabilities by language, in the order of row ids."""
    import pyarrow.parquet as pq

    frame = pq.read_table(store_at(runtime.runs).path(record.id) / "predictions.parquet").to_pandas()
    columns = [name for name in frame if name.startswith("log_prob_")]
    return {
        str(language): rows.sort_values("row_id")[columns].to_numpy()
        for language, rows in frame.groupby("language", observed=True)
    }


def test_exact_translations_of_the_test_score_as_the_source_row_by_row(runtime):
    scored = log_probs(run(asked(read="translation"), runtime), runtime)
    np.testing.assert_allclose(scored["fr"], scored["en"], atol=1e-5)
    np.testing.assert_allclose(scored["sw"], scored["en"], atol=1e-5)


def test_both_is_the_mean_of_the_two_probabilities(runtime):
    own, moved, both = (log_probs(run(asked(read=read), runtime), runtime) for read in ("own", "translation", "both"))
    mean = np.log((np.exp(own["sw"]) + np.exp(moved["sw"])) / 2)
    np.testing.assert_allclose(both["sw"], mean, atol=1e-5)
    np.testing.assert_allclose(both["en"], own["en"], atol=1e-6)


def test_shots_are_trained_on_in_translation(runtime):
    spec = {read: prepare(asked(train_on=read), runtime).episode.shots for read in ("source", "translated", "both")}
    by_language = [row.language for row in spec["translated"].train]
    assert by_language == ["fr"] * 6 + ["sw"] * 6
    assert spec["both"].train == (*spec["source"].train, *spec["translated"].train)
    assert {row.id.split("@")[0] for row in spec["translated"].train} == {row.id for row in spec["source"].train}
    assert spec["both"].dev == spec["source"].dev


def test_a_record_says_who_translated_and_shares_no_table_with_one_that_read_no_translation(runtime):
    from xlbench.analysis.matching import matched

    moved, own = run(asked(read="both"), runtime), run(asked(), runtime)
    assert "test rows were read in translation: translations that the task brings" in moved.notes
    assert matched(moved) != matched(own)


@pytest.fixture
def xnli(tmp_path):
    return Runtime(runs=tmp_path / "runs", data_root=write_xnli(tmp_path / "data"), device="cpu", quiet=True)


def test_a_language_without_a_translation_is_refused_or_read_as_it_is_and_named(xnli, tmp_path):
    spec = asked(task="xnli", shots=1, read="translation", test_units=None, languages=("en", "fr"))
    with pytest.raises(XlbenchError, match=r"--read: task xnli has no translation of its test rows for fr"):
        prepare(spec, xnli)
    rows = [row.id for row in registry.get("task", "xnli")().test("fr", DataSource(xnli.data_root))]
    lines = ["language,id,premise,hypothesis", *(f"fr,{id_},a premise,a hypothesis" for id_ in rows)]
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(lines))
    three = spec.with_(languages=("en", "fr", "sw"), translations=str(file))
    with pytest.raises(XlbenchError, match=r"for sw \(sw: .*--untranslated own goes on without them"):
        prepare(three, xnli)
    prepared = prepare(three.with_(untranslated="own"), xnli)
    assert prepared.episode.notes[-1] == (
        "test rows were read in translation: the file mine.csv; none for sw, read as they are"
    )
    assert prepared.spec.translations == "mine.csv"
    file.write_text("\n".join(lines[:-2]))
    with pytest.raises(XlbenchError, match="lacks 2 of the 12 test rows of fr, test-10 the first of them"):
        prepare(three.with_(translations=str(write_copy(tmp_path, lines[:-2]))), xnli)


def write_copy(folder, lines):
    file = folder / "shorter.csv"
    file.write_text("\n".join(lines))
    return file


def test_any_language_is_a_source_and_several_give_so_many_rows_each(runtime):
    french = prepare(asked(source=("fr",)), runtime)
    assert {row.language for row in french.episode.shots.train} == {"fr"}
    english = prepare(asked(), runtime)
    assert [row.id for row in french.episode.shots.train] == [row.id for row in english.episode.shots.train]
    assert english.spec.source is None
    assert prepare(asked(source=("en",)), runtime).id == english.id != french.id
    two = prepare(asked(source=("en", "fr")), runtime).episode
    assert [row.language for row in two.shots.train] == ["en"] * 6 + ["fr"] * 6
    assert len({row.id for row in two.shots.train}) == 12
    with pytest.raises(XlbenchError, match="unknown language 'xx' for task logic"):
        prepare(asked(source=("xx",)), runtime)


def test_without_shots_nothing_trains_and_prompt_methods_score(runtime):
    spec = RunSpec.model_validate(asked(method="pct").model_dump() | {"shots": "none"})
    record = run(spec, runtime)
    assert (record.status, record.selection["steps"]) == ("finished", 0)
    assert record.spec.model_dump()["shots"] == "none"
    again = unit_scores(store_at(runtime.runs).path(record.id), problem_of(record.problem), aligned=True)
    assert set(again.languages) == {"en", "fr", "sw"}
    with pytest.raises(NotSupported, match="finetune scores with parts that it draws anew"):
        prepare(RunSpec.model_validate(asked().model_dump() | {"shots": "none"}), runtime)


def test_target_shots_in_sequence_are_trained_on_last_and_alone(runtime):
    spec = asked(target_shots=2, target_mode="sequential")
    record = run(spec, runtime)
    assert record.selection["planned"] == 8
    assert record.selection["step"] > 4
    joint = run(asked(target_shots=2), runtime)
    assert (joint.selection["planned"], joint.id != record.id) == (4, True)
    with pytest.raises(ValueError, match="target_mode sequential trains on target shots last"):
        asked(target_mode="sequential")


def test_the_mean_of_all_checkpoints_is_their_mean(runtime, tiny, logic):
    all_, last = (run(asked(selection=policy), runtime) for policy in ("average-all", "average-last"))
    assert all_.by_language == last.by_language  # two checkpoints, of which average-last takes three
    assert all_.selection["step"] == 4
