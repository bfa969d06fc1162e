"""measured.json, figures by processor, and README.md beside it, with a table of each processor that was measured."""

import json
import re
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

BARS_ON_A_CPU = {
    "evaluation, soft-prompt: xlbench beside B2": 5.0,
    "evaluation, soft-prompt: xlbench beside B1": 2.5,
    "evaluation, soft-prompt: xlbench beside B0": 1.0,
    "evaluation, soft-prompt: share of the measured ceiling": 60.0,
    "suite: xlbench, --jobs auto, beside B0": 1.5,
}
BARS_ON_A_GPU = {
    "evaluation, soft-prompt: share of the measured ceiling": 40.0,
    "suite: xlbench, --jobs auto, beside B0": 3.0,
}
GROWTH = re.compile(r"growth, (\d+) (\w+): (.+)")
OPENING = """
How fast xlbench is, beside what a user would write instead (`rivals.py`), measured by `make bench`, the contenders of a
part in turn. Log-probabilities are checked equal (within 0.001 on a CPU) before any is timed. Machines are shared and
noisy: ratios are the medians of those of each round; compare them, not the seconds, and only within a processor.

- **B0** is a Trainer script as an expert writes it: sdpa, dynamic padding, all languages sorted by length in one
  process, the head at `<mask>` only (`lm_head`, so the whole vocabulary there), the best checkpoint kept in memory.
- **B1** is what the defaults give: padded to 128, fp32, one language after the other, batches of eight.
- **B2** is B1 with the logits of the whole vocabulary at every position, as prompt libraries compute them.
"""
CLOSING = """
## How to read the tables

The suite is that of fine-tuning, soft prompting, PCT and MPT × 3 numbers of shots × 2 draws: a draw of B0's, all of
xlbench's, and the other draw of B0's. xlbench starts its workers, reads its data, counts FLOPs and writes records; B0
is in one process that has everything imported and gets its test rows for nothing.

How the cost grows: seconds of a comparison on the embedded model and task, one process; what is not named is at 5
languages, 40 premises, 1 method, 1 draw. Encoding: the test is tokenised once a template and then looked up; shots are
tokenised for each draw, and MPT's pairs once.

The share of the ceiling is that of the matrix products of the encoder's layers that are needed (two operations a
weight and token that is no padding; of the last layer, keys and values alone at positions that are not read),
against the rate at which this machine multiplies matrices of those shapes and does nothing else, in the same run.
`make bench-quick` measures the first ratios again, in under two minutes, and prints them beside its processor's.
"""


def measured_on(kept: Path, processor: str) -> dict[str, Any]:
    """What measured.json holds of a processor: `of`, its conditions, and `figures` by name; empty where it has none."""
    found: dict[str, Any] = _read(kept).get(processor, {})
    return found


def keep(kept: Path, processor: str, of: dict[str, str], found: dict[str, Any]) -> None:
    """Put figures among those of a processor in measured.json; its figures of other conditions leave, other processors'
    stay."""
    before = measured_on(kept, processor)
    figures = {**(before["figures"] if before.get("of") == of else {}), **found}
    whole = {**_read(kept), processor: {"of": of, "figures": figures}}
    kept.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(kept: Path) -> dict[str, Any]:
    return json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}


def write_report(kept: Path) -> Path:
    """Write README.md beside measured.json; returns its path."""
    tables = [part for processor, one in _read(kept).items() for part in _section(processor, **one)]
    target = kept.with_name("README.md")
    target.write_text("\n\n".join(["# Speed", OPENING.strip(), *tables, CLOSING.strip()]) + "\n", encoding="utf-8")
    return target


def _section(processor: str, of: dict[str, str], figures: dict[str, Any]) -> list[str]:
    """The tables of a processor, under headings that name it."""
    said = f"{of['machine']}, torch {of['torch']}, model {of['model']}, task {of['task']}, {of['precision']}."
    plain = {name: one for name, one in figures.items() if not GROWTH.match(name)}
    return [
        f"## {processor}",
        textwrap.fill(f"{said} {of.get('note', '')}".strip(), 118),
        _table(plain, BARS_ON_A_CPU if "CPU" in of["machine"] else BARS_ON_A_GPU),
        *([f"### How the cost grows: {processor}"] if len(plain) < len(figures) else []),
        *_growth(figures),
    ]


def _table(figures: dict[str, Any], bars: dict[str, float]) -> str:
    lines = ["| what | measured | bar |", "|---|---:|---:|"]
    for name, one in figures.items():
        bar = bars.get(name)
        said = "" if bar is None else f"{bar:g} {one['unit']}, {'met' if one['value'] >= bar else 'missed'}"
        lines.append(f"| {name} | {one['value']:.2f} {one['unit']} | {said} |")
    return "\n".join(lines)


def _growth(figures: dict[str, Any]) -> list[str]:
    tables: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for name, one in figures.items():
        found = GROWTH.match(name)
        if found:
            size, axis, what = found.groups()
            tables[axis][int(size)][what] = one["value"]
    written = []
    for axis, sizes in tables.items():
        columns = list(next(iter(sizes.values())))
        lines = [f"| {axis} | {' | '.join(columns)} |", "|---:" * (len(columns) + 1) + "|"]
        lines += [f"| {size} | {' | '.join(f'{row[one]:.2f}' for one in columns)} |" for size, row in sizes.items()]
        written.append("\n".join(lines))
    return written
