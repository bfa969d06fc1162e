"""xlbench: few-shot cross-lingual transfer methods, compared under equal conditions.

    import xlbench
    record = xlbench.run(xlbench.RunSpec(method="mpt", task="logic", model="tiny", shots=16))

What takes long to import (torch, transformers) is imported when it is first used.
"""

import os
from typing import TYPE_CHECKING, Any

from xlbench.version import __version__

# Read when torch loads: a thread that waits gives its core away. Spinning, two threads on two busy cores made the
# same run twenty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from xlbench.comparison.compare import compare
    from xlbench.engine.execute import run
    from xlbench.errors import NotSupported, XlbenchError
    from xlbench.records.bucket import store_at
    from xlbench.records.record import Record
    from xlbench.records.store import Store
    from xlbench.registry import register_method, register_resource, register_task
    from xlbench.spec import RunSpec, Runtime, Suite, Training

_HOMES = {
    "compare": "xlbench.comparison.compare",
    "NotSupported": "xlbench.errors",
    "XlbenchError": "xlbench.errors",
    "register_method": "xlbench.registry",
    "register_resource": "xlbench.registry",
    "register_task": "xlbench.registry",
    "run": "xlbench.engine.execute",
    "RunSpec": "xlbench.spec",
    "Runtime": "xlbench.spec",
    "Suite": "xlbench.spec",
    "Training": "xlbench.spec",
    "Record": "xlbench.records.record",
    "Store": "xlbench.records.store",
    "store_at": "xlbench.records.bucket",
}

__all__ = [
    "NotSupported", "Record", "RunSpec", "Runtime", "Store", "Suite", "Training", "XlbenchError",
    "__version__", "compare", "register_method", "register_resource", "register_task", "run", "store_at",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'xlbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
