"""A Ray cluster of several raylets on this machine: prints its address, then adds as many nodes as each line says.

A program of its own, because Ray does not release all resources. It ends, with its nodes, at the end of its input.
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
