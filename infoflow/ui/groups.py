"""Custom groups of sources: edit names in a table, merge, undo, start again. Groups are kept per prompt in the session."""

import pandas as pd
import streamlit as st

from infoflow.analyses.flow import Flow
from infoflow.errors import BadPrompt
from infoflow.text.tokens import BIAS, check_labels

_UNDO_LEVELS = 50


def _history(flow: Flow) -> list[tuple[str, ...]]:
    """The groupings of this prompt, the present one last; it begins with the words."""
    kept = st.session_state.setdefault("flow_groups", {})
    return kept.setdefault(flow.token_ids, [flow.word_labels])


def _push(flow: Flow, labels: tuple[str, ...]) -> None:
    history = _history(flow)
    if labels != history[-1]:
        history.append(labels)
        del history[:-_UNDO_LEVELS]
        st.session_state["flow_groups_version"] = st.session_state.get("flow_groups_version", 0) + 1


def _undo(flow: Flow) -> None:
    history = _history(flow)
    if len(history) > 1:
        history.pop()
        st.session_state["flow_groups_version"] = st.session_state.get("flow_groups_version", 0) + 1


def _merge(flow: Flow) -> None:
    chosen = st.session_state.get("flow_merge", [])
    if len(chosen) > 1:
        name = st.session_state.get("flow_merge_name", "").strip() or "+".join(chosen)
        _push(flow, tuple(name if label in chosen else label for label in _history(flow)[-1]))
    st.session_state["flow_merge"], st.session_state["flow_merge_name"] = [], ""


def editor(flow: Flow) -> tuple[str, ...]:
    """The present grouping: one name per token. Tokens of the same name are one source.

    A bad edit is told in place, and the last good grouping stays.
    """
    with st.expander("Edit groups", expanded=True, icon=":material/edit:"):
        now = _history(flow)[-1]
        left, right = st.columns([2, 1], gap="medium")
        with left:
            table = pd.DataFrame({"token": list(flow.labels), "group": list(now)})
            version = st.session_state.get("flow_groups_version", 0)
            help_text = "Tokens with the same name form one source."
            edited = st.data_editor(
                table,
                key=f"flow_groups_table_{version}",
                hide_index=True,
                height=240,
                width="stretch",
                num_rows="fixed",
                column_config={
                    "token": st.column_config.TextColumn("Token", disabled=True),
                    "group": st.column_config.TextColumn("Group", help=help_text, max_chars=40, required=True),
                },
            )
            try:
                labels = check_labels(["" if v is None else str(v) for v in edited["group"]], len(now))
                if BIAS in labels and flow.source_labels[-1] == BIAS:
                    raise BadPrompt(f"The name '{BIAS}' is taken by the weights' own source. Choose another name.")
            except BadPrompt as error:
                st.error(str(error))
                labels = now
            if labels != now:
                _push(flow, labels)
                st.rerun()
        with right:
            st.multiselect("Merge", list(dict.fromkeys(now)), key="flow_merge", placeholder="Choose groups")
            st.text_input("into a group named", key="flow_merge_name", placeholder="their names joined", max_chars=40)
            st.button("Merge", on_click=_merge, args=(flow,), width="stretch")
            with st.container(horizontal=True):
                st.button("Undo", on_click=_undo, args=(flow,), disabled=len(_history(flow)) < 2, icon=":material/undo:")
                st.button("Words again", on_click=_push, args=(flow, flow.word_labels), disabled=now == flow.word_labels)
                st.button("Tokens", on_click=_push, args=(flow, flow.position_labels), disabled=now == flow.position_labels)
    return now
