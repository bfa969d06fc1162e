"""Write docs/methods.md: every method by family, from its class, the published figures, and what records measured.

    python scripts/methods_page.py [RECORDS]

Costs are means over the records of one board, each beside fine-tuning's of the same board. Without records, or where a
method has none, costs are dashes.
"""

import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from xlbench import Store, registry
from xlbench.literature import all_figures, method_families

ROOT = Path(__file__).parents[1]
PAGE, RECORDS = ROOT / "docs" / "methods.md", ROOT / "leaderboard" / "2026-11-family" / "records"
COSTS = {"training": "training_seconds", "test": "test_seconds"}  # beside fine-tuning's
HEAD = """# The methods

Written by `python scripts/methods_page.py`; `xlbench show METHOD` has each in full: what is published, what is chosen,
its settings and what `--tune` searches. {costs}
"""
WITH_COSTS = (
    "Costs are those of the records in `{place}`: training and test beside fine-tuning's, and what a trained method "
    "stores, all of one machine."
)


def costs_of(folder: Path) -> dict[str, dict[str, float]]:
    """By method, the mean of each cost over its records, as they were given no settings."""
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    for record in Store(folder).records() if folder.is_dir() else ():
        if record.status == "finished":
            runs[record.spec.method].append(dict(record.costs))
    names = (*COSTS.values(), "trained_bytes")
    return {
        method: {name: fmean(run[name] for run in own) for name in names if all(name in run for run in own)}
        for method, own in runs.items()
    }


def row(name: str, costs: dict[str, dict[str, float]]) -> list[str]:
    """A method's line: name, what it is, kinds, published figures, costs."""
    method: Any = registry.get("method", name)
    kinds = ", ".join(sorted(kind.kind for kind in method.solves))
    figures = "; ".join(
        f"{one.task}, {one.shots} shots: {one.accuracy:.2f} ({one.source}, {one.backbone})"
        for one in all_figures()
        if one.method == name
    )
    own, base = costs.get(name, {}), costs.get("finetune", {})
    beside = [
        f"{own[cost] / base[cost]:.2g} ×" if own.get(cost) is not None and base.get(cost) else "–"
        for cost in COSTS.values()
    ]
    stored = f"{own['trained_bytes'] / 2**20:,.3g} MiB" if "trained_bytes" in own else "–"
    return [f"`{name}`", registry.find("method", name).summary.rstrip("."), kinds, figures or "–", *beside, stored]


def page(folder: Path = RECORDS) -> str:
    """The page as it should be."""
    costs = costs_of(folder)
    place = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder.name
    classes: dict[str, Any] = {name: registry.get("method", name) for name in registry.names("method")}
    parts = [HEAD.format(costs=WITH_COSTS.format(place=place) if costs else "No costs were measured yet.")]
    for family in method_families():
        there = [name for name in family.methods if name in classes]
        if there:
            needs = sorted({need for name in there for need in classes[name].needs})
            parts.append(
                f"## {family.name}\n\n{family.what}. Needs beside the shots: {', '.join(needs) or 'nothing'}.\n"
            )
            rows = [
                ["method", "what it is", "solves", "published", "training", "test", "stored"],
                [":--"] * 4 + ["--:"] * 3,
            ]
            rows += [row(name, costs) for name in there]
            parts.append("".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in rows))
            parts += [f"- `{name}`: {classes[name].citation}." for name in there]
            parts.append("")
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDS), encoding="utf-8")


if __name__ == "__main__":
    main()
