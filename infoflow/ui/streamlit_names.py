"""What is used of Streamlit that it does not promise to keep, in one place.

`tests/ui/test_adapter.py` fails when an upgrade moves any of it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from streamlit import file_util, get_option, runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

ONE_ENTRY_A_PAGE = """<script>
if (!window.oneEntryAPage) {
  window.oneEntryAPage = true;
  const push = history.pushState.bind(history);
  let waiting;
  history.pushState = (state, title, url) => {
    const to = new URL(url, location.href);
    clearTimeout(waiting);
    if (to.pathname !== location.pathname) return push(state, title, url);
    const replace = () => { if (to.pathname === location.pathname) history.replaceState(state, title, url); };
    const lost = [...new URLSearchParams(location.search).keys()].some(key => !to.searchParams.has(key));
    if (lost) waiting = setTimeout(replace, 300); else replace();
  };
}
</script>"""
"""Streamlit writes a page's parameters into a new entry of the browser's history at every change, and on leaving a page one
without those of its widgets: Back then opens what nobody ever saw. Here a page is one entry, as it was when it was left."""
OPEN_SIDEBAR = """<i hidden>{}</i><script>document.querySelector('[data-testid="stExpandSidebarButton"]')?.click()</script>"""
"""Streamlit lets no page open its sidebar; the button that does is there while it is closed. The number makes it run again, and
stands outside the script: that is known to browsers by its hash."""
_INLINE = re.compile(r"<script>(.*?)</script>", re.S)


def inline_scripts() -> list[str]:
    """The scripts that stand in pages themselves: ours, and those of the page that Streamlit's front end begins as."""
    first = Path(file_util.get_static_dir(), "index.html").read_text(encoding="utf-8")
    return [text for page in (first, ONE_ENTRY_A_PAGE, OPEN_SIDEBAR) for text in _INLINE.findall(page)]


def skips_the_router() -> bool:
    """Whether pages open without the router: until somebody has opened the front page, Streamlit takes `pages` for the whole
    menu and lists its files by name."""
    return bool(PagesManager.uses_pages_directory)


def use_the_router() -> None:
    """From now on every page opens through it."""
    PagesManager.uses_pages_directory = False


def this_page() -> str:
    """What tells this page from the others; '' outside an app."""
    context = get_script_run_ctx()
    return context.page_script_hash if context is not None else ""


def bound_keys() -> list[str]:
    """The keys of widgets that are in the address, of the page that was drawn last; of some Streamlit has forgotten that at a
    change of page, but then the address that was left still names them."""
    context = get_script_run_ctx()
    if context is None:
        return []
    with context.session_state.query_params() as address:
        return [*address._bindings_by_param, *parse_qs(context.query_string, keep_blank_values=True)]


def write_bound() -> None:
    """Write into the address what its widgets on this page show and it lacks; Streamlit lets no page write those parameters, and
    itself does so when a reader changes one."""
    context = get_script_run_ctx()
    if context is None:
        return
    with context.session_state.query_params() as address:
        state = context.session_state._state
        for key, binding in list(address._bindings_by_param.items()):
            widget = state._new_widget_state.widget_metadata.get(binding.widget_id)
            drawn = binding.widget_id in context.shared.widget_ids_this_run
            if widget is None or not drawn or address.has_param(key) or key not in state:
                continue
            value = state[key]
            if value != widget.deserializer(None):
                address.set_corrected_value(key, widget.serializer(value), binding.value_type)


def came_by_history() -> bool:
    """Whether this run of the page is the browser's Back or Forward."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def read_address_again() -> None:
    """After Back or Forward: the whole of the address. Streamlit drops parameters of which the page before had a widget too."""
    context = get_script_run_ctx()
    if context is not None:
        with context.session_state.query_params() as address:
            address.populate_from_query_string(context.query_string)
            address.set_initial_query_params_from_current()
            address._send_query_param_msg()


def reader() -> str:
    """What tells this reader's session from others; '' outside an app."""
    context = get_script_run_ctx()
    return context.session_id if context is not None else ""


def is_here() -> Callable[[], bool]:
    """A question that any thread may ask later: is the reader whose page this is still there?"""
    session = reader()
    return lambda: not runtime.exists() or runtime.get_instance().is_active_session(session)


def asked_again() -> bool:
    """Whether the reader did something that the page has not answered. Streamlit lets what is drawn be drawn to its end first if
    it was done in a part of the page (a fragment): nobody could cancel what that part runs."""
    context = get_script_run_ctx()
    requests = context.script_requests if context is not None else None
    return requests is not None and requests._state == ScriptRequestType.RERUN


def deaf_to_developers() -> None:
    """From now on messages of Streamlit's developer menu do nothing: whoever opens a page can send them, whether or not the menu
    is shown. One clears every cache for all visitors, models in memory and counted runs too; one tells which files are new."""
    AppSession._handle_clear_cache_request = lambda self: None  # type: ignore[method-assign]
    AppSession._handle_git_information_request = lambda self: None  # type: ignore[method-assign]


UPLOADS_OF_ONE, UPLOADS_OF_ALL = 2, 8
"""times the largest file"""
_add_file = MemoryUploadedFileManager.add_file


def few_uploads(bounded: Callable[[], bool]) -> None:
    """From now on, where `bounded` says so, the files that readers have handed in take no more memory than a few of the largest:
    Streamlit takes any number from whoever has a page open, whether or not the page asks for one."""

    def add_file(self: MemoryUploadedFileManager, session_id: str, file: UploadedFileRec) -> None:
        largest, size = get_option("server.maxUploadSize") * 2**20, len(file.data)
        own = sum(len(other.data) for name, other in self.file_storage.get(session_id, {}).items() if name != file.file_id)
        if bounded() and (own + size > UPLOADS_OF_ONE * largest or self._total_bytes + size > UPLOADS_OF_ALL * largest):
            raise HTTPException(413, "Too many files were handed in. Take some away, or come back later.")
        _add_file(self, session_id, file)

    MemoryUploadedFileManager.add_file = add_file  # type: ignore[method-assign]


def sessions() -> int:
    """How many readers have a page open now."""
    manager = getattr(runtime.get_instance(), "_session_mgr", None) if runtime.exists() else None
    return manager.num_active_sessions() if manager is not None else 0


def for_this_reader(thread: Thread) -> Thread:
    """The thread, working for the reader whose page this is."""
    add_script_run_ctx(thread, get_script_run_ctx())
    return thread
