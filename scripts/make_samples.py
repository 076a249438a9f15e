"""Store the presets' runs on the bundled model: python scripts/make_samples.py"""

from infoflow import decompose, load_model
from infoflow.files.flows import save
from infoflow.files.samples import FOLDER, path_of
from infoflow.text.examples import PRESETS

FOLDER.mkdir(exist_ok=True)
model = load_model("demo")
for preset in PRESETS:
    flow = decompose(model, preset.prompt)
    save(flow, path_of(preset.key))
    print(f"{preset.key}: {len(flow.tokens)} tokens, error {flow.max_error:.1e}, {path_of(preset.key).stat().st_size:,} bytes")
