"""Writes the rows of the task `logic` that ship with it (tasks/logic/rows.json.gz), in under a minute.

python scripts/deal_logic.py
"""

import gzip
from pathlib import Path

from xlbench.tasks.logic import grammar, rows

FILE = Path(__file__).parents[1] / "tasks" / "logic" / "rows.json.gz"

if __name__ == "__main__":
    splits = {split: grammar.deal(split) for split in rows.PREMISES}
    FILE.write_bytes(gzip.compress(rows.told(splits, grammar.deal_parallel()), mtime=0))
    print(f"{FILE.name}: {FILE.stat().st_size / 1000:.0f} kB")
