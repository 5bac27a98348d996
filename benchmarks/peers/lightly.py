"""lightly's transforms, heads, losses and momentum, put together as its examples do.

https://github.com/lightly-ai/lightly (MIT)
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter

from firstlight.encoder import Encoder
from firstlight.views import MULTI_CROP
from firstlight.views.batches import side_of

DECODER = {"width": 128, "depth": 2, "heads": 4}


def build(method: str, encoder: Encoder) -> tuple[nn.Module, Callable]:
    """A network from a list of views to the loss, and the transform from a PIL picture to that list.

    Args:
        method: one of ``METHODS``.
        encoder: its network becomes the backbone.
    """
    return METHODS[method](encoder)


class SimCLR(nn.Module):
    def __init__(self, encoder: Encoder):
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        super().__init__()
        self.backbone, self.head = encoder.net, SimCLRProjectionHead(encoder.width, 512, 128)
        self.criterion = NTXentLoss()

    def forward(self, views: list[Tensor]) -> Tensor:
        return self.criterion(*(self.head(self.backbone(view)) for view in views))


class BYOL(nn.Module):
    def __init__(self, encoder: Encoder):
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        super().__init__()
        self.online = nn.Sequential(encoder.net, BYOLProjectionHead(encoder.width, 1024, 256))
        self.prediction = BYOLPredictionHead(256, 1024, 256)
        self.target = copy.deepcopy(self.online)
        deactivate_requires_grad(self.target)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, views: list[Tensor]) -> Tensor:
        from lightly.models.utils import update_momentum

        update_momentum(self.online, self.target, m=0.99)
        predictions, targets = [], []
        for view in views:
            predictions.append(self.prediction(self.online(view)))
            with torch.no_grad():  # its example detaches the result, which costs more
                targets.append(self.target(view))
        return 0.5 * (self.criterion(predictions[0], targets[1]) + self.criterion(predictions[1], targets[0]))


class DINO(nn.Module):
    def __init__(self, encoder: Encoder):
        from lightly.loss import DINOLoss
        from lightly.models.modules import DINOProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        super().__init__()
        self.student = nn.Sequential(encoder.net, DINOProjectionHead(encoder.width, 512, 64, 2048, freeze_last_layer=1))
        self.teacher = nn.Sequential(copy.deepcopy(encoder.net), DINOProjectionHead(encoder.width, 512, 64, 2048))
        deactivate_requires_grad(self.teacher)
        self.criterion = DINOLoss(output_dim=2048, warmup_teacher_temp_epochs=5)

    def forward(self, views: list[Tensor]) -> Tensor:
        from lightly.models.utils import update_momentum

        update_momentum(self.student, self.teacher, m=0.99)
        with torch.no_grad():
            targets = [self.teacher(view) for view in views[:2]]
        return self.criterion(targets, [self.student(view) for view in views], epoch=1)


class MAE(nn.Module):
    def __init__(self, encoder: Encoder):
        from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM

        super().__init__()
        # It takes flat patches only.
        encoder = Encoder(f"{encoder.model[:-1]}, dynamic_img_size=False)", size=encoder.size)
        self.patch, width = encoder.multiple, DECODER["width"]
        self.backbone = MaskedVisionTransformerTIMM(vit=encoder.net)
        self.embed = nn.Linear(encoder.width, width)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            num_patches=int(encoder.patches or 0), embed_dim=width, depth=DECODER["depth"], num_heads=DECODER["heads"],
            mask_token=Parameter(torch.zeros(1, 1, width)),
        )  # fmt: skip
        self.predict = nn.Linear(width, self.patch**2 * 3)

    def forward(self, views: list[Tensor]) -> Tensor:
        from lightly.models import utils

        (pictures,) = views
        size = (len(pictures), self.backbone.sequence_length)
        keep, hidden = utils.random_token_mask(size=size, mask_ratio=0.75, device=pictures.device)
        encoded = self.embed(self.backbone.encode(images=pictures, idx_keep=keep))
        tokens = utils.repeat_token(self.decoder.mask_token, size)
        tokens = utils.set_at_index(tokens, keep, encoded.type_as(tokens))
        decoded = self.decoder.decode(self.decoder.add_pos_embed(tokens))
        painted = self.predict(utils.get_at_index(decoded, hidden))
        target = utils.get_at_index(utils.patchify(pictures, self.patch), hidden - 1)
        return nn.functional.mse_loss(painted.float(), target)


def simclr(encoder: Encoder) -> tuple[nn.Module, Callable]:
    from lightly.transforms import SimCLRTransform

    return SimCLR(encoder), SimCLRTransform(input_size=encoder.size)


def byol(encoder: Encoder) -> tuple[nn.Module, Callable]:
    from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform

    views = BYOLView1Transform(input_size=encoder.size), BYOLView2Transform(input_size=encoder.size)
    return BYOL(encoder), BYOLTransform(*views)


def dino(encoder: Encoder) -> tuple[nn.Module, Callable]:
    from lightly.transforms import DINOTransform

    small, size = MULTI_CROP[-1], encoder.size
    side = side_of(small, size, encoder.multiple)
    return DINO(encoder), DINOTransform(global_crop_size=size, local_crop_size=side, n_local_views=small.count)


def mae(encoder: Encoder) -> tuple[nn.Module, Callable]:
    from lightly.transforms import MAETransform

    return MAE(encoder), MAETransform(input_size=encoder.size)


METHODS: dict[str, Callable[[Encoder], tuple[nn.Module, Callable]]] = {
    "simclr": simclr, "byol": byol, "dino": dino, "mae": mae,
}  # fmt: skip
