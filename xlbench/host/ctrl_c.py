"""Ctrl-C: once, nothing new starts and what runs is finished; twice, everything stops at once."""

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

ONCE = b"\nstopping when what runs now is finished; Ctrl-C again stops at once\n"


class Stop:
    """Hears Ctrl-C while it is entered. `asked` after the first; the second is a KeyboardInterrupt.

    Outside the main thread, and where Ctrl-C is ignored (a shell's background job), nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, ONCE)  # print is not safe here: the signal may have come within another print
