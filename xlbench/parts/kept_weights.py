"""Reader and KeptWeights: a method's logits under other weights than those that train, kept in buffers."""

from typing import Any

import torch
from torch import Tensor, nn

from xlbench.batching import Batch
from xlbench.method import Method


class Reader(nn.Module):
    """A method's logits as a module's output, so that other weights can be put in for one call."""

    def __init__(self, method: Method, parts: nn.Module) -> None:
        super().__init__()
        self.parts, self.read = parts, method.logits

    def forward(self, batch: Batch) -> Tensor:
        return self.read(batch)


class KeptWeights(nn.Module):
    """Room for a copy of all weights that a reader reads, as buffers, zeros at first: a checkpoint has them, and no
    gradient reaches them.

    A method with one sets `whole_vocabulary`, for trimmed word embeddings are of another shape.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        for number, value in enumerate(reader.parameters()):
            self.register_buffer(str(number), torch.zeros_like(value))

    @property
    def there(self) -> bool:
        """Whether weights were kept."""
        return any(bool(value.any()) for value in self.buffers())

    def keep(self, reader: Reader) -> None:
        """Keep a reader's weights as they are now."""
        with torch.no_grad():
            for own, kept in zip(reader.parameters(), self.buffers(), strict=True):
                kept.copy_(own)

    def put_back(self, reader: Reader) -> None:
        """Give a reader the weights that are kept."""
        with torch.no_grad():
            for own, kept in zip(reader.parameters(), self.buffers(), strict=True):
                own.copy_(kept)

    def logits(self, reader: Reader, batch: Batch) -> Tensor:
        """What a reader's method says of a batch under the weights that are kept, without gradients and dropout."""
        names = [name for name, _ in reader.named_parameters()]
        training = any(part.training for part in reader.parts.children())  # the reader's own is not the module's
        weights: dict[str, Any] = dict(zip(names, self.buffers(), strict=True))
        reader.eval()
        with torch.no_grad():
            said: Tensor = torch.func.functional_call(reader, weights, (batch,))
        reader.train(training)
        return said
