"""Bytes: determinism, independence of files, publication."""

import gzip
import hashlib
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from workers.world import GENERATOR_VERSION, WorldRecipe, world_digest, world_directory, write_world
from workers.world import files as world_files_module
from workers.world.files import gzip_stored, world_files

SMALL = WorldRecipe(
    pretrain_rows=30,
    validation_rows=5,
    instruction_rows=20,
    preference_rows=12,
    preference_test_rows=8,
    generation_rows=4,
    reasoning_rows=4,
)
GOLDEN = {1: "7cde897e4f40127aebb9c9953e812cdd5b16e976fab7a1cf1cd0daee6a541e8c"}
"""sha256 of the default world's manifest by generator version: raise the version when it changes."""


def files_below(directory: Path) -> dict[str, bytes]:
    """Relative path to bytes."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_golden_bytes(world: Path) -> None:
    manifest = (world / "world.json").read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == GOLDEN[GENERATOR_VERSION]


def test_manifest_lists_every_file(world: Path) -> None:
    manifest = json.loads((world / "world.json").read_text())
    written = files_below(world)
    del written["world.json"]
    assert set(manifest["files"]) == set(written)
    for name, content in written.items():
        expected = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        assert manifest["files"][name] == expected


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(-(2**40), 2**40))
def test_equal_recipe_equal_bytes(seed: int) -> None:
    recipe = SMALL.model_copy(update={"seed": seed})
    assert world_files(recipe) == world_files(recipe)


def test_other_process_and_hash_seed_same_bytes(tmp_path: Path) -> None:
    write_world(tmp_path / "here", SMALL)
    program = (
        "import sys; from pathlib import Path; from workers.world import WorldRecipe, write_world;"
        "write_world(Path(sys.argv[1]), WorldRecipe.model_validate_json(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "there"), SMALL.model_dump_json()]
    root = Path(__file__).parents[3]
    subprocess.run(command, check=True, cwd=root, env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(root)})
    assert files_below(tmp_path / "here") == files_below(tmp_path / "there")


def test_seed_changes_facts_but_not_the_tokenizer() -> None:
    one, other = world_files(SMALL), world_files(SMALL.model_copy(update={"seed": 1}))
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {name for name in one if not name.startswith("tokenizer/")}


SIZED = {
    "pretrain_rows": {"pretrain/train.jsonl"},
    "validation_rows": {"pretrain/validation.jsonl"},
    "instruction_rows": {"instructions/train.jsonl"},
    "generation_rows": {"toxic/test.jsonl", "helpful/test.jsonl"},
    "preference_test_rows": {
        "pku-saferlhf/test.jsonl",
        "hh-rlhf/harmless-base/test.jsonl.gz",
        "hh-rlhf/helpful-base/test.jsonl.gz",
    },
}


@pytest.mark.parametrize("size", SIZED)
def test_a_size_changes_only_its_files(size: str) -> None:
    one = world_files(SMALL)
    other = world_files(SMALL.model_copy(update={size: getattr(SMALL, size) + 3}))
    changed = {name for name in one if one[name] != other[name]}
    assert changed == SIZED[size] | {"world.json"}


@given(content=st.binary(max_size=200))
def test_gzip_round_trip(content: bytes) -> None:
    assert gzip.decompress(gzip_stored(content)) == content


@pytest.mark.parametrize("size", [65534, 65535, 65536, 131070, 131071])
def test_gzip_block_borders(size: int) -> None:
    content = bytes(size)
    packed = gzip_stored(content)
    assert gzip.decompress(packed) == content
    assert packed[4:8] == bytes(4)


def test_digest_depends_on_recipe_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = world_digest(SMALL)
    assert before == world_digest(SMALL.model_copy())
    assert before != world_digest(SMALL.model_copy(update={"seed": 1}))
    monkeypatch.setattr("workers.world.recipe.GENERATOR_VERSION", GENERATOR_VERSION + 1)
    assert before != world_digest(SMALL)


def test_directory_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world_directory(tmp_path, SMALL)
    assert first.name == f"world-{world_digest(SMALL)[:16]}"
    monkeypatch.setattr(world_files_module, "write_world", lambda *_: pytest.fail("written again"))
    assert world_directory(tmp_path, SMALL) == first


def test_racing_writers_leave_one_whole_world(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: world_directory(tmp_path, SMALL), range(8)))
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == [found.pop().name]


def test_a_loser_of_the_race_discards_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / f"world-{world_digest(SMALL)[:16]}"

    def slow_write(directory: Path, recipe: WorldRecipe) -> None:
        write_world(target, recipe)
        write_world(directory, recipe)

    monkeypatch.setattr(world_files_module, "write_world", slow_write)
    assert world_directory(tmp_path, SMALL) == target
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_rename(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("workers.world.files.Path.rename", broken_rename)
    with pytest.raises(OSError, match="disk full"):
        world_directory(tmp_path, SMALL)
    assert list(tmp_path.iterdir()) == []


def test_default_world_is_fast(tmp_path: Path) -> None:
    start = time.process_time()
    world_directory(tmp_path, WorldRecipe())
    assert time.process_time() - start < 2.0


def test_import_is_light() -> None:
    heavy = "('torch', 'transformers', 'tokenizers')"
    program = f"import sys, workers.world; print([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("wrong", [{"sede": 1}, {"pretrain_rows": 0}, {"preference_test_rows": 513}])
def test_recipe_rejects(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        WorldRecipe.model_validate(wrong)


def test_recipe_is_frozen() -> None:
    with pytest.raises(ValidationError):
        WorldRecipe().seed = 3
