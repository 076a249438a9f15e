"""Open the app in the browser."""

import argparse
import sys
from pathlib import Path

import infoflow
from infoflow.errors import InfoflowError
from infoflow.settings import OWN_MACHINE

HELP = "open the app"
EXAMPLES = ("infoflow app --port 8502 --headless",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--port", type=int, default=8501, help="where it listens (default: 8501)")
    parser.add_argument("--address", default="127.0.0.1", help="0.0.0.0 lets others reach it (default: this machine alone)")
    parser.add_argument("--headless", action="store_true", help="open no browser")


def router() -> Path:
    """The app's first file: beside the package in a checkout, inside it where it was installed.

    Raises:
        InfoflowError: it is in neither place.
    """
    package = Path(infoflow.__file__).parent
    for folder in (package.parent, package / "app"):
        if (folder / "streamlit_app.py").is_file() and (folder / "pages").is_dir():
            return folder / "streamlit_app.py"
    raise InfoflowError("The app's pages are not installed beside the package. Install infoflow anew.")


FOR_ITS_OWNER = ("--client.showErrorDetails=full", "--client.disableDataExport=false", "--server.maxUploadSize=1000")
"""what strangers must not see or send, and who runs the app for themselves may"""


def run(options: argparse.Namespace) -> int:
    """Serve it until it is stopped."""
    import subprocess

    first = router()
    command = [
        sys.executable, "-m", "streamlit", "run", str(first), f"--server.port={options.port}",
        f"--server.address={options.address}", f"--server.headless={str(options.headless).lower()}",
        *(FOR_ITS_OWNER if options.address in OWN_MACHINE else ()),
    ]  # fmt: skip
    return subprocess.run(command, check=False).returncode  # noqa: S603  a list, no shell, for the owner of the shell
