"""Memory: what is free, whether a fault means that it ran out, what was used at the most, and giving it back."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from xlbench.errors import OutOfMemory

GIB = 2**30
USABLE = 0.9  # share of the memory that is free
GROUPS = Path("/sys/fs/cgroup")

# What torch says where an allocation fails: on the host, of cuBLAS, and (its own exception apart) of CUDA.
SIGNS = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def free_bytes(device: torch.device) -> int:
    """Bytes that this process may still take: of a GPU, or of the host, where a batch system may grant us less."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    granted = _granted()
    free = int(psutil.virtual_memory().available)
    return free if granted is None else min(free, granted)


def _granted() -> int | None:
    """What our control group has left (version 2; in a container its own is the root); None where none says."""
    with suppress(OSError, ValueError, IndexError):
        name = Path("/proc/self/cgroup").read_text(encoding="utf-8").strip().rpartition("::")[2].lstrip("/")
        group = GROUPS / name if (GROUPS / name / "memory.max").is_file() else GROUPS
        limit, used = ((group / file).read_text(encoding="utf-8") for file in ("memory.max", "memory.current"))
        lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
        cached = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        return max(0, int(limit) - int(used) + cached)  # ValueError where the limit is "max"
    return None


def ran_out(fault: BaseException) -> bool:
    """Whether a fault means that memory ran out, on the host or on a GPU."""
    if isinstance(fault, OutOfMemory | MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(fault, RuntimeError) and any(sign in str(fault) for sign in SIGNS)


def release() -> None:
    """Give back what nothing refers to any more, so that the next cell finds it free."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@contextmanager
def said_if_short(tried: Callable[[], str]) -> Iterator[None]:
    """Within it, running out of memory becomes an OutOfMemory that says what `tried` gives."""
    try:
        yield
    except (RuntimeError, MemoryError) as fault:
        if not ran_out(fault):
            raise
        raise OutOfMemory(tried()) from fault


def gib(count: float) -> str:
    """A number of bytes in GiB, as 1.5 GiB."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"


@dataclass
class Peak:
    """The most bytes that torch had allocated on a GPU since a `start`, whatever measured a part of it meanwhile."""

    before: int = 0

    def start(self, device: torch.device) -> None:
        self.before = 0
        torch.cuda.reset_peak_memory_stats(device)

    def bytes(self, device: torch.device) -> int:
        return max(self.before, torch.cuda.max_memory_allocated(device))

    @contextmanager
    def of_part(self, device: torch.device) -> Iterator[Callable[[], int]]:
        """Within it a part is measured: what is given tells the bytes allocated above those at its beginning."""
        self.before = self.bytes(device)
        held = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device) - held


PEAK = Peak()  # torch has one counter a GPU, and a process runs one cell at a time
