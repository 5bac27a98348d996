"""PC-FractalDB-1k: half a million point clouds of a thousand fractals, for detection in 3D.

Yamada et al., "Point cloud pre-training with natural 3D structures", CVPR 2022.
https://ryosuke-yamada.github.io/PointCloud-FractalDB/

Data: 1,000 spatial systems, 500 clouds of 10,000 points each, a fifth of them of another class (FractalNoiseMix);
written as tar shards. ``--formula 'points(scene=True)'`` draws rooms with oriented boxes instead, on which the paper's
networks are pre-trained.
Cost: 500,000 clouds of 120 kB, 60 GB.
Published (VoteNet, mAP@.25 after fine-tuning): ScanNet V2 61.9, SUN RGB-D 59.4. With a tenth of
ScanNet's scenes 38.3.
Training, published: VoteNet's own, Adam at 1e-3, batch 8, 180 epochs, tenfold less at 80, 120 and 160.
Differs: this draws the set only, because we have no detection in point clouds yet.
"""

from pathlib import Path

from ..recipe.render import Render

recipe = Render(
    formula="points", categories=1000, instances=500, size=224, format="tar", out=Path("pc_fractaldb_1k")
)  # fmt: skip
