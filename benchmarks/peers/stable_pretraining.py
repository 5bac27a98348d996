"""stable-pretraining's method modules and multi-view transforms, in a plain loop instead of Lightning's trainer.

https://github.com/galilai-group/stable-pretraining (MIT). Each of its methods is one module from views to the loss; the
transforms are composed as in its examples, with the sizes and chances of our views. Its dictionaries of drawn
parameters are left behind before pictures are put into batches, which spares it work.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from loguru import logger
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode

from firstlight.encoder import Encoder
from firstlight.views import BYOL, MULTI_CROP, PAIR, View
from firstlight.views.batches import side_of

VIEWS = {"simclr": PAIR, "byol": BYOL, "dino": MULTI_CROP, "mae": (View(bicubic=True),)}


def build(method: str, encoder: Encoder) -> tuple[nn.Module, Callable]:
    """A network from a list of views to the loss, and the transform from a PIL picture to that list.

    Args:
        method: one of ``METHODS``.
        encoder: its network becomes the backbone.
    """
    import stable_pretraining

    logger.disable(stable_pretraining.__name__)
    views = [view for view in VIEWS[method] for _ in range(view.count)]
    return Learner(METHODS[method](encoder)), Transform(views, encoder)


class Learner(nn.Module):
    """One of its modules, called with the list of views; ``after_step`` is what its teacher callback does."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, views: list[Tensor]) -> Tensor:
        if type(self.module).__name__ == "DINO":
            return self.module(global_views=views[:2], local_views=views[2:]).loss
        return self.module(*views).loss

    def after_step(self) -> None:
        for part in self.module.modules():
            if hasattr(part, "update_teacher"):
                part.update_teacher()


class Transform:
    def __init__(self, views: list[View], encoder: Encoder):
        from stable_pretraining.data.transforms import MultiViewTransform

        sides = [side_of(view, encoder.size, encoder.multiple) for view in views]
        self.views = MultiViewTransform([_composed(view, side) for view, side in zip(views, sides)])

    def __call__(self, picture: Image.Image) -> list[Tensor]:
        return [view["image"].as_subclass(Tensor) for view in self.views({"image": picture})["views"]]


def _composed(view: View, side: int) -> Any:
    from stable_pretraining.data import transforms

    filter = InterpolationMode.BICUBIC if view.bicubic else InterpolationMode.BILINEAR
    steps = [
        transforms.RGB(),
        transforms.RandomResizedCrop((side, side), scale=view.scale, interpolation=filter),
        transforms.RandomHorizontalFlip(p=view.flip),
    ]
    if any(view.jitter):
        steps.append(transforms.ColorJitter(*view.jitter, p=view.jitter_p))
    if view.gray:
        steps.append(transforms.RandomGrayscale(p=view.gray))
    if view.blur:
        steps.append(transforms.PILGaussianBlur(sigma=[sigma * side / 224 for sigma in view.sigma], p=view.blur))
    if view.solarize:
        steps.append(transforms.RandomSolarize(threshold=128, p=view.solarize))
    return transforms.Compose(*steps, transforms.ToImage(mean=[0.5] * 3, std=[0.5] * 3))


def _module(name: str, settings: dict[str, Any], encoder: Encoder) -> nn.Module:
    from stable_pretraining import methods

    return getattr(methods, name)(encoder.net, **settings)


METHODS: dict[str, Callable[[Encoder], nn.Module]] = {
    "simclr": partial(_module, "SimCLR", {"projector_dims": (512, 128)}),
    "byol": partial(_module, "BYOL", {"projector_dims": (1024, 256), "predictor_dims": (1024, 256)}),
    "dino": partial(
        _module, "DINO", {"projector_hidden_dim": 512, "projector_bottleneck_dim": 64, "n_prototypes": 2048}
    ),
    "mae": partial(_module, "MAE", {"decoder_embed_dim": 128, "decoder_depth": 2, "decoder_num_heads": 4}),
}
