"""The command line's frame: the app, its options, and how a mistake becomes one sentence."""

import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from xlbench.errors import XlbenchError, one_line
from xlbench.host.fault_place import place_of
from xlbench.host.plain_text import lines

READER_LEFT = 141  # as a shell says of a program that writes on into a pipe which nobody reads: … | head -1


class PlainFlags:
    """A command whose flags, which take no value, are shown without `<bool>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        options: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for option in options:
            option.metavar = "" if getattr(option, "is_flag", False) else option.metavar
        return options


class Flagged(PlainFlags, TyperCommand):
    """A command."""


class OneSentence(PlainFlags, TyperGroup):
    """The commands. A mistake in the options is one sentence as well, in place of usage and a box."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            sys.exit(super().main(*args, **{**extra, "standalone_mode": False}) or 0)
        except typer.Abort:
            sys.exit(130)
        except SystemExit as end:  # rich ends with 1 where nobody reads what it prints
            sys.exit(READER_LEFT if isinstance(end.__context__, BrokenPipeError) else end.code)
        except Exception as fault:
            if not hasattr(fault, "format_message"):  # not one of typer's own
                raise
            if type(fault).__name__ == "NoArgsIsHelpError":
                echo(fault.format_message())
            else:
                echo(f"error: {one_line(fault.format_message())}", err=True)
            sys.exit(2)


def echo(text: object, err: bool = False, nl: bool = True) -> None:
    """Print, with nothing in it that a terminal would obey: texts come from plug-ins, records and files.

    Where nobody reads standard output any more, the program ends without a word, as others do in a pipe.
    """
    try:
        typer.echo(lines(text), err=err, nl=nl)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes
        sys.exit(READER_LEFT)


def say_left_out(sentences: Iterable[str]) -> None:
    """A line on standard error for each record that could not be read."""
    for sentence in sentences:
        echo(f"left out: {sentence}", err=True)


app = typer.Typer(
    cls=OneSentence,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Few-shot cross-lingual transfer methods, compared under equal conditions.",
)
Command = TypeVar("Command", bound=Callable[..., None])


def command(function: Command) -> Command:
    """A command of the app, `show_command` as `show`, whose mistakes become one sentence and an exit code."""

    @app.command(function.__name__.removesuffix("_command"), cls=Flagged)
    @functools.wraps(function)
    def with_sentences(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except XlbenchError as fault:
            echo(f"error: {one_line(fault)}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("stopped; what was finished is kept, and the same command goes on from there", err=True)
            raise typer.Exit(130) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as fault:
            if os.environ.get("XLBENCH_TRACEBACK"):
                raise
            why = f"{type(fault).__name__}: {one_line(fault)} ({place_of(fault)})"
            echo(f"failed: {why}; XLBENCH_TRACEBACK=1 shows how it came to that", err=True)
            raise typer.Exit(1) from None

    return function
