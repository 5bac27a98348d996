"""What numbers a setting may be, said in its type: ``temperature: Temperature``. ``spec.check`` holds settings to it.

Only what holds for every encoder and every training set stands here; what depends on them, a constructor checks. Ends
are as far as anybody has gone and well beyond: what lies outside is a slip of the keyboard, and would be found out by
a lack of memory or by a training that learns nothing.
"""

from dataclasses import dataclass
from typing import Annotated

__all__ = [
    "Amount",
    "Count",
    "Embedding",
    "Few",
    "Layers",
    "Range",
    "Rate",
    "Ratios",
    "Seed",
    "Several",
    "Share",
    "Shares",
    "Side",
    "Temperature",
    "Temperatures",
    "Weight",
    "Width",
]


@dataclass(frozen=True)
class Range:
    """The least and the most that a number may be, both allowed themselves."""

    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.least:,} to {self.most:,}"

    def nearest(self, number: float) -> float:
        """The nearest number inside; ``number`` itself, if it is."""
        return min(max(number, self.least), self.most)


Share = Annotated[float, Range(0, 1)]
"""of a whole, such as of the old value in a momentum or of the training in a warm-up; a probability"""
Shares = tuple[Share, Share]
"""the least and the most"""
Ratios = tuple[Annotated[float, Range(0.01, 100)], Annotated[float, Range(0.01, 100)]]
"""the least and the most of width divided by height"""
Temperature = Annotated[float, Range(0.001, 100)]
"""by which logits are divided"""
Temperatures = tuple[Temperature, Temperature]
"""the first and the last"""
Weight = Annotated[float, Range(0, 1000)]
"""of a term beside another, 0 to leave it out"""
Rate = Annotated[float, Range(0, 1_000_000)]
"""at which weights move"""
Width = Annotated[int, Range(1, 65_536)]
"""of a layer"""
Embedding = Annotated[int, Range(2, 65_536)]
"""width of vectors that are compared by their angle: a single number has none"""
Layers = Annotated[int, Range(1, 100)]
"""one after the other"""
Side = Annotated[int, Range(1, 4096)]
"""of a square, in pixels"""
Few = Annotated[int, Range(0, 100)]
"""of what every picture passes through or has many of, such as small crops; 0 for none"""
Amount = Annotated[int, Range(0, 1_000_000)]
"""how many, 0 for none"""
Count = Annotated[int, Range(1, 1_000_000)]
"""how many, at least one"""
Several = Annotated[int, Range(2, 1_000_000)]
"""how many, where one alone says nothing, such as prototypes to choose among"""
Seed = Annotated[int, Range(-(2**63), 2**63 - 1)]
"""of random draws"""
