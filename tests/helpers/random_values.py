"""Values that nobody expects, for addresses and bodies: derandomised, so that each run tries the same."""

import random
from typing import Any

from hypothesis import strategies as some

from tests.helpers import hostile

ODD = (
    "",
    " ",
    "-1",
    "0",
    "1",
    "1e999",
    "nan",
    "9" * 5000,
    "1.5",
    "-0",
    "true",
    "none",
    "None",
    "null",
    "[]",
    "{}",
    "[" * 2000,
    "#1",
    "#-1",
    "#" + "9" * 5000,
    "٣",
    "½",
    "\x00",
    "a\x00b",
    "\ud7ff",
    "\u202e",
    "👩\u200d",
    "../../etc/passwd",
    "/etc/passwd",
    "~nobody/x",
    "C:\\x",
    "owner/model@",
    "@",
    "owner/model@../../x",
    "http://127.0.0.1:9/",
    "demo",
    "tokens",
    "words",
    "3 spans",
    "9" * 9 + " spans",
    "norm",
    '{"kind": "zero"}',
    '{"kind":"zero","site":"z","layers":[0],"heads":[0]}',
    '{"kind":"scale","site":"z","factor":1e999}',
    "-{}",
    "1.mid.2",
    "-1.embed.0",
    "9.mid.9",
    "9" * 5000 + ".mid.0",
    "0.5.²",
    "4.mid.²",
    "0." + "9" * 5000,
    "#²",
    "0.mid." + "9" * 5000,
    "0-9999," * 400,
    "a" * 3000,
    "%",
    "%00",
    "&",
    "=",
    hostile.SHORT,
    hostile.PROMPT,
    hostile.FORMULA,
    "The cat sat",
)
texts = some.sampled_from(ODD) | some.text(max_size=12)
plain: Any = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | texts,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "prompt model where target against metric run_by layer head panel bar change said contrast lens_file lens_follow "
    "lens_rows lens_every attn_from attn_metric answer_moves gen_new gen_seed gen_top_p patch_site patch_metric prompt_b "
    "cmp_target changes_on flow_centred talk_system ndif_key cell step"
).split()


def address(chance: random.Random) -> dict[str, Any]:
    """Some parameters, each with a value or several that it may not have."""
    said = {
        name: [chance.choice(ODD) for _ in range(chance.choice((1, 1, 1, 2)))]
        for name in chance.sample(NAMES, chance.randint(1, 6))
    }
    return {name: [v.encode("utf-8", "replace").decode() for v in values] for name, values in said.items()}
