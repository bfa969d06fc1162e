"""Where an exception came from: the file and line of a plug-in's own code, where it had a part in it."""

import traceback
from pathlib import Path
from types import CodeType

from xlbench.errors import XlbenchError

PARTS = ("score", "loss", "encode", "streams", "build", "fit")  # of a method, as the harness's sentences name them
HARNESS = "xlbench.method"  # whose classes are every method's bases


def place_of(fault: BaseException, plugin: type = object) -> str:
    """`file.py:line` of the last line of a plug-in's own code on the way to a fault, whatever library raised it.

    Where the harness refused what the plug-in gave (no number, a wrong shape), the line is that of the function that
    gave it; where the plug-in had no part in it, that of the code that raised.
    """
    frames, codes = traceback.extract_tb(fault.__traceback__), _codes(plugin)
    own = [frame for frame in frames if frame.filename in {code.co_filename for code in codes.values()}]
    if own:
        return f"{Path(own[-1].filename).name}:{own[-1].lineno}"
    if isinstance(fault, XlbenchError):
        words = str(fault).replace(":", " ").split()
        named = [codes[part] for part in PARTS if part in codes and part in words]
        if named:
            return f"{Path(named[0].co_filename).name}:{named[0].co_firstlineno}"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"


def _codes(plugin: type) -> dict[str, CodeType]:
    """The code of a plug-in's own functions, and of those that it inherits from others than the harness, by name."""
    codes: dict[str, CodeType] = {}
    for base in plugin.__mro__:
        if base.__module__ != HARNESS:
            for name, value in vars(base).items():
                code = getattr(getattr(value, "__func__", value), "__code__", None)
                if isinstance(code, CodeType):
                    codes.setdefault(name, code)
    return codes
