"""What of the machine is this process's to use."""

import os


def cores() -> int:
    """Cores that this process may use: its affinity (a batch system's share), and no more than OMP_NUM_THREADS."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(usable, int(asked)) if asked.isdigit() and int(asked) else usable
