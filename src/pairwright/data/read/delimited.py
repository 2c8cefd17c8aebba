"""CSV and TSV files of paths and captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc

from pairwright.data.conform import conform
from pairwright.data.pairs import note_skipped

_DELIMITERS = ",\t;|"
_BLOCK = 64 * 2**20  # the longest possible row


def read(
    path: Path, *, delimiter: str | None = None, encoding: str = "utf-8", root: str | Path | None = None, strict: bool = False, **names: Any
) -> pa.Table:
    """Read a CSV or TSV file with a header line. Relative image paths start at `root`, by default the folder of the file.

    delimiter: found by looking where None. A row with another number of cells than the header is left out and listed (strict: an error).
    """
    separator = delimiter or _sniff(path, encoding)
    skipped: dict[str, str] = {}

    def odd(row: Any) -> str:  # called for the odd rows of the first block twice, hence a dict
        skipped[f"{path.name}: row {row.number}"] = f"{row.actual_columns} cells under {row.expected_columns} column names"
        return "skip"

    how = pc.ReadOptions(use_threads=False, block_size=_BLOCK, encoding=encoding)  # one thread, so that rows have numbers
    parsing = pc.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=odd)
    try:
        with pc.open_csv(path, how, parsing) as peek:
            header = peek.schema.names
        if len({name.strip() for name in header}) < len(header):
            raise ValueError(f"{path}: the first line has to name the columns, each once; it reads {header}")
        text = pc.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True)
        raw = pc.read_csv(path, how, parsing, text)
    except (pa.ArrowException, UnicodeError) as e:
        fix = "pass encoding=…, e.g. 'latin-1'" if "UTF" in str(e).upper() else "is it a text table with a header line?"
        raise ValueError(f"{path} is not a readable table: {str(e)[:200]} ({fix})") from None
    if strict and skipped:
        raise ValueError("{}: {}".format(*next(iter(skipped.items()))))
    raw = raw.rename_columns([name.strip() for name in header])
    return note_skipped(conform(raw, root=path.parent if root is None else root, source=str(path), **names), skipped)


def _sniff(path: Path, encoding: str) -> str:
    """The separator that the header line holds most often; a line without any is one column."""
    with path.open(encoding=encoding, errors="replace") as f:
        header = f.readline(1_000_000)
    best = max(_DELIMITERS, key=header.count)
    return best if header.count(best) else ("\t" if path.suffix.lower() == ".tsv" else ",")
