"""Runs a Ray cluster of several nodes on this machine. Prints its address, then adds nodes.

Each line of standard input is a number of nodes to add. The cluster ends when standard input is closed. This is a
separate program because Ray leaves resources open.
"""

import sys

from ray.cluster_utils import Cluster


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    print(cluster.address, flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            cluster.add_node(num_cpus=1)
        print("ready", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
