"""Looking more than once, and comparing many settings with one: levels that keep the chance of a false finding.

Group-sequential levels by Lan & DeMets' (1983) spending function of O'Brien and Fleming's kind; step-down Dunnett
(1955; Dunnett & Tamhane 1991) for contrasts that share a reference.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import optimize, special

from xlbench.analysis.statistics import FloatArray

GRID = np.linspace(-8.0, 8.0, 1601)  # of a sum's standard deviations


def spent(share: float, alpha: float) -> float:
    """How much of a two-sided `alpha` may be spent by a share of the planned draws: 4 - 4 Φ(z_{alpha/4}/√share) of each
    side together, little at first."""
    if share <= 0:
        return 0.0
    return min(alpha, 4 * float(special.ndtr(special.ndtri(alpha / 4) / math.sqrt(share))))


@cache
def levels(looks: tuple[int, ...], planned: int, alpha: float) -> tuple[float, ...]:
    """The two-sided level of each look, at some numbers of draws of which the last is the planned one.

    All looks together find a difference that there is not with a chance of `alpha`: five equal ones at 5 % have the
    bounds 4.88, 3.36, 2.68, 2.29, 2.03. The sum of normal increments is followed on a grid; what stopped earlier is
    taken out of it.
    """
    density: FloatArray | None = None  # of the sum at the last look, where no bound was crossed, over GRID · √draws
    found, before, already = [], 0, 0.0
    for draws in looks:
        target = spent(draws / planned, alpha) - already
        step, scale = math.sqrt(draws - before), math.sqrt(draws)
        if density is None:
            values = np.exp(-(GRID**2) / 2) / math.sqrt(2 * math.pi)
        else:
            old = GRID * math.sqrt(before)
            kernel = np.exp(-(((GRID * scale)[:, None] - old[None, :]) ** 2) / (2 * step**2))
            kernel /= step * math.sqrt(2 * math.pi)
            values = np.asarray(scale * np.trapezoid(kernel * density[None, :] / math.sqrt(before), old, axis=1))
        bound = _bound(values, target)
        found.append(2 * float(special.ndtr(-bound)))
        density = np.where(np.abs(GRID) < bound, values, 0.0)
        before, already = draws, already + target
    return tuple(found)


def _bound(density: FloatArray, tail: float) -> float:
    """The z beyond which, on both sides, so much of a density over GRID lies."""

    def excess(bound: float) -> float:
        inside = np.linspace(-bound, bound, 2001)
        within = np.trapezoid(np.interp(inside, GRID, density), inside)
        return float(np.trapezoid(density, GRID) - within) - tail

    return float(optimize.brentq(excess, 0.0, 8.0)) if tail > 1e-12 else 8.0


def dunnett_p(p: Sequence[float], degrees: int) -> list[float]:
    """Two-sided p-values of contrasts with one reference, corrected step down: for the largest statistic of m the
    chance that the largest of m is as large, for the next that the largest of m - 1 is, and so on, never falling.

    Contrasts share the reference, so they correlate by 1/2; statistics are t with `degrees` degrees of freedom.
    """
    statistics = [abs(float(special.stdtrit(degrees, max(value, 1e-300) / 2))) for value in p]
    order = sorted(range(len(p)), key=lambda place: -statistics[place])
    corrected, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, largest_of(statistics[place], len(p) - rank, degrees))
        corrected[place] = min(1.0, largest)
    return corrected


def largest_of(statistic: float, contrasts: int, degrees: int) -> float:
    """The chance that the largest |t| of so many contrasts with one reference is above `statistic`, if none differs."""
    shared, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    quantiles = (np.arange(400) + 0.5) / 400
    scales = np.sqrt(special.chdtri(degrees, quantiles) / degrees)
    half = math.sqrt(0.5)
    bound = statistic * scales[:, None]
    inside = special.ndtr((bound + half * shared) / half) - special.ndtr((-bound + half * shared) / half)
    return 1.0 - float(((inside**contrasts) @ weights).mean())
