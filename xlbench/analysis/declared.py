"""What a suite declared before its runs, judged: contrasts, the same within a margin, settings against a reference.

Nothing else on a board is a test that was planned. Contrasts are judged on the suite's own draws; at a number of draws
that was neither planned nor declared as a look there is no verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlbench.analysis import statistics
from xlbench.analysis.evidence import count, difference_of, draws_of, points, summary_of
from xlbench.analysis.matching import ORACLE, Group, Table
from xlbench.analysis.sequential import dunnett_p, levels
from xlbench.records.predictions import Summary
from xlbench.spec import Suite, digest, in_words

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
    "gate": "numbers of shots are tested in the order {0}, each where all primary contrasts of the one before were "
    "shown",
    "exploratory": "What else stands below was not declared: it is exploratory, corrected over all pairs and tables",
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
    if group.key["selection"] == ORACLE:
        return []
    return [_declaration(group, suite) for suite in suites if suite.declared and applies(suite, group)]


def name_of(suite: Suite) -> str:
    """What tells one declaration from another: a digest of the suite, less its description and where its model lies."""
    fields = suite.model_dump(mode="json", exclude={"description"})
    fields["run"] = {**fields["run"], "model": next(suite.cells()).model_name}
    return digest(fields)[:12]


def _declaration(group: Group, suite: Suite) -> tuple[str, ...]:
    analysis = suite.analysis
    parts = [f"primary {', '.join(analysis.primary)}"] if analysis.primary else []
    parts += [f"secondary {', '.join(analysis.secondary)}"] if analysis.secondary else []
    parts += [f"every setting against {analysis.reference}"] if analysis.reference else []
    parts.append(f"margin {analysis.margin:g} points, {count(suite.draws, 'draw')}")
    sentences = [SENTENCES["head"].format(suite.name, name_of(suite), "; ".join(parts))]
    tables = {table.shots: table for table in group.tables}
    several = [shots for shots in suite.shots if shots in tables]
    if len(suite.shots) > 1:
        sentences.append(SENTENCES["gate"].format(", ".join(str(shots or "all") for shots in suite.shots)))
    go_on = True
    for shots in several:
        where = f"{in_words(shots)}: " if len(suite.shots) > 1 else ""
        said, go_on = _of_table(tables[shots], suite, go_on)
        sentences += [f"{where}{sentence}" for sentence in said]
    return *sentences, SENTENCES["exploratory"]


def _of_table(table: Table, suite: Suite, allowed: bool) -> tuple[list[str], bool]:
    """Sentences of one number of shots, and whether all primary contrasts were shown."""
    analysis, runs = suite.analysis, _runs(table, suite)
    sentences: list[str] = []
    if table.unfinished:
        sentences.append("not converged, so that no verdict says which method is better")
        allowed = False
    pairs: dict[str, statistics.Pair] = {}
    for contrast, (first, second) in analysis.contrasts().items():
        lacking = [method for method in (first, second) if not runs.get(method)]
        difference = None if lacking else difference_of(draws_of(runs[first]), draws_of(runs[second]))
        if difference is None:
            sentences.append(SENTENCES["absent"].format(contrast, " and of ".join(lacking) or "common draws"))
            continue
        (pairs[contrast],) = statistics.compared({(first, second): difference})
    shown = bool(analysis.primary)
    for number, family in enumerate((analysis.primary, analysis.secondary)):
        verdicts = _family([(contrast, pairs[contrast]) for contrast in family if contrast in pairs], suite, allowed)
        kind = "primary" if number == 0 else "secondary"
        for verdict, remark in verdicts:
            sentences.append(f"{kind} {verdict.words(analysis.margin / 100)}{f'; {remark}' if remark else ''}")
        complete = len(verdicts) == len(family)
        if number == 0:
            shown = shown and complete and all(verdict.outcome == SHOWN for verdict, _ in verdicts)
            allowed = allowed and (shown or not analysis.primary)
    if analysis.reference:
        sentences += _against(analysis.reference, runs, suite)
    return sentences, shown


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
