"""NDIF, the hosted service that runs models which do not fit here: connections, and what is up there.

Runs themselves are in `run.py`; this file is light enough for a page that never runs anything.
"""

import platform
import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from typing import Any

import httpx

from infoflow.errors import RemoteRunError
from infoflow.settings import PUBLIC_HOST, settings

SILENCE = 300.0
"""seconds without any news of a run after which it is given up"""
LARGEST = 512_000_000
"""bytes of a result that are taken from a service"""
ANSWER = 30.0
"""seconds in which it must answer: a connection, a session, a request"""
UNKNOWN = "unknown"
"""a revision that the service does not tell"""
PACKAGES = ("nnsight", "torch", "transformers")
"""whose versions here and there are compared"""
_DEAD = {"UNHEALTHY", "DEAD", "DELETING", "DEPLOY_FAILED"}
"""states of an application whose model answers nothing"""
_NEARNESS = ("HOT", "WARM", "COLD")
_EAGER_SINCE = (0, 8, 1)
"""the first nnsight whose service switches attention to eager on request; before it there are no patterns"""


@dataclass(frozen=True)
class Connection:
    """Where runs go and with whose key. The key is in no repr, comparison or message."""

    host: str = PUBLIC_HOST
    key: str = field(default="", repr=False, compare=False)
    on_status: Callable[[str], None] | None = field(default=None, repr=False, compare=False)
    """told what the run is doing, several times a second; raising in it abandons the run"""
    silence: float = field(default=SILENCE, compare=False)
    answer: float = field(default=ANSWER, compare=False)
    limit: int = field(default=LARGEST, compare=False)


@dataclass(frozen=True)
class Deployment:
    """One model as the service lists it."""

    name: str
    revision: str
    level: str
    """HOT (in memory), WARM (on the way), COLD (on request)"""
    state: str


@cache
def trusted() -> ssl.SSLContext:
    """Whom to believe that they are who they say: read once, since that takes longer than most answers."""
    return httpx.create_ssl_context()


def named_host() -> str:
    """The address of the service: NDIF_HOST, else the public one. Whether it is an address is looked at when it is used."""
    return settings().host


def connection(host: str | None = None, key: str | None = None) -> Connection:
    """A connection from arguments, else from NDIF_HOST and NDIF_API_KEY.

    Raises:
        RemoteRunError: a host that is no http(s) address.
    """
    host = (host or named_host()).rstrip("/")
    if not host.startswith(("http://", "https://")):
        raise RemoteRunError("host", f"'{host}' is no address of a service; it must begin with https:// (or http://).")
    return Connection(host, settings().key.get_secret_value() if key is None else key)


def deployments(to: Connection) -> list[Deployment]:
    """The models that the service has, and their state, now.

    Raises:
        RemoteRunError: the service can't be reached, or answers with something else.
    """
    try:
        listed = _answer(to, "status")["deployments"].values()
        fields = ("repo_id", "revision", "deployment_level", "application_state")
        found = [Deployment(*(str(d.get(name) or "") for name in fields)) for d in listed if d.get("repo_id")]
        return sorted(_by_model([_judged(d) for d in found]), key=lambda d: d.name.lower())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise _no_service(to) from error


def _judged(found: Deployment) -> Deployment:
    """One whose actor is dead is listed as in memory: it is not, until it has been loaded again."""
    dead = found.state.upper() in _DEAD
    return replace(found, level="COLD") if dead and found.level == "HOT" else found


def _by_model(listed: Iterable[Deployment]) -> list[Deployment]:
    """Replicas of a model as one line: the nearest to being up, of any that are in it; its revision is empty if they differ."""
    best: dict[str, Deployment] = {}
    for found in listed:
        other = best.get(found.name.lower())
        if other is None:
            best[found.name.lower()] = found
            continue
        nearer = min(other, found, key=lambda d: _NEARNESS.index(d.level) if d.level in _NEARNESS else len(_NEARNESS))
        same = other.revision == found.revision
        best[found.name.lower()] = nearer if same else replace(nearer, revision="")
    return list(best.values())


def _answer(to: Connection, about: str) -> Any:
    """What the service says of itself.

    Raises:
        RemoteRunError: it can't be reached, is busy, or has no such answer.
    """
    try:
        answer = httpx.get(f"{to.host}/{about}", timeout=10, follow_redirects=True, verify=trusted())
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        if code in (429, 502, 503, 504):
            raise RemoteRunError(
                "busy", f"{to.host} is busy or restarting (answer {code}). Try again in a few minutes."
            ) from error
        if code >= 500:
            raise RemoteRunError("server", f"{to.host} has failed inside (answer {code}). Try again later.") from error
        raise _no_service(to) from error
    except (httpx.HTTPError, OSError) as error:
        raise unreachable(to) from error
    return answer.json()


def _no_service(to: Connection) -> RemoteRunError:
    return RemoteRunError("answer", f"{to.host} does not answer as NDIF does. Check the address.")


def revision_of(listed: Iterable[Deployment], *names: str) -> str:
    """The revision that the service says it runs of a model; "unknown" where it says none, or several."""
    wanted = {name.lower() for name in names}
    found = {d.revision for d in listed if d.name.lower() in wanted and d.revision}
    return found.pop() if len(found) == 1 else UNKNOWN


def revision_there(to: Connection, *names: str) -> str:
    """`revision_of`, asked now; "unknown" where the service does not answer: a run will say why."""
    try:
        return revision_of(deployments(to), *names)
    except RemoteRunError:
        return UNKNOWN


def versions(to: Connection) -> dict[str, tuple[str, str]]:
    """Versions of `PACKAGES`, and of python, here and on the service; '' for what it does not say.

    Raises:
        RemoteRunError: the service can't be reached, or answers with something else.
    """
    try:
        said = _answer(to, "env")
        packages = {str(name): str(version) for name, version in said["packages"].items()}
        python = str(said.get("python_version", "")).split()
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise _no_service(to) from error
    found = {name: (metadata.version(name), packages.get(name, "")) for name in PACKAGES}
    return {**found, "python": (platform.python_version(), python[0] if python else "")}


def mismatch(found: dict[str, tuple[str, str]]) -> str:
    """What a difference in versions means for runs; '' where it means nothing that is known."""
    here, there = found["nnsight"]
    if there and _release(there) < _EAGER_SINCE:
        return (
            f"The service runs nnsight {there}; before 0.8.1 it gives no attention patterns. They are computed from what "
            "attention was given, for families whose code allows that."
        )
    if there and _release(there)[:2] != _release(here)[:2]:
        return f"The service runs nnsight {there}, here is {here}: if runs fail, install the service's version here."
    return ""


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version)[:3])


def unreachable(to: Connection, details: str = "") -> RemoteRunError:
    """The service can't be reached: what every failed connection comes to."""
    return RemoteRunError(
        "unreachable", f"{to.host} can't be reached from here. Check the address and the network, or run a local model.", details
    )
