"""The state of a training run on disk: one that is killed goes on from there, to the same result.

One safetensors file, replaced at once and whole: tensors, and in its header a JSON text (what the numbers depend on,
the step, what else is no tensor) and a digest of all of it. Nothing is pickled. The folder stands, hidden, beside the
records, and goes when the run's record is written.
"""

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from xlbench.engine.flops import FlopMeter
from xlbench.engine.session import Stopwatch, trained_parameters
from xlbench.errors import XlbenchError
from xlbench.host.whole_files import whole_file

Tensors = dict[str, Tensor]
Facts = dict[str, Any]


def folder_of(root: Path, run_id: str) -> Path:
    """Where the training state of a run is kept, in a store's folder."""
    return root / f".{run_id}-training"


def forget(root: Path, run_id: str) -> None:
    """Remove the training state of a run whose record is written."""
    shutil.rmtree(folder_of(root, run_id), ignore_errors=True)


def weights_and_buffers(module: torch.nn.Module) -> Tensors:
    """What trains of a module, and the buffers that it is scored with, themselves: names → tensors."""
    weights: Tensors = {f"weight/{name}": value for name, value in trained_parameters(module).items()}
    return weights | {f"buffer/{name}": value for name, value in module.named_buffers()}


def write_weights(folder: Path, run_id: str, module: torch.nn.Module) -> None:
    """Keep what trained of a run, and the buffers that it is scored with, whole, as `folder/<id>.safetensors`."""
    with whole_file(folder / f"{run_id}.safetensors") as file:
        save_file(
            {name: value.detach().cpu().contiguous().clone() for name, value in weights_and_buffers(module).items()},
            file,
        )


def read_weights(folder: Path, run_id: str) -> Tensors:
    """What `write_weights` kept. Raises XlbenchError where it is not there, or cannot be read."""
    file = folder / f"{run_id}.safetensors"
    if not file.is_file():
        raise XlbenchError(f"no weights of run {run_id} in {folder}; compute it with --keep-weights {folder}")
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as fault:
        raise XlbenchError(
            f"the weights {file} cannot be read ({fault}); remove them and compute the run again"
        ) from fault


class Spent:
    """What one training has cost, in this process and in those before it that were interrupted."""

    STAGES = ("training", "evaluation")

    def __init__(self, watch: Stopwatch, *meters: FlopMeter) -> None:
        self.watch, self.meters = watch, meters
        self._before = watch.so_far()

    def facts(self) -> Facts:
        now = self.watch.so_far()
        seconds = {name: now.get(name, 0.0) - self._before.get(name, 0.0) for name in self.STAGES}
        return {"seconds": seconds, "flops": [meter.total for meter in self.meters]}

    def add(self, earlier: Facts) -> None:
        """Book what an interrupted process told."""
        for name, seconds in earlier["seconds"].items():
            self.watch.seconds[name] += seconds
        for meter, total in zip(self.meters, earlier["flops"], strict=True):
            meter.total += total


class Checkpoint:
    """The file of one training, how often it is written, and what it must have been made with to be used.

    `notes` are sentences for the record: that training was resumed, or why it was started over.
    """

    def __init__(self, file: Path, made_with: Mapping[str, str], minutes: float, spent: Spent) -> None:
        self.file, self.made_with, self.every, self.spent = file, dict(made_with), 60 * minutes, spent
        self.notes: list[str] = []
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._last >= self.every

    @property
    def there(self) -> bool:
        """Whether a state is kept: then the last is kept too, for an end between training and the record."""
        return self.file.is_file()

    def write(self, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Keep this state in place of the last. A disk that is full costs a warning, not the run."""
        own = {name: _own(tensor) for name, tensor in tensors.items()}
        text = json.dumps({"made_with": self.made_with, "spent": self.spent.facts(), **facts})
        try:
            with whole_file(self.file) as beside:
                save_file(own, beside, {"facts": text, "digest": _digest(own, text)})
                with beside.open("rb+") as stream:
                    os.fsync(stream.fileno())
            for other in self.file.parent.glob("[!.]*"):
                if other.name < self.file.name:  # an earlier trial's: one state is kept at a time
                    other.unlink(missing_ok=True)
        except (OSError, SafetensorError) as fault:
            warnings.warn(f"cannot keep the training state {self.file} ({fault}); training goes on", stacklevel=2)
        self._last = time.monotonic()

    def read(self) -> tuple[Tensors, Facts] | None:
        """What was kept; None where nothing was, or where it is damaged or of other making, which a note then says."""
        if not self.file.is_file():
            return None
        try:
            with safe_open(self.file, "pt") as stream:
                header = stream.metadata()
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - no mapping
            facts = json.loads(header["facts"])
            sound = _digest(tensors, header["facts"]) == header["digest"]
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            self.notes.append("the training state that was kept is damaged: training started over")
            return None
        ours, theirs = self.made_with, facts.pop("made_with")
        differences = [
            f"{name} {theirs.get(name)}, not {ours.get(name)}"
            for name in {**ours, **theirs}
            if ours.get(name) != theirs.get(name)
        ]
        if differences:
            makers = ", ".join(differences)
            self.notes.append(f"the training state that was kept was made with {makers}: training started over")
            return None
        self.spent.add(facts.pop("spent"))
        self.notes.append(f"training was killed, and resumed after step {facts['step']}; its costs are of all parts")
        return tensors, facts


def _own(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, and the only one in its storage, as the format asks."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _digest(tensors: Tensors, text: str) -> str:
    seal = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        seal.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        seal.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return seal.hexdigest()
