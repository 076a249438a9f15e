"""The pieces of the Owner page: the door, models and who waits, memory, the last runs, settings in force."""

from dataclasses import asdict

import streamlit as st

from infoflow.errors import InfoflowError
from infoflow.models import memory
from infoflow.models.account import ACCOUNT
from infoflow.server.log import FAILURES
from infoflow.server.metrics import HeldModel, Now
from infoflow.settings import settings
from infoflow.tables import owner as tables
from infoflow.text.amounts import in_words
from infoflow.ui import blocks, cache, streamlit_names

INTRO = """For whoever runs this app: what is under way, who waits, what failed. Prompts and keys are not here; visitors and
questions go by digests that mean nothing outside this process."""
ASKED = """INFOFLOW_OWNER_TOKEN, as this app was started with. Kept in this browser's session alone."""
UNLOAD = """Gives the model's memory back: at once, or when the runs that use it have ended. It is loaded again when asked for."""
COLUMNS = {
    "time": st.column_config.DatetimeColumn("time (UTC)", format="MMM D, HH:mm:ss"),
    "seconds": st.column_config.NumberColumn("seconds", format="%.2f", help="From the question to the answer."),
    "waited": st.column_config.NumberColumn("waited", format="%.2f", help="Of these, for a turn, for memory, for another's run."),
    "seconds of a run": st.column_config.NumberColumn("seconds of a run", format="%.2f", help="In the mean of the latest."),
}
OFTEN = 3.0
"""seconds between two looks"""
_OPEN = "owner_open"


def let_in() -> bool:
    """Whether this reader owns the app; who does not is asked for the token, or told why there is nothing to see."""
    try:
        if _is_open():
            return True
        typed = st.text_input("Owner's token", type="password", key="owner_token", autocomplete="off", help=ASKED)
        if typed and cache.owner(typed):
            st.session_state[_OPEN] = cache.of_key(typed)
            st.rerun()
        if typed:
            st.warning("That is another token.", icon=":material/key_off:")
    except InfoflowError as error:
        st.info(blocks.plain(str(error)), icon=":material/lock:")
    return False


def _is_open() -> bool:
    token = settings().owner_token.get_secret_value()
    return st.session_state.get(_OPEN) == cache.of_key(token) if token else cache.owner("")


def now() -> Now:
    """What the process is doing, looked at without waiting for anybody."""
    models = cache.in_memory()
    device = str(models[0][0].device) if models else "cpu"
    held = [HeldModel(m.name, m.bytes, users, m.turns.waiting, m.turns.took) for m, users in models]
    return Now(held, memory.used(), memory.free(device), ACCOUNT.promised(device), streamlit_names.sessions())


def figures() -> bytes:
    """The same for machines."""
    return cache.journal().counts.text(now())


@st.fragment(run_every=OFTEN)
def state() -> None:
    """Models, memory and runs as they are; drawn again by itself."""
    seen = now()
    st.dataframe(tables.models(map(asdict, seen.models)), hide_index=True, width="stretch", column_config=COLUMNS)
    promised = f" {in_words(seen.promised)} are promised to runs." if seen.promised else ""
    sessions = f"{seen.sessions} page{'' if seen.sessions == 1 else 's'} open."
    st.caption(f"The app holds {in_words(seen.resident)}; {in_words(seen.free)} are free.{promised} {sessions}")
    with st.container(horizontal=True):
        for number, model in enumerate(seen.models):
            st.button(
                f"Unload {blocks.plain(model.name)}", key=f"owner_unload_{number}", on_click=_unload, args=(model.name,),
                help=UNLOAD, icon=":material/eject:",
            )  # fmt: skip
    runs = cache.journal().last()
    failed = [run for run in runs if run.outcome in FAILURES]
    for title, listed, none in (
        ("The last failures", failed, "Nothing has failed of late."),
        ("The last runs", runs, "Nothing has been run yet."),
    ):
        st.subheader(title, anchor=False)
        if listed:
            rows = tables.runs(map(asdict, listed))
            st.dataframe(
                rows, hide_index=True, width="stretch", column_config=COLUMNS, height="content" if len(rows) < 8 else 320
            )
        else:
            st.caption(none)


def _unload(name: str) -> None:
    cache.unload(name)


def in_force() -> None:
    """The settings."""
    st.subheader("Settings in force", anchor=False)
    st.dataframe(blocks.ticked(tables.in_force(settings())), hide_index=True, width="stretch")
