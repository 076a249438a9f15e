"""What Streamlit does not promise to keep is still there; and every choice of a reader is kept."""

import ast
import inspect
import threading
from pathlib import Path
from unittest.mock import create_autospec

from streamlit.runtime import Runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests
from streamlit.runtime.session_manager import SessionManager

from infoflow.ui import streamlit_names

ROOT = Path(__file__).parents[2]
WIDGETS = {
    "selectbox", "segmented_control", "toggle", "slider", "text_input", "text_area", "number_input", "multiselect", "pills",
    "checkbox", "radio", "data_editor", "chat_input", "file_uploader",
}  # fmt: skip
NO_CHOICES = {
    "'preset'", "'talk'",  # say which example the prompt is
    "'session_file'", "'batch_file'",  # a file is asked for again
    "'talk_text'", "'talk_file'", "'flow_merge'", "'flow_merge_name'",  # empty again once they are used
    "'owner_token'",  # gone once it was right
    "f'flow_groups_table_{version}'",  # shows what the session keeps
}  # fmt: skip


def test_pages_can_be_sent_through_the_router(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(PagesManager, "uses_pages_directory", True)
    assert streamlit_names.skips_the_router()
    streamlit_names.use_the_router()
    assert not streamlit_names.skips_the_router()


class Reader:
    """What Streamlit keeps of one visitor while a page's script runs."""

    session_id = "mine"


def test_a_reader_is_there_for_as_long_as_their_session_is(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    assert get_script_run_ctx() is None and streamlit_names.is_here()()  # no server: nobody who could leave
    assert set(inspect.signature(Runtime.is_active_session).parameters) == {"self", "session_id"}
    active, server = {"mine"}, create_autospec(Runtime, instance=True)
    server.is_active_session.side_effect = active.__contains__
    monkeypatch.setattr(Runtime, "_instance", server)
    monkeypatch.setattr(streamlit_names, "get_script_run_ctx", Reader)
    here = streamlit_names.is_here()
    assert here()
    active.clear()
    assert not here()


def test_what_a_reader_did_is_noticed_while_the_page_is_drawn(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    assert not streamlit_names.asked_again()  # no app
    reader = Reader()
    reader.script_requests = requests = ScriptRequests()  # type: ignore[attr-defined]
    monkeypatch.setattr(streamlit_names, "get_script_run_ctx", lambda: reader)
    assert not streamlit_names.asked_again()
    requests.request_rerun(RerunData(fragment_id="part"))
    assert requests.on_scriptrunner_yield() is None and streamlit_names.asked_again()  # by itself, Streamlit lets it wait
    requests.request_rerun(RerunData())  # what `st.rerun()` asks for
    assert requests.on_scriptrunner_yield() is not None and not streamlit_names.asked_again()


def test_no_page_with_buttons_to_others_runs_by_a_timer() -> None:
    """Streamlit answers a timer's message that comes when a page is left with an empty page."""
    text = {path: path.read_text() for path in (*ROOT.glob("infoflow/ui/*.py"), *ROOT.glob("pages/*.py"))}
    timed = {path.stem for path in text if "run_every" in text[path]}
    assert timed == {"owner"} and not any("switch_page" in text[path] for path in text if path.stem in timed)


def test_messages_of_the_developer_menu_are_those_that_are_not_heard() -> None:
    handled = inspect.getsource(AppSession.handle_backmsg)
    for name in ("_handle_clear_cache_request", "_handle_git_information_request"):
        assert f"self.{name}()" in handled and name in vars(AppSession)


def test_readers_are_counted(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    assert streamlit_names.sessions() == 0
    server = create_autospec(Runtime, instance=True)
    server._session_mgr = create_autospec(SessionManager, instance=True)
    server._session_mgr.num_active_sessions.return_value = 3
    monkeypatch.setattr(Runtime, "_instance", server)
    assert streamlit_names.sessions() == 3
    assert "self._session_mgr = " in inspect.getsource(Runtime.__init__)


def test_a_thread_can_work_for_a_reader(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    reader, seen = Reader(), []
    monkeypatch.setattr(streamlit_names, "get_script_run_ctx", lambda: reader)
    thread = streamlit_names.for_this_reader(threading.Thread(target=lambda: seen.append(get_script_run_ctx())))
    thread.start()
    thread.join(10)
    assert seen == [reader]


def test_every_choice_of_a_reader_is_kept_between_pages() -> None:
    """In the address, or by Streamlit where asked: a list kept by hand loses some."""
    lost = []
    for path in (*ROOT.glob("infoflow/ui/*.py"), *ROOT.glob("pages/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WIDGETS:
                given = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert "key" in given, f"{path.name}:{node.lineno}"
                if not given.keys() & {"bind", "persist_state"} and given["key"] not in NO_CHOICES:
                    lost.append(f"{path.name}: {given['key']}")
    assert not lost
