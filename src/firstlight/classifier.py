"""An encoder with the linear classifier on top of it, as fine-tuning and linear probes leave them."""

from pathlib import Path

from torch import nn

from . import encoder_folder
from .encoder import Encoder


def load_classifier(path: str | Path, *, size: int | None = None, channels: int | None = None) -> nn.Sequential:
    """The encoder and the linear classifier that ``Encoder.save(head=...)`` wrote, in evaluation mode.

    Args:
        path: the classifier's folder, such as ``runs/finetune-001/classifier``.
        size: another side of the pictures, as in ``Encoder.load``.
        channels: 1 or 3, likewise.

    Returns:
        A module from normalised pictures ``[B, channels, S, S]`` to logits ``[B, classes]``.

    Raises:
        InputError: if there is no classifier.
        CorruptError: if the weights are not those that were written.
    """
    encoder = Encoder.load(path, size=size, channels=channels)
    folder = encoder_folder.folder_of(Path(path))
    weights = encoder_folder.read_head(folder, encoder_folder.read_config(folder), encoder.net.state_dict())
    head = nn.Linear(encoder.width, len(weights["weight"]))
    head.load_state_dict(weights)
    return nn.Sequential(encoder, head).eval()
