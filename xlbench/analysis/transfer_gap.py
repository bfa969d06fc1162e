"""The transfer gap: the metric in the source less that in a language, and how it goes with language distance."""

from collections.abc import Mapping, Sequence

from scipy.stats import spearmanr

from xlbench.analysis.languages import distance
from xlbench.analysis.matching import Group
from xlbench.host.plain_text import plain

FEWEST = 3  # languages; a correlation of two is 1 or −1 whatever they are


def gaps(by_language: Mapping[str, Mapping[str, float]], source: str) -> dict[str, dict[str, float]]:
    """Per method and target language the source's metric minus the language's, in points, from `Table.by_language`."""
    found: dict[str, dict[str, float]] = {}
    for method, means in by_language.items():
        own = means.get(source)
        found[method] = {name: 100 * (own - mean) for name, mean in means.items() if own is not None and name != source}
    return found


def rank_correlation(distances: Sequence[float], values: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None for fewer than three languages, or where all distances or values are one."""
    if len(distances) < FEWEST or len(set(distances)) < 2 or len(set(values)) < 2:
        return None
    return float(spearmanr(distances, values).statistic)


def placed(one: Group) -> dict[str, float]:
    """The distance from the source of each target language of a group that has one."""
    source = one.tables[0].first.source_language
    found = {name: distance(source, name) for name in sorted(targets(one))}
    return {name: far for name, far in found.items() if far is not None}


def targets(one: Group) -> set[str]:
    """The languages other than the source that the runs of a group which count were tested in; looked up once."""
    return one.once("targets", lambda: _targets(one))


def _targets(one: Group) -> set[str]:
    tables = [table for table in one.tables if table.cells]
    runs = [line.records[cell] for table in tables for line in table.lines for cell in table.cells]
    alike = {(run.source_language, tuple(run.by_language)) for run in runs}
    return {name for source, names in alike for name in names if name != source}


def left_out(one: Group) -> list[str]:
    """What of a group's languages the figure does not show, in sentences without their full stops."""
    distances = placed(one)
    tables = [gaps(table.by_language, table.first.source_language) for table in one.tables if table.cells]
    unknown = targets(one) - set(distances)
    untested = {name for name in distances for table in tables for found in table.values() if name not in found}
    notes = {"no distance is known": unknown, "not every run was tested in them": untested}
    return [f"left out, for {why}: {plain(', '.join(sorted(names)), 90)}" for why, names in notes.items() if names]
