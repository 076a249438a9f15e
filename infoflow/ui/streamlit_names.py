"""What is used of Streamlit that it does not promise to keep, in one place.

`tests/ui/test_adapter.py` fails when an upgrade moves any of it.
"""

from collections.abc import Callable, Mapping
from threading import Thread

from streamlit import runtime
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx


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


def write_into_address(values: Mapping[str, str]) -> None:
    """Parameters of widgets on this page that its address lacks; Streamlit lets no page write them itself."""
    context = get_script_run_ctx()
    if context is None:
        return
    with context.session_state.query_params() as address:
        for key, value in values.items():
            if address.is_bound(key) and not address.has_param(key):
                address.set_corrected_value(key, value, "string_value")


def is_here() -> Callable[[], bool]:
    """A question that any thread may ask later: is the reader whose page this is still there?"""
    context = get_script_run_ctx()
    session = context.session_id if context is not None else ""
    return lambda: not runtime.exists() or runtime.get_instance().is_active_session(session)


def for_this_reader(thread: Thread) -> Thread:
    """The thread, working for the reader whose page this is."""
    add_script_run_ctx(thread, get_script_run_ctx())
    return thread
