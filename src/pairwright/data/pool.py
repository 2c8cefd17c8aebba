"""Decode images in parallel processes that cannot hang the caller: a worker that dies becomes an error with its rows named."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pairwright.data import worker
from pairwright.data.worker import Decoded, Source

T = TypeVar("T")
Decode = Callable[[Sequence[Source]], list[Decoded]]


class WorkerDied(RuntimeError):
    """A decoding process ended in the middle of its work."""


class DecodePool:
    """`workers` processes that turn sources into pixels; 0 decodes in the calling thread, when the result is asked for.

    options: what `images.pixels` takes (size, channels, fit, limits, formats). A job is a function that is given `decode(sources)`, a
    function returning for each source its pixels or the reason why there are none. Use as a context manager, or call `close`.
    """

    def __init__(self, workers: int, **options: Any) -> None:
        if workers < 0:
            raise ValueError("workers must be 0 or more")
        self.workers, self.options = workers, options
        self._mine = threading.local()
        self._running: list[_Worker] = []
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode") if workers else None
        self._closed = threading.Event()
        self._finalizer = weakref.finalize(self, _stop, self._threads, self._running, self._closed)

    def submit(self, job: Callable[..., T], *args: Any) -> Future[T]:
        if self._threads is None:
            return _Later(lambda: job(self._decode_here, *args))
        return self._threads.submit(lambda: job(self._decode_there, *args))

    def _decode_here(self, sources: Sequence[Source]) -> list[Decoded]:
        return [worker.decode(source, self.options) for source in sources]

    def _decode_there(self, sources: Sequence[Source]) -> list[Decoded]:
        process = getattr(self._mine, "process", None)
        if self._closed.is_set():
            raise WorkerDied("the pool was closed while work was left")
        if process is None or process.dead:
            process = self._mine.process = _Worker(self.options)
            self._running.append(process)
        return process.decode(sources)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that have started so far."""
        return [w.process.pid for w in self._running if not w.dead]

    def close(self) -> None:
        self._finalizer()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """One process with its two pipes; used by one thread."""

    def __init__(self, options: dict[str, Any]) -> None:
        package_root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(p for p in (package_root, os.environ.get("PYTHONPATH", "")) if p)
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen([sys.executable, "-m", worker.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.dead = False
        worker.send(self.process.stdin, worker.pack_options(options))

    def decode(self, sources: Sequence[Source]) -> list[Decoded]:
        try:
            request = [len(s) if isinstance(s, bytes) else s for s in sources]
            worker.send(self.process.stdin, request, [s for s in sources if isinstance(s, bytes)])
            shapes = worker.receive(self.process.stdout)
            return [s if isinstance(s, str) else self._read(s) for s in shapes]
        except (EOFError, OSError, ValueError):
            self.dead = True
            self.process.kill()
            code = self.process.wait()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            paths = [s for s in sources if isinstance(s, str)][:3]
            raise WorkerDied(
                f"a decoding process ended ({how}) while working on {len(sources)} images{f' such as {paths}' if paths else ''}. "
                "Out of memory? Use fewer workers. If it happens again, workers=0 shows the image at which it fails."
            ) from None

    def _read(self, shape: list[int]) -> np.ndarray:
        raw = worker.read_exactly(self.process.stdout, int(np.prod(shape)))
        return np.frombuffer(raw, np.uint8).reshape(shape)


class _Later(Future):
    """A future that does its work when the result is asked for, in the asking thread."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self.set_result(self._work())
        return super().result(timeout)


def _stop(threads: ThreadPoolExecutor | None, running: list[_Worker], closed: threading.Event) -> None:
    closed.set()
    if threads is not None:
        threads.shutdown(wait=False, cancel_futures=True)
    for w in running:
        w.dead = True
        w.process.kill()
        w.process.wait()
        for pipe in (w.process.stdin, w.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
