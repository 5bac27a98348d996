"""The published trainings that several sets share, as settings of ``Pretrain``."""

from typing import Any


def resnet50(pictures: int, side: int = 362) -> dict[str, Any]:
    """FractalDB's: ResNet-50, 90 epochs of SGD, crops of 224 pixels without resizing and nothing else.

    Kataoka et al., ACCV 2020. https://github.com/hirokatsukataoka16/FractalDB-Pretrained-ResNet-PyTorch
    """
    area = (224 / side) ** 2
    crops = f"scale=({area:.6f}, {area:.6f}), ratio=(1.0, 1.0)"
    return {
        "model": "resnet50", "method": f"classify(smoothing=0.0, {crops})", "draw_size": side, "size": 224,
        "steps": 90 * pictures // 256, "batch": 256, "optimizer": "sgd", "lr": 0.1, "weight_decay": 1e-4,
        "warmup": 0.0,
    }  # fmt: skip


def deit(
    model: str, pictures: int, *, epochs: int, batch: int, side: int, warmup: float | None = None
) -> dict[str, Any]:
    """The CVPR 2022 and 2023 papers': DeiT's augmentation without flips, AdamW at 1e-3 whatever the batch.

    Kataoka et al. https://github.com/masora1030/CVPR2022-Pretrained-ViT-PyTorch
    Takashima et al. https://github.com/masora1030/CVPR2023-FDSL-on-VisualAtom

    Args:
        model: the timm model.
        pictures: in the set.
        epochs: over the set.
        batch: pictures per step.
        side: at which pictures are drawn.
        warmup: the fraction of the steps during which the learning rate rises; None for five epochs.
    """
    return {
        "model": model, "drop_path": 0.1, "method": f"classify({_MIXED}, scale=(0.08, 1.0), erase=0.25)",
        "draw_size": side, "size": 224, "steps": epochs * pictures // batch, "batch": batch, "optimizer": "adamw",
        "lr": 1e-3 * 256 / batch, "weight_decay": 0.05, "warmup": 5 / epochs if warmup is None else warmup,
    }  # fmt: skip


def one_picture(pictures: int, side: int) -> dict[str, Any]:
    """OFDB's and 1p-frac's: ViT-Tiny, 80,000 epochs over one picture a class, with flips and much erasing.

    Nakamura et al. https://github.com/ryoo-nakamura/OFDB and https://github.com/SUPER-TADORY/1p-frac
    """
    shown = "scale=(0.08, 1.0), flip=0.5, flip_vertical=0.5, erase=0.5"
    return {
        "model": "vit_tiny_patch16_224", "drop_path": 0.1, "method": f"classify({_MIXED}, {shown})",
        "draw_size": side, "size": 224, "steps": 80_000 * pictures // 256, "batch": 256, "optimizer": "adamw",
        "lr": 5e-4, "weight_decay": 0.05, "warmup": 5 / 80_000,
    }  # fmt: skip


def imagenet(method: str, model: str, *, epochs: int, batch: int, warmup: float = 0.0, **others: Any) -> dict[str, Any]:
    """A training on the photographs of ImageNet-1k, which have to be at hand: nothing is downloaded.

    timm's ResNets begin with residual branches of zero, as do those of SimCLR, BYOL, MoCo v3, SimSiam and Barlow Twins;
    torchvision's do not: ``resnet50(zero_init_last=False)``.

    Args:
        method: with its settings.
        model: the timm model.
        epochs: over the 1,281,167 photographs.
        batch: pictures per step.
        warmup: the epochs during which the learning rate rises.
        others: of the settings of ``Pretrain``.
    """
    return {
        "data": "imagenet/train", "method": method, "model": model, "size": 224, "steps": epochs * 1_281_167 // batch,
        "batch": batch, "warmup": warmup / epochs, **others,
    }  # fmt: skip


_MIXED = "smoothing=0.1, mixup=0.8, cutmix=1.0, randaugment=9"
