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

_NAMES = {
    "xlbench.comparison.compare": ("compare",),
    "xlbench.engine.execute": ("run",),
    "xlbench.errors": ("NotSupported", "XlbenchError"),
    "xlbench.records.bucket": ("store_at",),
    "xlbench.records.record": ("Record",),
    "xlbench.records.store": ("Store",),
    "xlbench.registry": ("register_method", "register_resource", "register_task"),
    "xlbench.spec": ("RunSpec", "Runtime", "Suite", "Training"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "NotSupported", "Record", "RunSpec", "Runtime", "Store", "Suite", "Training", "XlbenchError",
    "__version__", "compare", "register_method", "register_resource", "register_task", "run", "store_at",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'xlbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
