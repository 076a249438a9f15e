"""The interventions that are in force: a stack, the same on every page, in the session and in the address."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from pydantic import ValidationError

from infoflow.errors import BadPrompt
from infoflow.files import links
from infoflow.interventions import Intervention, described, place, stacked
from infoflow.ui import address, blocks

NAME = "change"
"""what the address calls each; one that is switched off has a mark before it"""
OFF = "-"
MOST = 20
IN_FORCE = """Interventions of the Interventions page, in force on every page. Off, the run is shown as it is."""


@dataclass(frozen=True)
class Entry:
    """One of the stack."""

    change: Intervention
    on: bool


def stack() -> tuple[Entry, ...]:
    """All of them, in their order; what an address has that is none is left out."""
    found = []
    for text in address.restored(NAME)[:MOST]:
        try:
            found.append(Entry(links.changes().validate_json(text.removeprefix(OFF)), not text.startswith(OFF)))
        except (ValidationError, BadPrompt):
            continue
    return tuple(found)


def keep(entries: Sequence[Entry]) -> None:
    """This is the stack from now on."""
    address.hold(NAME, [f"{'' if e.on else OFF}{links.spelled(e.change)}" for e in entries[:MOST]])


def add(one: Intervention) -> None:
    """One more, or another in the place of the one at the same site and place."""
    now = stack()
    new = stacked([e.change for e in now], one)
    was = {e.change: e.on for e in now}
    keep([Entry(change, was.get(change, True)) for change in new])


def put(number: int, one: Intervention) -> None:
    """Another in the place of one of them; what is at the same site and place besides goes."""
    now = stack()
    rest = [(i, e) for i, e in enumerate(now) if i == number or place(e.change) != place(one)]
    keep([Entry(one, e.on) if i == number else e for i, e in rest])


def remove(number: int) -> None:
    """Without one of them."""
    keep([e for i, e in enumerate(stack()) if i != number])


def switch(number: int) -> None:
    """One of them off, or on again."""
    keep([Entry(e.change, e.on != (i == number)) for i, e in enumerate(stack())])


def in_force() -> tuple[Intervention, ...]:
    """Those that change the runs of every page, with their switch in the sidebar."""
    entries = stack()
    address.write(NAME)
    if not entries:
        return ()
    with st.sidebar:
        on = st.toggle(count(len(entries)), value=True, key="changes_on", help=IN_FORCE, bind="query-params")
        for entry in entries:
            text = blocks.plain(described(entry.change))
            st.caption(text if entry.on and on else f"~~{text}~~")
    return tuple(e.change for e in entries if e.on) if on else ()


def count(n: int) -> str:
    """So many of them, in words."""
    return f"{n} intervention{'' if n == 1 else 's'}"
