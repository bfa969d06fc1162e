"""Declared analyses: the suites that were run into a folder of records, kept beside them for its boards.

`RUNS/analyses/<digest>.json` is a suite as it was when `compare` was asked for it; written once, whole, never edited.
"""

import json
from pathlib import Path

from xlbench.errors import XlbenchError
from xlbench.host.safe_reading import SUITE_BYTES, from_json, read_text
from xlbench.host.whole_files import replace_file
from xlbench.spec import Suite, parse

FOLDER = "analyses"


def keep_analysis(root: Path, name: str, suite: Suite) -> None:
    """Keep a suite that declares its analysis, under its name; one that is there stays. Raises XlbenchError."""
    file = root / FOLDER / f"{name}.json"
    if not suite.declared or file.exists():
        return
    fields = suite.model_dump(mode="json")
    fields["run"] = {**fields["run"], "model": next(suite.cells()).model_name}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, (json.dumps(fields, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as fault:
        raise XlbenchError(f"cannot keep the declared analysis {file}: {fault.strerror or fault}") from fault


def kept_analyses(root: Path) -> tuple[list[Suite], list[str]]:
    """The suites kept beside records, by name, and in sentences which cannot be read."""
    suites, faults = [], []
    for file in sorted((root / FOLDER).glob("*.json")) if (root / FOLDER).is_dir() else ():
        place = f"the declared analysis {FOLDER}/{file.name}"
        try:
            fields = from_json(read_text(file, SUITE_BYTES, place), place)
            if not isinstance(fields, dict):
                raise XlbenchError(f"{place} is no object")
            suites.append(parse(Suite, fields, place))
        except (XlbenchError, OSError, ValueError) as fault:
            faults.append(
                f"{place} cannot be read ({str(fault).splitlines()[0][:200]}); remove it, or run the suite again"
            )
    return suites, faults
