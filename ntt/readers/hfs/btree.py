"""B-trees of HFS and HFS+: nodes read and checked, searched by key, leaves walked past whatever is damaged."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from ntt.ranges import Ranges, within
from ntt.readers.base import ReadError
from ntt.readers.hfs.forks import ForkBytes
from ntt.readers.inode_set import InodeSet

LEAF, INDEX, HEADER, MAP = 0xFF, 0, 1, 2
DESCRIPTOR = struct.Struct(">IIBBH2x")
HEADER_RECORD = struct.Struct(">HIIIIHHIIxxIBBI")  # TN1150, "Header Record"; Inside Macintosh: Files, 2-67 up to here
HEADER_BYTES = 512  # the smallest node
DEPTH_LIMIT = 16
CACHED_BYTES = 4 << 20

Key = tuple[int, bytes, int]  # an identifier, then a name or kind, then a block: enough for all three trees
NO_KEY: Key = (-1, b"", 0)
KeyOf = Callable[[bytes], Key]


class Node(NamedTuple):
    """Record `i` is `raw[places[i]:places[i + 1]]`. `lost` are the node's unread bytes."""

    number: int
    forward: int
    kind: int
    raw: bytes
    places: tuple[int, ...]
    lost: Ranges

    @property
    def length(self) -> int:
        return len(self.places) - 1

    def record(self, index: int) -> bytes:
        return self.raw[self.places[index] : self.places[index + 1]]

    def is_lost(self, index: int) -> bool:
        """Some byte of the record was never read."""
        return bool(self.lost) and bool(within(self.lost, self.places[index], self.places[index + 1]))


class BTree:
    """`key_of` gives a record's key or raises ReadError. ReadError if the header node is damaged."""

    def __init__(self, fork: ForkBytes, key_of: KeyOf) -> None:
        self._fork = fork
        self.key_of = key_of
        head = fork.certain(0, HEADER_BYTES)
        if head[8] != HEADER:
            raise ReadError("the header node of a B-tree is damaged")
        record: tuple[int, ...] = HEADER_RECORD.unpack_from(head, DESCRIPTOR.size)
        _, self._root, self.leaf_records, self._first_leaf, _, self.node_bytes, _, nodes, *_ = record
        self.compare_type = record[11]
        if not 512 <= self.node_bytes <= 32_768 or self.node_bytes & self.node_bytes - 1:
            raise ReadError(f"a B-tree with nodes of {self.node_bytes} bytes")
        in_image = fork.source.size_bytes // self.node_bytes + 1
        self._nodes = min(nodes, fork.size // self.node_bytes, in_image)
        self._cache: OrderedDict[int, Node] = OrderedDict()
        self._known_keys: dict[int, list[Key]] = {}  # of nodes in the cache

    def node(self, number: int) -> Node:
        """A node that is wholly read, out of the cache if it is there; ReadError otherwise."""
        found = self._cache.get(number)
        if found is not None:
            self._cache.move_to_end(number)
            return found
        found = self._read(number)
        if found.lost:
            raise ReadError(f"node {number} of the B-tree was not read", self._unread(number))
        self._cache[number] = found
        if len(self._cache) * self.node_bytes > CACHED_BYTES:
            dropped, _ = self._cache.popitem(last=False)
            self._known_keys.pop(dropped, None)
        return found

    def node_as_it_is(self, number: int) -> Node:
        """A node that may be unread in part."""
        return self._cache.get(number) or self._read(number)

    def _unread(self, number: int) -> Ranges:
        return self._fork.unread(number * self.node_bytes, self.node_bytes)

    def _read(self, number: int) -> Node:
        if not 0 <= number < self._nodes:
            raise ReadError(f"node {number} lies outside a B-tree of {self._nodes} nodes")
        raw = self._fork.read(number * self.node_bytes, self.node_bytes)
        forward, _, kind, _, count = DESCRIPTOR.unpack_from(raw)
        if 2 * (count + 1) + DESCRIPTOR.size > self.node_bytes or kind not in (LEAF, INDEX, HEADER, MAP):
            raise ReadError(f"node {number} of the B-tree is damaged", self._unread(number))
        places = struct.unpack_from(f">{count + 1}H", raw, self.node_bytes - 2 * (count + 1))[::-1]
        in_order = all(low < high for low, high in pairwise(places))
        if not in_order or places[0] < DESCRIPTOR.size or places[-1] > self.node_bytes - 2 * (count + 1):
            raise ReadError(f"node {number} of the B-tree is damaged", self._unread(number))
        return Node(number, forward, kind, raw, places, self._fork.lost(number * self.node_bytes, self.node_bytes))

    def image_places(self, node: Node, offset: int, length: int) -> list[tuple[int, int]]:
        """(image offset, bytes) of a part of a node."""
        places = self._fork.places(node.number * self.node_bytes + offset, length)
        return [(place.image_offset, place.image_length) for place in places]

    # ------------------------------------------------------------ by key

    def seek(self, target: Key) -> Iterator[tuple[Node, int]]:
        """Leaf records from the first whose key is not below `target`, as (node, index)."""
        number = self._root
        node = None
        for _ in range(DEPTH_LIMIT):
            if not number:
                return  # an empty tree
            node = self.node(number)
            if node.kind == LEAF:
                break
            number = self._child(node, target)
        if node is None or node.kind != LEAF:
            raise ReadError("the B-tree is too deep")
        index = bisect_left(self._keys(node), target)
        met = InodeSet()
        while True:
            for at in range(index, node.length):
                yield node, at
            if not node.forward:
                return
            if not met.add(node.number):
                raise ReadError("the leaves of the B-tree form a circle")
            node, index = self.node(node.forward), 0
            if node.kind != LEAF:
                raise ReadError(f"node {node.number} of the B-tree is damaged")

    def _keys(self, node: Node) -> list[Key]:
        """The keys of a node, in order as far as they are sound."""
        keys = self._known_keys.get(node.number)
        if keys is None:
            keys = self._known_keys[node.number] = []
            for index in range(node.length):
                try:
                    keys.append(self.key_of(node.record(index)))
                except ReadError:
                    keys.append(keys[-1] if keys else NO_KEY)
        return keys

    def _child(self, node: Node, target: Key) -> int:
        if node.kind != INDEX or not node.length:
            raise ReadError(f"node {node.number} of the B-tree is damaged")
        record = node.record(max(bisect_right(self._keys(node), target) - 1, 0))
        return int.from_bytes(record[-4:], "big")

    # ------------------------------------------------------------ all leaves

    def leaves(self) -> Iterator[Node | str]:
        """Every leaf node once, in order as far as their chain is whole; a sentence for each that is lost.

        Where the chain breaks, or holds fewer records than the header counts, every node that the tree's own
        map has in use and that the chain did not reach is looked at.
        """
        met = InodeSet()
        counted = 0
        number, whole = self._first_leaf, True
        while number and whole:
            found = self._leaf(number, met)
            whole = isinstance(found, Node)
            if isinstance(found, Node):
                counted += found.length
                number = found.forward
            yield found
        if whole and counted >= self.leaf_records:
            return
        for number in self._used():
            if not met.add(number):
                continue
            try:
                node = self._read(number)
            except ReadError as error:
                yield str(error)
                continue
            if node.kind == LEAF:
                counted += node.length
                yield node
        if counted < self.leaf_records:
            yield f"{self.leaf_records - counted} of {self.leaf_records} records are not found"

    def _leaf(self, number: int, met: InodeSet) -> Node | str:
        if not met.add(number):
            return "the leaves of the B-tree form a circle"
        try:
            node = self._read(number)
        except ReadError as error:
            return str(error)
        return node if node.kind == LEAF else f"node {number} of the B-tree is damaged"

    def _used(self) -> Iterator[int]:
        """Node numbers whose bit is set in the map: the header node's third record, then the map nodes."""
        met = InodeSet()
        number, index, first = 0, 2, 0
        while first < self._nodes and met.add(number):
            try:
                node = self._read(number)
            except ReadError:
                return
            if node.length <= index or node.kind not in (HEADER, MAP):
                return
            bits = node.record(index)
            for at in range(min(8 * len(bits), self._nodes - first)):
                if bits[at >> 3] & 0x80 >> (at & 7):
                    yield first + at
            first += 8 * len(bits)
            number, index = node.forward, 0
            if not number:
                return
