"""Records that differ in the languages of the shots alone, side by side: which source serves which target."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean

from xlbench.analysis.evidence import points
from xlbench.analysis.languages import by_family
from xlbench.analysis.matching import Group, Line, alike_but
from xlbench.analysis.statistics import OVER_DRAWS, Interval, of_samples
from xlbench.board.blocks import Family, Grid, HeatMap
from xlbench.spec import in_words, written

KIND = "Languages of the shots"
COMMON = "others"
WORDS = (
    "Mean of the metric in percent, by the languages of the shots and of the test; all else is equal",
    "± is half of the 95 % interval over other draws of the shots, on these test rows",
    f"Under {COMMON!r} stands the mean over the languages that no row's shots are in, by which sources can be compared",
)

Cell = tuple[float, float | None]  # a mean and half of its interval, shares of 1


def matrices(groups: Sequence[Group]) -> list[Family]:
    """A table of sources × languages for all groups that differ in the source alone, in the order of the groups."""
    families = alike_but((group for group in groups if not group.oracle), {"source"})
    return [found for key, family in families.items() if len(family) > 1 for found in _matrix(key, family)]


def _matrix(key: str, family: Sequence[Group]) -> Iterator[Family]:
    lines: dict[tuple[str, int], dict[tuple[str, ...], Line]] = defaultdict(dict)
    for group in family:
        for table in group.tables:
            for line in table.lines:
                sources = tuple(group.key.get("source") or [table.first.source_language])
                lines[line.method, table.shots][sources] = line
    rows = [(*name, *of) for name, by_source in sorted(lines.items()) for of in sorted(by_source.items())]
    if not any(len(by_source) > 1 for by_source in lines.values()):
        return
    shot_in = {language for *_, sources, _ in rows for language in sources}
    languages = by_family({name for *_, line in rows for name in line.languages})
    common = [name for name in languages if name not in shot_in]
    cells = [[*(_cell(line, [name]) for name in languages), _cell(line, common)] for *_, line in rows]
    names = [(", ".join(sources), method, str(written(shots))) for method, shots, sources, _ in rows]
    texts = [[*name, *map(_text, row)] for name, row in zip(names, cells, strict=True)]
    labels = [f"{', '.join(sources)}: {method}, {in_words(shots)}" for method, shots, sources, _ in rows]
    metric, task, model = family[0].metric, family[0].key["task"], family[0].key["model"]
    values = [[None if cell is None else 100 * cell[0] for cell in row] for row in cells]
    grid = Grid(KIND, ["shots in", "method", "shots", *languages, COMMON], texts)
    yield Family(KIND, f"{task} on {model}", (WORDS, grid), key, HeatMap(metric, labels, [*languages, COMMON], values))


def _cell(line: Line, languages: Sequence[str]) -> Cell | None:
    """A method's mean over some languages; None where there are none, or a run was not tested in one of them."""
    runs: dict[tuple[int, str], list[float]] = defaultdict(list)
    for (draw, _, shots), record in line.records.items():
        if not languages or any(name not in record.by_language for name in languages):
            return None
        runs[draw, shots].append(fmean(record.by_language[name] for name in languages))
    draws = [fmean(seeds) for seeds in runs.values()]
    if len(draws) < 2:
        return draws[0], None
    bounds: Interval = of_samples(draws, OVER_DRAWS)
    return bounds.estimate, (bounds.high - bounds.low) / 2


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    return points(cell[0]) + ("" if cell[1] is None else f" ± {points(cell[1])}")
