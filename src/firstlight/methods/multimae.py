"""MultiMAE: hide most of a picture, of its depth and of its classes, and paint each from what is left of all three.

Bachmann et al., ECCV 2022. https://arxiv.org/abs/2204.01678
"""

import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..parts.decoder import CrossDecoder, initialise
from ..parts.masks import shared_mask
from ..parts.modalities import Given, Modalities
from ..parts.positions import fix
from ..ranges import Amount, Few, Share, Width
from ..views import Batch, View
from . import Method, Optimisation


class MultiMAE(Method):
    """Reconstructs pictures and their maps of depth and classes, whichever there are, from few tokens of all.

    Where a sample lacks a map, its tokens go to the others and nothing is asked of it; of pictures without any map
    remains an MAE with a shallow decoder. The encoder stays a ViT for pictures: the maps' projections are not kept.

    Differs from the paper: its depth and classes are another network's guesses, ours are the user's files. Its
    released weights had a second decoder for standardised patches; here ``standardise`` chooses between the two.

    Args:
        encoder: a ViT. Its learned positions, if any, are set to fixed sines and cosines, as in the paper.
        has_depth: whether there are maps of depth.
        classes: how many classes there are maps of, 0 for none. Both are worked out from the pictures.
        visible: how many tokens are seen of all modalities, as a share of one's: 98 of 196 in the paper.
        width: of the decoders; 256 in the paper.
        depth: blocks of each decoder after its cross-attention.
        heads: attention heads of the decoders.
        standardise: predict each patch of the picture with its own mean and variance removed.
        fresh: give the encoder the paper's initialisation and positions; False leaves it as it is.
    """

    views = (View(bicubic=True),)
    maps = ("depth", "classes")
    optimisation = Optimisation(lr=1e-4, warmup=0.05, weight_decay=0.05, betas=(0.9, 0.95))

    def __init__(
        self, encoder: Encoder, *, has_depth: bool = True, classes: Amount = 0, visible: Share = 0.5,
        width: Width = 128, depth: Few = 2, heads: Width = 8, standardise: bool = True, fresh: bool = True,
    ):  # fmt: skip
        super().__init__()
        patch, patches, entry = encoder.patch, encoder.patches, encoder.entry
        if not encoder.maskable or patch is None or patches is None or entry is None:
            raise InputError(f"multimae needs a ViT, such as 'vit_tiny_patch16_224'; {encoder.model!r} is none")
        if not 0 < int(patches * visible) < patches:
            raise InputError(f"multimae(visible={visible}): allowed are 1 to {patches - 1} of {patches} tokens; "
                             "try 0.5")  # fmt: skip
        if fresh:
            initialise(encoder)
            fix(encoder, patches)
        self.encoder, self.visible = encoder, int(patches * visible)
        self.kinds = Modalities(encoder, depth=has_depth, classes=classes, standardise=standardise)
        sizes = {"modalities": len(self.kinds), "width": width, "depth": depth, "heads": heads}
        self.decoders = nn.ModuleList(
            CrossDecoder(encoder.token_width, patches, values, place=place, **sizes)
            for place, values in enumerate(self.kinds.predicted)
        )

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        losses = self.kinds.losses(*self.painted(batch))
        return {"loss": torch.stack([*losses.values()]).sum()} | {name: loss.detach() for name, loss in losses.items()}

    def painted(self, batch: Batch) -> tuple[list[Given], Tensor, list[Tensor]]:
        """What there is of each modality, what is hidden of it ``[B, M, L]``, and what was predicted."""
        given = self.kinds.read(batch)
        keep, hidden = shared_mask(batch.key, self.kinds.there(given), len(self.kinds.position), self.visible)

        tokens = self.encoder.tokens(batch.views[0], keep, beside=self.kinds.tokens(given))
        return given, hidden, [decoder(tokens, keep) for decoder in self.decoders]

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return self.kinds.drawn(*self.painted(batch), self.encoder)
