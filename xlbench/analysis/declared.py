"""What a suite declared before its runs, judged: contrasts, the same within a margin, settings against a reference.

Nothing else on a board is a test that was planned. Contrasts are judged on the suite's own draws; at a number of draws
that was neither planned nor declared as a look there is no verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlbench.analysis import statistics
from xlbench.analysis.evidence import count, difference_of, draws_of, points, summary_of
from xlbench.analysis.matching import Group, Table
from xlbench.analysis.sequential import dunnett_p, levels
from xlbench.records.predictions import Summary
from xlbench.spec import Suite, digest, in_words, written

ALPHA = 1 - statistics.LEVEL
SHOWN, NOT_SHOWN, UNTESTED = "differs", "not shown to differ", "not tested"

# What a board may say of a declared analysis; docs/sentences.md has what backs each.
SENTENCES = {
    "head": "Declared before the runs by suite {0} (analysis {1}): {2}",
    "contrast": "{0}, {1}: {2} points ({3} to {4}), p {5}: {6}",
    "same": "the same within {0} points (shown within {1})",
    "not same": "not shown to be the same within {0} points",
    "stopped": "{0} planned and {1} there, so that there is no verdict: looking again and again finds differences that "
    "are not there",
    "look": "an early look at {0} of {1} draws, at the level {2} (O'Brien–Fleming)",
    "absent": "{0}: no run of {1}",
    "unfinished": "not converged, so that no verdict says which method is better",
    "gate": "numbers of shots are tested in the order {0}, each where all primary contrasts of the one before were "
    "shown",
    "exploratory": "What else stands below was not declared: it is exploratory, corrected over all pairs and tables",
    "better": "{0}: {1} is better than {2} by {3} points ({4} to {5}, {6})",
    "equal": "{0}: {1} and {2} are the same within {3} points (a difference of {4}, {5} to {6}, over {7})",
    "open": "{0}: {1} and {2} are neither shown to differ nor to be the same within {3} points ({4}, {5} to {6}, over "
    "{7})",
    "early": "{0}: no verdict yet on {1} against {2}: {3}",
    "reference": "Each setting against {0} by Dunnett's steps, {1} in common: {2}",
}


@dataclass(frozen=True)
class Verdict:
    """One declared contrast of a table: first minus second, as shares of 1; `p` is corrected within its family."""

    contrast: str
    pair: statistics.Pair
    p: float
    outcome: str

    def words(self, margin: float) -> str:
        """The verdict in a sentence without its full stop."""
        difference, same = self.pair.difference, self.pair.within <= margin
        told = SENTENCES["same" if same else "not same"].format(points(margin), points(self.pair.within))
        ends = points(difference.low), points(difference.high)
        p = "< 0.001" if self.p < 0.001 else f"{self.p:.3f}"
        outcome = f"{self.outcome}; {told}"
        return SENTENCES["contrast"].format(
            self.contrast, f"{count(self.pair.draws, 'draw')}", points(difference.estimate), *ends, p, outcome
        )


def applies(suite: Suite, group: Group) -> bool:
    """Whether a suite's runs are those of a group: all that the suite says of a run is so there."""
    spec = next(suite.cells()).model_dump(mode="json")
    training = spec.pop("training")
    asked = {name for name in suite.run if name in spec and name not in {"model", "resources", "parallel"}}
    same = all(group.key[name] == spec[name] for name in asked - {"precision"}) and group.key["task"] == spec["task"]
    wanted = suite.run.get("training", {})
    alike = all(group.key["training"].get(name) == training[name] for name in wanted)
    return same and alike and group.key["model"] == next(suite.cells()).model_name


def declarations(group: Group, suites: Sequence[Suite]) -> list[tuple[str, ...]]:
    """What a board says of each declared suite that a group belongs to, sentences without their full stops."""
    if group.oracle:
        return []
    return [_declaration(group, suite) for suite in suites if suite.declared and applies(suite, group)]


def headlines(group: Group, suites: Sequence[Suite]) -> list[str]:
    """What a board says first: each primary contrast that was declared of a group, in a sentence."""
    if group.oracle:
        return []
    return [
        _headline(f"{group.title}, {in_words(shots, table.per_class)}", verdict, remark, suite.analysis.margin / 100)
        for suite in suites
        if suite.declared and applies(suite, group)
        for shots, table, allowed in _in_order(group, suite)
        for verdict, remark in _verdicts(table, suite, allowed)[0]
    ]


def _headline(where: str, verdict: Verdict, remark: str, margin: float) -> str:
    pair = verdict.pair
    ends = points(pair.difference.low), points(pair.difference.high)
    by = points(pair.difference.estimate)
    names, draws = (pair.first, pair.second), count(pair.draws, "draw")
    if verdict.outcome.startswith(UNTESTED):
        why = verdict.outcome.removeprefix(UNTESTED).strip(", ") or remark or "an earlier contrast was not shown"
        return SENTENCES["early"].format(where, *names, why)
    if verdict.outcome == SHOWN:
        better, worse = names if pair.difference.estimate > 0 else names[::-1]
        size = points(abs(pair.difference.estimate))
        least, most = sorted((abs(pair.difference.low), abs(pair.difference.high)))
        return SENTENCES["better"].format(where, better, worse, size, points(least), points(most), draws)
    kind = "equal" if pair.within <= margin else "open"
    return SENTENCES[kind].format(where, *names, points(margin), by, *ends, draws)


def name_of(suite: Suite) -> str:
    """What tells one declaration from another: a digest of the suite, less its description and where its model lies."""
    fields = suite.model_dump(mode="json", exclude={"description"}, exclude_defaults=True)
    fields["run"] = {**fields["run"], "model": next(suite.cells()).model_name}
    return digest(fields)[:12]


def _declaration(group: Group, suite: Suite) -> tuple[str, ...]:
    analysis = suite.analysis
    parts = [f"primary {', '.join(analysis.primary)}"] if analysis.primary else []
    parts += [f"secondary {', '.join(analysis.secondary)}"] if analysis.secondary else []
    parts += [f"every setting against {analysis.reference}"] if analysis.reference else []
    parts.append(f"margin {analysis.margin:g} points, {count(suite.draws, 'draw')}")
    sentences = [SENTENCES["head"].format(suite.name, name_of(suite), "; ".join(parts))]
    if len(suite.shots) > 1:
        sentences.append(SENTENCES["gate"].format(", ".join(str(written(shots)) for shots in suite.shots)))
    for shots, table, allowed in _in_order(group, suite):
        where = f"{in_words(shots)}: " if len(suite.shots) > 1 else ""
        sentences += [f"{where}{sentence}" for sentence in _of_table(table, suite, allowed)]
    return *sentences, SENTENCES["exploratory"]


def _in_order(group: Group, suite: Suite) -> list[tuple[int, Table, bool]]:
    """A group's tables in the order of the suite's shots, and whether each may be tested: the first, and any whose
    predecessors showed all of their primary contrasts."""
    tables = {table.shots: table for table in group.tables}
    found, allowed = [], True
    for shots in suite.shots:
        if shots not in tables:
            allowed = False
            continue
        found.append((shots, tables[shots], allowed))
        primary = _verdicts(tables[shots], suite, allowed)[0]
        complete = len(primary) == len(suite.analysis.primary) > 0
        allowed = allowed and complete and all(verdict.outcome == SHOWN for verdict, _ in primary)
    return found


Judged = list[tuple[Verdict, str]]


def _verdicts(table: Table, suite: Suite, allowed: bool) -> tuple[Judged, Judged, list[str]]:
    """Primary and secondary contrasts of a table, each with a remark, and which cannot be judged for want of runs."""
    analysis, runs = suite.analysis, _runs(table, suite)
    absent: list[str] = []
    allowed = allowed and not table.unfinished
    pairs: dict[str, statistics.Pair] = {}
    for contrast, (first, second) in analysis.contrasts().items():
        lacking = [method for method in (first, second) if not runs.get(method)]
        difference = None if lacking else difference_of(draws_of(runs[first]), draws_of(runs[second]))
        if difference is None:
            absent.append(SENTENCES["absent"].format(contrast, " and of ".join(lacking) or "common draws"))
            continue
        (pairs[contrast],) = statistics.compared({(first, second): difference})
    families = [
        [(contrast, pairs[contrast]) for contrast in family if contrast in pairs]
        for family in (analysis.primary, analysis.secondary)
    ]
    primary = _family(families[0], suite, allowed)
    complete = len(primary) == len(analysis.primary)
    shown = complete and all(verdict.outcome == SHOWN for verdict, _ in primary)
    return primary, _family(families[1], suite, allowed and shown), absent


def _of_table(table: Table, suite: Suite, allowed: bool) -> list[str]:
    """What is said of one number of shots."""
    primary, secondary, absent = _verdicts(table, suite, allowed)
    sentences = [SENTENCES["unfinished"]] if table.unfinished else []
    for kind, verdicts in (("primary", primary), ("secondary", secondary)):
        for verdict, remark in verdicts:
            sentences.append(f"{kind} {verdict.words(suite.analysis.margin / 100)}{f'; {remark}' if remark else ''}")
    sentences += absent
    if suite.analysis.reference:
        sentences += _against(suite.analysis.reference, _runs(table, suite), suite)
    return sentences


def _family(pairs: Sequence[tuple[str, statistics.Pair]], suite: Suite, allowed: bool) -> list[tuple[Verdict, str]]:
    """Verdicts on contrasts that share 5 %, by Holm, each with a remark; untested where they are not allowed to be."""
    verdicts = []
    order = sorted(range(len(pairs)), key=lambda place: pairs[place][1].p)
    corrected, largest = [1.0] * len(pairs), 0.0
    for rank, place in enumerate(order):
        largest = corrected[place] = max(largest, min(1.0, pairs[place][1].p * (len(pairs) - rank)))
    for (contrast, pair), p in zip(pairs, corrected, strict=True):
        alpha, remark = _level(pair.draws, suite)
        if alpha is None or not allowed:
            outcome = UNTESTED if alpha is not None else f"{UNTESTED}, {remark}"
            verdicts.append((Verdict(contrast, pair, p, outcome), "" if alpha is None else remark))
            continue
        verdicts.append((Verdict(contrast, pair, p, SHOWN if p <= alpha and pair.draws > 1 else NOT_SHOWN), remark))
    return verdicts


def _level(draws: int, suite: Suite) -> tuple[float | None, str]:
    """The level at so many draws, and what is to be said of it; None where there is to be no verdict."""
    looks = suite.analysis.looks
    if draws != suite.draws and draws not in looks:
        planned = count(suite.draws, "draw")
        return None, SENTENCES["stopped"].format(f"{planned} were", f"{draws} {'is' if draws == 1 else 'are'}")
    if not looks:
        return ALPHA, ""
    at = (*looks, suite.draws)
    level = levels(at, suite.draws, ALPHA)[at.index(draws)]
    return level, "" if draws == suite.draws else SENTENCES["look"].format(draws, suite.draws, f"{level:.4f}")


def _runs(table: Table, suite: Suite) -> dict[str, Mapping[tuple[int, int, str], Summary]]:
    """The table's runs of the suite's own draws, by method."""
    own = range(suite.first_draw, suite.first_draw + suite.draws)
    return {
        line.method: {cell: summary_of(result) for cell, result in line.results.items() if cell[0] in own}
        for line in table.lines
    }


def _against(reference: str, runs: Mapping[str, Mapping[tuple[int, int, str], Summary]], suite: Suite) -> list[str]:
    """Every other method of the suite against one, by step-down Dunnett over the draws that all have."""
    named = [choice.label for choice in suite.methods]
    others = [method for method in named if method != reference and runs.get(method)]
    if not runs.get(reference) or not others:
        return [SENTENCES["absent"].format(f"contrasts with {reference}", reference)]
    base = draws_of(runs[reference])
    pairs = []
    for method in others:
        difference = difference_of(draws_of(runs[method]), base)
        if difference is not None and len(difference) > 1:
            pairs += statistics.compared({(method, reference): difference})
    if not pairs:
        return [SENTENCES["absent"].format(f"contrasts with {reference}", "two common draws")]
    draws = min(pair.draws for pair in pairs)
    corrected = dunnett_p([pair.p for pair in pairs], draws - 1)
    told = [
        f"{pair.first} {points(pair.difference.estimate)} ({points(pair.difference.low)} to "
        f"{points(pair.difference.high)}), p {p:.3f}, {SHOWN if p <= ALPHA else NOT_SHOWN}"
        for pair, p in zip(pairs, corrected, strict=True)
    ]
    return [SENTENCES["reference"].format(reference, count(draws, "draw"), "; ".join(told))]
