"""Whether a browser asks because of somebody else's page: such a page could have a reader's own app load models or send runs."""

from collections.abc import Collection

from starlette.datastructures import Headers

from infoflow.server.problems import Problem

OTHERS = """A page of another host asked this, and this app answers none. Whoever runs it can name it in INFOFLOW_CORS_ORIGINS."""
NAMES = "This app is for its own machine alone, and is asked by another name. Ask it as localhost."
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def check(headers: Headers, origins: Collection[str], alone: bool) -> None:
    """That nobody else's page asks. What is no browser sends no `Sec-Fetch-Site`; what a reader types is of none. `alone`: the
    app listens to this machine alone, and another host's name that leads here is a trick (DNS rebinding).

    Raises:
        Problem: another's page asks.
    """
    if headers.get("sec-fetch-site", "none") in ("cross-site", "same-site") and headers.get("origin") not in origins:
        raise Problem(403, OTHERS)
    if alone and _name(headers.get("host", "localhost")) not in LOOPBACK:
        raise Problem(403, NAMES)


def _name(host: str) -> str:
    """A host without its port."""
    name, _, port = host.lower().rpartition(":")
    return name if name and port.isdigit() else host.lower()
