"""The pieces of the Sessions page: keep what was looked at, find and open what was kept, see whether it still holds."""

from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError

from infoflow.analyses.activations import Activations, ActivationsRequest
from infoflow.analyses.request import Request
from infoflow.errors import Cancelled, InfoflowError, without_frames
from infoflow.files import agreement, links, reports, sessions
from infoflow.files.agreement import Agreement
from infoflow.files.library import KEPT_DAYS, Library, Listed
from infoflow.files.sessions import ENDING, Entry, Session
from infoflow.pictures.picture import short
from infoflow.summaries.sentence import sentences_of, spoken
from infoflow.tables import sessions as tables
from infoflow.text.amounts import in_words
from infoflow.ui import beside, blocks, cache, jobs, results, seen
from infoflow.ui.seen import Opened, Seen

INTRO = """What was found stays found: a session keeps results with what was asked, the view and your notes, in one file that
opens without the model."""
USE = """Look at something on any page, then keep it here. Opening a session runs nothing: its links show each result as it was,
until you close it. **Run again** tells whether the numbers are still the same."""
EMPTY = """Nothing has been looked at in this browser session yet. Open a page, ask something, and come back."""
KEEP = """Choose what goes into the session. The latest is on top; what is no longer in memory is run again when it is chosen."""
STREAM = """Adds the residual before and after every layer, what attention and the MLP added, each head's z and its pattern, for
every prompt among them: `tensors.npz`, which plain numpy opens. Activations works on it without the model."""
TYPE = """float32 is exact. float16 takes half the room and keeps three digits."""
PARTS = """Heavy parts of the stream that can be left out."""
TABLES = """Each result as a table too (CSV), for other programs. Not needed to open the session here."""
NOTE = """Goes into the file, the list and the report."""
SEARCH = """Words of the title, the note, a prompt, a model or the date (2026-11)."""
UPLOAD = """A session's .zip, or a single run that was saved (.npz). It is checked, opened, and written nowhere."""
REPORT = """All of its results as one HTML file with your notes: it opens offline, and asks for nothing."""
HOSTED = """This app is open to others, so that nothing is kept on its machine: download a session, and upload it to open it."""
PAGES = {
    "flow": "information_flow", "attribution": "information_flow", "causal": "information_flow", "carriers": "information_flow",
    "location": "answer", "attention": "attention", "query_key": "attention", "logit_lens": "logit_lens",
    "promotions": "logit_lens", "activations": "activations", "stability": "activations", "generation": "generation",
    "circuits": "circuits", "roles": "circuits", "graph": "circuits", "readers": "circuits", "direct": "circuits",
    "patching": "patching", "pairs": "patching", "corrections": "corrections",
}  # fmt: skip
"""the page that shows an analysis"""
_BUILT, _DELETED, _FAILED = "session_built", "session_deleted", "session_failed"
_AGAIN, _AGREES = "session_again", "session_agrees"
_STREAMLITS = ("embed", "embed_options")
"""of an address: what no link may set"""
SHOWN = 12
"""saved sessions in a list before it is cut"""


def keep(key: str) -> None:
    """Choose among what was looked at, name it, and keep it."""
    found = seen.seen()
    if not found:
        st.caption(EMPTY)
        return
    table = tables.looked_at([one.request for one in found])
    picked = st.dataframe(
        table, hide_index=True, key="session_seen", on_select="rerun", selection_mode="multi-row",
        selection_default={"selection": {"rows": _first(found, key)}}, height=min(300, 38 + 35 * len(table)),
    )  # fmt: skip
    chosen = [found[row] for row in sorted(picked.selection.rows, reverse=True) if row < len(found)]  # as they came
    with st.container(horizontal=True, vertical_alignment="bottom"):
        title = st.text_input("Title", key="session_title", persist_state="session", max_chars=sessions.MOST_TITLE, width=300)
        stream = st.toggle("With the stream itself", key="session_stream", persist_state="session", help=STREAM)
        with st.popover("More"):
            kind = st.segmented_control(
                "Tensors as", sessions.TYPES, default="float32", required=True, key="session_type", help=TYPE,
                persist_state="session",
            )  # fmt: skip
            without = st.multiselect("Leave out", ["z", "pattern"], key="session_without", help=PARTS, persist_state="session")
            csv = st.toggle("Tables", value=True, key="session_tables", help=TABLES, persist_state="session")
    note = st.text_area("Note", key="session_note", persist_state="session", max_chars=sessions.MOST_NOTE, height=80, help=NOTE)
    if not chosen:
        st.caption(KEEP)
        return
    with blocks.reporting_errors():
        parts = tuple(without)
        data = _built(_session(chosen, title, note, key, stream, parts), str(kind), csv, parts)
        _write(data, title or short(chosen[0].request.title, 80))


def _first(found: list[Seen], key: str) -> list[int]:
    """At first all that pages have shown themselves is chosen, but for what would have to be run again."""
    return [number for number, one in enumerate(found) if one.main and results.here(one.request, key)]


def _session(chosen: list[Seen], title: str, note: str, key: str, stream: bool, without: tuple[str, ...]) -> Session:
    """What was chosen as a session.

    Raises:
        InfoflowError: a result is no longer at hand and can't be made again.
    """
    entries = [
        Entry(request=one.request, result=results.of(one.request, key, f"session_{n}", noted=False), view=one.view)
        for n, one in enumerate(chosen)
    ]
    asked = {one.request for one in chosen if isinstance(one.request, ActivationsRequest)}
    more = dict.fromkeys(_stream_of(one.request) for one in chosen if _has_stream(one.request)) if stream else {}
    for number, request in enumerate(request for request in more if request not in asked):
        entries.append(Entry(request=request, result=results.of(request, key, f"session_stream_{number}", noted=False)))
    lighter = [replace(e, result=_without(e.result, without)) if isinstance(e.result, Activations) else e for e in entries]
    named = title.strip() or short(chosen[0].request.title, 80)
    return Session(entries=tuple(lighter), title=named, note=note)


def _has_stream(request: Request[Any]) -> bool:
    return isinstance(request.prompt, str) or not request.prompt or isinstance(request.prompt[0], int)


def _stream_of(request: Request[Any]) -> ActivationsRequest:
    return ActivationsRequest(model=request.model, prompt=request.prompt, interventions=request.interventions)  # type: ignore[arg-type]


def _without(found: Activations, parts: tuple[str, ...]) -> Activations:
    return replace(found, z=None if "z" in parts else found.z, pattern=None if "pattern" in parts else found.pattern)


def _built(session: Session, kind: str, csv: bool, without: tuple[str, ...]) -> bytes:
    """The session's file, made anew when something in it changed. A cache gives its results as other objects at every look."""
    results_of = tuple(
        (e.request.key, e.result.provenance.request.key, e.result.provenance.infoflow, *e.view.items()) for e in session.entries
    )
    of, source = (results_of, session.title, session.note, kind, csv, without), seen.opened()
    before = st.session_state.get(_BUILT)
    if before is None or before[0] != of or before[2] is not source:
        with st.spinner("Putting it together …"):
            before = st.session_state[_BUILT] = (of, sessions.as_zip(session, kind, csv), source)
    data: bytes = before[1]
    return data


def _write(data: bytes, title: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if cache.for_this_machine_alone():
            st.button("Save", type="primary", key="session_save", on_click=_save, args=(data, title), icon=":material/save:")
        st.download_button(
            "Download",
            data,
            file_name=f"{_slug(title)}{ENDING}",
            mime="application/zip",
            key="session_download",
            on_click="ignore",
        )
        st.caption(f"{in_words(len(data))} in all")


def _slug(title: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())[:60].strip("-") or "session"


def _save(data: bytes, title: str) -> None:
    try:
        Library().put(data, title)
        st.toast(f"Saved: {blocks.plain(title)}", icon=":material/save:")
    except InfoflowError as error:
        st.session_state[_FAILED] = str(error)


def library() -> None:
    """The saved sessions of this machine's owner, searched, opened, changed, deleted and brought back."""
    if not cache.for_this_machine_alone():
        st.caption(HOSTED)
        return
    told = st.session_state.pop(_FAILED, "")
    if told:
        st.error(blocks.plain(told), icon=":material/error:")
    _undo()
    with blocks.reporting_errors():
        search = st.text_input(
            "Search", key="session_search", persist_state="session", help=SEARCH, width=300, placeholder="any word"
        )
        found = Library().found(search)
        if not found:
            st.caption("Nothing by these words." if search.strip() else "Nothing has been saved yet.")
        for one in found[:SHOWN]:
            _row(one)
        if len(found) > SHOWN:
            st.caption(f"The newest {SHOWN} of {len(found)}; search to find others.")


def _row(one: Listed) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"session_row_{one.name}"):
        if one.broken:
            st.markdown(f":material/error: {blocks.plain(one.name)}: {blocks.plain(one.broken)}")
            return
        st.button("Open", key=f"session_open_{one.name}", on_click=_open, args=(one.name,), icon=":material/folder_open:")
        results_in = f"{one.results} result{'s' * (one.results != 1)}"
        about = f"{one.made[:16].replace('T', ' ')} · {one.models.replace(chr(10), ', ')} · {results_in} · {in_words(one.bytes)}"
        note = f" · {short(one.note, 60)}" if one.note.strip() else ""
        st.markdown(f"**{blocks.plain(one.title)}** :gray[{blocks.plain(about + note)}]", width="stretch")
        with st.popover("Change", key=f"session_change_{one.name}"):
            title = st.text_input(
                "Title", one.title, key=f"session_title_{one.name}", persist_state="session", max_chars=sessions.MOST_TITLE
            )
            note = st.text_area(
                "Note", one.note, key=f"session_note_{one.name}", persist_state="session", max_chars=sessions.MOST_NOTE
            )
            with st.container(horizontal=True):
                st.button("Keep the change", key=f"session_keep_{one.name}", on_click=_change, args=(one.name, title, note))
                st.download_button(
                    "Download", lambda: Library().data(one.name), file_name=one.name, mime="application/zip",
                    key=f"session_get_{one.name}", on_click="ignore",
                )  # fmt: skip
                st.button("Delete", key=f"session_delete_{one.name}", on_click=_delete, args=(one,), icon=":material/delete:")


def _tried(act: Any) -> bool:
    """Do it; what stands against it is said at the next drawing."""
    try:
        act()
    except InfoflowError as error:
        st.session_state[_FAILED] = str(error)
        return False
    return True


def _open(name: str) -> None:
    _tried(lambda: seen.open_session(Library().open(name), name))


def _change(name: str, title: str, note: str) -> None:
    _tried(lambda: Library().change(name, title, note))


def _delete(one: Listed) -> None:
    if _tried(lambda: Library().delete(one.name)):
        st.session_state[_DELETED] = one


def _undo() -> None:
    """What was deleted last can be brought back."""
    gone: Listed | None = st.session_state.get(_DELETED)
    if gone is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Deleted: {blocks.plain(gone.title)}. It can be brought back for {KEPT_DAYS} days.")
            st.button("Undo", key="session_undo", on_click=_restore, args=(gone.name,), icon=":material/undo:")


def _restore(name: str) -> None:
    _tried(lambda: Library().restore(name))
    st.session_state.pop(_DELETED, None)


def upload() -> None:
    """A file of the reader's own."""
    given = st.file_uploader("Open a file", type=["zip", "npz"], key="session_file", help=UPLOAD)
    if given is None:
        return
    if st.button("Open it", key="session_file_open", icon=":material/folder_open:"):
        with blocks.reporting_errors():
            session = jobs.run(lambda job: _read(given.getvalue(), job), on_cancel=lambda: None, name="session_read")
            seen.open_session(session)
            st.rerun()


def _read(data: bytes, job: Any) -> Session:
    job.say("Checking …", 0.0)
    return sessions.open_session(data, folders=cache.folders_allowed())


def opened(found: Opened, key: str) -> None:
    """The session that is open: each result with its link, what it says, and whether it still holds."""
    session = found.session
    with st.container(horizontal=True, vertical_alignment="center"):
        about = f"{session.made[:16].replace('T', ' ')} · infoflow {session.infoflow} · {len(session.entries)} results"
        st.markdown(f"**Open: {blocks.plain(found.title)}** :gray[{blocks.plain(about)}]", width="stretch")
        name = f"{_slug(found.title)}.html"
        st.download_button(
            "Report",
            lambda: _report(session),
            file_name=name,
            mime="text/html",
            key="session_report",
            help=REPORT,
            on_click="ignore",
        )
        st.button("Close", key="session_close", on_click=seen.close_session, icon=":material/close:")
    if session.note.strip():
        blocks.verbatim(session.note)
    for number, entry in enumerate(session.entries):
        with st.container(border=True, key=f"session_entry_{number}"):
            _entry(number, entry, session, key)
    with blocks.reporting_errors():
        if cache.for_this_machine_alone():
            beside.beside(session, [one for one in Library().found() if one.name != found.name])


def _report(session: Session) -> bytes:
    """The session as one HTML file."""
    parts = [reports.Part(entry.result, entry.note) for entry in session.entries]
    return reports.report(parts, None, session.title, session.note)


def _entry(number: int, entry: Entry, session: Session, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        page = PAGES.get(entry.request.analysis)
        if page is not None:
            try:
                st.page_link(
                    f"pages/{page}.py",
                    label=f"{blocks.plain(entry.title)} →",
                    query_params=_view(entry, session),
                    width="stretch",
                )
            except StreamlitPageNotFoundError:  # where this page stands alone
                st.markdown(blocks.plain(entry.title))
        st.button(
            "Run again", key=f"session_run_{number}", on_click=_run_again, args=(entry,), icon=":material/replay:",
            help="Runs it on the model, and tells whether the numbers are still the same.",
        )  # fmt: skip
    said = spoken(sentences_of(entry.result))
    st.caption(blocks.plain(f"{said} {entry.note}".strip()))
    if st.session_state.get(_AGAIN) is entry:  # and no entry of a session that was open before
        with blocks.reporting_errors():
            _tell(_agreement(entry, key))


def _view(entry: Entry, session: Session) -> dict[str, Any]:
    """The address that the page had; of a session that no page made, the one that asks the same."""
    model = entry.request.model
    several = len({one.request.model.revision for one in session.entries if one.request.model.name == model.name}) > 1
    prompt = {"prompt": (entry.request.prompt,)} if isinstance(entry.request.prompt, str) else {}
    asked = {name: tuple(values) for name, values in parse_qs(urlsplit(links.link(entry.request)).query).items()}
    view = entry.view or {**prompt, **asked, "model": (seen.exact_name(model) if several else model.name,)}
    return seen.of_view({name: values for name, values in view.items() if name.lower() not in _STREAMLITS})


def _run_again(entry: Entry | None) -> None:
    st.session_state[_AGAIN] = entry
    st.session_state.pop(_AGREES, None)


def _agreement(entry: Entry, key: str) -> tuple[Agreement, str]:
    """How far the result is from what comes of the same request now, and what else is different.

    Raises:
        InfoflowError: what the run raises.
    """
    held = st.session_state.get(_AGREES)
    if held is None:
        try:
            held = _compared_now(entry, key)
        except Cancelled:
            raise
        except InfoflowError as error:
            without_frames(error)
            held = error  # told at every look, and not run again by it
        st.session_state[_AGREES] = held
    if isinstance(held, InfoflowError):
        raise held
    found: tuple[Agreement, str] = held
    return found


def _compared_now(entry: Entry, key: str) -> tuple[Agreement, str]:
    request = _runnable(entry)
    now = jobs.run(
        lambda job: cache.results(request, key, job.say), on_cancel=partial(_run_again, None), name="session_again"
    ).result
    before, after = entry.result.provenance, now.provenance
    other = [
        f"{what}: {a or 'not known'} then, {b or 'not known'} now"
        for what, a, b in (("weights", before.revision, after.revision), ("type", before.dtype, after.dtype))
        if a != b
    ]
    return agreement.agreement(entry.result, now, agreement.tolerance_of(entry.result)), "; ".join(other)


def _runnable(entry: Entry) -> Request[Any]:
    """The request of an entry as this reader may run it: with no file of this machine that they may not name.

    Raises:
        BadFile: of another service.
    """
    sessions.check_service(entry.request)
    lens = getattr(entry.request, "lens", None)
    if lens is None or cache.folders_allowed():
        return entry.request
    from infoflow.models import lenses  # heavy

    return replace(entry.request, lens=lenses.hub_only(lens))  # type: ignore[call-arg]  # requests of lenses have one


def _tell(found: tuple[Agreement, str]) -> None:
    held, other = found
    words = blocks.plain(f"{held.summary()} {other}".strip())
    if held.agrees:
        st.success(words, icon=":material/check:")
        return
    st.warning(words, icon=":material/difference:")
    st.dataframe(held.to_frame(), hide_index=True)
