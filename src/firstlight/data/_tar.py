"""Members of a data set as files and tar archives, in the layout that the ``webdataset`` library reads.

https://github.com/webdataset/webdataset: files that share a name up to the first dot are one sample.
"""

import hashlib
import io
import json
import tarfile
from typing import BinaryIO

import numpy as np

from ..formulas import Params
from ._png import png

__all__ = ["Archive", "files"]

_LISTED = ("boxes", "labels", "present")


def files(member: Params, category: int) -> dict[str, bytes]:
    """One sample's files by their endings, always in the same order.

    ``cls`` is the number of the class as text; ``png`` a picture, or ``npy`` a clip or a cloud; ``mask.png`` a mask;
    ``json`` its ``boxes``, their ``labels`` and the classes ``present``. Whatever else is known is ``NAME.npy``.

    Args:
        member: what ``Formula.annotated`` returns.
        category: the class.
    """
    found, listed = {"cls": str(category).encode()}, {}
    for name, value in member.items():
        if name in _LISTED:
            listed[name] = (np.flatnonzero(value) if name == "present" else value).tolist()
        elif name == "picture":
            found["png"] = png(value)
        elif name in ("clip", "cloud"):
            found["npy"] = _npy(value)
        else:
            flat = value.dtype == np.uint8 and value.ndim == 2
            found[f"{name}.{'png' if flat else 'npy'}"] = png(value) if flat else _npy(value)
    if listed:
        found["json"] = json.dumps(listed, sort_keys=True).encode()
    return found


class Archive:
    """Writes a tar archive to an open file. Owners, rights and times are always the same, so that the bytes are.

    Attributes:
        size: bytes so far.
        digest: their sha256 so far.
    """

    def __init__(self, file: BinaryIO):
        self._file, self.size, self.digest = file, 0, hashlib.sha256()

    def add(self, name: str, content: bytes) -> None:
        """Appends a file."""
        header = tarfile.TarInfo(name)
        header.size = len(content)
        self._write(header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE))

    def end(self) -> None:
        """Appends the two empty blocks that end an archive, filled up as tar programs do."""
        empty = 2 * tarfile.BLOCKSIZE
        self._write(bytes(empty + -(self.size + empty) % tarfile.RECORDSIZE))

    def _write(self, content: bytes) -> None:
        self.size += len(content)
        self.digest.update(content)
        self._file.write(content)


def _npy(value: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(value), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
