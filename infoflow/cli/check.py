"""The self-test of a model: is the decomposition exact on it? Exit code 3 where it is not to be relied on."""

import argparse
import json
import sys

from infoflow.cli.options import add_model, spec_of
from infoflow.cli.shared import EXIT_UNSUPPORTED, say

HELP = "test whether the decomposition is exact on a model"
EXAMPLES = ("infoflow check --model demo", "infoflow check --model Qwen/Qwen3-0.6B --json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_model(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def run(options: argparse.Namespace) -> int:
    """Test it.

    Raises:
        InfoflowError: a model that can't be loaded.
    """
    from infoflow.analyses.selftest import Verdict, check
    from infoflow.models.loading import load

    spec = spec_of(options)
    say(f"Loading {spec.name} …", options.quiet)
    model = load(spec)
    found = check(model)
    told = {
        "model": model.name, "revision": model.revision, "family": model.family, "dtype": model.spec.dtype,
        "verdict": str(found.verdict), "reason": found.reason, "errors": found.errors,
    }  # fmt: skip
    if options.json:
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        sys.stdout.write(f"{model.name}: {found.verdict}. {found.reason}\n")
        sys.stdout.writelines(f"  {name}: {value:.1e}\n" for name, value in found.errors.items())
    return EXIT_UNSUPPORTED if found.verdict == Verdict.UNSUPPORTED else 0
