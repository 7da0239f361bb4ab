"""Writes a world to a directory, once, with the same bytes on any machine."""

import hashlib
import json
import os
import secrets
import shutil
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

from workers.world.contents import Row, World
from workers.world.recipe import GENERATOR_VERSION, WorldRecipe, world_digest
from workers.world.tokenizer import tokenizer_config_json, tokenizer_json
from workers.world.vocabulary import world_vocabulary

STORED_BLOCK = 65535
"""The most bytes that a stored deflate block holds."""


def jsonl(rows: Iterable[Row]) -> bytes:
    """One JSON object a line, keys in the row's order."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def gzip_stored(content: bytes) -> bytes:
    """A gzip file (RFC 1952) of stored blocks (RFC 1951, 3.2.4), time 0: no zlib decides its bytes."""
    starts = range(0, max(len(content), 1), STORED_BLOCK)
    blocks = [content[start : start + STORED_BLOCK] for start in starts]
    body = b"".join(
        struct.pack("<BHH", place == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for place, block in enumerate(blocks)
    )
    header = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"
    return header + body + struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)


def _row_file(name: str, rows: Iterable[Row]) -> bytes:
    content = jsonl(rows)
    return gzip_stored(content) if name.endswith(".gz") else content


def _manifest(recipe: WorldRecipe, files: dict[str, bytes]) -> bytes:
    """world.json: recipe, generator version, digest, and the size and sha256 of every other file."""
    listed = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    }
    content = {
        "generator_version": GENERATOR_VERSION,
        "digest": world_digest(recipe),
        "recipe": recipe.model_dump(mode="json"),
        "files": listed,
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def world_files(recipe: WorldRecipe) -> dict[str, bytes]:
    """Path inside the world to bytes, for every file."""
    files = {name: _row_file(name, rows) for name, rows in World(recipe).rows().items()}
    files["tokenizer/tokenizer.json"] = tokenizer_json(world_vocabulary()).encode()
    files["tokenizer/tokenizer_config.json"] = tokenizer_config_json().encode()
    return files | {"world.json": _manifest(recipe, files)}


def write_world(directory: Path, recipe: WorldRecipe) -> None:
    """Write every file below `directory`, which is made when missing; equal recipe, equal bytes."""
    for name, content in sorted(world_files(recipe).items()):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def world_directory(cache: Path, recipe: WorldRecipe) -> Path:
    """The directory of a world in a cache, written there when missing.

    It appears whole under its name by one rename. Of processes that race, one publishes and the others
    discard their equal copy. OSError when the cache cannot be written.
    """
    target = cache / f"world-{world_digest(recipe)[:16]}"
    if not target.is_dir():
        private = cache / f".{target.name}.{os.getpid()}.{secrets.token_hex(8)}"
        try:
            write_world(private, recipe)
            _publish(private, target)
        finally:
            shutil.rmtree(private, ignore_errors=True)
    return target


def _publish(private: Path, target: Path) -> None:
    """Rename, unless another process has done so."""
    try:
        private.rename(target)
    except OSError:
        if not target.is_dir():
            raise
