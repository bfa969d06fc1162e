"""Weights laid out for a CPU's matrix kernels while nothing trains.

PyTorch multiplies fp32 matrices on a CPU by MKL, which reads a weight as it lies. oneDNN, which PyTorch also has, lays
the weight out once, as its kernel reads it, and was then the faster of the two where both were tried. Scores differ
as sums in another order do.
"""

import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from xlbench.memory import USABLE, free_bytes

MEASURED = {"x86_64", "AMD64"}  # processors


@contextmanager
def packed(module: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
    """Within it the linear layers of a module multiply by packed weights, where that is known to be faster.

    Nobody may change their weights meanwhile. It takes as much memory as those weights; where so much is not free,
    they stay as they are; where it runs out all the same, those that were not packed yet.
    """
    with ExitStack() as restored:
        if device.type == "cpu" and precision == "fp32" and there():
            layers = [one for one in module.modules() if _fits(one)]
            if sum(one.weight.nbytes for one in layers) <= USABLE * free_bytes(device):
                with suppress(RuntimeError, MemoryError):
                    for layer in layers:
                        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
                        vars(layer)["forward"] = partial(_linear, weight, layer.bias)
                        restored.callback(vars(layer).pop, "forward")
        yield


def _fits(layer: nn.Module) -> TypeGuard[nn.Linear]:
    return type(layer) is nn.Linear and "forward" not in vars(layer) and layer.weight.dtype == torch.float32


def there() -> bool:
    """Whether this PyTorch and processor have the kernel; its names are PyTorch's own, and may go."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    enabled: Any = torch.backends.mkldnn.enabled
    usable = platform.machine() in MEASURED and torch.backends.mkldnn.is_available() and enabled
    return bool(usable) and all(hasattr(torch.ops.mkldnn, name) for name in names)


def _linear(weight: Tensor, bias: Tensor | None, states: Tensor) -> Tensor:
    """States (…, in) times a packed weight (out, in): (…, out)."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return found
