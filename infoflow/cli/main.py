"""The command line: `infoflow COMMAND`, or `python -m infoflow COMMAND`.

A command is a file of this folder with `HELP`, `add_arguments(parser)` and `run(options)`.
"""

import argparse
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from infoflow import __version__, cli
from infoflow.errors import InfoflowError

EXIT_BAD_INPUT = 2
_NO_COMMANDS = ("main", "shared")


def commands() -> dict[str, ModuleType]:
    """Every command that there is, by name: that of a file, with hyphens."""
    names = sorted(found.name for found in pkgutil.iter_modules(cli.__path__) if found.name not in _NO_COMMANDS)
    return {name.replace("_", "-"): import_module(f"infoflow.cli.{name}") for name in names}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="infoflow", description="How information flows through a language model.")
    parser.add_argument("--version", action="version", version=__version__)
    chosen = parser.add_subparsers(dest="command", required=True)
    for name, command in commands().items():
        below = chosen.add_parser(name, help=command.HELP, description=command.__doc__)
        command.add_arguments(below)
        below.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it is done, 2 with a sentence on standard error when the input can't be used, 3 with one where
    the self-test refused the model."""
    options = _parser().parse_args(arguments)
    try:
        code: int | None = options.run(options)
    except InfoflowError as error:
        print(f"infoflow: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("infoflow: stopped.", file=sys.stderr)
        return 130
    return code or 0
