"""Tiles, held against the standard's examples and against proofs made from nothing else."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.merkle import leaf_hash, node_hash, root_of
from eventdbx.domain.proofs import Nodes, inclusion_proof, tree_root
from eventdbx.domain.tiles import (
    Tile,
    TileError,
    parse_path,
    partial_width,
    tile_hashes,
    tiles_of,
)
from tests.domain.signers import nodes_over

SIZE = 70_000
ENTRIES = [index.to_bytes(4, "big") for index in range(SIZE)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]

SIZES = st.integers(0, limits.TREE_SIZE_MAX)
TILES = st.builds(
    Tile,
    st.none() | st.integers(0, limits.TILE_LEVEL_MAX),
    st.integers(0, limits.TILE_INDEX_MAX) | st.integers(0, 2_000),
    st.integers(1, 256),
)


def nodes_in(tiles: dict[str, bytes], size: int) -> Nodes:
    """Return the nodes of a tree as somebody gets at them who can only fetch tiles."""

    def nodes(level: int, index: int) -> bytes:
        above = level % 8
        if above:
            return node_hash(nodes(level - 1, 2 * index), nodes(level - 1, 2 * index + 1))
        tile, place = divmod(index, 256)
        whole = (tile + 1) * 256 <= size >> level
        width = 256 if whole else partial_width(level // 8, size)
        content = tiles[Tile(level // 8, tile, width).path()]
        return content[32 * place :][:32]

    return nodes


class Paths(SynchronousTestCase):
    """What tiles are called."""

    def test_examples_of_the_standard(self) -> None:
        """Indexes are split into groups of three digits."""
        self.assertEqual(Tile(0, 1234067).path(), "tile/0/x001/x234/067")
        self.assertEqual(Tile(3, 0, 1).path(), "tile/3/000.p/1")
        self.assertEqual(Tile(None, 1234067, 255).path(), "tile/entries/x001/x234/067.p/255")
        self.assertEqual(parse_path("tile/63/x001/000"), Tile(63, 1000))
        self.assertEqual(parse_path("tile/entries/999"), Tile(None, 999))

    def test_other_paths(self) -> None:
        """There is one path to each tile; every other one is refused."""
        for path in (
            "",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/x000",
            "tile/0/000/000",
            "tile/0/x000/000",
            "tile/0/x001/x000",
            "tile/0/x01/000",
            "tile/0/X001/000",
            "tile/00/000",
            "tile/01/000",
            "tile/-1/000",
            "tile/64/000",
            "tile/100/000",
            "tile/data/000",
            "tile/0/000.p",
            "tile/0/000.p/",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p/999",
            "tile/0/000.p/1/",
            "tile/0/000\n",
            "tile/0/00\u0661",
            "/tile/0/000",
            "tile/0/../000",
            "tile/0/" + "x999/" * 6 + "999",
            "tile/0/x036/x028/x797/x018/x963/968",
        ):
            with self.assertRaises(TileError, msg=path):
                parse_path(path)
        self.assertEqual(
            parse_path("tile/0/x036/x028/x797/x018/x963/967").index, limits.TILE_INDEX_MAX
        )

    def test_tiles_that_cannot_be(self) -> None:
        """Levels, indexes and widths have their bounds."""
        for level, index, width in (
            (-1, 0, 1),
            (limits.TILE_LEVEL_MAX + 1, 0, 1),
            (0, -1, 1),
            (0, limits.TILE_INDEX_MAX + 1, 1),
            (0, 0, 0),
            (0, 0, 257),
        ):
            with self.assertRaises(TileError, msg=(level, index, width)):
                Tile(level, index, width)

    @settings(deadline=None)
    @given(TILES)
    def test_round_trip(self, tile: Tile) -> None:
        """A path leads to the tile that it was made for."""
        self.assertEqual(parse_path(tile.path()), tile)

    @settings(deadline=None)
    @given(st.text("tile/0123456789x.pn\nrs", max_size=30).map("tile/".__add__))
    def test_a_path_that_is_read_is_written_the_same(self, path: str) -> None:
        """No two paths lead to one tile."""
        try:
            tile = parse_path(path)
        except TileError:
            return
        self.assertEqual(tile.path(), path)


class Trees(SynchronousTestCase):
    """Which tiles a tree has."""

    def test_examples_of_the_standard(self) -> None:
        """The trees of 70,000 and of 256 entries have the tiles that are listed."""
        tiles = list(tiles_of(SIZE))
        full = [(tile.level, tile.index) for tile in tiles if tile.width == 256]
        self.assertEqual(full, [*((0, index) for index in range(273)), (1, 0)])
        self.assertEqual(
            [tile for tile in tiles if tile.width < 256],
            [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)],
        )
        self.assertEqual(list(tiles_of(256)), [Tile(0, 0), Tile(1, 0, 1)])
        self.assertEqual(list(tiles_of(255)), [Tile(0, 0, 255)])
        self.assertEqual(list(tiles_of(0)), [])

    def test_partial_widths(self) -> None:
        """A partial tile holds what no full one does."""
        self.assertEqual([partial_width(level, SIZE) for level in range(4)], [112, 17, 1, 0])
        self.assertEqual([partial_width(level, 65536) for level in range(4)], [0, 0, 1, 0])

    def test_what_is_in_a_tree(self) -> None:
        """A tile is there once the tree has every one of its hashes."""
        for tile in tiles_of(SIZE):
            self.assertTrue(tile.within(SIZE), tile)
        for tile in (Tile(0, 273, 113), Tile(0, 273), Tile(1, 1, 18), Tile(2, 0, 2), Tile(3, 0, 1)):
            self.assertFalse(tile.within(SIZE), tile)
        self.assertTrue(Tile(0, 273, 5).within(SIZE))
        self.assertTrue(Tile(None, 273, 112).within(SIZE))
        self.assertFalse(Tile(None, 273, 113).within(SIZE))

    @settings(deadline=None)
    @given(st.integers(0, 200_000))
    def test_every_complete_node_is_in_one_tile(self, size: int) -> None:
        """The widths of a level's tiles add up to what the level has, with no gap between them."""
        tiles = list(tiles_of(size))
        for level in range(4):
            of_level = [tile for tile in tiles if tile.level == level]
            self.assertEqual([tile.index for tile in of_level], list(range(len(of_level))))
            self.assertTrue(all(tile.width == 256 for tile in of_level[:-1]))
            self.assertEqual(sum(tile.width for tile in of_level), size // 256**level)

    @settings(deadline=None)
    @given(SIZES, st.integers(0, 7))
    def test_the_last_tile_of_any_tree(self, size: int, level: int) -> None:
        """At the right edge there is exactly the partial tile that the width says."""
        width = partial_width(level, size)
        index = size >> 8 * (level + 1)
        if width:
            self.assertTrue(Tile(level, index, width).within(size))
            self.assertEqual(parse_path(Tile(level, index, width).path()).width, width)
        self.assertFalse(Tile(level, index, width + 1).within(size))
        if index:
            self.assertTrue(Tile(level, index - 1).within(size))


class Contents(SynchronousTestCase):
    """What is in a tile."""

    def test_each_hash_is_a_full_tile_below(self) -> None:
        """The formula of the standard, for a tree with three levels of tiles."""
        nodes = nodes_over(LEAVES)
        self.assertEqual(tile_hashes(nodes, Tile(0, 3)), b"".join(LEAVES[768:1024]))
        self.assertEqual(tile_hashes(nodes, Tile(0, 273, 112)), b"".join(LEAVES[69_888:]))
        roots = [root_of(LEAVES[start : start + 256]) for start in range(0, 69_888, 256)]
        self.assertEqual(tile_hashes(nodes, Tile(1, 0)), b"".join(roots[:256]))
        self.assertEqual(tile_hashes(nodes, Tile(1, 1, 17)), b"".join(roots[256:]))
        self.assertEqual(tile_hashes(nodes, Tile(2, 0, 1)), root_of(LEAVES[:65_536]))
        self.assertEqual(len(tile_hashes(nodes, Tile(1, 0))), 8192)
        with self.assertRaises(TileError):
            tile_hashes(nodes, Tile(None, 0))

    def test_proofs_from_tiles_alone(self) -> None:
        """Who has nothing but the tiles comes to the same root and the same proofs."""
        nodes = nodes_over(LEAVES)
        tiles = {tile.path(): tile_hashes(nodes, tile) for tile in tiles_of(SIZE)}
        fetched = nodes_in(tiles, SIZE)
        self.assertEqual(tree_root(fetched, SIZE), root_of(LEAVES))
        for index in (0, 255, 256, 65_535, 65_536, 69_887, 69_888, SIZE - 1):
            self.assertEqual(
                inclusion_proof(fetched, index, SIZE), inclusion_proof(nodes, index, SIZE)
            )

    def test_root_from_tiles_is_the_independent_one(self) -> None:
        """Tiles give the roots that another implementation computes."""
        other = InmemoryTree(algorithm="sha256")
        for entry in ENTRIES[:700]:
            other.append_entry(entry)
        nodes = nodes_over(LEAVES[:700])
        for size in (1, 2, 255, 256, 257, 511, 512, 513, 700):
            tiles = {tile.path(): tile_hashes(nodes, tile) for tile in tiles_of(size)}
            self.assertEqual(tree_root(nodes_in(tiles, size), size), other.get_state(size))

    def test_a_changed_tile_changes_the_root(self) -> None:
        """A tile that differs is found out by the root."""
        nodes = nodes_over(LEAVES)
        tiles = {tile.path(): tile_hashes(nodes, tile) for tile in tiles_of(SIZE)}
        top = Tile(2, 0, 1).path()
        tiles[top] = sha256(tiles[top]).digest()
        self.assertNotEqual(tree_root(nodes_in(tiles, SIZE), SIZE), root_of(LEAVES))
