"""How long the statistics of a whole paper take: simulated predictions, from files to ranks.

    python benchmarks/analysis_speed.py

Four methods, nine numbers of shots, five draws, two seeds, 75,150 predictions a run (1,670 premises of three rows,
15 languages). Every run is read from a parquet file as `xlbench.records.store` writes it; per shots there are scores,
differences, ranks, the test against chance, variance parts and power. Prints seconds and memory.
"""

import argparse
import resource
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xlbench.analysis.power import power, variance_parts
from xlbench.analysis.statistics import above_chance, pairwise, ranks, score
from xlbench.problem import Classification
from xlbench.records.predictions import stack, unit_scores

ASKED = Classification(("entailment", "neutral", "contradiction"))
METHODS, SHOTS, DRAWS, SEEDS = ("a", "b", "c", "d"), 9, 5, 2
LANGUAGES, PREMISES, ROWS = 15, 1670, 3


def run(random: np.random.Generator) -> pa.Table:
    """Predictions of one run, right a little more often than by chance."""
    rows = PREMISES * ROWS
    gold = np.tile(np.arange(rows) % ROWS, LANGUAGES)
    scores = random.normal(0, 1, (len(gold), ROWS)).astype(np.float32)
    scores[np.arange(len(gold)), gold] += random.normal(0.5, 0.1)
    ids = pa.array([f"test-{row // ROWS:05d}-{row % ROWS}" for row in range(rows)] * LANGUAGES)
    premises = pa.array([f"test-{row // ROWS:05d}" for row in range(rows)] * LANGUAGES)
    languages = pa.array([f"l{number:02d}" for number in range(LANGUAGES) for _ in range(rows)])
    columns = {"row_id": ids.dictionary_encode(), "unit_id": premises.dictionary_encode(),
               "language": languages.dictionary_encode(), "gold": pa.array(gold, pa.int8())}  # fmt: skip
    return pa.table(columns | {f"log_prob_{label}": scores[:, label] for label in range(ROWS)})


def main() -> int:
    """Write the predictions, then time their analysis."""
    parser = argparse.ArgumentParser(description="How long the statistics of a whole paper take")
    parser.parse_args()
    random = np.random.default_rng(0)
    cells = [(draw, seed) for draw in range(DRAWS) for seed in range(SEEDS)]
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for number, (draw, seed) in enumerate(cells):  # ten files, each read for every method and shots
            files[draw, seed] = Path(folder) / str(number)
            files[draw, seed].mkdir()
            pq.write_table(run(random), files[draw, seed] / "predictions.parquet", compression="zstd")
        start, reading = time.perf_counter(), 0.0
        for shots in range(SHOTS):
            begun = time.perf_counter()
            runs = {
                method: {
                    cell: unit_scores(files[cells[(at + shift) % len(cells)]], ASKED).summary
                    for at, cell in enumerate(cells)
                }
                for shift, method in enumerate(METHODS, start=shots)
            }
            reading += time.perf_counter() - begun
            designs = stack(runs)
            chance = runs[METHODS[0]][0, 0].chance
            ranked = [name for name, one in designs.items() if score(one).high and above_chance(one, chance).above]
            ranks(ranked, pairwise(designs))
            for one in designs.values():
                variance_parts(one)
            for first, second in combinations(designs.values(), 2):
                power(variance_parts(first - second), DRAWS, SEEDS, PREMISES)
        seconds = time.perf_counter() - start
    runs_read = len(METHODS) * SHOTS * len(cells)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{runs_read} runs of {LANGUAGES * PREMISES * ROWS:,} predictions: {seconds:.1f} s "
        f"({reading:.1f} s of it reading), peak {peak:.2f} GiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
