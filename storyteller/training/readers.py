"""Stories out of local files: one reader for each kind of file, each a generator that holds one story (or one row group) at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from storyteller.engine.tokenizer import END
from storyteller.errors import DataInvalid

SUFFIXES = (".txt", ".csv", ".jsonl", ".parquet")
"""The kinds of files that can be read."""

TEXT_COLUMNS = ("text", "story")
"""The columns that are looked for, in this order, when none is named."""

BLANK_LINES = "blank-lines"
WHOLE_FILE = "whole-file"

MAX_STORY_BYTES = 64 << 20
"""The longest story, in bytes: one that is longer is most likely a file whose separator was not found."""


def read_file(path: Path, *, text_column: str | None = None, separator: str | None = None) -> Iterator[str]:
    """The stories of one file, as they stand in it, blank ones left out.

    ``separator`` is for ``.txt``, see :func:`read_txt`; ``text_column`` for the others: None takes "text", "story", or the only column.
    Raises :class:`DataInvalid`, naming file and line, for what is binary, not UTF-8, malformed, or lacks the column.
    """
    match path.suffix.lower():
        case ".txt":
            return read_txt(path, separator)
        case ".csv":
            return read_csv(path, text_column)
        case ".jsonl":
            return read_jsonl(path, text_column)
        case ".parquet":
            return read_parquet(path, text_column)
        case suffix:
            kinds = ", ".join(SUFFIXES)
            raise DataInvalid(f"{path}: cannot read {suffix or 'a file without a suffix'} (can: {kinds})", "Rename or convert it.")


def read_txt(path: Path, separator: str | None = None) -> Iterator[str]:
    """The stories of a text file.

    ``separator`` parts them: :data:`BLANK_LINES` = blank lines; :data:`WHOLE_FILE` = nothing, the file is one story; ``<|endoftext|>`` =
    its every occurrence; any other text = lines that hold just this. None = ``<|endoftext|>`` if the file holds one (the stories may then
    hold blank lines, as TinyStories do), else blank lines. Line ends become ``\\n``; white space around a story belongs to the file's
    layout, not to the story.
    """
    if separator is None:
        separator = txt_separator(path)
    story: list[str] = []
    size = 0
    for number, raw in _lines(path):
        line = raw.replace("\r\n", "\n")
        if separator == END and END in line:
            *ends, line = line.split(END)
            for end in ends:
                yield from _unless_blank("".join([*story, end]).strip())
                story, size = [], 0
        elif (separator == BLANK_LINES and not line.strip()) or line.strip() == separator:
            yield from _unless_blank("".join(story).strip())
            story, size = [], 0
            continue
        size += len(line)
        if size > MAX_STORY_BYTES:
            raise DataInvalid(
                f"{path}, line {number}: a story of more than {MAX_STORY_BYTES >> 20} MB",
                f"Part the stories with lines of {END}, or name the line that parts them with --separator.",
            )
        story.append(line)
    yield from _unless_blank("".join(story).strip())


def txt_separator(path: Path) -> str:
    """What parts the stories of a text file when nobody says: ``<|endoftext|>`` if it occurs, else :data:`BLANK_LINES`."""
    return END if any(END in line for _, line in _lines(path)) else BLANK_LINES


def read_csv(path: Path, text_column: str | None = None) -> Iterator[str]:
    """The texts of a CSV file with a header line."""
    csv.field_size_limit(MAX_STORY_BYTES)
    rows = csv.reader((line for _, line in _lines(path)), strict=True)
    try:
        header = next(rows, None)
        if header is None:
            return
        place = header.index(choose_column(header, text_column, f"{path}, line 1"))
        for row in rows:
            if len(row) > place:
                yield from _unless_blank(row[place])
            elif row:
                raise DataInvalid(f"{path}, line {rows.line_num}: {len(row)} columns, where the header has {len(header)}")
    except csv.Error as error:
        raise DataInvalid(f"{path}, line {rows.line_num}: not CSV ({error})") from error


def read_jsonl(path: Path, text_column: str | None = None) -> Iterator[str]:
    """The texts of a file with one JSON object (or one JSON string) a line."""
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataInvalid(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
        except RecursionError as error:
            raise DataInvalid(f"{where}: not a story but JSON nested too deep") from error
        if isinstance(row, dict):
            row = row[choose_column(list(row), text_column, where)]
        elif not isinstance(row, str):
            raise DataInvalid(f"{where}: a JSON {type(row).__name__} is neither an object nor a text")
        yield from text_of(row, where)


def read_parquet(path: Path, text_column: str | None = None) -> Iterator[str]:
    """The texts of a Parquet file, a thousand rows at a time."""
    import pyarrow
    import pyarrow.parquet

    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            column = choose_column(file.schema_arrow.names, text_column, str(path))
            for batch in file.iter_batches(batch_size=1000, columns=[column]):
                for text in batch.column(0).to_pylist():
                    row += 1
                    yield from text_of(text, f"{path}, row {row}")
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # damaged data is an OSError to pyarrow
        raise DataInvalid(f"{path}, after row {row}: not readable as Parquet ({str(error).splitlines()[0]})") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file (a byte order mark is taken off) with their numbers, from 1."""
    number = 0
    with path.open("rb") as file:
        while raw := file.readline(MAX_STORY_BYTES + 1):
            number += 1
            if b"\0" in raw:
                raise DataInvalid(f"{path}, line {number}: a binary file, not UTF-8 text", "Save it as UTF-8 text, or name another file.")
            if len(raw) > MAX_STORY_BYTES:
                raise DataInvalid(f"{path}, line {number}: a line of more than {MAX_STORY_BYTES >> 20} MB")
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataInvalid(
                    f"{path}, line {number}: not UTF-8 text (byte 0x{raw[error.start]:02x} at position {error.start + 1})",
                    f"Convert it first: iconv -f WINDOWS-1252 -t UTF-8 {path} > utf8{path.suffix}",
                ) from error


def choose_column(names: Sequence[str], asked: str | None, where: str) -> str:
    """The column ``asked`` for; if None, "text", "story", or the only one. Raises :class:`DataInvalid` if it is not among ``names``."""
    if asked is not None:
        if asked in names:
            return asked
        raise DataInvalid(f"{where}: no column {asked!r} (there: {', '.join(map(repr, names))})", "Name it with --text-column.")
    for name in TEXT_COLUMNS:
        if name in names:
            return name
    if len(names) == 1:
        return names[0]
    raise DataInvalid(f"{where}: no column 'text' or 'story' (there: {', '.join(map(repr, names))})", "Name it with --text-column.")


def text_of(text: object, where: str) -> Iterator[str]:
    """The text of a row, nothing if it is null or blank; raises :class:`DataInvalid` for a value that is no text."""
    if text is None:
        return
    if not isinstance(text, str):
        raise DataInvalid(f"{where}: the column holds a {type(text).__name__}, not a text", "Name another with --text-column.")
    yield from _unless_blank(text)


def _unless_blank(text: str) -> Iterator[str]:
    if text and not text.isspace():
        yield text
