"""Where a run's numbers go while it trains, beside its record: TensorBoard, MLflow or Trackio, each an extra.

A tracker hears three things: that a run begins, what a checkpoint measured, and how the run ended. It changes no
number, and one that fails is said and heard no more: the run goes on.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from xlbench.errors import XlbenchError, one_line, unknown
from xlbench.host.plain_text import plain
from xlbench.host.progress import Progress
from xlbench.records.record import Record
from xlbench.spec import RunSpec

PROJECT = "xlbench"


class Tracker(Protocol):
    """What a tracker is told of one run."""

    def begin(self, run_id: str, spec: RunSpec) -> None:
        """A run begins."""

    def step(self, number: int, facts: Mapping[str, float]) -> None:
        """What was measured after so many training steps, counted over all trials: loss, dev accuracy, dev loss."""

    def end(self, record: Record) -> None:
        """The run ended, well or not."""


class TensorBoard:
    """Event files in a folder, one folder a run; `tensorboard --logdir FOLDER` shows them."""

    module = "tensorboard"

    def __init__(self, place: str) -> None:
        self.place = Path(place or "tensorboard")

    def begin(self, run_id: str, spec: RunSpec) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(self.place / f"{_name(spec)}-{run_id}"))
        self.writer.add_text("spec", f"```\n{spec.model_dump_json(indent=1)}\n```")

    def step(self, number: int, facts: Mapping[str, float]) -> None:
        for name, value in facts.items():
            self.writer.add_scalar(f"train/{name}", value, number)
        self.writer.flush()

    def end(self, record: Record) -> None:
        for name, value in _results(record).items():
            self.writer.add_scalar(name, value)
        self.writer.add_text("status", record.error or record.status)
        self.writer.close()


class MLflow:
    """A run of the experiment `xlbench`, at a tracking URI: MLFLOW_TRACKING_URI or MLflow's default if left out."""

    module = "mlflow"

    def __init__(self, place: str) -> None:
        from mlflow.tracking import MlflowClient

        self.client: Any = MlflowClient(tracking_uri=place or None)

    def begin(self, run_id: str, spec: RunSpec) -> None:
        run = self.client.create_run(self._experiment(), run_name=f"{_name(spec)}-{run_id}", tags={"record": run_id})
        self.run: str = run.info.run_id
        for name, value in spec.model_dump(mode="json").items():
            self.client.log_param(self.run, name, plain(value, 500))

    def step(self, number: int, facts: Mapping[str, float]) -> None:
        for name, value in facts.items():
            self.client.log_metric(self.run, name, value, step=number)

    def end(self, record: Record) -> None:
        for name, value in _results(record).items():
            self.client.log_metric(self.run, name.replace("/", "_"), value)
        self.client.set_terminated(self.run, "FINISHED" if record.status == "finished" else "FAILED")

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(PROJECT)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self.client.create_experiment(PROJECT))
        except Exception:  # another worker made it first
            return str(self.client.get_experiment_by_name(PROJECT).experiment_id)


class Trackio:
    """A run of a project in Trackio's folder on this machine; `trackio show` shows it."""

    module = "trackio"

    def __init__(self, place: str) -> None:
        self.project = place or PROJECT

    def begin(self, run_id: str, spec: RunSpec) -> None:
        import trackio

        name, config = f"{_name(spec)}-{run_id}", spec.model_dump(mode="json")
        self.run: Any = trackio.init(project=self.project, name=name, config=config, embed=False)

    def step(self, number: int, facts: Mapping[str, float]) -> None:
        self.run.log(dict(facts), step=number)

    def end(self, record: Record) -> None:
        self.run.log(_results(record))
        self.run.finish()


TRACKERS: dict[str, type[TensorBoard | MLflow | Trackio]] = {
    "tensorboard": TensorBoard, "mlflow": MLflow, "trackio": Trackio,
}  # fmt: skip


def tracker_of(asked: str) -> Tracker:
    """The tracker of `NAME` or `NAME=PLACE`. Raises XlbenchError for one unknown, or not installed."""
    name, _, place = asked.partition("=")
    if name not in TRACKERS:
        raise unknown("tracker", name, TRACKERS)
    if find_spec(TRACKERS[name].module) is None:
        raise XlbenchError(
            f"--tracker {name} needs a package that is not installed; install xlbench with its extra: xlbench[{name}]"
        )
    return TRACKERS[name](place)


def anywhere(asked: str) -> str:
    """The same tracker for a process that works in another folder: TensorBoard's folder by its whole path."""
    name, _, place = asked.partition("=")
    return f"{name}={TensorBoard(place).place.resolve()}" if name == "tensorboard" else asked


class Followed(Progress):
    """A run's progress, and its tracker where there is one. What a tracker raises ends the tracking, not the run."""

    def __init__(self, asked: str | None, run_id: str, spec: RunSpec, progress: Progress) -> None:
        self.progress = progress
        self.tracker = None if asked is None else tracker_of(asked)
        self.stages: list[str] = []
        self.trained = 0  # steps, over all trials
        self._tell(lambda tracker: tracker.begin(run_id, spec))

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Progress]:
        self.stages.append(name)
        try:
            with self.progress.stage(name, total):
                yield self
        finally:
            self.stages.pop()

    @property
    def draws(self) -> bool:
        return self.progress.draws

    def step(self, count: int = 1, **facts: float | str) -> None:
        self.progress.step(count, **facts)
        if self.stages[-1:] != ["train"]:
            return
        self.trained += count
        measured = {name: value for name, value in facts.items() if isinstance(value, float)}
        if measured:
            self._tell(lambda tracker: tracker.step(self.trained, measured))

    def say(self, sentence: str) -> None:
        self.progress.say(sentence)

    def ended(self, record: Record) -> None:
        """The run's record is kept."""
        self._tell(lambda tracker: tracker.end(record))

    def _tell(self, word: Callable[[Tracker], None]) -> None:
        if self.tracker is None:
            return
        try:
            word(self.tracker)
        except Exception as fault:  # of whatever kind: a tracker is somebody else's code
            self.tracker = None
            why = plain(one_line(fault), 300)
            warnings.warn(
                f"the tracker failed, and hears no more of this run: {type(fault).__name__}: {why}", stacklevel=2
            )


def _name(spec: RunSpec) -> str:
    """A run in a name that is also a folder's."""
    words = f"{spec.method}-{spec.task}-{spec.shots}-{spec.draw}-{spec.seed}"
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in words)[:150]


def _results(record: Record) -> dict[str, float]:
    """What is said of a finished run: its accuracies, 0 to 1, and its costs; of a failed one nothing."""
    if record.status != "finished":
        return {}
    by_language = {f"accuracy/{language}": value for language, value in record.by_language.items()}
    return {"accuracy/mean": record.mean, **by_language, **{f"costs/{name}": its for name, its in record.costs.items()}}
