"""Makes the shards of a run with actors on the nodes of a Ray cluster. Replaces lost actors and retries their shards.

Imports the other modules of executors, and workers, shards, options, processes, dataset and base.
"""

from ovocr.labelgen.executors.ray.ray_executor import open_ray_executor

__all__ = ["open_ray_executor"]
