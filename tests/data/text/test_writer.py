"""The chat client against a server of our own on loopback that fails in every way a server can."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import time

import pytest

from pairwright.data.text.writer import ChatWriter, WriterError


@pytest.fixture
def server():
    """A chat server whose answers are a queue of (status, body or None for a completion); it keeps what it was asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            box.asked.append((self.path, self.headers.get("Authorization"), asked))
            status, body = box.queue.pop(0) if box.queue else (200, None)
            if body is None:
                text = f" answer to {asked['messages'][-1]['content']}\n"
                body = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})
            if body == "slow":
                time.sleep(0.5)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client has left
                self.wfile.write(body.encode())

        def log_message(self, *args):
            pass

    class Box(http.server.ThreadingHTTPServer):
        daemon_threads = True
        asked: list = []
        queue: list = []

    box = Box(("127.0.0.1", 0), Handler)
    box.asked, box.queue = [], []
    box.url = f"http://127.0.0.1:{box.server_port}"
    threading.Thread(target=box.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield box
    box.shutdown()
    box.server_close()


def test_answers_come_back_in_the_order_of_the_requests(server):
    write = ChatWriter(server.url, "small", system="Be brief.", workers=3, key="k1", most_tokens=9, temperature=0.1, seed=4)
    asked = [f"request {i}" for i in range(7)]
    assert write(asked) == [f"answer to {a}" for a in asked]
    path, key, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert key == "Bearer k1"
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("small", 9, 0.1, 4)
    assert "k1" not in repr(write)


def test_a_base_address_with_v1_is_the_same(server):
    assert ChatWriter(server.url + "/v1/", "m")(["a"]) == ["answer to a"]
    assert server.asked[0][0] == "/v1/chat/completions"
    assert "seed" in server.asked[0][2]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failures_are_tried_again(server, status):
    server.queue += [(status, "busy"), (status, "busy")]
    assert ChatWriter(server.url, "m", pause=0.001)(["a"]) == ["answer to a"]
    assert len(server.asked) == 3


def test_lasting_failures_are_not_and_the_reason_is_told(server):
    server.queue += [(404, "no model named m"), (200, None)]
    with pytest.raises(WriterError, match=r"'a' in 1 tries .*404.*no model named m"):
        ChatWriter(server.url, "m", pause=0.001)(["a"])
    assert len(server.asked) == 1


def test_it_gives_up_after_the_retries(server):
    server.queue += [(500, "broken")] * 9
    with pytest.raises(WriterError, match="in 3 tries"):
        ChatWriter(server.url, "m", retries=2, pause=0.001)(["a"])
    assert len(server.asked) == 3


def test_a_slow_server_is_left(server):
    server.queue += [(200, "slow")]
    with pytest.raises(WriterError, match="timed out"):
        ChatWriter(server.url, "m", timeout=0.05, retries=0)(["a"])


@pytest.mark.parametrize("body", ["not json", "[]", '{"choices": []}', '{"choices": [{"message": {"content": null}}]}'])
def test_an_answer_without_a_text_is_refused(server, body):
    server.queue += [(200, body)]
    with pytest.raises(WriterError, match="not a chat completion"):
        ChatWriter(server.url, "m")(["a"])


def test_an_endless_answer_is_refused(server):
    server.queue += [(200, "x" * (5 * 2**20))]
    with pytest.raises(WriterError, match="more than 4 MiB"):
        ChatWriter(server.url, "m")(["a"])


def test_a_redirection_is_not_followed(server):
    server.queue += [(302, "elsewhere")]
    with pytest.raises(WriterError, match="HTTP 302"):
        ChatWriter(server.url, "m")(["a"])


def test_nobody_there():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with pytest.raises(WriterError, match="is the server running"):
        ChatWriter(f"http://127.0.0.1:{port}", "m", retries=1, pause=0.001)(["a"])


@pytest.mark.parametrize("url", ["http://203.0.113.9:80", "https://models.example", "http://127.0.0.1.example"])
def test_other_machines_only_when_told(url):
    with pytest.raises(ValueError, match="remote=True"):
        ChatWriter(url, "m")
    ChatWriter(url, "m", remote=True)


@pytest.mark.parametrize("url", ["http://localhost:1", "http://[::1]:1", "https://127.9.9.9"])
def test_loopback_has_many_names(url):
    ChatWriter(url, "m")


def test_bad_settings_are_refused_with_the_fix():
    with pytest.raises(ValueError, match="http://127"):
        ChatWriter("localhost:8000", "m")
    with pytest.raises(ValueError, match="workers"):
        ChatWriter("http://localhost", "m", workers=0)
    with pytest.raises(ValueError, match="into a list"):
        ChatWriter("http://localhost", "m")("one")
    assert ChatWriter("http://localhost", "m")([]) == []
