"""How the two runs of a comparison are called, in its words and pictures."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Names:
    """What the two runs and their difference are called, and how a sentence says each."""

    a: str = "A"
    b: str = "B"
    difference: str = "B − A"
    moved: str = "From A to B"
    """before what became of something"""
    where: tuple[str, str] = ("in A", "in B")
    """after a value of each"""

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """The same table, its columns a, b and difference called so."""
        return table.rename(columns={"a": self.a, "b": self.b, "difference": self.difference})


PLAIN = Names()
