"""Trackers: what they are told, that they change nothing, and each real one where it is installed, offline."""

import pytest

from xlbench import RunSpec, XlbenchError, run
from xlbench.engine import trackers
from xlbench.host.progress import Progress

SPEC = RunSpec(
    method="finetune", task="logic", model="tiny", shots=1, languages=("en", "fr"), test_units=4,
    training={"steps": 4, "checkpoints": 2},
)  # fmt: skip


class Ear:
    """A tracker that remembers; `fails` names the word at which it raises."""

    fails = ""

    def __init__(self, *told) -> None:
        self.heard: list = []
        type(self).last = self
        self._hear("begin", told)

    def log(self, *told) -> None:
        self._hear("log", told)

    def end(self, *told) -> None:
        self._hear("end", told)

    def _hear(self, word: str, told: tuple) -> None:
        if word == self.fails:
            raise ConnectionError("nobody\nlistens")
        self.heard.append((word, *told))


@pytest.fixture
def ear(monkeypatch):
    monkeypatch.setitem(trackers.TRACKERS, "json", Ear)  # a package that is installed everywhere
    monkeypatch.setattr(Ear, "fails", "")
    return Ear


def tracked(runtime, asked: str):
    return runtime.model_copy(update={"tracker": asked})


def test_a_tracker_hears_the_beginning_each_checkpoint_and_the_end(ear, runtime):
    record = run(SPEC, tracked(runtime, "json=there"))
    begun, *steps, results, ended = ear.last.heard
    assert begun[1:3] == ("there", f"finetune-logic-1-0-0-{record.id}")
    assert begun[3].method == "finetune"
    history = record.selection["history"]
    assert [(number, facts) for _, facts, number in steps] == [
        (point["step"], {name: value for name, value in point.items() if name != "step"}) for point in history
    ]
    _, found, number = results
    assert number == 4
    assert (found["accuracy/mean"], found["accuracy/fr"]) == (record.mean, record.by_language["fr"])
    assert {name: value for name, value in found.items() if name.startswith("costs/")} == {
        f"costs/{name}": value for name, value in record.costs.items()
    }
    assert ended == ("end", record)


def test_a_failed_run_ends_as_one(ear, runtime, monkeypatch):
    monkeypatch.setattr("xlbench.engine.execute._measured", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(SPEC, tracked(runtime, "json"))
    *_, measured, (_, record) = ear.last.heard
    assert record.status == "failed"
    assert set(measured[1]) == {"loss", "dev_score", "dev_loss"}  # no results


@pytest.mark.parametrize("word", ["begin", "log", "end"])
def test_a_tracker_that_fails_is_said_and_costs_the_run_nothing(ear, runtime, monkeypatch, word):
    monkeypatch.setattr(ear, "fails", word)
    with pytest.warns(UserWarning, match="the tracker failed, and hears no more of this run: ConnectionError: nobody"):
        record = run(SPEC, tracked(runtime, "json"))
    assert record.status == "finished"
    assert all(heard[0] != word for heard in ear.last.heard)


def test_several_trials_are_counted_as_one_line_of_steps(ear, runtime):
    run(SPEC.with_(trials=2), tracked(runtime, "json"))
    assert [told[2] for told in ear.last.heard if told[0] == "log" and "loss" in told[1]] == [2, 4, 6, 8]


def test_an_unknown_tracker_and_one_that_is_not_installed_are_one_sentence(monkeypatch):
    with pytest.raises(XlbenchError, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'"):
        trackers.tracker_of("tensorbord=x")
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    for name in trackers.TRACKERS:
        with pytest.raises(XlbenchError, match=rf"--tracker {name} needs a package .* extra: xlbench\[{name}\]"):
            trackers.tracker_of(name)


def test_a_run_s_name_is_a_plain_folder_s(ear):
    trackers.Followed("json", "abc", SPEC.with_(method="../../x", task="a/b"), Progress())
    assert ear.last.heard[0][2] == "______x-a_b-1-0-0-abc"


def test_without_a_tracker_progress_is_passed_on(runtime):
    said = []

    class Loud(Progress):
        def step(self, count: int = 1, **facts) -> None:
            said.append(facts)

    run(SPEC, runtime, Loud())
    assert sum("dev_score" in facts for facts in said) == 2


# The real ones


def test_tensorboard_files_hold_the_run(runtime, tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: make extras")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = run(SPEC, tracked(runtime, f"tensorboard={tmp_path / 'events'}"))
    (folder,) = (tmp_path / "events").iterdir()
    assert folder.name == f"finetune-logic-1-0-0-{record.id}"
    events = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [2, 4]
    assert events.Scalars("accuracy/mean")[0].value == pytest.approx(record.mean)


def test_mlflow_s_folder_holds_the_run(runtime, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="MLflow is not installed: the extra mlflow, in its own environment")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # its database needs more packages
    place = (tmp_path / "mlruns").as_uri()
    record = run(SPEC, tracked(runtime, f"mlflow={place}"))
    client = MlflowClient(tracking_uri=place)
    (found,) = client.search_runs([client.get_experiment_by_name("xlbench").experiment_id])
    assert (found.info.status, found.info.run_name) == ("FINISHED", f"finetune-logic-1-0-0-{record.id}")
    assert found.data.params["shots"] == "1"
    assert found.data.metrics["accuracy/mean"] == pytest.approx(record.mean)
    assert [point.step for point in client.get_metric_history(found.info.run_id, "loss")] == [2, 4]


def test_trackio_s_database_holds_the_run(runtime, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio", reason="Trackio is not installed: the extra trackio, in its own environment")
    from trackio.sqlite_storage import SQLiteStorage

    record = run(SPEC, tracked(runtime, "trackio=tried"))
    (name,) = SQLiteStorage.get_runs("tried")
    logged = SQLiteStorage.get_logs("tried", name)
    assert record.id in name
    assert [one["step"] for one in logged if "loss" in one] == [2, 4]
