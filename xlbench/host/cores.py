"""What of the machine is this process's to use."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AT_ONCE = 32  # waits for a disk or a network
TOGETHER = 256  # items that one thread takes at a time


def cores() -> int:
    """Cores that this process may use: its affinity (a batch system's share), and no more than OMP_NUM_THREADS."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(usable, int(asked)) if asked.isdigit() and int(asked) else usable


def side_by_side(look: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
    """`look` of each, in their order; of many, by threads, so that a slow disk is waited for once and not each time.

    Raises what `look` raises.
    """
    parts = [items[at : at + TOGETHER] for at in range(0, len(items), TOGETHER)]
    if len(parts) < 2:
        return [look(item) for item in items]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return [answer for part in threads.map(lambda part: [look(item) for item in part], parts) for answer in part]
