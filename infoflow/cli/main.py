"""The command line: `infoflow COMMAND`, or `python -m infoflow COMMAND`.

A command is a file of this folder with `HELP`, `EXAMPLES`, `add_arguments(parser)` and `run(options)`.
"""

import argparse
import io
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from infoflow import __version__, cli
from infoflow.cli import ctrl_c
from infoflow.cli.shared import EXIT_BAD_INPUT, EXIT_STOPPED, failed, failed_with, tell_as_json
from infoflow.errors import InfoflowError
from infoflow.models import memory

_NO_COMMANDS = ("main", "shared", "options", "ctrl_c")
CODES = """exit codes:
  0    done
  1    a fault of the program, with its traceback
  2    an input that can't be used, with a sentence on standard error
  3    done, but the self-test refused the model: do not rely on what was written
  4    done, but some of many prompts have an error, which is in their row
  5    run again, a result is not what it was
  130  stopped (Ctrl-C)
With --json an error is one JSON object in a line: {"error": kind, "message": sentence, "code": exit code}.

completion, for bash and zsh: eval "$(register-python-argcomplete infoflow)"
(zsh: after autoload -U compinit bashcompinit && compinit && bashcompinit)"""
JSON = "tell errors on standard error as JSON; models and check give JSON, too"


class _Wrong(Exception):
    """What argparse does not understand."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Wrong(f"{message}. See '{self.prog} --help'.")


def commands() -> dict[str, ModuleType]:
    """Every command that there is, by name: that of a file, with hyphens."""
    names = sorted(found.name for found in pkgutil.iter_modules(cli.__path__) if found.name not in _NO_COMMANDS)
    return {name.replace("_", "-"): import_module(f"infoflow.cli.{name}") for name in names}


def parser() -> argparse.ArgumentParser:
    """What reads the arguments of every command."""
    shape = argparse.RawDescriptionHelpFormatter
    whole = _Parser(
        prog="infoflow", description="How information flows through a language model.", epilog=CODES, formatter_class=shape
    )
    whole.add_argument("--version", action="version", version=__version__)
    chosen = whole.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, command in commands().items():
        examples = "\n".join(["examples:", *(f"  {line}" for line in getattr(command, "EXAMPLES", ()))])
        below = chosen.add_parser(name, help=command.HELP, description=command.__doc__, epilog=examples, formatter_class=shape)
        command.add_arguments(below)
        below.add_argument("--json", action="store_true", help=JSON)
        for actions in (one for one in below._actions if isinstance(one, argparse._SubParsersAction)):
            for action in actions.choices.values():  # what was said before it stays said
                action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=JSON)
        below.set_defaults(run=command.run)
    return whole


def _complete(whole: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how a line goes on, and end; else nothing."""
    try:
        import argcomplete
    except ImportError:  # nothing is completed then
        return
    argcomplete.autocomplete(whole)


def _open_streams() -> None:
    """What is written is UTF-8, whatever the system's own encoding; a stream that was closed takes and gives nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it is done, 2 with a sentence on standard error when the input can't be used, 3 with one where
    the self-test refused the model."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    whole = parser()
    if arguments is None:
        memory.seldom_looked_through()
        _complete(whole)
        _open_streams()
    tell_as_json("--json" in given)
    try:
        options = whole.parse_args(given)
        with ctrl_c.heard():
            code: int | None = options.run(options)
            sys.stdout.flush()
    except _Wrong as error:
        return failed("Usage", str(error), EXIT_BAD_INPUT)
    except InfoflowError as error:
        return failed_with(error)
    except KeyboardInterrupt:
        return failed("Stopped", "stopped.", EXIT_STOPPED)
    except BrokenPipeError:  # who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        tell_as_json(False)
    return code or 0
