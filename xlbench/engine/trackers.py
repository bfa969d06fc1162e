"""Where a run's numbers go while it trains, beside its record: TensorBoard, MLflow or Trackio, each an extra.

A tracker changes no number, and one that fails is said and told no more: the run goes on.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
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
    """One run at one place, which is told of from its making on."""

    def log(self, facts: Mapping[str, float], step: int) -> None:
        """What was measured after so many training steps, counted over all trials."""

    def end(self, record: Record) -> None:
        """The run ended, well or not; what it found has been logged."""


class TensorBoard:
    """Event files in a folder, one folder a run; `tensorboard --logdir FOLDER` shows them."""

    def __init__(self, place: str, run: str, spec: RunSpec) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(Path(place or "tensorboard") / run))
        self.writer.add_text("spec", f"```\n{spec.model_dump_json(indent=1)}\n```")

    def log(self, facts: Mapping[str, float], step: int) -> None:
        for name, value in facts.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def end(self, record: Record) -> None:
        self.writer.add_text("status", record.error or record.status)
        self.writer.close()


class MLflow:
    """A run of the experiment `xlbench`, at a tracking URI: MLFLOW_TRACKING_URI or MLflow's default if left out."""

    def __init__(self, place: str, run: str, spec: RunSpec) -> None:
        from mlflow.tracking import MlflowClient

        self.client: Any = MlflowClient(tracking_uri=place or None)
        if self.client.get_experiment_by_name(PROJECT) is None:
            with suppress(Exception):  # another worker made it meanwhile
                self.client.create_experiment(PROJECT)
        experiment = self.client.get_experiment_by_name(PROJECT).experiment_id
        self.run: str = self.client.create_run(experiment, run_name=run).info.run_id
        for name, value in spec.model_dump(mode="json").items():
            self.client.log_param(self.run, name, plain(value, 500))

    def log(self, facts: Mapping[str, float], step: int) -> None:
        for name, value in facts.items():
            self.client.log_metric(self.run, name, value, step=step)

    def end(self, record: Record) -> None:
        self.client.set_terminated(self.run, "FINISHED" if record.status == "finished" else "FAILED")


class Trackio:
    """A run of a project in Trackio's folder on this machine; `trackio show` shows it."""

    def __init__(self, place: str, run: str, spec: RunSpec) -> None:
        import trackio

        config = spec.model_dump(mode="json")
        self.run: Any = trackio.init(project=place or PROJECT, name=run, config=config, embed=False)

    def log(self, facts: Mapping[str, float], step: int) -> None:
        self.run.log(dict(facts), step=step)

    def end(self, record: Record) -> None:
        self.run.finish()


TRACKERS: dict[str, Callable[[str, str, RunSpec], Tracker]] = {  # by the names of the packages that they need
    "tensorboard": TensorBoard, "mlflow": MLflow, "trackio": Trackio,
}  # fmt: skip


def tracker_of(asked: str) -> Callable[[str, RunSpec], Tracker]:
    """What makes the tracker of `NAME` or `NAME=PLACE` for a run. Raises XlbenchError: unknown, or not installed."""
    name, _, place = asked.partition("=")
    if name not in TRACKERS:
        raise unknown("tracker", name, TRACKERS)
    if find_spec(name) is None:
        raise XlbenchError(
            f"--tracker {name} needs a package that is not installed; install xlbench with its extra: xlbench[{name}]"
        )
    return partial(TRACKERS[name], place)


def anywhere(asked: str) -> str:
    """The same tracker for a process that works in another folder: TensorBoard's folder by its whole path."""
    name, _, place = asked.partition("=")
    return f"{name}={Path(place or name).resolve()}" if name == "tensorboard" else asked


class Followed(Progress):
    """A run's progress, and its tracker where there is one. What a tracker raises ends the tracking, not the run."""

    def __init__(self, asked: str | None, run_id: str, spec: RunSpec, progress: Progress) -> None:
        self.progress, self.training, self.trained = progress, False, 0  # steps, over all trials
        self.tracker: Tracker | None = None
        if asked is not None:
            words = f"{spec.method}-{spec.task}-{spec.shots}-{spec.draw}-{spec.seed}"
            name = "".join(char if char.isalnum() or char in "-_" else "_" for char in words)[:150]
            self.tracker = self._told(tracker_of(asked), f"{name}-{run_id}", spec)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Progress]:
        with self.progress.stage(name, total):
            self.training = name == "train"
            try:
                yield self
            finally:
                self.training = False

    @property
    def draws(self) -> bool:
        return self.progress.draws

    def step(self, count: int = 1, **facts: float | str) -> None:
        self.progress.step(count, **facts)
        self.trained += count * self.training
        self._log({name: value for name, value in facts.items() if isinstance(value, float)})

    def say(self, sentence: str) -> None:
        self.progress.say(sentence)

    def ended(self, record: Record) -> None:
        """The run's record is kept: its metric by language and its costs are told where it finished."""
        if record.status == "finished":
            scores = {"mean": record.mean, **record.by_language}
            costs = {f"costs/{name}": value for name, value in record.costs.items()}
            self._log({f"{record.metric}/{name}": value for name, value in scores.items()} | costs)
        if self.tracker is not None:
            self._told(self.tracker.end, record)

    def _log(self, facts: Mapping[str, float]) -> None:
        if self.tracker is not None and facts:
            self._told(self.tracker.log, facts, self.trained)

    def _told(self, tell: Callable[..., Any], *facts: Any) -> Any:
        """What it gives that is told something; a fault of whatever kind, for it is others' code, is the last."""
        try:
            return tell(*facts)
        except Exception as fault:
            self.tracker, reason = None, f"{type(fault).__name__}: {plain(one_line(fault), 300)}"
            warnings.warn(f"the tracker failed, and hears no more of this run: {reason}", stacklevel=2)
