"""What the fields of requests mean, where they are read apart from the code: in the OpenAPI document and in an assistant's tools.

A field whose meaning stands beside it in its request says that; here are those that several requests have, by name, and those of
one, by class and name.
"""

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

NAMED = """By its text, with the space that it begins with (" Paris"), or its id."""
FIELDS = {
    "model": "Which model, and where it runs.",
    "prompt": "The text, or token ids.",
    "interventions": "What is changed in the run.",
    "target": f"The token whose logit is asked about. {NAMED}",
    "against": "A second token: the difference of the two logits is asked about.",
    "targets": "Tokens that are followed, each by its text, with the space that it begins with, or its id.",
    "position": "The position that is read, from 0; negative ones count from the end.",
    "positions": "Positions, from 0 (negative ones from the end), or words; all where none is named.",
    "layers": "Layers, from 0; all where none is named.",
    "head": "Heads of the site z, from 0; all where none is named.",
    "heads": "Heads, from 0; all where none is named.",
    "neurons": "Hidden units of the site neurons, from 0; all where none is named.",
    "site": "Where in a layer: embed, resid_pre, resid_mid, resid_post, attn, mlp, z (what a head has gathered) or neurons.",
    "factor": "How many times as large.",
    "seed": "Of what is drawn: the same seed draws the same.",
    "centred": "Whether logits are taken less their mean over the vocabulary.",
    "top_k": "How many of the likeliest next tokens are named.",
    "k": "How many tokens are named at each place.",
    "max_new_tokens": "At most so many tokens are written.",
    "form": "How the prompt is put to the model: as it is, in its chat template, or by what the model was made for.",
    "contrast": 'What it is held against: a prompt of as many tokens, several, one as token ids, or "bank": neutral texts.',
    "kind": "Which change it is.",
    "analysis": "Which analysis is compared.",
    "a": "The first request.",
    "b": "The second request.",
    "quantity": "Which of its numbers are compared; the first kind where none is named.",
    "align": "How prompts of different lengths are laid beside each other: not at all, by their starts, or by their ends.",
    "AttributionRequest.direct": "Direct paths through the frozen final norm, or without it, as published tools have them.",
    "LocationRequest.target": f"The token whose logit is asked about; the likeliest where none is named. {NAMED}",
    "LensRequest.mids": "Whether there are rows after attention, too.",
    "LensRequest.positions": "Positions that are read, from 0; all where none is named.",
    "LensRequest.rows": "Rows that are read, by name; all that the lens has where none is named, and the last one always.",
    "LensRequest.digest": "The digest of the lens's file, where another one of that name is another lens.",
    "LensRequest.kind": "Which lens: the model's own logits, frozen (the rest of the network as it ran), or one that was fitted.",
    "LensRequest.read": "Where a frozen lens reads a state: at its own position, or at the last.",
    "GenerationRequest.temperature": "0 writes the likeliest token; above, tokens are drawn from softmax(logits / temperature).",
    "GenerationRequest.top_p": "Tokens are drawn from the likeliest ones that together are so probable.",
    "CorrectionRequest.prompt": "What the user says: a question, then corrections.",
    "CorrectionRequest.one_word": "Whether the answers are asked for in one word.",
    "PatchRequest.prompt": "The clean run's text, or token ids.",
    "PatchRequest.corrupted": "The other run: another prompt, or an intervention; made of the prompt where none is given.",
    "PatchRequest.averaged": "Positions of the run that parts are taken from: the mean over them is put in.",
    "PatchRequest.site": "Whose parts are exchanged: z, q, k, v, pattern, attn, mlp, resid_pre, resid_mid or resid_post.",
    "PatchRequest.frozen": "Positions that keep what attention and MLP write there in the unpatched run.",
    "PatchRequest.direction": "denoising: clean parts into the corrupted run; noising: the other way.",
    "PatchRequest.draws": "Over so many draws of a noise the effects are averaged.",
    "PatchRequest.units": "What is patched at once: layers, heads, positions, or heads and positions.",
    "PatchRequest.method": "exact, or gradient: an estimate from one backward pass.",
    "PatchRequest.receiver": 'Where paths end: the logits, or a later head\'s queries, keys or values, as "9.6.q".',
    "PatchRequest.direct": "Whether paths go through no MLP.",
    "Block.source": "Positions or words that are not seen.",
    "Block.destination": "From which positions they are not seen.",
    "Replace.prompt": "Of whose run it is what stands at the same positions.",
    "Reject.direction": 'The direction that is taken out: a vector, two texts, or "first", that of the first position.',
    "Steer.direction": "What is added: a vector, or two texts, the one's state less the other's.",
    "Noise.factor": "How many standard deviations of what stands at the site the noise has.",
}  # fmt: skip


def described(schema: dict[str, Any], kind: type[Any] | None) -> dict[str, Any]:
    """The schema of a class, with a description of each of its fields."""
    fields = schema.get("properties", {})
    if not fields:
        return schema
    told = dict(FIELDS)
    if kind is not None:
        own = {name: FIELDS[f"{kind.__name__}.{name}"] for name in fields if f"{kind.__name__}.{name}" in FIELDS}
        told |= {**_beside(kind), **own}
    return {**schema, "properties": {name: {**fields[name], "description": told[name]} for name in fields}}


def _beside(kind: type[Any]) -> dict[str, str]:
    """What stands under the fields of a class and of those that it comes from; as a sentence."""
    found = {}
    for one in reversed([base for base in kind.__mro__ if base.__module__.startswith("infoflow.")]):
        (whole,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        for field, under in pairwise(whole.body if isinstance(whole, ast.ClassDef) else ()):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                found[field.target.id] = _sentence(under)
    return {name: said for name, said in found.items() if said}


def _sentence(line: ast.stmt) -> str:
    said = ast.literal_eval(line.value) if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) else ""
    words = " ".join(str(said).split())
    return f"{words[0].upper()}{words[1:]}." if words else ""
