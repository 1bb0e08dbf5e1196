"""Sizes as people write and read them: powers of 1024, from B to E."""

SUFFIXES = "BKMGTPE"


def human(size: int) -> str:
    """SIZE, in bytes, in the largest unit of which there is at least one, with at most one decimal.

    Thousandths are cut off and tenths rounded half up, as util-linux does: 1.75 GiB is ``1.8G``.
    """
    exponent = min(max(size.bit_length() - 1, 0) // 10, len(SUFFIXES) - 1)
    whole, rest = divmod(size, 1 << 10 * exponent)
    thousandths = rest * 1000 >> 10 * exponent
    tenths = (thousandths + 50) // 100
    if tenths == 10:
        whole, tenths = whole + 1, 0
    return f"{whole}.{tenths}{SUFFIXES[exponent]}" if tenths else f"{whole}{SUFFIXES[exponent]}"
