"""A result as what is sent: the command line's JSON, a table or a picture; and the shape that the first front end read."""

from typing import Any

from infoflow.analyses.flow import Flow
from infoflow.errors import BadPrompt
from infoflow.files import formats, strict

MEDIA = {
    "json": "application/json", "csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet",
    "png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf", "html": "text/html; charset=utf-8",
    formats.VEGALITE: "application/vnd.vegalite+json",
}  # fmt: skip
"""of every format"""


def check_format(kind: str) -> str:
    """A format that there is.

    Raises:
        BadPrompt: it is none.
    """
    if kind not in MEDIA:
        raise BadPrompt(f"There is no format '{kind[:40]}'. Use one of: {', '.join(MEDIA)}.")
    return kind


def answer(result: Any, kind: str = "json", dark: bool = False) -> bytes:
    """A result in one of the formats, as the command line writes it.

    Raises:
        InfoflowError: it can't be drawn.
    """
    if kind == "json":
        return formats.as_json(result)
    if kind == "csv":
        return formats.as_csv(result.to_frame())
    if kind == "parquet":
        return formats.as_parquet(result.to_frame())
    from infoflow.pictures.picture import background, picture_of  # heavy: only for what is drawn

    return formats.drawn(lambda: picture_of(result, dark), kind, background(dark))


def first_shape(flow: Flow) -> bytes:
    """A flow as the first of these programs gave it: norms as [layer][position][source], tokens, {token: probability}; the
    last of them also under the name that its front end reads."""
    top: dict[str, float] = {}
    for said in flow.top:
        top.setdefault(said.token, said.probability)
    return strict.as_json({
        "attention_norms": flow.norms("mid").tolist(), "mlp_norms": flow.norms("post").tolist(), "tokens": list(flow.tokens),
        "top_predictions": top, "top_perdictions": top,
    })  # fmt: skip
