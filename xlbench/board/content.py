"""What the board says of groups of records: tables, commands and sentences, from records alone, nothing escaped."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from xlbench.analysis.declared import declarations, headlines
from xlbench.analysis.evidence import Evidence, count, evidence, points
from xlbench.analysis.matching import MATCHED, Group, Line, Table, mean_of, once, several_versions
from xlbench.analysis.power import VarianceParts
from xlbench.board.blocks import COSTS, NOT_OF_ALL, Block, Command, Grid, costs_of, interval, p_value, percent
from xlbench.board.reproduce import Again, commands
from xlbench.errors import XlbenchError
from xlbench.literature import Figure, figures, known_leaks
from xlbench.records.record import Record, trial_settings
from xlbench.spec.protocol import protocols

PUBLISHED = "published, other protocol"
ORACLE_WORDS = (
    "checkpoints were chosen on target-language labels, which few-shot transfer does not have. "
    "A ceiling, not a result: never ranked, and in no table with the others."
)


@once
def blocks(table: Table) -> list[Block]:
    """What the board says of a table, in its order."""
    parts = [Grid("Scores", *score_rows(table)), *_published(table), *_evidence(table), _languages(table)]
    parts += [*_phenomena(table), _training(table), _costs(table), *_chosen(table)]
    parts += [(f"{sentence}",) for sentence in table.diverged]
    return [*parts, *_mixed(table), *((f"Left out: {sentence}",) for sentence in table.left_out)]


def _mixed(table: Table) -> list[Block]:
    """Which means are of runs of several versions: of the method, of the task's prompts, of the libraries."""
    mixed: list[Block] = [(sentence,) for sentence in several_versions(table)]
    for line in table.lines:
        for name, what in (("method_source", "the method's source"), ("prompts", "the task's prompts")):
            versions = {record.identity.get(name) for record in table.runs(line)} - {None}
            if len(versions) > 1:
                mixed.append((f"Mixed: the runs of {line.method} are of {len(versions)} versions of {what}",))
    return mixed


def shared(group: Group) -> str:
    """A line on what all records of a group share."""
    key, records = group.key, group.records
    devices = sorted({f"{r.environment.get('device_name', '?')} ({r.environment.get('device', '?')})" for r in records})
    facts = [
        f"{count(len(records), 'run')}, {records[0].test['rows']:,} test predictions each "
        f"({count(records[0].test['units'], records[0].unit)} in {len(key['languages'])} languages)",
        _trained(key),
        *sharded(group),
        *tuning(group),
        *_translated(key),
        f"tune {key['tune']}, precision {key['precision']}, backbone revision {key['revision']}",
        f"split {key['split']}" if key["split"] else "draws by xlbench",
        f"device {', '.join(devices)}",
        f"{sum(r.seconds for r in records) / 60:.0f} minutes of computing in all",
    ]
    return "; ".join(facts)


def _trained(key: Mapping[str, Any]) -> str:
    """How long, at which rates and with which selection all runs of a group were trained."""
    training = key["training"]
    if isinstance(training, str):
        return f"trained and selected {training}, each method as its source has it"
    least = f", {training['least_steps']} steps at least" if training["least_steps"] > 1 else ""
    budget = f"{training['steps']} steps" if training["steps"] else f"{training['epochs']} epochs{least}"
    parts = f" in {training['accumulate']} parts" if training["accumulate"] > 1 else ""
    patience = f", patience {training['patience']} checkpoints" if training["patience"] else ""
    return (
        f"{budget} of {training['batch_size']} shots{parts}{patience}, learning rate {training['learning_rate']:g}, of "
        f"fresh parts {training['fresh_learning_rate']:g}, selection {key['selection']}"
    )


def _translated(key: Mapping[str, Any]) -> list[str]:
    """From which languages, and with which translations, a group was trained and tested, where not as usual."""
    facts = [f"shots in {', '.join(key['source'])}"] if key.get("source") else []
    trained = {
        "translated": "shots trained on in translation",
        "both": "shots trained on as they are and in translation",
    }
    read = {"translation": "test rows read in translation", "both": "test rows read as they are and in translation"}
    facts += (
        [f"each record is made of others ({key['combined']}), with the sum of their costs"] if "combined" in key else []
    )
    facts += ["shots read in translation too"] if "translations of the shots" in key else []
    facts += [words[key[name]] for name, words in (("train_on", trained), ("read", read)) if key.get(name) in words]
    return facts


def sharded(group: Group) -> list[str]:
    """That languages were tested on different units, in a sentence; none where they were not."""
    if group.key["test_design"] != "sharded":
        return []
    return ["each test unit in one language alone, so that a gap compares different units"]


def first_words(group: Group) -> list[str]:
    """What a board says first of a group: its declared primary contrasts, in sentences."""
    return headlines(group, group.suites)


def declared(group: Group) -> list[Block]:
    """The verdicts of the analyses that suites declared of a group before its runs."""
    return list(declarations(group, group.suites))


def tuning(group: Group) -> list[str]:
    """How the methods of a group were tuned, in a sentence; none where each was run as it was given."""
    trials = group.key.get("trials", 1)
    return [f"{trials} configurations tried of each method, chosen by source dev"] if trials > 1 else []


def _provenance(records: Sequence[Record]) -> Grid:
    """Of what records were made: versions, commits and dates, each as often as it differs."""
    days = sorted({record.started[:10] for record in records if record.started})
    facts = {
        "records": {str(len(records))},
        "started": {days[0] if days[0] == days[-1] else f"{days[0]} – {days[-1]}"} if days else set(),
        "commit": {record.commit for record in records},
    }
    for name in sorted({name for record in records for name in record.versions}):
        facts[name] = {record.versions.get(name, "?") for record in records}
    rows = [[name, ", ".join(sorted(filter(None, values))) or "–"] for name, values in facts.items()]
    return Grid("Provenance", ["provenance", "of the records"], rows)


@once
def origin(group: Group) -> list[Block]:
    """Of what a group's records were made, and the command that makes them again."""
    try:
        again = commands(group.records)
    except XlbenchError:
        again = [Again("# no command line can ask for these runs; ask for them from Python", 0)]
    more = sum(command.more for command in again)
    commits = ", ".join(sorted({record.commit for record in group.records} - {""})) or "unknown"
    sentences = [
        f"These runs are computed again by what follows, at commit {commits}; add --data-root DIR where the data lie "
        "in a folder, and give a model's folder by its path"
    ]
    sentences += [f"It asks for the whole grid, {count(more, 'run')} more than stand above"] if more else []
    return [_provenance(group.records), tuple(sentences), *(Command(command.text) for command in again)]


def leaks(group: Group) -> list[str]:
    """What a group's backbone is known to have seen of its task, in sentences."""
    return known_leaks(group.records[0].spec)


def score_rows(table: Table) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the main table, best mean first; accuracies in percent. Where figures were published for a
    method, task and number of shots, they stand in a last column."""
    rows = []
    for line in table.by_mean:
        records = table.runs(line)
        means = [record.mean for record in records]
        rows.append(
            [line.method, percent(line.mean(lambda record: record.mean)),
             f"{percent(min(means))} – {percent(max(means))}",
             percent(mean_of(r.by_language.get(r.source_language) for r in records)),
             percent(mean_of(r.target_mean for r in records)), percent(mean_of(r.transfer_gap for r in records)),
             design_of(records)]
        )  # fmt: skip
    head = ["method", f"mean {table.metric}", "range of runs", "source", "target mean", "gap", "runs"]
    by_line = [_published_figures(line) for line in table.by_mean]
    if not any(by_line):
        return head, rows
    theirs = ["; ".join(f"{figure.accuracy:.2f} ({figure.source})" for figure in row) or "–" for row in by_line]
    return [*head, PUBLISHED], [[*row, cell] for row, cell in zip(rows, theirs, strict=True)]


def design_of(records: Sequence[Record]) -> str:
    """How many runs there are: 5 draws; 10 of 5 draws, where seeds make more; and that a method was not tuned."""
    draws = len({record.spec.draw for record in records})
    runs = count(draws, "draw") if draws == len(records) else f"{len(records)} of {count(draws, 'draw')}"
    untuned = all(record.spec.trials == 1 and record.spec.protocol == MATCHED for record in records)
    return f"{runs}, untuned" if untuned else runs


def _published_figures(line: Line) -> list[Figure]:
    """What was published for a method as it is; none for one whose settings were changed, and none for the oracle."""
    spec = next(iter(line.records.values())).spec
    return [] if spec.config or spec.oracle else figures(spec)


def _published(table: Table) -> list[Block]:
    """How to read the published figures beside ours, and where they stand; nothing where there are none."""
    theirs = [figure for line in table.by_mean for figure in _published_figures(line)]
    if not theirs:
        return []
    backbones = ", ".join(sorted({figure.backbone for figure in theirs}))
    references = "; ".join(sorted({figure.reference for figure in theirs}))
    name = table.first.spec.protocol
    ours = f"ours are under the protocol {name}: {protocols()[name]['source']}"
    return [
        (f"Published: means over the same languages with {backbones}, one draw of the shots and the settings of their "
         f"source; {ours}; so that no difference from ours is evidence ({references})",)
    ]  # fmt: skip


def _evidence(table: Table) -> list[Block]:
    """What they say in words, intervals and places, the pairs, the variance parts; or why there are none."""
    if table.oracle:
        return []
    try:
        weighed = evidence(table)
    except XlbenchError as fault:
        return [(f"No intervals: {fault}",)]
    return evidence_blocks(weighed)


def evidence_blocks(weighed: Evidence) -> list[Block]:
    """What evidence says in words, intervals and places, the pairs, the variance parts."""
    scores = [
        [method, interval(score, least=0.0), str(weighed.places.get(method, "–") if len(weighed.places) > 1 else "–"),
         f"{points(weighed.above[method].excess)} points, p {p_value(weighed.above[method].p)}",
         p_value(weighed.above_draws[method].p) if weighed.runs[method][1] > 1 else "–"]
        for method, score in weighed.scores.items()
    ]  # fmt: skip
    pairs = [
        [f"{pair.first} − {pair.second}", points(pair.difference.estimate), interval(pair.difference),
         interval(pair.corrected), p_value(pair.corrected_p), "–" if pair.draws < 2 else f"± {points(pair.within)}",
         str(pair.draws)]
        for pair in weighed.pairs
    ]  # fmt: skip
    parts = [[method, *_shares(variance, weighed.shapes[method])] for method, variance in weighed.parts.items()]
    of_pairs = [
        [f"{first} − {second}", *_shares(variance, (pair.draws, weighed.shapes[first][1], weighed.units))]
        for pair, ((first, second), variance) in zip(weighed.pairs, weighed.differences.items(), strict=True)
    ]
    told = dict.fromkeys(note for variance in weighed.parts.values() for note in variance.notes)
    notes = [note.replace("unit", weighed.unit).capitalize() for note in told]
    head = ["evidence", f"95 % interval ({weighed.scope})", "place", f"above chance on other {weighed.unit}s by",
            "and on other draws, p"]  # fmt: skip
    grids = [Grid("Intervals and places", head, scores)]
    if pairs:
        head = ["difference", "points", "95 % interval", "corrected (Shaffer)", "corrected p", "the same within",
                "draws"]  # fmt: skip
        grids.append(Grid("Pairwise differences", head, pairs))
    columns = ["draw", "seed", f"{weighed.unit}s", "rest"]
    grids.append(Grid("Variance parts", ["variance of the mean", *columns], parts))
    if of_pairs:
        grids.append(Grid("Variance parts of differences", ["variance of a difference", *columns], of_pairs))
    return [(*weighed.words(), *notes), *grids]


def _shares(variance: VarianceParts, shape: tuple[int, int, int]) -> list[str]:
    """Shares of the variance of a mean over a design (draws, seeds, units), as texts."""
    return ["–" if share is None else f"{100 * share:.0f} %" for share in variance.shares(*shape).values()]


def _training(table: Table) -> Grid:
    """What training did: the metric before it, steps made and chosen, how far parts moved, what was read beside."""
    rows = []
    for line in table.by_mean:
        runs = table.runs(line)
        before = [
            value for run in runs for name, value in run.learnt.get("before training", {}).items() if name != "rows"
        ]
        steps = [run.selection.get(name) for name in ("steps", "step") for run in runs]
        numbers = [float(number) for number in steps if isinstance(number, int)]
        made, chosen = numbers[: len(runs)], numbers[len(runs) :]
        moved = {part: mean_of(run.learnt.get("movement", {}).get(part) for run in runs)
                 for run in runs[:1] for part in run.learnt.get("movement", {})}  # fmt: skip
        seen = {name: mean_of(run.learnt.get("rows seen", {}).get(name) for run in runs)
                for run in runs[:1] for name in run.learnt.get("rows seen", {})}  # fmt: skip
        late, known = table.not_converged.get(line.method, (0, len(runs)))
        rows.append(
            [line.method, percent(fmean(before)) if before else "–",
             f"{fmean(chosen):.0f} of {fmean(made):.0f}" if len(numbers) == 2 * len(runs) else "–",
             f"{late} of {known}" if any(run.converged is not None for run in runs) else "–",
             ", ".join(f"{part} {100 * share:.1f} %" for part, share in moved.items() if share is not None) or "–",
             ", ".join(f"{number:,.0f} {name}" for name, number in seen.items() if number is not None) or "–"]
        )  # fmt: skip
    head = ["training", f"{table.metric} before", "step chosen", "not converged", "moved, of its norm", "seen beside"]
    return Grid("Training", head, rows)


def _languages(table: Table) -> Grid:
    languages = sorted({name for line in table.lines for name in line.languages})
    rows = [
        [line.method, *(percent(table.by_language[line.method].get(name)) for name in languages)]
        for line in table.by_mean
    ]
    return Grid("By language", [table.metric, *languages], rows)


def _phenomena(table: Table) -> list[Grid]:
    """The metric by what a row tests, mean over languages; none where the task names no phenomena."""
    phenomena = sorted({name for line in table.lines for record in line.records.values() for name in record.phenomena})
    rows = []
    for line in table.by_mean:
        runs = [run.phenomena for run in table.runs(line)]
        means = [mean_of(mean_of(run.get(name, {}).values()) for run in runs) for name in phenomena]
        rows.append([line.method, *map(percent, means)])
    return [Grid("By phenomenon", ["phenomenon", *phenomena], rows)] if phenomena else []


def _costs(table: Table) -> Grid:
    """Mean costs of a run; no column of what no run of the table has, where that is nothing to wonder at."""
    costs = {line.method: [run.costs for run in table.runs(line)] for line in table.by_mean}
    measured = {name for runs in costs.values() for run in runs for name in run}
    columns = [head for head, name, _, _ in COSTS if name in measured or name not in NOT_OF_ALL]
    texts = {method: costs_of(runs) for method, runs in costs.items()}
    rows = [[method, *(row[head] for head in columns)] for method, row in texts.items()]
    return Grid("Costs", ["cost", *columns], rows)


def _chosen(table: Table) -> list[Grid]:
    """The configuration that source dev chose for each run; none where one was tried."""
    if table.first.spec.trials == 1:
        return []
    rows = []
    for line in table.by_mean:
        for run in table.runs(line):
            trial, cell = run.chosen or {}, (str(run.spec.draw), str(run.spec.seed))
            rows.append([line.method, *cell, percent(trial.get("dev_score")), trial_settings(trial) or "–"])
    return [Grid("Chosen settings", ["chosen settings", "draw", "seed", "source dev", "values"], rows)]
