"""The tree of a log in tiles (C2SP tlog-tiles): what they are called, and what is in them.

A tile holds 256 hashes of one level; the next level of tiles begins eight levels of the tree
higher, so that each hash there stands for one full tile below. A tile at the right edge of the
tree may be partial. Entries are bundled as the hashes of the lowest tiles are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from eventdbx import limits
from eventdbx.domain.proofs import Nodes

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT

_LEVEL = r"entries|0|[1-9][0-9]?"
_WIDTH = r"[1-9][0-9]{0,2}"
_PATH = re.compile(
    rf"tile/({_LEVEL})/((?:x[0-9]{{3}}/){{0,5}}[0-9]{{3}})(?:\.p/({_WIDTH}))?", re.ASCII
)


class TileError(Exception):
    """There is no such tile."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The place of one tile: its level (None for a bundle of entries), index and width."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level <= limits.TILE_LEVEL_MAX:
            raise TileError(f"the level of a tile is not between 0 and {limits.TILE_LEVEL_MAX}")
        if not 0 <= self.index <= limits.TILE_INDEX_MAX:
            raise TileError(f"the index of a tile is not between 0 and {limits.TILE_INDEX_MAX}")
        if not 1 <= self.width <= TILE_WIDTH:
            raise TileError(f"the width of a tile is not between 1 and {TILE_WIDTH}")

    def path(self) -> str:
        """Return the path under which the tile is served, below the prefix of the log."""
        name = f"{self.index % 1000:03}"
        rest = self.index // 1000
        while rest:
            name = f"x{rest % 1000:03}/{name}"
            rest //= 1000
        level = "entries" if self.level is None else self.level
        partial = f".p/{self.width}" if self.width < TILE_WIDTH else ""
        return f"tile/{level}/{name}{partial}"

    def within(self, size: int) -> bool:
        """Return whether a tree of that size has all that is in the tile."""
        return self.index * TILE_WIDTH + self.width <= size >> (TILE_HEIGHT * (self.level or 0))


def parse_path(path: str) -> Tile:
    """Return the tile that is served under a path. Raises TileError for any other path."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise TileError("the path names no tile")
    level, name, width = found.groups()
    index = int(name.replace("/", "").replace("x", ""))
    tile = Tile(
        None if level == "entries" else int(level),
        index,
        TILE_WIDTH if width is None else int(width),
    )
    if tile.path() != path:  # zeros in front, or a full tile that is called partial
        raise TileError("the path is not the one of the tile")
    return tile


def partial_width(level: int, size: int) -> int:
    """Return how many hashes the partial tile of a level has; 0 if there is none."""
    return (size >> (TILE_HEIGHT * level)) % TILE_WIDTH


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield the tiles that represent a tree: level by level, from left to right."""
    for level in range(limits.TILE_LEVEL_MAX + 1):
        hashes = size >> (TILE_HEIGHT * level)
        if not hashes:
            return
        for index in range(hashes // TILE_WIDTH):
            yield Tile(level, index)
        if hashes % TILE_WIDTH:
            yield Tile(level, hashes // TILE_WIDTH, hashes % TILE_WIDTH)


def tile_hashes(nodes: Nodes, tile: Tile) -> bytes:
    """Return the content of a tile that is ``within`` the tree of the nodes."""
    if tile.level is None:
        raise TileError("entries have no hashes")
    first = tile.index * TILE_WIDTH
    level = tile.level * TILE_HEIGHT
    return b"".join(nodes(level, index) for index in range(first, first + tile.width))
