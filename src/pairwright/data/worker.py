"""The decoding process: reads image sources from stdin, writes pixels to stdout. Started by `pool`, never by hand.

Messages are a JSON header and raw bytes, so that nothing is unpickled; a process of its own keeps a crash in a decoder out of the
training process. It imports neither torch nor pyarrow and starts in a fraction of a second.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from pairwright.data.images import BadImage, Limits, pixels

Source = bytes | str | None
"""Encoded bytes, a path, or None where the row has no image."""
Decoded = np.ndarray | str
"""Pixels uint8 (H, W, C), or the reason why there are none."""


def decode(source: Source, options: dict[str, Any]) -> Decoded:
    """One source -> pixels, or the reason why not."""
    if source is None:
        return "no image in this row"
    try:
        return pixels(source, **options)
    except (BadImage, FileNotFoundError) as e:
        return str(e)


def pack_options(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "limits": vars(options["limits"])} if "limits" in options else options


def unpack_options(options: dict[str, Any]) -> dict[str, Any]:
    if "limits" in options:
        options = {**options, "limits": Limits(**options["limits"])}
    return {**options, "formats": tuple(options["formats"])} if "formats" in options else options


def send(pipe: BinaryIO, header: Any, blobs: Sequence[bytes | memoryview] = ()) -> None:
    raw = json.dumps(header).encode()
    pipe.write(struct.pack("<I", len(raw)))
    pipe.write(raw)
    for blob in blobs:
        pipe.write(blob)
    pipe.flush()


def receive(pipe: BinaryIO) -> Any:
    """The next header; EOFError when the other side is gone."""
    return json.loads(read_exactly(pipe, struct.unpack("<I", read_exactly(pipe, 4))[0]))


def read_exactly(pipe: BinaryIO, n: int) -> bytes:
    data = pipe.read(n)
    if len(data) < n:
        raise EOFError
    return data


def serve(inlet: BinaryIO, outlet: BinaryIO) -> None:
    """Answer requests until stdin is closed. First message: options. Each request: a path, a length, or null for each row."""
    options = unpack_options(receive(inlet))
    while True:
        try:
            request = receive(inlet)
        except EOFError:
            return
        sources = [read_exactly(inlet, item) if isinstance(item, int) else item for item in request]
        results = [decode(source, options) for source in sources]
        header = [r if isinstance(r, str) else list(r.shape) for r in results]
        send(outlet, header, [memoryview(np.ascontiguousarray(r)).cast("B") for r in results if not isinstance(r, str)])


def main() -> None:
    outlet = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the pixels
    try:
        serve(sys.stdin.buffer, outlet)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)  # the parent is gone: nobody is left to tell


if __name__ == "__main__":
    main()
