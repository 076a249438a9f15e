"""How long a picture as a file takes: the first one, for which a process starts that reads Vega, and those after it.

    python benchmarks/pictures.py            # medians of five, each time with a process of its own for the first

Whole: the chart is made, converted and written.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import infoflow
from infoflow.files import formats
from infoflow.pictures.converter import CONVERTER
from infoflow.pictures.picture import picture_of

PROMPT = "When Mary and John went to the store, John gave a drink to"
KINDS = ("png", "svg", "pdf", "html")


def seconds(kind: str, result: "infoflow.Flow", folder: Path) -> float:
    begun = time.perf_counter()
    formats.write(result, folder / f"flow.{kind}", lambda: picture_of(result), result.to_frame())
    return time.perf_counter() - begun


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--times", type=int, default=5)
    times = options.parse_args().times
    result = infoflow.decompose(infoflow.load_model("demo"), PROMPT)
    print("| | first | after others |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        seconds("svg", result, Path(place))  # what this process imports
        for kind in KINDS:
            first, later = [], []
            for _ in range(times):
                CONVERTER.close()
                first.append(seconds(kind, result, Path(place)))
                later.append(seconds(kind, result, Path(place)))
            print(f"| {kind.upper()} | {statistics.median(first):.2f} s | {statistics.median(later):.2f} s |", flush=True)


if __name__ == "__main__":
    main()
