"""Texts from a language model: the writer interface, and a client of any OpenAI-compatible chat server.

A *writer* is a callable, requests (list of strings) -> one answer (string) for each, in order. Whatever asks a language model for
descriptions, rewrites or new prompts takes a writer: this client, a local model, a table of stored answers, or a plain function.
"""

from __future__ import annotations

import ipaddress
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

Writer = Callable[[Sequence[str]], list[str]]
_MOST_BYTES = 4 * 2**20
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP answers after which the same request may succeed."""


class WriterError(RuntimeError):
    """The language model did not answer, or not with a text."""


@dataclass(frozen=True)
class ChatWriter:
    """Ask a chat model behind an OpenAI-compatible server (vLLM, llama.cpp, Ollama, LM Studio …): requests -> answers, in order.

    url: the server's base address, with or without ``/v1``. model: its name there. system: instruction before every request. seed: sent
    along, so that a server which honours it repeats itself. timeout: seconds for one answer. retries: further tries after a failure that
    may pass, with pauses of 1, 2, 4 … times `pause` seconds. workers: requests under way at once. key: bearer token, if the server wants
    one. remote: allow a server that is not on this machine; without it only loopback addresses are spoken to.

    Raises WriterError, which names the request, where an answer stays away, is not JSON, holds no text, or is longer than 4 MiB.
    """

    url: str
    model: str
    system: str = ""
    temperature: float = 0.7
    most_tokens: int = 512
    seed: int = 0
    timeout: float = 60.0
    retries: int = 3
    pause: float = 1.0
    workers: int = 1
    key: str | None = field(default=None, repr=False)
    remote: bool = False

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.url!r} is not the address of a server: write it as http://127.0.0.1:8000")
        if not self.remote and not _is_loopback(parts.hostname):
            raise ValueError(f"{parts.hostname} is not this machine: set remote=True if these texts may be sent there")
        if self.timeout <= 0 or self.retries < 0 or self.workers < 1:
            raise ValueError(
                f"timeout must be positive, retries at least 0, workers at least 1: {self.timeout}, {self.retries}, {self.workers}"
            )

    def __call__(self, requests: Sequence[str]) -> list[str]:
        if isinstance(requests, str):
            raise ValueError("a writer takes a list of requests, not one string: put it into a list")
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._answer, requests))

    def _answer(self, request: str) -> str:
        said = [{"role": "system", "content": self.system}] if self.system else []
        body = {"model": self.model, "messages": [*said, {"role": "user", "content": request}], "seed": self.seed}
        raw = self._post(json.dumps({**body, "temperature": self.temperature, "max_tokens": self.most_tokens}).encode(), request)
        try:
            text = json.loads(raw)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise WriterError(f"{self.url} answered {_short(raw.decode(errors='replace'))!r}, which is not a chat completion with a text")
        return text.strip()

    def _post(self, body: bytes, request: str) -> bytes:
        base = self.url.rstrip("/")
        address = f"{base if base.endswith('/v1') else base + '/v1'}/chat/completions"
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        why = ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                with _OPENER.open(urllib.request.Request(address, body, headers), timeout=self.timeout) as answer:
                    raw = answer.read(_MOST_BYTES + 1)
                if len(raw) > _MOST_BYTES:
                    raise WriterError(f"{address} answered {_short(request)!r} with more than {_MOST_BYTES >> 20} MiB: lower most_tokens")
                return raw
            except urllib.error.HTTPError as e:
                why = f"HTTP {e.code}: {_short(e.read(2000).decode(errors='replace'))}"
                if e.code not in _PASSING:
                    break
            except (OSError, EOFError) as e:  # refused, reset, timed out, closed in the middle of an answer
                why = str(getattr(e, "reason", e)) or type(e).__name__
        raise WriterError(f"{address} did not answer {_short(request)!r} in {attempt + 1} tries ({why}): is the server running?")


class _Stay(urllib.request.HTTPRedirectHandler):
    """A server on this machine must not send the texts on to another."""

    def redirect_request(self, *args: Any, **more: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _short(text: str, most: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
