"""What Community Cloud starts: it installs the requirements.txt beside this file, which takes torch for processors alone."""

import sys
from pathlib import Path

from streamlit.starlette import App

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # it is not installed as a package there
from infoflow.ui import serving  # noqa: E402

app = App(ROOT / "streamlit_app.py", **serving.parts())
