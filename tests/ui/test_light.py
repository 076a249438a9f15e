"""A stored run is shown without torch: it takes seconds to load, and the first picture does not wait for it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = """
import sys
sys.modules["torch"] = None  # importing it raises
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("pages/information_flow.py", default_timeout=120).run()
assert not page.exception and not page.error, (page.exception, page.error)
print(len(page.get("vega_lite_chart")), "charts")
"""


@pytest.mark.slow
def test_the_first_picture_needs_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", SHOWN], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) >= 1
