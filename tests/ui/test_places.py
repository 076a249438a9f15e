"""A place in a picture belongs to one run; a picture marks by itself only what was chosen from outside."""

from typing import Any

import pytest
import streamlit as st

from infoflow.ui import address, streamlit_names
from infoflow.ui.places import Places


class Address(dict[str, list[str]]):
    """Parameters of an address, as Streamlit gives them."""

    def get_all(self, name: str) -> list[str]:
        return self.get(name, [])


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Address:
    """A page that was opened by this address, with nothing in its session."""
    found, state = Address(), dict[str, Any]()
    monkeypatch.setattr(st, "query_params", found)
    monkeypatch.setattr(st, "session_state", state)
    return found


def test_a_link_counts_once_then_the_session(page: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    page["bar"] = ["5.post.3"]
    assert address.restored("bar") == ("5.post.3",)
    address.hold("bar", ("1.mid.2",))
    assert address.restored("bar") == ("1.mid.2",)
    address.write("bar")
    assert page["bar"] == ["1.mid.2"]
    page["bar"] = ["0.post.0"]
    monkeypatch.setattr(streamlit_names, "came_by_history", lambda: True)
    assert address.restored("bar") == ("0.post.0",)
    address.hold("bar", ())
    address.write("bar")
    assert "bar" not in page


def test_a_place_of_another_run_does_not_count(page: Address) -> None:
    bars = Places("bar")
    page["bar"] = ["5.post.3"]
    assert bars.chosen("first run") == "5.post.3"
    assert bars.chosen("second run") == "" == bars.chosen("first run")
    bars.choose("second run", "1.mid.1")
    assert bars.chosen("second run") == "1.mid.1"


def test_a_click_leaves_the_picture_and_a_jump_makes_it_anew(page: Address) -> None:
    bars, key = Places("bar"), Places("bar").key("run")
    bars.choose("run", "1.mid.1")
    assert bars.key("run") == key and bars.marked("run", "") == ""  # the browser marks what was clicked
    bars.go("run", "2.post.0")
    assert bars.key("run") != key and bars.marked("run", "") == "2.post.0"
    bars.renew()
    assert bars.marked("run", "at first") == "at first" and bars.chosen("run") == "2.post.0"
