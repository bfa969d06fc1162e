"""The command line: parse, call, print. A module of commands that is named here has them; help lists them so."""

from xlbench.cli import commands, hand_in_commands, plugin_commands, record_commands  # noqa: F401
from xlbench.cli.commands import main
from xlbench.cli.frame import app

__all__ = ["app", "main"]
