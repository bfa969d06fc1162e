"""The transfer gap: the metric in the source less that in a language, and how it goes with language distance."""

from collections.abc import Mapping, Sequence

from scipy.stats import spearmanr

from xlbench.analysis.languages import distance
from xlbench.analysis.matching import Group, once
from xlbench.host.plain_text import plain

FEWEST = 3  # languages; a correlation of two is 1 or −1 whatever they are


def gaps(by_language: Mapping[str, Mapping[str, float]], source: str) -> dict[str, dict[str, float]]:
    """Per method and target language the source's metric minus the language's, in points, from `Table.by_language`."""
    return {
        method: {name: 100 * (means[source] - means[name]) for name in means if source in means and name != source}
        for method, means in by_language.items()
    }


def rank_correlation(distances: Sequence[float], values: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None for fewer than three languages, or where all distances or values are one."""
    if len(distances) < FEWEST or len(set(distances)) < 2 or len(set(values)) < 2:
        return None
    return float(spearmanr(distances, values).statistic)


def placed(group: Group) -> dict[str, float]:
    """The distance from the source of each target language of a group that has one."""
    source = group.tables[0].first.source_language
    distances = {name: distance(source, name) for name in sorted(targets(group))}
    return {name: far for name, far in distances.items() if far is not None}


@once
def targets(group: Group) -> set[str]:
    """The languages other than the source that the runs of a group which count were tested in."""
    runs = [run for table in group.tables for line in table.lines for run in table.runs(line)]
    alike = {(run.source_language, tuple(run.by_language)) for run in runs}
    return {name for source, names in alike for name in names if name != source}


def left_out(group: Group) -> list[str]:
    """What of a group's languages the figure does not show, in sentences without their full stops."""
    distances = placed(group)
    tables = [gaps(table.by_language, table.first.source_language) for table in group.tables]
    unknown = targets(group) - set(distances)
    untested = {name for name in distances for by_method in tables for gap in by_method.values() if name not in gap}
    notes = {"no distance is known": unknown, "not every run was tested in them": untested}
    return [f"left out, for {why}: {plain(', '.join(sorted(names)), 90)}" for why, names in notes.items() if names]
