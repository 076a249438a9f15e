"""The models offered by name: plain data."""

from dataclasses import dataclass
from pathlib import Path

DEMO = Path(__file__).parents[1] / "demo"
"""the folder of the bundled model"""
SMOLLM2 = "smollm2"
"""the name of the trained model that comes as a Python package"""
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""of its file"""


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue."""

    name: str
    title: str
    family: str
    parameters: int
    """in millions"""
    note: str


MODELS = (
    Entry(
        "demo", "demo (bundled, 5 M parameters)", "llama", 5, "A small Llama trained on synthetic English; ships with the app."
    ),
    Entry(
        SMOLLM2, "SmolLM2 135M instruct, 4-bit weights", "llama", 135,
        "Trained on real text, and talks. Its 4-bit weights are dequantised; fetched once from the Python package index, 93 MB.",
    ),
    Entry("openai-community/gpt2", "GPT-2 (124 M)", "gpt2", 124, "Downloaded on first use, about 0.5 GB."),
    Entry("Qwen/Qwen2.5-0.5B", "Qwen2.5 0.5B", "qwen2", 494, "Downloaded on first use, about 1 GB."),
    Entry("Qwen/Qwen3-0.6B", "Qwen3 0.6B", "qwen3", 596, "Downloaded on first use, about 1.5 GB."),
    Entry("meta-llama/Llama-3.2-1B", "Llama 3.2 1B", "llama", 1236, "Gated: accept its licence on the hub first. About 2.5 GB."),
    Entry("google/gemma-2-2b", "Gemma 2 2B", "gemma2", 2614, "Gated: accept its licence on the hub first. About 10 GB."),
    Entry("meta-llama/Llama-3.1-8B", "Llama 3.1 8B", "llama", 8030, "Gated. About 16 GB; elsewhere, on NDIF."),
    Entry("meta-llama/Llama-3.1-70B", "Llama 3.1 70B", "llama", 70554, "Gated. About 141 GB; elsewhere, on NDIF."),
    Entry("meta-llama/Llama-3.1-405B", "Llama 3.1 405B", "llama", 405853, "Gated. About 812 GB; elsewhere, on NDIF."),
)  # fmt: skip
"""what is offered by name; any other name on the hub, or a folder, can be typed"""
