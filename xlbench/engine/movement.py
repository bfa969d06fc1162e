"""How far training moved what it trained: the relative change of each part, and which parts did not move."""

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.engine.session import trained_parameters
from xlbench.method import Method

UNTRAINED = 0.01  # a part drawn anew that moved by less of its norm is what it was drawn


class Movement:
    """Made before training; afterwards it says how far each part has moved.

    Parts are the backbone, its adapters, and what the method adds, each by its name in the module that `build` gave.
    Only what is drawn anew is copied here: the backbone's weights are compared with `clean`, from which they came.
    """

    def __init__(self, method: Method, module: nn.Module, clean: Backbone) -> None:
        self.method, self.module, self.clean = method, module, clean
        old = method.backbone.pretrained()
        self.fresh = {
            name: value.detach().clone() for name, value in trained_parameters(module).items() if id(value) not in old
        }

    def of_parts(self) -> dict[str, float]:
        """Part → |end − start| / max(|start|, |end|), the norms over all its weights that train; 0 to 2."""
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        with torch.no_grad():
            for part, start, end in self._pairs():
                for place, value in enumerate((end - start, start, end)):
                    sums[part][place] += float(value.float().square().sum())
        return {
            part: round((moved / max(start, end)) ** 0.5, 6) if max(start, end) else 0.0
            for part, (moved, start, end) in sums.items()
        }

    def untrained(self) -> list[str]:
        """The parts drawn anew that hardly moved, in sentences."""
        fresh = {self._part(name) for name in self.fresh}
        return [
            f"untrained: {part} moved by {100 * moved:.2g} % of its norm, so it is what it was drawn; a larger "
            "fresh_learning_rate or more steps would train it"
            for part, moved in self.of_parts().items()
            if part in fresh and moved < UNTRAINED
        ]

    def _pairs(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Of each weight that trains: its part, as it was, and as it is."""
        now = dict(self.module.named_parameters())
        for name, start in self.fresh.items():
            yield self._part(name), start, now[name]
        clean = dict(self.clean.named_parameters())
        for name, value in self.method.backbone.named_parameters():
            if value.requires_grad and name in clean:
                yield "backbone", clean[name].to(value.device), value

    def _part(self, name: str) -> str:
        return "adapters" if ".lora_" in name else name.partition(".")[0]
