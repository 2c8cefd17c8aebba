"""The installed program in a process of its own: help is quick and light, pipes and signals end cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pairwright.cli.main import app

COMMANDS = ("classify", "search", "embed", "evaluate", "bench-methods", "train", "packs list", "packs get", "models", "find", "ledger")


def program(*argv: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pairwright", *argv], capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload]


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; from pairwright.cli.main import main; main(['--help'])\n"
        "assert not {'torch', 'numpy', 'pyarrow', 'PIL'} & set(sys.modules), 'heavy'\nprint(time.process_time(), file=sys.stderr)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(r.stderr) for r in runs) < 0.3
    for name in {c.split()[0] for c in COMMANDS}:
        assert f" {name} " in runs[0].stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    app()([*command.split(), "--help"], exit_on_error=False, result_action="return_value")
    out = capsys.readouterr().out
    assert f"    pairwright {command.split()[0]}" in out
    assert "--json" in out


def test_smoke() -> None:
    done = program("find", "tip adapter", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"heads/cache/tip_adapter"' in done.stdout
    done = program("find", "xqzzyk")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert program("--version").stdout.strip() == __import__("pairwright").__version__


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m pairwright ledger | head -n 1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_ctrl_c_ends_with_one_line_and_130() -> None:
    code = (
        "import signal, sys, time, pairwright.core.find as f; from pairwright.cli.main import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # jobs started in the background inherit that it is ignored
        "def wait(*a):\n    print('in', flush=True)\n    time.sleep(60)\n"
        "f.find = wait\nsys.exit(main(['find', 'x']))"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    time.sleep(0.1)
    os.kill(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (130, "", "pairwright: interrupted\n")
