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
from xlbench.analysis.power import power, variance_parts
from xlbench.analysis.sequential import levels
from xlbench.records.predictions import Summary

FloatArray = NDArray[np.float64]
Runs = dict[str, dict[tuple[int, int, str], Summary]]

METHODS = ("a", "b", "c", "d")
UNITS, ROWS, LANGUAGES = 100, 3, 15
LEVEL = -0.1  # of the probit: 46 % right
POINT = 0.0253  # of the probit, about a point of accuracy there
COVERED, FALSE, POWERED = (92.0, 98.0), 5.0, 5.0


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
    World("crossed seeds, as before protocol 3", 10, crossed=2.0, promised=False),
)


def runs_of(world: World, random: np.random.Generator, shift: float = 0.0) -> Runs:
    """A board's runs; the first method is `shift` points better."""
    unit = 0.5 * random.standard_normal(UNITS)
    language = np.linspace(0.3, -0.3, LANGUAGES)
    place = np.arange(UNITS) % LANGUAGES

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
                values = _values(level, unit, language, place, world, random)
                cells[draw, seed, ""] = Summary({}, values, np.full(UNITS, 1 / 3), "t")
        runs[method] = cells
    return runs


def _values(
    level: float, unit: FloatArray, language: FloatArray, place: NDArray[np.int64], world: World,
    random: np.random.Generator,
) -> FloatArray:  # fmt: skip
    """Of a run by unit: the mean over languages, or where units are dealt out what stands for it."""
    if world.collapsed and random.random() < world.collapsed:
        return np.full(UNITS, 1 / 3) + random.choice([-1e-9, 1e-9], UNITS)
    if world.sharded:
        right = random.binomial(ROWS, special.ndtr(level + unit + language[place])) / ROWS
        means = np.array([right[place == number].mean() for number in range(LANGUAGES)])
        shares = np.array([(place == number).mean() for number in range(LANGUAGES)])
        return means.mean() + (right - means[place]) / (LANGUAGES * shares[place])
    chances = special.ndtr(level + unit[:, None] + language[None])
    return random.binomial(ROWS, chances).mean(axis=1) / ROWS


def truth_of(world: World) -> float:
    """The mean accuracy of a method over draws, seeds and units without end; of one that collapses too, its mean."""
    spread = POINT**2 * (world.common**2 + world.own[0] ** 2 + world.seed**2 + world.crossed**2) + 0.25
    language = np.linspace(0.3, -0.3, LANGUAGES)
    right = float(special.ndtr((LEVEL + language) / np.sqrt(1 + spread)).mean())
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
    """The difference that boards say is found in four cases of five, in points; the true one; and how often a pair at
    the median stated one is told apart."""
    world = World("power", draws)
    stated = [found.power.smallest for _ in range(boards) if (found := weigh(runs_of(world, random))).power]
    median = float(np.median([value for value in stated if value is not None]))
    parts = [variance_parts(_difference(runs_of(World("long", 40), random))) for _ in range(20)]
    mean = {name: float(np.mean([getattr(part, name) for part in parts])) for name in ("draw", "unit", "draw_unit")}
    true = power(
        type(parts[0])(mean["draw"], None, mean["unit"], mean["draw_unit"], None), draws, 1, UNITS, level=1 - 0.05 / 6
    ).smallest
    told = []
    for _ in range(boards):
        found = weigh(runs_of(world, random, shift=100 * median / _slope()))
        told += [_first_step(found, other) for other in METHODS[1:]]
    return {"stated": 100 * median, "true": 100 * (true or 0.0), "realised": 100 * float(np.mean(told))}


def _first_step(found: Evidence, other: str) -> bool:
    """Whether a pair is told apart at the level of the first step, for which the power is stated."""
    (pair,) = [pair for pair in found.pairs if {pair.first, pair.second} == {"a", other}]
    return pair.p <= 0.05 / 6


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
    language, spread = np.linspace(0.3, -0.3, LANGUAGES), np.sqrt(1.25 + POINT**2 * 5)
    ends = [float(special.ndtr((LEVEL + shift + language) / spread).mean()) for shift in (-POINT, POINT)]
    return 100 * (ends[1] - ends[0]) / 2


def rows(boards: int) -> Iterator[tuple[str, bool]]:
    """Lines of the tables, and whether a promise was missed in each."""
    yield "| runs | draws | score | difference | false rankings |\n| --- | --: | --: | --: | --: |", False
    for number, world in enumerate(WORLDS):
        found = covered(world, boards, np.random.default_rng(number))
        name = world.name if world.promised else f"{world.name} (no promise)"
        texts = [f"{value:.1f}" if value == value else "–" for value in found.values()]
        low = COVERED[0]
        slack = 2 * 100 * (0.05 * 0.95 / boards) ** 0.5  # two standard errors of a share of 5 %
        wrong = not low <= found["difference"] <= 100 or found["false rankings"] > FALSE + slack
        yield f"| {name} | {world.draws} | {' | '.join(texts)} |", world.promised and wrong
    yield "\n| draws | stated | true | realised power at the stated |\n| --: | --: | --: | --: |", False
    for draws in (3, 5, 10):
        found = stated_power(draws, boards // 2, np.random.default_rng(draws))
        wrong = draws > 3 and abs(found["realised"] - 80) > 2 * POWERED
        yield f"| {draws} | {found['stated']:.1f} | {found['true']:.1f} | {found['realised']:.0f} % |", wrong
    found = looks(boards, np.random.default_rng(1))
    wrong = found["declared looks"] > FALSE + 200 * (0.05 * 0.95 / boards) ** 0.5
    told = "; ".join(f"{name}: {value:.1f} %" for name, value in found.items())
    yield f"\nOne declared contrast, looked at after 4, 8 and 12 draws, false findings: {told}.", wrong
    same = equivalence(boards, np.random.default_rng(2))
    yield f"\nMethods that differ by the margin, said to be the same: {same:.1f} % (5 is right).", same > 8


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
methods of equal worth, {UNITS} units of {ROWS} rows in {LANGUAGES} languages, each row right or wrong. Percentages:
of 95 % intervals that hold the truth, of boards that call a method better (5 at most is promised). Power: the
difference that boards say is found in four cases of five, in points, the true one, and how often a pair at the stated
one is found.

"""


if __name__ == "__main__":
    sys.exit(main())
