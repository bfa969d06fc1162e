"""What a long job says while it runs. The base says nothing; the command line passes one that draws bars."""

from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Hears of stages and steps; a subclass shows them. Nothing here may change a result."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator["Progress"]:
        """A stage of `total` steps ("train", "test"), entered and left."""
        yield self

    @property
    def draws(self) -> bool:
        """Whether a bar shows what steps are told; where not, a line now and then says it."""
        return False

    def step(self, count: int = 1, **facts: float | str) -> None:
        """`count` more steps are done; `facts` are worth showing (loss, dev accuracy); `left` is the time left, in
        words, where it is better known than by the steps so far."""

    def say(self, sentence: str) -> None:
        """One line for the reader."""
