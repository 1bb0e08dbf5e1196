"""`lsmem --map`, as it is seen in terminals and pipes."""

import re
from pathlib import Path

import pytest

import static_tree
from commands import Command, Machines, run_program
from terminal import clean_environment, see

WIDTHS = (60, 80, 200)


TWO_NODES = {
    60: """\
Node 0: 8G in 64 blocks
  0x000000000 ########################________
  0x100000000 ################################
  0x200000000 ########
Node 1: 8G in 64 blocks
  0x200000000         ########################
  0x300000000 ################################
  0x400000000 --------

  # 15G 120 blocks  online
  -  1G   8 blocks  offline
  _  1G   8 blocks  hole: no memory here
A cell is 1 block (128M), a row 4G.
""",
    80: """\
Node 0: 8G in 64 blocks
  0x000000000 ########################________################################
  0x200000000 ########
Node 1: 8G in 64 blocks
  0x200000000         ########################################################
  0x400000000 --------

  # 15G 120 blocks  online
  -  1G   8 blocks  offline
  _  1G   8 blocks  hole: no memory here
A cell is 1 block (128M), a row 8G.
""",
    200: f"""\
Node 0: 8G in 64 blocks
  0x000000000 {"#" * 24}________{"#" * 40}
Node 1: 8G in 64 blocks
  0x000000000 {" " * 72}{"#" * 56}
  0x400000000 --------

  # 15G 120 blocks  online
  -  1G   8 blocks  offline
  _  1G   8 blocks  hole: no memory here
A cell is 1 block (128M), a row 16G.
""",
}


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("no_color", ["", "1"])
def test_map_in_a_terminal_has_rows_for_each_node(
    profiles: Machines, columns: int, no_color: str
) -> None:
    terminal = see(
        "lsmem", "--map", "-s", profiles("x86-two-nodes"), columns=columns, NO_COLOR=no_color
    )
    assert terminal.text() == TWO_NODES[columns].splitlines()
    assert terminal.colours() == (set() if no_color else {"green", "brown"})
    assert (b"\033" in terminal.written) is not bool(no_color)


@pytest.mark.parametrize("columns", WIDTHS)
def test_map_in_a_pipe_has_the_same_text_without_colour(profiles: Machines, columns: int) -> None:
    tree = profiles("x86-two-nodes")
    done = run_program("lsmem", "--map", "-s", tree, env=clean_environment(COLUMNS=str(columns)))
    assert done.stdout == TWO_NODES[columns]


def test_map_in_a_pipe_is_80_columns_wide_without_columns_variable(
    profiles: Machines,
) -> None:
    done = run_program("lsmem", "--map", "-s", profiles("x86-two-nodes"), env=clean_environment())
    assert done.stdout == TWO_NODES[80]


def test_map_by_zones_has_characters_and_colours_for_each_zone(
    profiles: Machines,
) -> None:
    terminal = see("lsmem", "--map=zones", "-s", profiles("x86-two-nodes"))
    assert (
        terminal.text()
        == """\
Node 0: 8G in 64 blocks
  0x000000000 *33333333333333333333333________NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN
  0x200000000 NNNNNNNN
Node 1: 8G in 64 blocks
  0x200000000         NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNMMMMMMMM
  0x400000000 --------

  3 2.9G 23 blocks  zone DMA32
  N  11G 88 blocks  zone Normal
  M   1G  8 blocks  zone Movable
  * 128M   1 block  several zones
  -   1G  8 blocks  offline
  _   1G  8 blocks  hole: no memory here
A cell is 1 block (128M), a row 8G.
""".splitlines()
    )
    assert terminal.colours() == {"blue", "green", "brightcyan", "magenta", "brown"}


def test_map_draws_deconfigured_memory_beside_the_only_node(
    profiles: Machines, lsmem: Command
) -> None:
    assert (
        lsmem("--map", "-s", profiles("s390-lpar")).stdout
        == """\
Node 0, or none yet: 4G in 32 blocks
  0x00000000 ################................

  # 2G 16 blocks  online
  . 2G 16 blocks  disabled: not configured
A cell is 1 block (128M), a row 8G.
"""
    )


def test_map_in_a_narrow_window_has_a_shorter_legend(
    profiles: Machines, lsmem: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert lsmem("--map", "-s", profiles("s390-lpar")).stdout.splitlines()[-3:] == [
        "  # 2G 16 blocks  online",
        "  . 2G 16 blocks  disabled",
        "A cell is 1 block (128M), a row 2G.",
    ]


def test_map_of_memory_far_from_address_0_begins_at_a_row(
    profiles: Machines, lsmem: Command
) -> None:
    rows = lsmem("--map", "-s", profiles("arm64-offset")).stdout.splitlines()
    assert rows[1] == "  0x10000000000 " + "#" * 64
    assert rows[2] == "  0x10200000000 " + "#" * 48 + "-" * 16


def test_map_marks_a_cell_where_one_block_of_many_differs(tmp_path: Path, lsmem: Command) -> None:
    blocks = [
        {"range": [0, 1299]},
        {"range": [1300, 1300], "state": "offline"},
        {"range": [1301, 4095]},
    ]
    static_tree.make(tmp_path, {"block_size": 1 << 28, "blocks": blocks})
    shown = lsmem("--map", "-s", tmp_path).stdout
    assert shown.splitlines()[6] == "  0x5000000000 " + "#" * 5 + "+" + "#" * 58
    assert "  + mixed, online for the most part\n" in shown
    assert shown.endswith("A cell is 4 blocks (1G), a row 64G.\n")


def test_map_draws_a_hole_on_the_node_below_it(tmp_path: Path, lsmem: Command) -> None:
    blocks = [
        {"range": [0, 3]},
        {"range": [8, 11], "node": 1},
        {"range": [16, 19]},
        {"range": [21, 23], "node": 1},
    ]
    static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": blocks})
    assert lsmem("--map", "-s", tmp_path).stdout.startswith(
        """\
Node 0: 1G in 8 blocks
  0x00000000 ####____        ####_
Node 1: 896M in 7 blocks
  0x00000000         ####____     ###
"""
    )


def test_map_folds_large_holes_into_a_line(tmp_path: Path, lsmem: Command) -> None:
    far = 1 << 36
    blocks = [{"range": [0, 3]}, {"range": [far, far + 3]}]
    static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": blocks})
    assert (
        lsmem("--map", "-s", tmp_path).stdout
        == f"""\
Node 0: 1G in 8 blocks
  0x0000000000000000 ####{"_" * 28}
  ... 8E of hole
  0x8000000000000000 ####

  # 1G           8 blocks  online
  _ 8E {far - 4} blocks  hole: no memory here
A cell is 1 block (128M), a row 4G.
"""
    )


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", ["s390-imbalance", "ppc64-large", "x86-dimm-slots", "s390-zvm"])
def test_map_of_every_profile_fits_the_width_and_its_legend_adds_up(
    profiles: Machines,
    lsmem: Command,
    name: str,
    columns: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    tree = profiles(name)
    for by in ("status", "zones"):
        lines = lsmem(f"--map={by}", "-b", "-s", tree).stdout.splitlines()
        assert max(map(len, lines)) <= columns
        legend = [line.split() for line in lines if re.match(r"  [^ ] +\d+ +\d+ block", line)]
        size = sum(int(row[1]) for row in legend if row[0] != "_")
        whole = lsmem("-s", tree, "-b", "-S", "none", "-rn", "-o", "SIZE").stdout.split()
        assert size == sum(map(int, whole))


@pytest.mark.parametrize("blocks", [4, 65536, 262144])
def test_map_of_4_to_262144_blocks_fits_the_window(blocks: int) -> None:
    from lsmem_py.picture import Picture
    from memory_hotplug.block import State
    from memory_hotplug.table import BlockTable

    columns: dict[str, list[object]] = {"state": [State.ONLINE] * blocks, "node": [0] * blocks}
    table = BlockTable(1 << 28, range(blocks), {**columns, "configured": [None] * blocks})
    lines = [line.plain for line in Picture(table, "status", 80, 24).lines()]
    cells = [line.rsplit(" ", 1)[1] for line in lines if line.startswith("  0x")]
    assert max(map(len, lines)) <= 80
    assert len(cells) <= 24
    assert set("".join(cells)) == {"#"}
    group = re.search(r"A cell is (\d+) block", lines[-1])
    assert group
    assert len("".join(cells)) * int(group[1]) == blocks


def test_map_cell_of_mixed_blocks_shows_the_most_frequent_kind(tmp_path: Path) -> None:
    blocks: list[dict[str, object]] = []
    for start in range(0, 4096, 64):
        # In turn two blocks of three are online, are offline, are not there.
        states = {0: ("online", "online", "offline"), 1: ("offline", "offline", "online")}
        for number in range(start, start + 64):
            if start // 64 % 3 < 2:
                state = states[start // 64 % 3][number % 3]
                blocks.append({"range": [number, number], "state": state})
            elif number % 3 == 0:
                blocks.append({"range": [number, number]})
    static_tree.make(tmp_path, {"block_size": 1 << 28, "blocks": blocks})
    terminal = see("lsmem", "--map", "-s", tmp_path, columns=60)
    rows = [line.split()[1] for line in terminal.text() if line.startswith("  0x")]
    # A cell is 8 blocks.
    assert "".join(rows) == ("+" * 8 + "=" * 8 + "," * 8) * 21 + "+" * 8
    legend = terminal.text()[-5:]
    assert legend[1:] == [
        "  + mixed, online for the most part",
        "  = mixed, offline for the most part",
        "  , mixed, hole for the most part",
        "A cell is 8 blocks (2G), a row 64G.",
    ]
    assert terminal.colours() == {"green", "brown"}


def test_map_characters_and_colours_all_differ() -> None:
    from lsmem_py.picture import KINDS

    characters = [character for kind in KINDS for character in (kind.character, kind.mostly)]
    assert len(set(characters)) == 2 * len(KINDS)
    assert not {" ", "^"}.intersection(characters)
    styles = [kind.style for kind in KINDS if kind.character not in "#N"]
    assert len(styles) == len(set(styles))


def test_map_draws_an_unknown_state_as_a_question_mark(tmp_path: Path, lsmem: Command) -> None:
    static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": [{"range": [0, 3]}]})
    (tmp_path / "sys/devices/system/memory/memory2/state").write_text("sideways\n")
    shown = lsmem("--map", "-s", tmp_path).stdout
    assert "  0x00000000 ##?#\n" in shown
    assert "? 128M  1 block  unknown\n" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--map=colour"], "invalid argument of --map: colour (status or zones)"),
        (["--map", "-J"], "--json means nothing to --map"),
        (["-a", "--map"], "--all means nothing to --map"),
        (["--map", "-o", "SIZE"], "--output means nothing to --map"),
        (["--map", "--diff", "x"], "options --map and --diff cannot be combined"),
    ],
)
def test_map_refuses_options_of_a_listing(lsmem: Command, options: list[str], message: str) -> None:
    done = lsmem(*options)
    status = 2 if "--diff" in message else 1
    assert (done.status, done.stdout, done.stderr) == (status, "", f"lsmem: {message}\n")


@pytest.mark.parametrize(
    "columns", ["99999999", "9" * 5000, "\N{ARABIC-INDIC DIGIT FOUR}" * 2, "-5"]
)
def test_no_variable_makes_a_window_without_bound(
    columns: str, lsmem: Command, lpar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lsmem_py.picture import window

    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", columns)
    done = lsmem("--map", "-s", lpar)
    assert (done.status, done.stderr) == (0, "")
    assert window()[0] == (1000 if columns.startswith("9") else 80)
