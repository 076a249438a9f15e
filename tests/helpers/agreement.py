"""Every analysis that there is, on one model twice: how far the numbers are apart. A new analysis gets a line here."""

from typing import Any

import numpy as np

import infoflow
from infoflow.interventions import Block, Mean, Noise, Reject, Replace, Resample, Scale, Steer, Zero

PROMPT = "When Mary and John"


def numbers(model: "infoflow.Model") -> dict[str, Any]:
    flow = infoflow.decompose(model, PROMPT)
    words = infoflow.decompose(model, PROMPT, sources="words")
    logit = infoflow.attribute(model, PROMPT, 65)
    rival = infoflow.attribute(model, PROMPT, 65, against=66)
    itself = infoflow.direct(model, PROMPT, 65, against=66)
    carried = infoflow.carriers(model, PROMPT, 2, 6, 3)
    where = infoflow.locate(model, PROMPT, 65, against=66)
    other = infoflow.locate(model, PROMPT, 65, contrast="Then Anna and Fred")
    told = infoflow.attribute(model, PROMPT, 65, contrast="bank")
    why = infoflow.query_key(model, PROMPT, 2, 1, -2, 3)
    paths = infoflow.graph(model, PROMPT, 65, against=66, threshold=0.0)
    few = infoflow.graph(model, PROMPT, 65, threshold=0.1, interventions=[Zero("z", 1, None, 0)])
    onward = infoflow.readers(model, PROMPT, 1, 2, 65, against=66)
    of_mlp = infoflow.readers(model, PROMPT, 0, -1, 65, interventions=[Zero("z", 1, None, 0)])
    lens = infoflow.logit_lens(model, PROMPT, targets=[65])
    frozen = infoflow.logit_lens(
        model, PROMPT, targets=[65], kind="frozen", contrast="Then Anna and Fred", interventions=[Zero("mlp", 1)]
    )
    last = infoflow.logit_lens(
        model, PROMPT, targets=[65], kind="frozen", read="last", positions=[-1, 2], rows=["embed", "L1.mid"]
    )
    moved = infoflow.promotions(model, PROMPT)
    attn = infoflow.attention(model, PROMPT)
    acts = infoflow.activations(model, PROMPT)
    turned = infoflow.stability(model, PROMPT, 5)
    gen = infoflow.generate(model, PROMPT, 4)
    held = infoflow.generate(model, PROMPT, output=gen.output_ids, contrast="Then Anna and Fred")
    stack = [Zero("z", 1, None, 0), Block(3, -1), Scale("resid_post", 0.5, 0, 2), Scale("mlp", 0.3), Scale("attn", 2.0, 1)]
    changed = infoflow.attribute(model, PROMPT, 65, interventions=stack)
    put_in = [
        Replace("embed", PROMPT[::-1], None, -1), Mean("attn", 0, 2), Mean("mlp", 1, prompts=("It",)), Resample("z", 1, 3, 0),
        Steer("resid_pre", ("It", "a"), 0.5, 1), Reject("resid_post", "first", 0), Scale("neurons", 0.5, 0, neurons=(1, 2)),
    ]  # fmt: skip
    put = infoflow.attribute(model, PROMPT, 65, interventions=put_in)
    test = infoflow.causal(model, PROMPT, 65, 66, interventions=stack[:1])
    swapped = infoflow.causal(model, PROMPT, 65, 66, by="swap", sources="words")
    swept = infoflow.patch(model, PROMPT, "When Mary and Paul", "z", target=65, against=66)
    places = infoflow.patch(model, PROMPT, Noise("embed", positions=3), "resid_mid", target=65, interventions=stack[:1])
    pairs = infoflow.patch_pairs(model, PROMPT, "When Mary and Paul", target=65, heads=[(1, 0), (0, 1)])
    path = infoflow.patch(model, PROMPT, "When Mary and Paul", "z", target=65, layers=[0, 1], receiver="2.1.k")
    parts = infoflow.circuit(model, PROMPT, flow.top[0].id)
    why_changed = infoflow.query_key(model, PROMPT, 2, 3, -1, -3, interventions=put_in, against=-4, sources="words")
    under = infoflow.generate(model, PROMPT, 2, interventions=stack[:2])
    return {
        "changed": changed.by_source, "changed, heads": changed.by_head, "changed, error": [changed.max_error < 1e-4],
        "changed, patterns": infoflow.attention(model, PROMPT, interventions=stack).pattern,
        "removed": test.effect[:-1], "swapped for others": swapped.effect, "contributed": test.linear,
        "put in": [put.put_in, put.direct_put_in, put.total, *put.by_source],
        "put in, gram": infoflow.decompose(model, PROMPT, interventions=put_in).gram,
        "patched": swept.effect(), "patched, kl": swept.effect("kl"), "patched, places": places.effect(), "path": path.effect(),
        "pairs": pairs.effect(),
        "circuit": parts.knocked, "circuit, leads": [parts.alone, parts.without, parts.nothing],
        "changed, gram": infoflow.decompose(model, PROMPT, interventions=stack).gram,
        "changed, written": under.output_ids, "changed, steps": under.by_source,
        "why": why.parts, "why, scores": why.scores[: why.query + 1], "why, error": [why.max_error < 1e-4],
        "why, changed": [why_changed.score, *why_changed.parts.sum(0), *why_changed.parts.sum(1)],
        "written": gen.output_ids, "steps": gen.pattern, "step logits": gen.logits, "step sources": gen.by_source,
        "pattern": attn.pattern, "value_norm": attn.value_norm, "write_norm": attn.write_norm,
        "calibrated": infoflow.calibrate(model, 5, 2).scores,
        "lens": lens.logits, "entropy": lens.entropy, "kl": lens.kl, "target_probs": lens.target_probs, "gained": moved.gained,
        "ranks": lens.target_ranks,
        "frozen lens": frozen.logits, "its contrast": frozen.other_target_logits, "its change": frozen.change,
        "read at the last": last.target_logits, "the rest": last.added,
        "gram": flow.gram, "source_logits": flow.source_logits, "embedding_norm": flow.embedding_norm,
        "probability": [t.probability for t in flow.top], "words": words.gram,
        "written itself": [*itself.by_head.ravel(), *itself.by_mlp, itself.embedding, itself.direct_bias],
        "by_source": logit.by_source, "by_head": logit.by_head, "by_mlp": logit.by_mlp, "rival": rival.by_source,
        "by_cell": where.by_cell, "bias": where.bias, "arrived": where.arrived, "left": where.left, "by MLP": where.by_mlp,
        "moves": np.sort(where.arrivals.logit, axis=-1), "likely": [t.probability for t in where.top],
        "paths": paths.edges.amount, "their heads": np.sort(paths.edges.head_amount, axis=-1), "kept": few.by_source,
        "kept in all": few.kept_total,
        "read by heads": onward.by_head, "read by MLPs": of_mlp.by_mlp, "read by": [onward.direct, onward.total, of_mlp.total],
        "brought": onward.moves, "promoted": onward.promoted,
        "specific": other.specific, "swapped": other.contrast_total, "beyond the bank": told.specific,
        "beyond, by step": held.specific, "swapped, by step": held.contrast_total,
        "carried": carried.by_head, "arrives": carried.arrives, "reads": carried.reads,
        "before": acts.resid_pre, "between": acts.resid_mid, "after": acts.resid_post, "z": acts.z, "its pattern": acts.pattern,
        "states, changed": infoflow.activations(model, PROMPT, interventions=stack).resid_post,
        "directions": turned.dots, "directions, changed": infoflow.stability(model, PROMPT, interventions=put_in).dots,
        "self-test": [float(infoflow.check(model).verdict == "exact")],
    }  # fmt: skip


def largest_difference(one: "infoflow.Model", other: "infoflow.Model") -> float:
    """Over all numbers of all analyses; relative to each array's largest, where that is above 1."""
    ours, theirs = numbers(one), numbers(other)
    assert ours.keys() == theirs.keys()
    worst = 0.0
    for name, values in ours.items():
        a, b = np.asarray(values, dtype=float), np.asarray(theirs[name], dtype=float)
        assert a.shape == b.shape and a.size, name
        worst = max(worst, float(np.abs(a - b).max()) / max(1.0, float(np.abs(a).max())))
    return worst
