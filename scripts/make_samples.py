"""Store the presets' runs on the bundled model and on SmolLM2: python scripts/make_samples.py [key of a preset ...]"""

import sys

from infoflow import decompose, load_model
from infoflow.files.flows import save
from infoflow.files.samples import FOLDER, STORED, path_of
from infoflow.text.examples import PRESETS

FOLDER.mkdir(exist_ok=True)
for name in STORED:
    model = load_model(name)
    for preset in [p for p in PRESETS if p.key in (sys.argv[1:] or [p.key])]:
        flow = decompose(model, preset.prompt)
        path = path_of(preset.key, name)
        save(flow, path)
        print(f"{name}, {preset.key}: {len(flow.tokens)} tokens, error {flow.max_error:.1e}, {path.stat().st_size:,} bytes")
