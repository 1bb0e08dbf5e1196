"""Tables in documents that a program writes."""

from collections.abc import Iterable
from pathlib import Path

END = "<!-- its end -->\n"


def put(document: Path, program: str, lines: Iterable[str]) -> None:
    """Put lines in the place of those that this program wrote before. Raises ValueError if the
    document has no place for them."""
    begin = f"<!-- {program} writes this -->\n"
    before, marked, rest = document.read_text().partition(begin)
    _, ended, after = rest.partition(END)
    if not marked or not ended:
        raise ValueError(f"{document}: no {begin.strip()} with {END.strip()} after it")
    text = "".join(f"{line}\n" for line in lines)
    document.write_text(f"{before}{begin}\n{text}\n{END}{after}")
