"""What xlbench raises when the caller made a mistake: one sentence, and exit code 2 on the command line."""

import difflib
from collections.abc import Iterable


class XlbenchError(Exception):
    """A mistake in what was asked. The message names the value, the place and the way out, in one sentence."""


class NotSupported(XlbenchError):  # noqa: N818 - it is an outcome ("skipped"), not a fault
    """A method that cannot run on this task or setting, and says why."""


class Refused(XlbenchError):  # noqa: N818 - as NotSupported
    """A mistake in what was asked that a method finds when it is built, before anything trains."""


class Diverged(XlbenchError):  # noqa: N818 - as NotSupported
    """Training that left the numbers: a loss or a score that is not finite."""


class OutOfMemory(XlbenchError):  # noqa: N818 - as NotSupported
    """A batch that does not fit in the memory of the device or the host; says what was tried and what to change."""


def unknown(what: str, name: str, known: Iterable[str], place: str = "") -> XlbenchError:
    """The error for a name that is not in a list: what was asked, a near miss if there is one, and the list.

    `what` is the kind of thing ("method"), `place` where it was looked up ("task xnli").
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    where = f" for {place}" if place else ""
    listed = ", ".join(names) if names else "none"
    return XlbenchError(f"unknown {what} {name!r}{where}{hint} known: {listed}")


def one_line(fault: BaseException) -> str:
    """What a fault says, on one line."""
    return " ".join(str(fault).split())
