"""The lab from the command line.

python -m cluster.lab up            # then: . LAB/env.sh
python -m cluster.lab crash n2      # a power cut; `start n2` brings it back
python -m cluster.lab down --purge
"""

import argparse
import sys
import tempfile
from pathlib import Path

from cluster.lab.configuration import LabSettings
from cluster.lab.lab import Lab, LabError


def main() -> None:
    """Do one thing with the lab."""
    parser = argparse.ArgumentParser(prog="python -m cluster.lab")
    parser.add_argument("action", choices=("up", "down", "crash", "start"))
    parser.add_argument("node", nargs="?")
    parser.add_argument("--root", type=Path, default=Path(tempfile.gettempdir()) / "yates-slurm-lab")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--port", type=int, default=17000)
    parser.add_argument("--no-accounting", action="store_true")
    parser.add_argument("--purge", action="store_true")
    arguments = parser.parse_args()
    settings = LabSettings(
        arguments.root.resolve(),
        nodes=arguments.nodes,
        port=arguments.port,
        accounting=not arguments.no_accounting,
    )
    try:
        _act(Lab(settings), arguments.action, arguments.node, arguments.purge)
    except LabError as error:
        sys.exit(f"error: {error}")


def _act(lab: Lab, action: str, node: str | None, purge: bool) -> None:
    if action == "up":
        lab.up()
        print(f"the lab is up: . {lab.settings.root}/env.sh")
    elif action == "down":
        lab.down(purge)
    elif node not in lab.settings.node_names:
        raise LabError(f"name a node: {', '.join(lab.settings.node_names)}")
    elif action == "crash":
        lab.crash_node(node)
    else:
        lab.start_node(node)


if __name__ == "__main__":
    main()
