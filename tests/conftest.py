"""What tests share is in `everywhere.py`; the process that only hands tests out to others need not import it."""

import gc

import pytest

gc.set_threshold(50_000)  # as the app and the commands do: half a million objects are imported, and stay


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("dist", "no") == "no" or hasattr(config, "workerinput"):
        config.pluginmanager.import_plugin("tests.everywhere")
