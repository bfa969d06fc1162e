"""Which records can be trusted: a board leaves the others out by name; a comparison computes those again that are
damaged, and says of those that are refused for their data that they would come out the same."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xlbench.errors import XlbenchError
from xlbench.host.plain_text import plain
from xlbench.metric import METRICS
from xlbench.problem import MultipleChoice, problem_of
from xlbench.records.index import Index, Result, seal_of
from xlbench.records.predictions import Unreadable, unit_scores
from xlbench.records.record import Record, read_record
from xlbench.records.store import Store
from xlbench.spec import in_words

IDENTITY = ("protocol", "task_version", "test_data", "revision")  # what records to compare share beside the spec
PARTS = ("training", "config")  # of a trial
TOLERANCE = 1e-6  # of a share: sums in another order, and no row more or less


@dataclass(frozen=True)
class Vetted:
    """The results that can be used, in the order of their ids, the records of runs that diverged, and why other records
    cannot be used, in sentences without their full stops."""

    results: tuple[Result, ...]
    left_out: tuple[str, ...]
    diverged: tuple[Record, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        return tuple(result.record for result in self.results)


@dataclass(frozen=True)
class Fault:
    """Why no board takes a record, to be said after its name. `of_data`: its files are whole, and what was computed is
    refused, so that computing it again gives the same."""

    sentence: str
    of_data: bool = False

    def __str__(self) -> str:
        return self.sentence


class RefusedData(XlbenchError):  # noqa: N818 - as NotSupported: what was found, not what went wrong
    """A record that is there, whole, and refused for its data: it is not computed again by itself."""


def vet(store: Store) -> Vetted:
    """Read every record under `store` and hold it against its predictions.

    Raises XlbenchError where there is no folder, or no record in it that can be used and some that cannot.
    """
    store.expect()
    results, diverged, left_out, index = [], [], [], Index(store.root)
    for folder in store.folders():
        try:
            record, judged = _judged(folder, index)
        except XlbenchError as fault:
            left_out.append(str(fault).replace(f"{store.root}/", ""))
            continue
        if isinstance(judged, Result):
            results.append(judged)
        elif record.diverged and folder.name == record.id:
            diverged.append(record)
        else:
            spec = record.spec
            cell = f"{spec.method}, {spec.task}, {in_words(spec.shots)}, draw {spec.draw}, seed {spec.seed}"
            left_out.append(f"record {folder.name} ({cell}) {judged}")
    index.save()
    if left_out and not results:
        raise XlbenchError(f"no record in {store.name} can be used; the first of {len(left_out)}: {left_out[0]}")
    return Vetted(tuple(results), tuple(left_out), tuple(diverged))


def _judged(folder: Path, index: Index) -> tuple[Record, Result | Fault]:
    """A record as a result, or what is wrong with it; its files are not read where the index has seen them as they are.

    Raises XlbenchError where it cannot be read.
    """
    seal = seal_of(folder)
    result = index.find(folder.name, seal)
    if result is not None:  # and was sound, or the index would not know it
        return result.record, result
    index.begin()
    record = read_record(folder / "record.json")
    judged = judge(record, folder)
    if isinstance(judged, Result):
        index.add(seal, judged)
    return record, judged


def readable(store: Store) -> list[Record]:
    """The finished records that can be read, their predictions unseen; none where there is no folder."""
    return [record for _, record in stored(store) if isinstance(record, Record) and record.status == "finished"]


def stored(store: Store) -> Iterator[tuple[str, Record | XlbenchError]]:
    """Every record after its folder's name, in the order of these, its predictions unseen; in place of one that
    cannot be read, why."""
    index = Index(store.root)
    for folder in store.folders():
        result = index.find(folder.name, seal_of(folder))
        try:
            yield folder.name, read_record(folder / "record.json") if result is None else result.record
        except XlbenchError as fault:
            yield folder.name, fault


def kept(store: Store, run_id: str, say: Callable[[str], None], index: Index | None = None) -> Result | None:
    """The finished record of a run as a result; None where there is none, or one that no board would take.

    The latter is said and put aside, so that the run is computed again; predictions that the index knows are not read,
    and others are added to it. Raises RefusedData for one that would come out the same, XlbenchError for a record that
    a newer xlbench wrote, and where a damaged one cannot be moved.
    """
    folder, index = store.path(run_id), index or Index(store.root)
    index.begin()
    seal, record = seal_of(folder), store.finished(run_id)
    if record is None:
        return None
    result = index.find(run_id, seal)
    if result is not None and result.record == record:
        return result
    judged = judge(record, folder)
    if isinstance(judged, Result):
        index.add(seal, judged)
        return judged
    if judged.of_data:
        raise _refused(record, judged, store)
    say(f"record {run_id} {judged.sentence.removesuffix('; run it again')}: it is computed again")
    try:
        store.put_aside(run_id)
    except OSError as error:
        raise XlbenchError(f"cannot put aside the record {folder}: {error.strerror or error}") from error
    return None


def result_of(record: Record, store: Store) -> Result:
    """A record with what its predictions show. Raises XlbenchError for one that no board would take, RefusedData where
    that is for its data."""
    judged = judge(record, store.path(record.id))
    if isinstance(judged, Result):
        return judged
    raise _refused(record, judged, store) if judged.of_data else XlbenchError(f"record {record.id} {judged}")


def _refused(record: Record, fault: Fault, store: Store) -> RefusedData:
    why = fault.sentence.removeprefix("cannot be used: ").removesuffix("; run it again")
    return RefusedData(
        f"record {record.id} is there and refused for its data ({why}), and would come out the same again; mend the "
        f"data, or delete {store.name}/{record.id} to have it computed again"
    )


def judge(record: Record, folder: Path) -> Result | Fault:
    """A record with what its predictions show, or why no board takes it."""
    if folder.name != record.id:
        return Fault(misplaced(record))
    if record.status == "failed":
        return Fault("failed, and has no result")
    missing = [name for name in IDENTITY if name not in record.identity]
    missing += [f"the number of test {name}" for name in ("rows", "units") if name not in record.test]
    if missing:
        return Fault(f"lacks {', '.join(missing)}; run it again")
    odd = malformed(record) or _wrong_scores(record)
    return Fault(odd) if odd else _held_against_predictions(record, folder)


def misplaced(record: Record) -> str:
    """What is wrong with a record in a folder of another name, to be said after that."""
    return f"is a copy of the record {plain(record.id)}, whose name its folder should have; rename or remove it"


def malformed(record: Record) -> str | None:
    """What of a record does not fit together, to be said after its name; None where all does, as in a failed one."""
    if record.status == "failed":
        return None
    if not record.by_language or not all(record.phenomena.values()):
        return f"has no {plain(record.metric)}; run it again"
    odd = [name for name, value in (*record.costs.items(), ("seconds", record.seconds)) if not 0 <= value < math.inf]
    if odd:
        return f"has a cost {plain(odd[0])} that is no number of 0 or more; run it again"
    problem = {"labels": [], "metrics": [], "most": 0, **record.problem}
    texts = all(isinstance(problem[name], list) for name in ("labels", "metrics"))
    if not texts or not all(isinstance(text, str) for text in problem["labels"] + problem["metrics"]):
        return "has a problem that cannot be read; run it again"
    if not problem["labels"] and problem.get("kind") != MultipleChoice.kind:
        return "has a problem without labels; run it again"
    trials, chosen = record.selection.get("trials", []), record.selection.get("chosen", -1)
    readable_trials = isinstance(trials, list) and all(map(_is_trial, trials)) and type(chosen) is int
    if not readable_trials or (trials and not 0 <= chosen < len(trials)):
        return "has trials that cannot be read; run it again"
    made_of, named = record.combined.get("runs"), isinstance(record.combined.get("how"), str)
    readable = named and isinstance(made_of, list) and made_of and all(isinstance(run, str) for run in made_of)
    if record.combined and not readable:
        return "is made of other records that it does not name; make it again"
    return None


def _is_trial(trial: object) -> bool:
    if not isinstance(trial, Mapping) or not all(isinstance(trial.get(part, {}), Mapping) for part in PARTS):
        return False
    measures = ("seconds",) if "lost" in trial else ("seconds", "dev_score", "dev_loss")
    return all(isinstance(trial.get(name), int | float) for name in measures)


def _wrong_scores(record: Record) -> str | None:
    """What is wrong with the metric's values by language, of which there are some."""
    metric, asked, scored = record.metric, set(record.spec.languages), set(record.by_language)
    if metric not in METRICS:
        return f"has no {plain(metric)}; run it again"
    faults = [f"lacks the {metric} of {', '.join(sorted(asked - scored))}"] if asked - scored else []
    if scored - asked:
        faults.append(f"has {metric} in {', '.join(sorted(scored - asked))}, which its spec does not name")
    if faults:
        return " and ".join(faults) + "; run it again"
    low, high = METRICS[metric].low, METRICS[metric].high
    for language, value in sorted(record.by_language.items()):
        if not low <= value <= high:
            return f"has {metric} of {value} in {language}, which is not from {low:g} to {high:g}; run it again"
    return None


def _held_against_predictions(record: Record, folder: Path) -> Result | Fault:
    if not (folder / "predictions.parquet").is_file():
        return Fault("lacks its predictions; run it again")
    try:
        scored = unit_scores(folder, problem_of(record.problem), aligned=record.aligned)
    except XlbenchError as fault:
        why = str(fault).replace(f"{folder.parent}/", "")
        return Fault(f"cannot be used: {why}", of_data=not isinstance(fault, Unreadable))
    for metric, by_language in record.scores.items():
        predicted = scored.scores.get(metric, {})
        if set(predicted) != set(by_language):
            languages = ", ".join(sorted(by_language))
            return Fault(f"has predictions in {', '.join(predicted)} and {plain(metric)} in {languages}; run it again")
        for language, value in predicted.items():
            if not abs(value - by_language[language]) <= TOLERANCE:
                score = f"{100 * by_language[language]:.2f} % in {language}"
                return Fault(f"says {score}, its predictions {100 * value:.2f} %; run it again")
    return Result(record, scored.summary)
