"""What a long job says while it runs. The base says nothing; the command line passes one that draws bars."""

from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Hears of stages and steps; a subclass shows them. Nothing here may change a result."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator["Progress"]:
        """A stage of `total` steps ("train", "test"), entered and left."""
        yield self

    def step(self, count: int = 1, **facts: float) -> None:
        """`count` more steps are done; `facts` are numbers worth showing (loss, dev accuracy)."""

    def say(self, sentence: str) -> None:
        """One line for the reader."""
