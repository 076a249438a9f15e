"""A place in a picture that is looked at: a bar, a cell. It belongs to one run, and is in the session and in the address."""

from dataclasses import dataclass

import streamlit as st

from infoflow.ui import address, streamlit_names


@dataclass(frozen=True)
class Places:
    """The places of one picture, as short texts. `scope` names the run: those of another one don't count."""

    name: str
    """of the parameter in the address"""

    def chosen(self, scope: str) -> str:
        """The place that was chosen, by a click or by the address; '' for none."""
        of = f"{self.name}_of"
        if streamlit_names.came_by_history():
            st.session_state.pop(of, None)
        held = address.restored(self.name)
        if held and st.session_state.setdefault(of, scope) != scope:
            address.hold(self.name, held := ())
        return held[0] if held else ""

    def choose(self, scope: str, place: str) -> None:
        """From now on this one is looked at. The picture marks it by itself, where it was clicked."""
        st.session_state[f"{self.name}_of"] = scope
        address.hold(self.name, (place,) if place else ())

    def go(self, scope: str, place: str) -> None:
        """The same from outside the picture, which is made anew and marks it."""
        self.choose(scope, place)
        self.renew()
        st.session_state[f"{self.name}_marked"] = self._renewed

    def renew(self) -> None:
        """Make the picture anew: as it was at first."""
        st.session_state[f"{self.name}_renewed"] = self._renewed + 1

    def key(self, scope: str) -> str:
        """The picture's key."""
        return f"{self.name}_picture_{scope}_{self._renewed}"

    def marked(self, scope: str, at_first: str) -> str:
        """What the picture marks from its beginning. That never changes while it is there: it would be drawn anew.

        `at_first`: what was chosen when the page was opened.
        """
        return self.chosen(scope) if st.session_state.get(f"{self.name}_marked") == self._renewed else at_first

    @property
    def _renewed(self) -> int:
        return int(st.session_state.get(f"{self.name}_renewed", 0))
