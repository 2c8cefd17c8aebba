"""The command line: `pairwright COMMAND`. Names of functions, one clear line on bad input, JSON where it is asked for.

Exit codes: 0 done, 1 an error of ours (please report it), 2 something to mend in what was asked, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from pairwright import __version__
from pairwright.cli.commands import adapt, bench_methods, classify, embed, evaluate, find, ledger, models, packs, search, train

HELP = """The toolkit for contrastive vision-language models (CLIP and its family).

Start here:

    pairwright classify icons/ --labels "animal,vehicle,food"
    pairwright search icons/ "red apple"
    pairwright adapt photos/
    pairwright find "tip adapter"

Every command has --help with examples, and --json for output that programs read. --debug shows the traceback of an error."""

EXPECTED = (ValueError, OSError, ImportError)
"""What a user can mend: wrong values, missing files, no network, an extra that is not installed."""


def app() -> App:
    """The commands, in the order in which people meet them."""
    cli = App(name="pairwright", help=HELP, version=__version__, help_format="plaintext", suppress_keyboard_interrupt=False)
    first = (
        classify.classify,
        search.search,
        adapt.adapt,
        embed.embed,
        evaluate.evaluate,
        bench_methods.bench_methods,
        train.train,
        packs.app,
        models.models,
        find.find,
        ledger.ledger,
    )
    for place, command in enumerate(first):
        cli.command(command, **({} if isinstance(command, App) else {"sort_key": place}))
    return cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in tokens or bool(os.environ.get("PAIRWRIGHT_DEBUG"))
    tokens = [t for t in tokens if t != "--debug"]
    try:
        code = app()(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return int(code or 0)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # the reader (head, less) has gone; keep the interpreter from complaining about it on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (CycloptsError, *EXPECTED) as e:
        if debug:
            traceback.print_exc()
        return _fail(_one_line(e), 2)
    except Exception as e:
        if debug:
            traceback.print_exc()
        return _fail(f"internal error, {type(e).__name__}: {_one_line(e)} (--debug shows where)", 1)


def _one_line(e: BaseException) -> str:
    if isinstance(e, OSError) and e.filename is not None and e.strerror:
        return f"{e.filename}: {e.strerror}"
    return " ".join(str(e).split()) or type(e).__name__


def _fail(text: str, code: int) -> int:
    print(f"pairwright: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
