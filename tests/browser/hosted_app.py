"""Start the app with the hub's canonical names of local folders given, since no test asks the hub: folder=name ... -- options."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import infoflow.models.model  # noqa: F401  before the web server's stack, as it undoes what nnsight mounts

import nnsight.modeling.huggingface as hub  # isort: skip
from streamlit.web import cli  # isort: skip

split = sys.argv.index("--")
hub._ID_CACHE.update(pair.split("=", 1) for pair in sys.argv[1:split])
sys.argv = ["streamlit", "run", "streamlit_app.py", *sys.argv[split + 1 :]]
cli.main()
