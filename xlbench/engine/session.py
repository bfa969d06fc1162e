"""Session: what a process computes with, whatever it computes."""

from collections import defaultdict
from dataclasses import dataclass, field

import torch

from xlbench.backbone import Backbone
from xlbench.engine.costs import Stopwatch
from xlbench.engine.flops import FlopMeter
from xlbench.host.progress import Progress

STAGES = ("training", "evaluation", "test")


@dataclass
class Session:
    """Device, precision and token budget, and what is kept count of: time, FLOPs, progress."""

    device: torch.device
    precision: str = "fp32"
    token_budget: int = 0  # 0: what the device is known to take well
    progress: Progress = field(default_factory=Progress)
    watch: Stopwatch = field(default_factory=Stopwatch)
    meters: dict[str, FlopMeter] = field(default_factory=lambda: {stage: FlopMeter(None) for stage in STAGES})
    counted: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def tokens(self) -> int:
        """The most tokens in an evaluation batch, with padding: what stays in a CPU's cache, or what fills a GPU."""
        return self.token_budget or (32768 if self.device.type == "cuda" else 1024)

    def count(self, backbone: Backbone | None) -> None:
        """Count FLOPs anew from here on, by stage, as of steps that are alike; without a backbone count none."""
        for stage, meter in self.meters.items():
            self.counted[stage] += float(meter.total)
        self.meters = {stage: FlopMeter(backbone) for stage in STAGES}

    @property
    def flops(self) -> dict[str, float]:
        """FLOPs of each stage so far, as a record names them; empty where none were counted."""
        totals = {stage: self.counted[stage] + float(meter.total) for stage, meter in self.meters.items()}
        return {f"{stage}_flops": round(total) for stage, total in totals.items() if total}
