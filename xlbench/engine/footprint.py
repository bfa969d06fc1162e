"""What a run takes of memory, by arithmetic, before it starts.

Fixed, from the backbone's parameters P, each in fp32 (4 bytes): the weights; where they train, as many bytes again
for the gradients, twice as many for AdamW's moments, and as many for each state that the selection policy keeps;
with bf16, half as many for the copies that autocast makes. Word embeddings that no step can read do not train, and
count once. What adapters and a method add is small, and left out.

Activations, what a step keeps for its backward pass, follow Korthikanti et al. (arXiv 2205.05198) for a layer with
width h, inner width f, a heads, and n rows of t tokens: n·t·(9h + 2f + 2at) numbers, and n·t·(2h + at) bytes of
dropout masks; 3h numbers a token for a last layer that is computed where it is read alone (xlbench.last_layer). A
number takes 4 bytes, and 3 on average with bf16. Attention kernels that keep no scores take less.
"""

from dataclasses import dataclass

import torch

from xlbench.backbone import Backbone
from xlbench.errors import Refused
from xlbench.host import memory
from xlbench.host.memory import USABLE, gib
from xlbench.prompts import Encoded
from xlbench.spec import RunSpec

WIDTH = {"fp32": 4, "bf16": 3}  # bytes of a number that is kept for the backward pass


@dataclass(frozen=True)
class Footprint:
    """Bytes of a run, without activations."""

    weights: int
    gradients: int
    moments: int
    kept: int
    copies: int

    @classmethod
    def of(cls, backbone: Backbone, spec: RunSpec, words: int | None = None) -> "Footprint":
        """Of a run that trains the embeddings of so many words alone; none: of all."""
        weights = 4 * sum(value.numel() for value in backbone.parameters())
        others = 0 if words is None else 4 * (len(backbone.word_embeddings()) - words) * backbone.dimension
        trained = weights - others if spec.tune == "all" else 0
        return cls(weights, trained, 2 * trained, states(spec) * trained, (spec.precision == "bf16") * weights // 2)

    @property
    def total(self) -> int:
        return sum(vars(self).values())

    @property
    def words(self) -> str:
        """The sum, part by part."""
        names = "weights", "gradients", "AdamW's moments", "states kept by the selection policy", "autocast's copies"
        sizes = zip(names, vars(self).values(), strict=True)
        return f"{' + '.join(f'{gib(size)} of {name}' for name, size in sizes if size)} = {gib(self.total)}"


def states(spec: RunSpec) -> int:
    """How many states of what trains the selection policy keeps."""
    if spec.selection == "average-last":
        return min(spec.training.average_last, spec.training.checkpoints)
    return 0 if spec.selection == "last" else 1


def activations(backbone: Backbone, rows: int, longest: int, precision: str) -> int:
    """Bytes that a step with so many rows, padded to the longest, keeps for its backward pass."""
    config, width = backbone.config, backbone.dimension
    inner, heads = getattr(config, "intermediate_size", 4 * width), getattr(config, "num_attention_heads", 1)
    layer = WIDTH[precision] * (9 * width + 2 * inner + 2 * heads * longest) + 2 * width + heads * longest
    last = WIDTH[precision] * 3 * width if backbone.known_family else layer
    return int(rows * longest * ((getattr(config, "num_hidden_layers", 1) - 1) * layer + last))


def refuse_what_cannot_fit(backbone: Backbone, spec: RunSpec, device: torch.device, words: int | None = None) -> None:
    """Raises Refused, with the arithmetic, where weights and optimiser alone need more memory than is free.

    `words`: how many words' embeddings train at least; none: all.
    """
    need, free = Footprint.of(backbone, spec, words), memory.free_bytes(device)
    if need.total <= free:
        return
    ways = ["--tune lora or frozen"] * (spec.tune == "all") + ["--selection last (keeps no state)"] * (need.kept > 0)
    raise Refused(
        f"method {spec.method} with {spec.model} does not fit in the memory of {device}: {need.words}, before any "
        f"batch, and {gib(free)} are free; use {', '.join([*ways, 'a smaller model'])}, or a device with more memory"
    )


def note_if_close(
    backbone: Backbone,
    spec: RunSpec,
    device: torch.device,
    inputs: list[Encoded],
    at_once: int,
    words: int | None = None,
) -> str:
    """A sentence where a step is likely not to fit, the weights being there already; empty where it fits.

    `inputs`: the shots, and every stream of rows that a step takes beside them. `at_once`: rows of each at a time.
    `words`: how many words' embeddings train; none: all.
    """
    longest = max((int(encoded.lengths.max()) for encoded in inputs if len(encoded)), default=0)
    rows = sum(min(at_once, len(encoded)) for encoded in inputs)
    need, free = Footprint.of(backbone, spec, words), memory.free_bytes(device)
    step, optimiser = activations(backbone, rows, longest, spec.precision), need.total - need.weights
    if step + optimiser <= USABLE * free:
        return ""
    return (
        f"memory is close: a step of {rows} rows of up to {longest} tokens needs about {gib(step)} beside "
        f"{gib(optimiser)} for the optimiser and kept states, and {gib(free)} of {device} are free; "
        "if it does not fit, use --with training.accumulate=2 or more, a shorter --max-length, or --precision bf16"
    )
