"""Whatever of Ray dies, a grid ends complete, identical, and from its checkpoints."""

import dataclasses
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.commands import assert_same_store
from tests.support.counting import assert_committed_once, assert_kept_its_checkpoints
from tests.support.ray import RayCluster, RayStudy, ray_cluster


def assert_whole(study: RayStudy, undisturbed: dict, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The grid is complete, equal to one that ran in peace, and nothing was computed twice or from zero."""
    study.wait_until_done()
    study.wait_until_quiet()
    key = (study.sizes, study.seeds, study.steps)
    if key not in undisturbed:
        directory = tmp_path_factory.mktemp("undisturbed")
        undisturbed[key] = dataclasses.replace(study, directory=directory, cluster=None).run_here().root
    assert_same_store(undisturbed[key], study.root)
    assert_kept_its_checkpoints(study)
    assert_committed_once(study)


def kill_actor(study: RayStudy, chance: random.Random) -> None:
    """One warm actor, perhaps in the middle of a stage."""
    actors = study.actors()
    if actors:
        chance.choice(actors).kill()


def kill_child(study: RayStudy, chance: random.Random) -> None:
    """The process in which an actor trains."""
    children = [child for one in study.actors() for child in one.children()]
    if children:
        chance.choice(children).kill()


def kill_node(study: RayStudy, chance: random.Random) -> None:
    """A whole node, and another comes in its place."""
    assert study.cluster is not None
    node = study.cluster.nodes.pop(chance.randrange(len(study.cluster.nodes)))
    node.kill()
    study.cluster.add_node()


def kill_raylet(study: RayStudy, chance: random.Random) -> None:
    """A raylet: its workers live until they notice."""
    assert study.cluster is not None
    node = study.cluster.nodes.pop(chance.randrange(len(study.cluster.nodes)))
    node.kill_raylet()
    study.cluster.add_node()


def kill_driver(study: RayStudy, chance: random.Random) -> None:
    """The driver; nobody goes on until somebody resumes."""
    study.driver().kill()
    study.resume()


def kill_head(study: RayStudy, chance: random.Random) -> None:
    """The head with all that it knew; nodes that were its own are useless afterwards."""
    assert study.cluster is not None and study.cluster.head is not None
    study.cluster.head.kill()
    for node in study.cluster.nodes:
        node.kill()
    study.cluster.nodes.clear()
    study.cluster.start_head()
    study.cluster.add_node()
    study.cluster.add_node()
    study.resume()


KILLS: list[Callable[[RayStudy, random.Random], None]] = [
    kill_actor,
    kill_child,
    kill_node,
    kill_raylet,
    kill_driver,
    kill_head,
]


@pytest.mark.parametrize(
    "kill",
    [pytest.param(one, marks=pytest.mark.slow) if one in (kill_child, kill_node) else one for one in KILLS],
    ids=lambda one: one.__name__,
)
def test_what_dies_costs_only_time(
    cluster: RayCluster, tmp_path: Path, undisturbed, tmp_path_factory, kill
) -> None:
    study = RayStudy(tmp_path / "study", cluster, seeds=2, steps=12, pause=0.3)
    study.submit()
    study.wait(study.running, 60, "a leaf to take steps")
    kill(study, random.Random(0))
    assert_whole(study, undisturbed, tmp_path_factory)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_deaths_at_random(tmp_path: Path, undisturbed, tmp_path_factory) -> None:
    """Twenty grids, each hit at a random moment by a random death; `resume` where nobody goes on by itself."""
    with ray_cluster() as cluster:
        for seed in range(20):
            chance = random.Random(seed)
            study = RayStudy(tmp_path / f"study-{seed}", cluster, seeds=2, steps=12, pause=0.3)
            study.submit()
            time.sleep(chance.uniform(0.0, 8.0))
            kill = KILLS[seed % len(KILLS)]
            with suppress(psutil.NoSuchProcess, KeyError):  # it was through already
                kill(study, chance)
            assert_whole(study, undisturbed, tmp_path_factory)
            print(f"{seed}: {kill.__name__}", flush=True)
