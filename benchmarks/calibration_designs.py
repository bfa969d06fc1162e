"""Whether what boards say holds for runs as the harness makes them: binary rows, and designs that are not tidy.

    python benchmarks/calibration_designs.py [--boards 600]

Boards go through `xlbench.analysis.evidence.weigh`, as records do: four methods of equal worth, or one pair at a known
distance. A row is right or wrong; its chance has effects of the draw, the seed, the unit and the method on a probit
scale. Writes calibration_designs.md; exits with 1 where a promise is missed.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

from xlbench.analysis.evidence import Evidence, weigh
from xlbench.analysis.power import Power, VarianceParts, power, variance_parts
from xlbench.analysis.sequential import levels
from xlbench.records.predictions import Summary, UnitScores

FloatArray = NDArray[np.float64]
Runs = dict[str, dict[tuple[int, int, str], Summary]]

METHODS = ("a", "b", "c", "d")
ROWS, LANGUAGES = 3, 15
PAIRS = 6
LEVEL = -0.1  # of the probit: 46 % right
POINT = 0.0253  # of the probit, about a point of accuracy there
LANGUAGE_LEVELS = np.linspace(0.3, -0.3, LANGUAGES)
POWER_OWN = (2.6,) * 4  # five draws show about 9.7 points
COVERED, FALSE, POWERED, STATED = (92.0, 98.0), 5.0, 5.0, 10.0


@dataclass(frozen=True)
class World:
    """Deviations in points: of a draw common to the methods, of a method's own, of a seed's, over `draws` draws."""

    name: str
    draws: int
    common: float = 2.0
    own: tuple[float, ...] = (2.0, 2.0, 2.0, 2.0)
    seeds: int = 1
    seed: float = 0.0  # nested in the draw, a method's own
    crossed: float = 0.0  # a seed's effect on a method in all draws alike
    heavy: bool = False  # draws follow Student's t with 3 degrees, scaled to the deviation
    collapsed: float = 0.0  # share of runs that answer one label
    lacking: float = 0.0  # share of cells that a method lacks
    sharded: bool = False
    units: int = 100
    promised: bool = True


WORLDS = (
    World("nested seeds", 5),
    World("nested seeds, two a draw", 5, seeds=2, seed=1.5),
    World("nested seeds", 10),
    World("unequal variances", 5, own=(1.0, 1.0, 2.0, 4.0)),
    World("unequal variances", 10, own=(1.0, 1.0, 2.0, 4.0)),
    World("draws of t with 3 degrees", 5, heavy=True),
    World("draws of t with 3 degrees", 10, heavy=True),
    World("a tenth of the runs collapsed", 10, collapsed=0.1),
    World("a third of the cells missing", 8, lacking=0.33),
    World("sharded units", 5, sharded=True),
    World("sharded units", 13, sharded=True),
    World("sharded units, two a language", 13, sharded=True, units=2 * LANGUAGES),
    World("crossed seeds, as before protocol 3", 10, crossed=2.0, promised=False),
)


def runs_of(world: World, random: np.random.Generator, shift: float = 0.0) -> Runs:
    """A board's runs; the first method is `shift` points better."""
    unit = 0.5 * random.standard_normal(world.units)

    def draw_effect(deviation: float) -> FloatArray:
        drawn = random.standard_t(3, world.draws) / 3**0.5 if world.heavy else random.standard_normal(world.draws)
        return POINT * deviation * drawn

    common, runs = draw_effect(world.common), {}
    for number, method in enumerate(METHODS):
        own = draw_effect(world.own[number])
        crossed = POINT * world.crossed * random.standard_normal(world.seeds)
        cells = {}
        for draw in range(world.draws):
            for seed in range(world.seeds):
                nested = POINT * world.seed * random.standard_normal()
                level = LEVEL + POINT * shift * (number == 0) + common[draw] + own[draw] + crossed[seed] + nested
                missing = world.lacking and draw > 2 and random.random() < world.lacking
                if missing:
                    continue
                values = _values(level, unit, world, random)
                cells[draw, seed, ""] = Summary({}, values, np.full(world.units, 1 / 3), "t")
        runs[method] = cells
    return runs


def _values(level: float, unit: FloatArray, world: World, random: np.random.Generator) -> FloatArray:
    """Of a run by unit: the mean over languages, or where units are dealt out what stands for it."""
    if world.collapsed and random.random() < world.collapsed:
        return np.full(world.units, 1 / 3) + random.choice([-1e-9, 1e-9], world.units)
    chances = special.ndtr(level + unit + LANGUAGE_LEVELS[:, None])
    right = random.binomial(ROWS, chances) / ROWS
    scored = UnitScores((), (), right, right, {}, "t")
    return scored.dealt() if world.sharded else scored.values


def truth_of(world: World) -> float:
    """The mean accuracy of a method over draws, seeds and units without end; of one that collapses too, its mean."""
    spread = POINT**2 * (world.common**2 + world.own[0] ** 2 + world.seed**2 + world.crossed**2) + 0.25
    right = float(special.ndtr((LEVEL + LANGUAGE_LEVELS) / np.sqrt(1 + spread)).mean())
    return (1 - world.collapsed) * right + world.collapsed / 3


def covered(world: World, boards: int, random: np.random.Generator) -> dict[str, float]:
    """Percentages: intervals that hold the truth, boards that rank equal methods."""
    scores, differences, ranked, truth = [], [], [], truth_of(world)
    for _ in range(boards):
        found = weigh(runs_of(world, random))
        if not world.heavy:  # the mean of a probit of heavy tails has no such formula
            scores.append(found.scores["a"].low <= truth <= found.scores["a"].high)
        differences += [not pair.difference.excludes_zero for pair in found.pairs]
        ranked.append(any(pair.better for pair in found.pairs))
    shares = {"score": scores, "difference": differences, "false rankings": ranked}
    return {name: 100 * float(np.mean(each)) if each else float("nan") for name, each in shares.items()}


def stated_power(draws: int, boards: int, random: np.random.Generator) -> dict[str, float]:
    """The difference that boards say is found in four cases of five, in points, and the true one; how many of their
    intervals hold the true one; and how often a pair at the median stated one is told apart."""
    world = World("power", draws, own=POWER_OWN)
    said = [power_of(weigh(runs_of(world, random))) for _ in range(boards)]
    median = float(np.median([one.smallest for one in said if one.smallest is not None]))
    parts = [variance_parts(_difference(runs_of(World("long", 40, own=POWER_OWN), random))) for _ in range(60)]
    mean = {name: float(np.mean([getattr(part, name) for part in parts])) for name in ("draw", "unit", "draw_unit")}
    long_run = VarianceParts(mean["draw"], None, mean["unit"], mean["draw_unit"], None)
    true = power(long_run, draws, 1, world.units, level=1 - 0.05 / PAIRS).smallest or 0.0
    held = [(one.low or 0.0) <= true <= (one.high or 0.0) for one in said]
    told = []
    for _ in range(boards):
        found = weigh(runs_of(world, random, shift=100 * median / _slope()))
        told += [_first_step(found, other) for other in METHODS[1:]]
    shares = {"held": 100 * float(np.mean(held)), "realised": 100 * float(np.mean(told))}
    return {"stated": 100 * median, "true": 100 * true, **shares}


def power_of(found: Evidence) -> Power:
    """What a board says its design can show."""
    if found.power is None:
        raise SystemExit("a board of several draws says nothing of its power")
    return found.power


def _first_step(found: Evidence, other: str) -> bool:
    """Whether a pair is told apart at the level of the first step, for which the power is stated."""
    (pair,) = [pair for pair in found.pairs if {pair.first, pair.second} == {"a", other}]
    return pair.p <= 0.05 / PAIRS


def _difference(runs: Runs) -> FloatArray:
    return np.stack([[runs["a"][cell].values - runs["b"][cell].values] for cell in sorted(runs["a"])])


def looks(boards: int, random: np.random.Generator) -> dict[str, float]:
    """False findings of one declared contrast after 4, 8 and 12 draws: at each look's level, and at 5 % each."""
    at = (4, 8, 12)
    wanted = dict(zip(at, levels(at, 12, 0.05), strict=True))
    declared, peeking = [], []
    for _ in range(boards):
        runs = runs_of(World("looks", 12), random)
        p = {}
        for draws in at:
            early = {name: {cell: run for cell, run in runs[name].items() if cell[0] < draws} for name in ("a", "b")}
            (pair,) = weigh(early).pairs
            p[draws] = pair.p
        declared.append(any(p[draws] <= wanted[draws] for draws in at))
        peeking.append(any(value <= 0.05 for value in p.values()))
    return {"declared looks": 100 * float(np.mean(declared)), "5 % at each": 100 * float(np.mean(peeking))}


def equivalence(boards: int, random: np.random.Generator) -> float:
    """How often two methods that differ by the margin of 2 points are said to be the same within it; 5 % is right."""
    world = World("margin", 8, own=(1.0,) * 4)
    said = []
    for _ in range(boards):
        runs = runs_of(world, random, shift=2.0 / _slope())
        (pair,) = weigh({name: runs[name] for name in ("a", "b")}).pairs
        said.append(pair.within <= 0.02)
    return 100 * float(np.mean(said))


def _slope() -> float:
    """How many points of accuracy a shift by `POINT` of the probit gives here, as the effects spread it."""
    spread = np.sqrt(1.25 + POINT**2 * 5)
    ends = [float(special.ndtr((LEVEL + shift + LANGUAGE_LEVELS) / spread).mean()) for shift in (-POINT, POINT)]
    return 100 * (ends[1] - ends[0]) / 2


def rows(boards: int) -> Iterator[tuple[str, bool]]:
    """Lines of the tables, and whether a promise was missed in each."""
    yield "| runs | draws | score | difference | false rankings |\n| --- | --: | --: | --: | --: |", False
    error = 2 * 100 * (0.05 * 0.95 / boards) ** 0.5  # two standard errors of a share of 5 %
    for number, world in enumerate(WORLDS):
        found = covered(world, boards, np.random.default_rng(number))
        name = world.name if world.promised else f"{world.name} (no promise)"
        texts = [f"{value:.1f}" if value == value else "–" for value in found.values()]
        coverage = [found[what] for what in ("score", "difference") if found[what] == found[what]]
        outside = any(not COVERED[0] - error <= share <= COVERED[1] + error for share in coverage)
        wrong = outside or found["false rankings"] > FALSE + error
        yield f"| {name} | {world.draws} | {' | '.join(texts)} |", world.promised and wrong
    yield "\n| draws | stated | true | intervals that hold it | realised power at the stated |", False
    yield "| --: | --: | --: | --: | --: |", False
    for draws in (3, 5, 10):
        found = stated_power(draws, boards // 2, np.random.default_rng(draws))
        off = abs(found["stated"] / found["true"] - 1) > STATED / 100
        wrong = off or found["held"] < COVERED[0] - error or abs(found["realised"] - 80) > POWERED
        figures = f"{found['stated']:.1f} | {found['true']:.1f} | {found['held']:.0f} % | {found['realised']:.0f} %"
        yield f"| {draws} | {figures} |", wrong
    found = looks(boards, np.random.default_rng(1))
    wrong = found["declared looks"] > FALSE + error
    told = "; ".join(f"{name}: {value:.1f} %" for name, value in found.items())
    yield f"\nOne declared contrast, looked at after 4, 8 and 12 draws, false findings: {told}.", wrong
    same = equivalence(boards, np.random.default_rng(2))
    yield f"\nMethods that differ by the margin, said to be the same: {same:.1f} % (5 is right).", same > FALSE + error


def main() -> int:
    """Simulate, print the tables, write them."""
    parser = argparse.ArgumentParser(description="What boards say, simulated")
    parser.add_argument("--boards", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    asked = parser.parse_args()
    lines: list[str] = []
    missed = 0
    for line, wrong in rows(asked.boards):
        print(line + (" ← missed" if wrong else ""), flush=True)
        lines.append(line)
        missed += wrong
    asked.out.write_text(HEAD.format(boards=asked.boards) + "\n".join(lines) + "\n", encoding="utf-8")
    return int(missed > 0)


HEAD = f"""# What boards say, simulated

Written by `benchmarks/calibration_designs.py`: {{boards}} boards a row through `xlbench.analysis.evidence.weigh`, four
methods of equal worth, {World("", 2).units} units of {ROWS} rows in {LANGUAGES} languages, each row right or wrong.
Percentages: of 95 % intervals that hold the truth ({COVERED[0]:g} to {COVERED[1]:g} is promised), of boards that call a
method better ({FALSE:g} at most). Power, of half as many boards: the median difference that boards say is found in four
cases of five, in points, and the true one ({STATED:g} % apart at most), how many of the stated intervals hold it, and
how often a pair at the stated one is found (80 %, {POWERED:g} apart at most). Coverage and false findings may be
two standard errors beyond.

"""


if __name__ == "__main__":
    sys.exit(main())
