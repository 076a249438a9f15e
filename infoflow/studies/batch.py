"""Many prompts: what is asked of each, and what a data set of their rows says.

A data set is a folder of Parquet files (files/datasets.py writes it), `prompts` with one row a prompt and a table for each
analysis. It is opened without being read: each summary goes through the columns that it needs, a batch of rows at a time, and
sums.

    found = infoflow.open_batch("results/")
    found.shares("relative")        # the last position's shares, by place in the prompt and layer
    found.head(5, 0).prompts        # one head over all prompts, each with the address of its picture
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from infoflow.analyses.attention import AttentionRequest
from infoflow.analyses.attribution import AttributionRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.location import LocationRequest
from infoflow.analyses.logit_lens import LensRequest
from infoflow.analyses.request import Request
from infoflow.analyses.result import Result
from infoflow.errors import BadPrompt, InfoflowError
from infoflow.models.spec import ModelSpec
from infoflow.text.kinds import KINDS

if TYPE_CHECKING:
    import pyarrow.dataset

PROMPTS = "prompts"
ANALYSES = ("flow", "locate", "lens", "heads", "attribute")
"""tables of a data set beside that of its prompts, in the order in which they are run"""
SCHEMA = 1
"""raised whenever what a column holds changes"""
BINS = 10
"""of places in a prompt"""
_NO_ERROR = -20
"""stands for the power of ten of an error of 0"""
_NO_NUMBER = 300
"""of one that is not finite"""
BEYOND = "interventions and biases"
"""sources that are no tokens"""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of one prompt."""

    model: ModelSpec
    prompt: str
    target: int | str | None = None
    against: int | str | None = None
    sources: str = "words"
    interventions: tuple[Any, ...] = ()


def _lens(of: Asked, likeliest: int | None) -> LensRequest:
    targets = tuple(t for t in (of.target, of.against) if t is not None) if of.target is not None else ()
    return LensRequest(model=of.model, prompt=of.prompt, interventions=of.interventions, targets=targets, positions=(-1,))


def _attribution(of: Asked, likeliest: int | None) -> AttributionRequest:
    target = likeliest if of.target is None else of.target
    if target is None:
        raise BadPrompt("There is no target, and no likeliest next token is known of this prompt.")
    return AttributionRequest(model=of.model, prompt=of.prompt, interventions=of.interventions, target=target, against=of.against)


_REQUESTS: dict[str, Callable[[Asked, int | None], Request[Any]]] = {
    "flow": lambda of, likeliest: FlowRequest(
        model=of.model, prompt=of.prompt, interventions=of.interventions, sources=of.sources
    ),
    "locate": lambda of, likeliest: LocationRequest(
        model=of.model, prompt=of.prompt, interventions=of.interventions, target=of.target, against=of.against
    ),
    "lens": _lens,
    "heads": lambda of, likeliest: AttentionRequest(model=of.model, prompt=of.prompt, interventions=of.interventions),
    "attribute": _attribution,
}


def request_of(analysis: str, asked: Asked, likeliest: int | None = None) -> Request[Any]:
    """The request by which one of `ANALYSES` looks at a prompt; `likeliest` is the target where none was given.

    Raises:
        BadPrompt: no such analysis, or no target.
    """
    return _REQUESTS[check_analyses((analysis,))[0]](asked, likeliest)


def check_analyses(names: Sequence[str]) -> tuple[str, ...]:
    """Analyses by name, each once and in their order.

    Raises:
        BadPrompt: another name, or none.
    """
    unknown = [name for name in names if name not in ANALYSES]
    if unknown or not names:
        what = f"There is no analysis '{unknown[0]}' of many prompts" if unknown else "No analysis was named"
        raise BadPrompt(f"{what}. Use some of: {', '.join(ANALYSES)}.")
    return tuple(name for name in ANALYSES if name in names)


@dataclass(frozen=True)
class HeadOver:
    """One head over a data set. `prompts` has those on which it writes most, `tokens` where the last position looks, `kinds` what
    it was."""

    layer: int
    head: int
    prompts: pd.DataFrame
    """number, id, group, prompt, link, target, logit, kind, looks_token, looks_weight"""
    tokens: pd.DataFrame
    """token, prompts (how many), weight and logit (means over them), link (of the one on which it writes most)"""
    kinds: pd.DataFrame
    """kind, prompts, share"""


@dataclass(frozen=True)
class Batch(Result):
    """A data set of many prompts, as opened."""

    folder: str
    about: dict[str, Any] = field(repr=False)
    """what was asked: model, analyses, settings"""
    files: tuple[str, ...] = field(repr=False)
    """names of the parts, which are the same in every table"""
    group: str | None = None
    """whose prompts alone are looked at"""

    @property
    def analyses(self) -> tuple[str, ...]:
        return tuple(self.about["analyses"])

    @property
    def model(self) -> str:
        return str(self.about["model"]["name"])

    def table(self, name: str) -> "pyarrow.dataset.Dataset":
        """One of the tables, unread: `prompts` or an analysis.

        Raises:
            BadPrompt: the data set has no such table.
        """
        import pyarrow.dataset as ds

        if name != PROMPTS and name not in self.analyses:
            raise BadPrompt(f"This data set has no '{name}': it was made of {', '.join(self.analyses)}.")
        found: pyarrow.dataset.Dataset = ds.dataset([str(Path(self.folder, name, file)) for file in self.files], format="parquet")
        return found

    def rows(self, name: str, columns: Sequence[str], where: Any = None) -> Iterator[pd.DataFrame]:
        """Some columns of a table, a batch of rows at a time; `where` is a filter of pyarrow's."""
        wanted = self._numbers
        with _readable(self.folder):
            for batch in self.table(name).to_batches(columns=list(dict.fromkeys(["number", *columns])), filter=where):
                frame = batch.to_pandas()
                frame = frame.astype({name: "str" for name in frame.select_dtypes("category")})
                if wanted is not None:
                    frame = frame[frame["number"].isin(wanted)]
                if len(frame):
                    yield frame

    @cached_property
    def _numbers(self) -> "np.ndarray | None":
        """Of the group's prompts; None for all."""
        if self.group is None:
            return None
        import pyarrow.dataset as ds

        found = replace(self, group=None).rows(PROMPTS, ["group"], ds.field("group") == self.group)
        return np.concatenate([np.zeros(0, int), *(frame["number"].to_numpy() for frame in found)])

    def of_group(self, group: str | None) -> "Batch":
        """The same of one group's prompts; None for all."""
        return replace(self, group=group)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """All that there are."""
        return tuple(
            sorted({one for frame in replace(self, group=None).rows(PROMPTS, ["group"]) for one in frame["group"].dropna()})
        )

    @cached_property
    def counts(self) -> tuple[int, int]:
        """How many prompts there are, and how many of them have an error."""
        rows = failed = 0
        for frame in self.rows(PROMPTS, ["error"]):
            rows, failed = rows + len(frame), failed + int(frame["error"].notna().sum())
        return rows, failed

    def ran(self, *analyses: str) -> int:
        """On how many prompts one of these analyses gave something."""
        found = [frame["number"].unique() for name in analyses if name in self.analyses for frame in self.rows(name, [])]
        return len(np.unique(np.concatenate([np.zeros(0, int), *found])))

    @cached_property
    def heads(self) -> tuple[int, int]:
        """How many layers there are, and heads in each, where a table says it; else none."""
        for name in ("heads", "attribute"):
            frame = next(self.rows(name, ["layer", "head"]), None) if name in self.analyses else None
            if frame is not None:
                return int(frame["layer"].max()) + 1, int(frame["head"].max()) + 1
        return 0, 0

    def first(self, most: int) -> pd.DataFrame:
        """Some prompts, as `to_frame` has them, without reading all: those of the first parts."""
        import pyarrow.dataset as ds

        names = [name for name in self.table(PROMPTS).schema.names if name != "digest"]
        where = None if self.group is None else ds.field("group") == self.group
        with _readable(self.folder):
            found: pd.DataFrame = self.table(PROMPTS).head(most, columns=names, filter=where).to_pandas()
        return found.sort_values("number", ignore_index=True)

    def to_frame(self) -> pd.DataFrame:
        """One row a prompt, in order: number, id, group, prompt, what was asked, what the model says, errors, the addresses."""
        names = [name for name in self.table(PROMPTS).schema.names if name != "digest"]
        return _joined(self.rows(PROMPTS, names), names).sort_values("number", ignore_index=True)

    def failures(self) -> pd.DataFrame:
        """Prompts that failed, wholly or in an analysis: number, id, prompt, error, link."""
        import pyarrow.dataset as ds

        names = ["number", "id", "prompt", "error", "link"]
        found = _joined(self.rows(PROMPTS, names, ds.field("error").is_valid()), names)
        return found.sort_values("number", ignore_index=True)

    def shares(self, by: str = "relative", value: str = "share") -> pd.DataFrame:
        """What the last position is made of: layer, place (or kind), share, prompts.

        by = "relative": where sources stand, the first token and then tenths of the prompt; "kind": by kind of token. A share is
        the mean over prompts of the sum over their sources there, so that those of a layer sum to 1; `value` is "share" (norm) or
        "projection".

        Raises:
            BadPrompt: another word, or a data set without `flow`.
        """
        if by not in ("relative", "kind") or value not in ("share", "projection"):
            raise BadPrompt(f"Shares are by 'relative' or 'kind', of 'share' or 'projection'; not by '{by}' of '{value}'.")
        of, seen = ("place" if by == "relative" else "kind"), 0
        sums: list[pd.DataFrame] = []
        for frame in self.rows("flow", ["layer", "position", "relative", "kind", value]):
            seen += int(((frame["layer"] == 0) & (frame["position"] == 0)).sum())  # each prompt has one such row
            key = _places(frame) if by == "relative" else frame["kind"].where(frame["position"] >= 0, BEYOND)
            sums = [_added(sums, frame.assign(**{of: key}).astype({value: float}).groupby(["layer", of])[value].sum())]
        if not sums:
            return pd.DataFrame(columns=["layer", of, "share", "prompts"])
        table = sums[0].rename(columns={value: "share"})
        order = {name: number for number, name in enumerate(PLACES if by == "relative" else [*KINDS, BEYOND])}
        table = table.sort_values(["layer", of], key=lambda c: c.map(order) if c.name == of else c, ignore_index=True)
        return table.assign(share=table["share"] / seen, prompts=seen)

    def head_kinds(self) -> pd.DataFrame:
        """On how many prompts each head was of which kind: layer, head, kind, prompts, share."""
        sums: list[pd.DataFrame] = []
        for frame in self.rows("heads", ["layer", "head", "kind"]):
            sums = [_added(sums, frame.groupby(["layer", "head", "kind"])["number"].count().rename("prompts"))]
        table = sums[0] if sums else pd.DataFrame(columns=["layer", "head", "kind", "prompts"])
        return table.assign(share=table["prompts"] / table.groupby(["layer", "head"])["prompts"].transform("sum"))

    def head_labels(self) -> pd.DataFrame:
        """The kind that each head is on most prompts: layer, head, kind, prompts, share (of all prompts)."""
        table = self.head_kinds().sort_values("prompts", ascending=False, kind="stable")
        return table.drop_duplicates(["layer", "head"]).sort_values(["layer", "head"], ignore_index=True)

    def moves(self) -> pd.DataFrame:
        """Where the answer moves: layer, prompts (on which the heads of this layer bring most of it to the last position), share
        (of all prompts), arrives (mean over all of what they bring, in logits)."""
        sums: list[pd.DataFrame] = []
        best: dict[int, tuple[float, int]] = {}
        for frame in self.rows("locate", ["layer", "arrives"]):
            sums = [_added(sums, frame.groupby("layer")["arrives"].sum())]
            most = frame.loc[frame.groupby("number")["arrives"].idxmax()]
            for number, layer, value in zip(most["number"], most["layer"], most["arrives"], strict=True):
                best[number] = max(best.get(number, (-np.inf, -1)), (float(value), int(layer)))
        if not sums:
            return pd.DataFrame(columns=["layer", "prompts", "share", "arrives"])
        layers = sums[0]["layer"].to_numpy()
        chosen = pd.Series([layer for value, layer in best.values() if value > 0], dtype=int).value_counts()
        prompts = chosen.reindex(layers, fill_value=0).to_numpy()
        return pd.DataFrame({
            "layer": layers, "prompts": prompts, "share": prompts / len(best), "arrives": sums[0]["arrives"] / len(best),
        })  # fmt: skip

    def errors(self) -> pd.DataFrame:
        """How exact it was: analysis, at_most (a power of ten that the error does not exceed; 0 of none, infinity of one that is
        no number), prompts."""
        counts: dict[tuple[str, int], int] = {}
        names = {f"max_error_{name}": name for name in self.analyses}
        for frame in self.rows(PROMPTS, list(names)):
            for column, name in names.items():
                known = frame[column].dropna().to_numpy()
                with np.errstate(divide="ignore"):
                    power = np.clip(np.ceil(np.log10(known) - 1e-9), _NO_ERROR, _NO_NUMBER).astype(int)
                for one, n in zip(*np.unique(power, return_counts=True), strict=True):
                    counts[name, int(one)] = counts.get((name, int(one)), 0) + int(n)
        of = {_NO_ERROR: 0.0, _NO_NUMBER: float("inf")}
        rows = [(name, of.get(power, 10.0**power), n) for (name, power), n in sorted(counts.items())]
        return pd.DataFrame(rows, columns=["analysis", "at_most", "prompts"])

    def head_writes(self) -> pd.DataFrame:
        """What each head writes of the target's logit (of the likeliest next token's, where nothing was attributed): layer, head,
        logit (mean over prompts), prompts.

        Raises:
            BadPrompt: a data set with neither `heads` nor `attribute`.
        """
        import pyarrow.dataset as ds

        attributed = "attribute" in self.analyses
        name, value, where = ("attribute", "logit", ds.field("part") == "head") if attributed else ("heads", "writes", None)
        sums: list[pd.DataFrame] = []
        counts: list[pd.DataFrame] = []
        for frame in self.rows(name, ["layer", "head", value], where):
            of = frame.astype({value: float}).groupby(["layer", "head"])[value]
            sums, counts = [_added(sums, of.sum())], [_added(counts, of.count())]
        if not sums:
            return pd.DataFrame(columns=["layer", "head", "logit", "prompts"])
        prompts = counts[0][value].to_numpy()
        return sums[0].rename(columns={value: "logit"}).assign(logit=sums[0][value] / prompts, prompts=prompts)

    def head(self, layer: int, head: int, most: int = 20) -> HeadOver:
        """One head over all prompts: on which it writes most of the target's logit (of the likeliest next token's, where nothing
        was attributed), what the last position looks at, and of which kind it was.

        Raises:
            BadPrompt: a data set with neither `heads` nor `attribute`, or no such head.
        """
        import pyarrow.dataset as ds

        if not {"heads", "attribute"} & set(self.analyses):
            raise BadPrompt("This data set says nothing of heads: make one with 'heads' or 'attribute' among its analyses.")
        where = (ds.field("layer") == layer) & (ds.field("head") == head)
        columns = ["kind", "looks_token", "looks_weight", "writes"]
        seen = pd.DataFrame(columns=["number", *columns])
        if "heads" in self.analyses:
            seen = _joined(self.rows("heads", columns, where), ["number", *columns])
        written = seen[["number", "writes"]].rename(columns={"writes": "logit"})
        if "attribute" in self.analyses:
            written = _joined(self.rows("attribute", ["logit"], where & (ds.field("part") == "head")), ["number", "logit"])
        if written.empty:
            raise BadPrompt(f"There is no head {layer}.{head} in this data set.")
        found = written.merge(seen.drop(columns="writes"), on="number", how="left")
        found = found.sort_values(["logit", "number"], ascending=[False, True], ignore_index=True)
        tokens = (
            found.dropna(subset="looks_token").groupby("looks_token", sort=False)
            .agg(prompts=("number", "count"), weight=("looks_weight", "mean"), logit=("logit", "mean"), best=("number", "first"))
            .reset_index().rename(columns={"looks_token": "token"})
            .sort_values(["logit", "token"], ascending=[False, True], ignore_index=True).head(most)
        )  # fmt: skip
        kinds = found["kind"].value_counts().rename_axis("kind").reset_index(name="prompts")
        top = found.head(most)
        about = self._about([*top["number"], *tokens["best"]], layer, head)
        names = ["number", "id", "group", "prompt", "target"]
        top = top.merge(about[[*names, "link"]], on="number", how="left")
        links = about.set_index("number")["link"]
        return HeadOver(
            layer, head, top[[*names[:-1], "link", "target", "logit", "kind", "looks_token", "looks_weight"]],
            tokens.assign(link=tokens["best"].map(links)).drop(columns="best"),
            kinds.assign(share=kinds["prompts"] / max(1, int(kinds["prompts"].sum()))),
        )  # fmt: skip

    def _about(self, numbers: Sequence[int], layer: int, head: int) -> pd.DataFrame:
        """Of some prompts: number, id, group, prompt, target (the likeliest token where none was asked for), link (to the head's
        map)."""
        import pyarrow.dataset as ds

        names = ["number", "id", "group", "prompt", "target", "top", "link_heads"]
        found = _joined(self.rows(PROMPTS, names, ds.field("number").isin([int(n) for n in set(numbers)])), names)
        place = f"&layer={layer}&head={head}&attn_level=one+head"
        link = found["link_heads"].where(found["link_heads"] == "", found["link_heads"] + place)
        return found.assign(target=found["target"].fillna(found["top"]), link=link).drop(columns=["top", "link_heads"])


PLACES = ("first token", *(f"{100 * n // BINS}–{100 * (n + 1) // BINS}%" for n in range(BINS)), BEYOND)
"""of a prompt, from its beginning to its end"""


def _places(frame: pd.DataFrame) -> pd.Series:
    """Where in the prompt each source stands."""
    bins = np.minimum((frame["relative"].fillna(0).to_numpy() * BINS).astype(int), BINS - 1) + 1
    bins = np.where(frame["position"] == 0, 0, np.where(frame["position"] < 0, len(PLACES) - 1, bins))
    return pd.Series(np.array(PLACES, dtype=object)[bins], frame.index)


@contextmanager
def _readable(folder: str) -> Iterator[None]:
    """
    Raises:
        InfoflowError: a file that is none of ours.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError):
        raise InfoflowError(
            f"The data set in '{folder}' can't be read: a file of it is damaged, or is none. Make it anew."
        ) from None


def _added(before: list[pd.DataFrame], more: pd.Series) -> pd.DataFrame:
    """Sums by key of what was seen and of what came, as a table."""
    keys = list(more.index.names)
    both = pd.concat([*before, more.reset_index()], ignore_index=True)
    return both.groupby(keys, as_index=False)[str(more.name)].sum()


def _joined(parts: Iterator[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    found = list(parts)
    return pd.concat(found, ignore_index=True)[list(columns)] if found else pd.DataFrame(columns=list(columns))


def manifests(folder: str | Path) -> list[dict[str, Any]]:
    """What the data sets in a folder say of themselves; of shards each has its own.

    Raises:
        InfoflowError: one that can't be read, or is of another version.
    """
    found = []
    place = Path(folder).expanduser()
    for path in sorted([*place.glob("batch.json"), *place.glob("batch-*-of-*.json")]):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            version = about["batch"]
            check_analyses(list(about["analyses"]))
            about["model"]["name"], about["shard"][1], dict(about["settings"])
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError, BadPrompt):
            raise InfoflowError(
                f"'{path}' is no description of a data set of prompts. Move it away, or make the set anew."
            ) from None
        if version != SCHEMA:
            raise InfoflowError(f"'{path}' is of version {version}, and this reads {SCHEMA}. Make the data set anew.")
        found.append(about)
    return found


def differ(one: dict[str, Any], other: dict[str, Any]) -> str:
    """In what two data sets differ, in words; '' where their rows belong together. On which device they were made doesn't
    matter."""
    for name in ("name", "revision", "dtype", "host"):
        if one["model"].get(name) != other["model"].get(name):
            what = {"revision": "weights", "name": "model", "host": "service"}.get(name, name)
            return f"its {what} is {one['model'].get(name)!r}, and not {other['model'].get(name)!r}"
    if one["analyses"] != other["analyses"]:
        return f"its analyses are {', '.join(one['analyses'])}, and not {', '.join(other['analyses'])}"
    for name in sorted({*one["settings"], *other["settings"]}):
        if one["settings"].get(name) != other["settings"].get(name):
            return f"its {name} is {one['settings'].get(name)!r}, and not {other['settings'].get(name)!r}"
    if one["shard"][1] != other["shard"][1]:
        return f"it is cut into {one['shard'][1]} shards, and not into {other['shard'][1]}"
    return ""


def open_batch(folder: str | Path) -> Batch:
    """A data set that `infoflow batch` wrote, or several shards of one put together; nothing is read yet.

    Raises:
        InfoflowError: no data set, one that is not whole, or shards that do not belong together.
    """
    place = Path(folder).expanduser()
    about = manifests(place) if place.is_dir() else []
    if not about:
        raise InfoflowError(f"There is no data set of prompts in '{folder}'. Give the folder that `infoflow batch --out` wrote.")
    for other in about[1:]:
        if why := differ(about[0], other):
            raise InfoflowError(f"The data sets in '{folder}' do not belong together: of one {why}. Keep them apart.")
    files = tuple(sorted(path.name for path in (place / PROMPTS).glob("[!.]*.parquet")))
    for name in about[0]["analyses"]:
        missing = [file for file in files if not (place / name / file).is_file()]
        if missing:
            raise InfoflowError(f"'{place / name / missing[0]}' is missing: the data set is not whole. Make it anew.")
    if not files:
        raise InfoflowError(f"The data set in '{folder}' has no rows yet. Run `infoflow batch` on.")
    found = Batch(str(place), about[0], files)
    numbers = np.concatenate([frame["number"].to_numpy() for frame in found.rows(PROMPTS, [])])
    if len(np.unique(numbers)) != len(numbers):
        raise InfoflowError(f"Some prompts are twice in '{folder}': it holds data sets of different files. Keep them apart.")
    return found
