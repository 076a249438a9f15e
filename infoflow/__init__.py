"""infoflow: how information flows through a language model, per token.

    model = infoflow.load_model("demo")                   the bundled model, a hub name, or a local folder
    model = infoflow.wrap_model(hf_model, tokenizer)      a transformers model you already hold
    infoflow.check(model)                                 is it exact on this model?
    flow  = infoflow.decompose(model, "The capital of France is")
    attr  = infoflow.attribute(model, "The capital of France is", " Paris", against=" Rome")
    test  = infoflow.causal(model, "The capital of France is", " Paris", against=" Rome", by="block")
    sweep = infoflow.patch(model, clean, corrupted, site="z", target=" Mary", against=" John")
    pairs = infoflow.patch_pairs(model, clean, corrupted, strongest=10)
    parts = infoflow.circuit(model, "The capital of France is", " Paris", against=" Rome", keep=0.8)
    roles = infoflow.roles(model, "The capital of France is", " Paris", against=" Rome")
    where = infoflow.locate(model, "The capital of France is", " Paris", against=" Rome")
    paths = infoflow.graph(model, "The capital of France is", " Paris", against=" Rome", threshold=0.04)
    reads = infoflow.readers(model, "The capital of France is", layer=5, head=0, target=" Paris", against=" Rome")
    attn  = infoflow.attention(model, "The capital of France is")
    lens  = infoflow.logit_lens(model, "The capital of France is", targets=[" Paris"])
    moved = infoflow.promotions(model, "The capital of France is", position=-1)
    gen   = infoflow.generate(model, "The old wizard walked", max_new_tokens=20)
    corr  = infoflow.correct(model, "What is the capital of France?", "No, the answer is Rome.")
    why   = infoflow.query_key(model, "The capital of France is", layer=5, head=0, query=-1, key=4)
    who   = infoflow.carriers(model, prompt, layer=5, position=6, source=" France")
    acts  = infoflow.activations(model, "The capital of France is")
    turns = infoflow.stability(model, "The capital of France is", position=-1)
    infoflow.save_session("france.zip", [flow, attn, acts])   # infoflow.open_session("france.zip") needs no model
    infoflow.report([flow, attr, where], "report.html")   results as one HTML file that opens offline
    many  = infoflow.batch(model, "prompts.csv", "results/")             rows of many prompts; infoflow.open_batch("results/")
    apart = infoflow.compare(flow, other)                 two results of one function, value by value

Names are imported on first use, so that `import infoflow` is quick and a page can show a stored run before torch loads.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "load_model": "models.loading", "wrap_model": "models.loading", "Model": "models.model",
    "estimate": "analyses.flow_cost", "decompose": "analyses.flow", "Flow": "analyses.flow", "attribute": "analyses.attribution",
    "Attribution": "analyses.attribution", "locate": "analyses.location", "Location": "analyses.location",
    "circuit": "analyses.circuits", "Circuit": "analyses.circuits", "roles": "studies.roles", "Roles": "studies.roles",
    "patch": "analyses.patching", "Patching": "analyses.patching",
    "patch_pairs": "analyses.pairs", "Pairs": "analyses.pairs",
    "graph": "analyses.graph", "Graph": "analyses.graph",
    "direct": "analyses.direct", "DirectAttribution": "analyses.direct",
    "readers": "analyses.readers", "Readers": "analyses.readers",
    "causal": "analyses.causal", "Causal": "analyses.causal",
    "carriers": "analyses.carriers", "Carriers": "analyses.carriers",
    "attention": "analyses.attention", "Attention": "analyses.attention", "calibrate": "analyses.attention",
    "activations": "analyses.activations", "Activations": "analyses.activations",
    "stability": "analyses.stability", "Stability": "analyses.stability",
    "query_key": "analyses.query_key", "QueryKey": "analyses.query_key",
    "logit_lens": "analyses.logit_lens", "Lens": "analyses.logit_lens",
    "promotions": "analyses.promotions", "Promotions": "analyses.promotions",
    "generate": "analyses.generation", "Generation": "analyses.generation",
    "correct": "studies.corrections", "Correction": "studies.corrections",
    "compare": "studies.compare", "Comparison": "studies.compare", "swap_ratio": "studies.swap", "SwapRatio": "studies.swap",
    "load_lens": "models.lenses", "save_lens": "models.lenses", "bundled_lens": "models.lenses", "FittedLens": "models.lenses",
    "fit_lens": "analyses.jacobian", "merge_lenses": "analyses.jacobian",
    "batch": "files.batch", "open_batch": "studies.batch", "Batch": "studies.batch",
    "check": "analyses.selftest", "Check": "analyses.selftest",
    "save": "files.flows", "load": "files.flows", "report": "files.reports",
    "save_session": "files.sessions", "open_session": "files.sessions", "Session": "files.sessions",
    "InfoflowError": "errors", "UnsupportedModel": "errors", "BadPrompt": "errors", "BadLens": "errors", "BadFile": "errors",
    "TooLarge": "errors", "Cancelled": "errors",
}  # fmt: skip

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'infoflow' has no attribute {name!r}")
    value = getattr(import_module(f"infoflow.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _picture(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = import_module("infoflow.pictures.rendering").in_notebook(result)
    return found


def _summary(result: Any) -> str:
    sentence = import_module("infoflow.summaries.sentence")
    said: str = sentence.spoken(sentence.sentences_of(result))
    return said


import_module("infoflow.analyses.result").draw_with(_picture)
import_module("infoflow.analyses.result").say_with(_summary)
