"""Many people at once: the real server, driven by visitors that speak Streamlit's own protocol, and by programs over HTTP.

    python benchmarks/load.py --sessions 20                  # five minutes
    python benchmarks/load.py --sessions 50 --minutes 5

Every visitor asks questions of their own, on several pages, with and without an intervention, and reads for some seconds
between two of them. What each was shown is then held against the same questions asked by one visitor alone, and what programs
were answered against the package itself. Each prompt holds a word of its visitor, which nobody else may be sent. Before them a
crowd as large comes for as long and leaves, which fills all that is bounded: the memory held then is the level to return to.
"""

import argparse
import asyncio
import json
import random
import re
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tqdm import tqdm

from tests.helpers.app import App, running
from tests.helpers.visitor import Visitor

WORD = re.compile(rb"Zq\d{3}x")
TEXTS = (
    "{} gave a drink to Mary. Mary gave a book to",
    "The capital of France is Paris. {} said that the capital of Italy is",
    "When {} and John went to the store, John gave a drink to",
)
HALF = '{"kind":"scale","site":"mlp","factor":0.5,"layers":[2,3]}'
PAGES: tuple[tuple[str, dict[str, str]], ...] = (
    ("/", {}),
    ("/attention", {}),
    ("/answer", {}),
    ("/", {"change": HALF}),
    ("/logit_lens", {}),
    ("/activations", {}),
    ("/interventions", {"change": HALF}),
    ("/generation", {}),
)
ASKED = (
    ("flow", {}),
    ("locate", {}),
    ("lens", {"k": 3}),
    ("attention", {}),
    ("flow", {"interventions": [json.loads(HALF)]}),
)
READS = 4.0
"""seconds between two questions, in the mean"""
SETTLES = 150.0
"""seconds in which memory must be back: Streamlit keeps who has left for two minutes"""
MORE = 0.10
"""by which it may be above its level"""


@dataclass
class Seen:
    """What one visitor asked, and was shown."""

    word: str
    steps: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    """page, address, digests of its charts"""
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    busy: int = 0
    strange: set[str] = field(default_factory=set)
    """others' words"""

    def hear(self, message: bytes) -> None:
        """Look at a message as it came."""
        self.strange |= {found.decode() for found in WORD.findall(message)} - {self.word}

    def question(self, number: int) -> tuple[str, dict[str, str]]:
        """Which page is opened as this visitor's so-manieth, and with which address."""
        offset = int(self.word[2:5])
        page, more = PAGES[(offset + number) % len(PAGES)]
        prompt = TEXTS[(offset + number // 2) % len(TEXTS)].format(f"{self.word} {number // 3}")
        return page, {"prompt": prompt, **more}


@dataclass
class Answered:
    """What one program asked, and was answered."""

    word: str
    answers: list[tuple[str, dict[str, Any], bytes]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    busy: int = 0
    strange: set[str] = field(default_factory=set)


@dataclass
class Watched:
    """What the app said of itself, every second."""

    waiting: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    sessions: list[float] = field(default_factory=list)


async def visits(app: App, seen: Seen, until: float, reads: float) -> None:
    """One visitor, for as long as it goes on. The draw of their pauses is their own."""
    draw = random.Random(seen.word)
    await asyncio.sleep(draw.uniform(0, reads))
    async with Visitor(app.address, seen.hear) as visitor:
        while time.monotonic() < until:
            await step(visitor, seen, *seen.question(len(seen.steps) + seen.busy))
            await asyncio.sleep(draw.expovariate(1 / reads) if reads else 0)


async def step(visitor: Visitor, seen: Seen, page: str, address: dict[str, str]) -> None:
    """A page is opened and waited for."""
    begun = time.monotonic()
    await visitor.open(page, **address)
    seen.seconds.append(time.monotonic() - begun)
    refused = [said for said in visitor.told() if "Try again in" in said]
    seen.busy += bool(refused)
    seen.failed += [f"{page}: {said}" for said in (*visitor.failures(), *visitor.told()) if said not in refused]
    if refused:  # what it shows then is no answer
        return
    charts = visitor.charts()
    seen.failed += [] if charts else [f"{page}: it shows no chart"]
    seen.steps.append((page, address, charts))


async def asks(app: App, told: Answered, until: float, reads: float) -> None:
    """One program over HTTP."""
    draw = random.Random(told.word)
    async with httpx.AsyncClient(base_url=app.address, timeout=600) as client:
        while time.monotonic() < until:
            number = len(told.answers) + told.busy
            method, more = ASKED[number % len(ASKED)]
            body = {"prompt": TEXTS[number % len(TEXTS)].format(f"{told.word} {number}"), **more}
            begun = time.monotonic()
            answer = await client.post(f"/api/{method}", json=body)
            told.seconds.append(time.monotonic() - begun)
            told.strange |= {found.decode() for found in WORD.findall(answer.content)} - {told.word}
            if answer.status_code == 200:
                told.answers.append((method, body, answer.content))
            elif answer.status_code == 429:
                told.busy += 1
            else:
                told.failed.append(f"{method}: {answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(draw.expovariate(1 / reads) if reads else 0)


async def watches(app: App, token: str, watched: Watched, until: float) -> None:
    """The app's own figures."""
    async with httpx.AsyncClient(base_url=app.address, timeout=600, headers={"Authorization": f"Bearer {token}"}) as client:
        while time.monotonic() < until:
            text = (await client.get("/api/metrics")).text
            now = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
            watched.waiting.append(now.get("infoflow_waiting_runs", 0))
            watched.resident.append(now["infoflow_resident_bytes"])
            watched.sessions.append(now["infoflow_sessions"])
            await asyncio.sleep(1)


async def driven(
    app: App, token: str, numbers: Sequence[int], programs: int, seconds: float, reads: float
) -> tuple[list[Seen], list[Answered], Watched]:
    """All of them at once; whatever ends one of them early ends the benchmark."""
    seen = [Seen(f"Zq{number:03d}x") for number in numbers]
    told = [Answered(f"Zq{500 + number:03d}x") for number in range(programs)]
    watched, until = Watched(), time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        group.create_task(watches(app, token, watched, until))
        for visitor in seen:
            group.create_task(visits(app, visitor, until, reads))
        for program in told:
            group.create_task(asks(app, program, until, reads))
    return seen, told, watched


async def warmed(app: App) -> None:
    """One visitor on every page, and every analysis once over HTTP: what comes once has come."""
    seen = Seen("Zq999x")
    async with Visitor(app.address, seen.hear) as visitor:
        for number in range(len(PAGES)):
            await step(visitor, seen, *seen.question(number))
    async with httpx.AsyncClient(base_url=app.address, timeout=600) as client:
        for method, more in ASKED:
            await client.post(f"/api/{method}", json={"prompt": "Warm", **more})
    assert not seen.failed, seen.failed


async def back(app: App, level: int, patience: float) -> tuple[int, float]:
    """The memory that is held once everyone has left, and after how many seconds it was back at its level or was given up."""
    begun = time.monotonic()
    while (now := app.resident) > level * (1 + MORE) and time.monotonic() - begun < patience:
        async with Visitor(app.address):  # Streamlit looks for who has left when somebody comes or goes
            await asyncio.sleep(2)
    return now, time.monotonic() - begun


async def alone(app: App, seen: Sequence[Seen], most: int | None = None) -> tuple[int, list[str]]:
    """Each visitor's questions once more, by one at a time: how many pages were held against what was shown, which differ."""
    count, differ = 0, []
    for one in tqdm(seen, desc="alone", leave=False, disable=None):
        again = Seen(one.word)
        async with Visitor(app.address, again.hear) as visitor:
            for page, address, charts in one.steps[:most]:
                again.steps.clear()
                await step(visitor, again, page, address)
                count += 1
                shown = again.steps[0][2] if again.steps else {}
                if shown != charts:
                    differ.append(f"{page} {address}: {set(charts.items()) ^ set(shown.items())}"[:400])
    return count, differ


def by_the_package(told: Sequence[Answered]) -> tuple[int, list[str]]:
    """The same for programs: against the package, in this process."""
    import infoflow
    from infoflow.analyses.perform import self_tested
    from infoflow.server import answers, asking

    model, count, differ = infoflow.load_model("demo"), 0, []
    self_tested(model, lambda doing, fraction: None)  # its verdict is in every answer
    for program in told:
        for method, body, answer in program.answers:
            expected = answers.answer(asking.asked(method, body).exactly(model).run(model))
            count += 1
            if json.loads(expected) != json.loads(answer):
                differ.append(f"{method} {body}")
    return count, differ


def runs(log: Path) -> list[dict[str, Any]]:
    """The lines that the app wrote of its runs."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"time"')]


def percentiles(seconds: Sequence[float]) -> str:
    """p50, p90, p99 and the largest."""
    if len(seconds) < 2:
        return "– | – | – | –"
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return " | ".join(f"{value:.2f} s" for value in (cuts[49], cuts[89], cuts[98], max(seconds)))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sessions", type=int, default=20)
    options.add_argument("--programs", type=int, help="clients over HTTP (default: a tenth of the sessions)")
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument("--reads", type=float, default=READS, help="seconds between two questions, in the mean")
    options.add_argument("--held-against", type=int, help="questions of each visitor that are asked again alone (default: all)")
    options.add_argument("--short", action="store_true", help="no crowd before, and memory is not judged")
    asked = options.parse_args()
    programs = asked.programs if asked.programs is not None else max(1, asked.sessions // 10)
    token, folder = secrets.token_hex(16), Path(tempfile.mkdtemp())
    settings = {"hosted": "1", "owner_token": token, "runs_per_minute": "1000000"}
    with running(folder / "load.log", **settings) as app:
        begun = app.resident
        if not asked.short:
            asyncio.run(warmed(app))
            begun = app.resident
            asyncio.run(driven(app, token, range(600, 600 + asked.sessions), programs, 60 * asked.minutes, asked.reads))
        level = asyncio.run(back(app, 0, 0.0 if asked.short else SETTLES))[0]
        before = len(runs(app.log))
        print(f"Warm: {begun / 1e6:,.0f} MB resident; after a first crowd: {level / 1e6:,.0f} MB", flush=True)
        seen, told, watched = asyncio.run(driven(app, token, range(asked.sessions), programs, 60 * asked.minutes, asked.reads))
        end = app.resident
        made = runs(app.log)[before:]
        after, took = asyncio.run(back(app, level, 0.0 if asked.short else SETTLES))
    pages = [s for one in seen for s in one.seconds]
    ran = [run for run in made if run["outcome"] == "ran"]
    print(
        f"""
{asked.sessions} visitors and {programs} programs for {asked.minutes:g} minutes, {asked.reads:g} s between two questions

| | number | p50 | p90 | p99 | longest |
|---|---|---|---|---|---|
| whole page | {len(pages)} | {percentiles(pages)} |
| answer over HTTP | {sum(len(t.answers) for t in told)} | {percentiles([s for t in told for s in t.seconds])} |
| run, with its wait | {len(ran)} | {percentiles([run["seconds"] for run in ran])} |
| wait of it | {len(ran)} | {percentiles([run["waited"] for run in ran])} |

Runs a minute: {len(ran) / asked.minutes:.0f}. Outcomes: {counted(made)}
Waiting for the model: {statistics.mean(watched.waiting):.1f} in the mean, at most {max(watched.waiting):.0f}; \
pages open at once: {max(watched.sessions):.0f}
Told to come again: {sum(one.busy for one in (*seen, *told))}
Memory: {level / 1e6:,.0f} MB before, at most {max(watched.resident) / 1e6:,.0f}, {end / 1e6:,.0f} at the end, \
{after / 1e6:,.0f} MB {took:.0f} s later ({after / level - 1:+.0%})""",
        flush=True,
    )
    with running(folder / "alone.log", **settings) as app:
        held, differ = asyncio.run(alone(app, seen, asked.held_against))
    answered, others = by_the_package(told)
    wrong = [*differ, *others]
    failed = [said for one in (*seen, *told) for said in one.failed]
    strange = [f"{one.word} was sent {sorted(one.strange)}" for one in (*seen, *told) if one.strange]
    print(f"\nHeld against one visitor alone: {held} pages; against the package: {answered} answers. Different: {len(wrong)}")
    print(f"Failed: {len(failed)}. Sent another's word: {len(strange)}")
    for said in (*wrong[:5], *failed[:5], *strange[:5]):
        print(f"  {said}")
    nothing = not held or programs and not answered
    return 1 if wrong or failed or strange or nothing or not asked.short and after > level * (1 + MORE) else 0


def counted(made: Sequence[dict[str, Any]]) -> str:
    """Outcomes with their numbers."""
    names = [run["outcome"] for run in made]
    return ", ".join(f"{name} {names.count(name)}" for name in sorted(set(names)))


if __name__ == "__main__":
    sys.exit(main())
