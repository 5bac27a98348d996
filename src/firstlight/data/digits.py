"""1,797 real handwritten digits, 8 x 8 pixels, from the file that scikit-learn installs: real data without a network.

E. Alpaydin, C. Kaynak (1998). https://archive.ics.uci.edu/dataset/80
"""

import numpy as np

from . import Split, Subset
from .held import HeldPictures
from .split import held_out

__all__ = ["digits", "split_digits"]


def digits() -> HeldPictures:
    """All digits, ten classes ``"0"`` to ``"9"``; the stored counts 0 to 16 become 0 to 255.

    They stay 8 x 8; whoever shows them enlarges them as any other picture.
    """
    from sklearn.datasets import load_digits  # half a second, so only where it is wanted

    counts, labels = load_digits(return_X_y=True)
    pixels = np.rint(counts.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    names = [f"digit {number} (a {label})" for number, label in enumerate(labels)]
    return HeldPictures(list(pixels), labels, [str(digit) for digit in range(10)], names)


def split_digits(*, fraction: float = 0.25, seed: int = 0) -> Split:
    """The digits, divided by content as any other folder."""
    pictures = digits()
    test = held_out(pictures.digests, pictures.labels, fraction=fraction, seed=seed)
    return Split(Subset(pictures, np.flatnonzero(~test)), Subset(pictures, np.flatnonzero(test)))
