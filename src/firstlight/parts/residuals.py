"""How much each block of a transformer adds at first.

Bao et al., "BEiT", ICLR 2022. https://arxiv.org/abs/2106.08254, appendix on pre-training
"""

import torch

from ..encoder import Encoder


@torch.no_grad()
def shrink(encoder: Encoder) -> None:
    """Divides the last weights of the attention and of the MLP of block ``i``, from 1, by the square root of ``2 i``.

    So what many blocks add up to is no larger than what one adds. Encoders without such blocks stay as they are.
    """
    for layer in ("attn.proj.weight", "mlp.fc2.weight"):
        found = [weight for name, weight in encoder.net.named_parameters() if name.endswith(f".{layer}")]
        for number, weight in enumerate(found, start=1):
            weight.div_((2 * number) ** 0.5)
