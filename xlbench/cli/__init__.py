"""The command line: parse, call, print."""

from xlbench.cli.commands import main
from xlbench.cli.frame import app

__all__ = ["app", "main"]
