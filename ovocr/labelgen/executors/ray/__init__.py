"""Makes the shards of a run on the nodes of a Ray cluster: retried tasks on actors that load the engine once."""

from ovocr.labelgen.executors.ray.driver import open_ray_executor

__all__ = ["open_ray_executor"]
