"""Makes the shards of a run with actors on the nodes of a Ray cluster. Lost actors are replaced, shards retried."""

from ovocr.labelgen.executors.ray.ray_executor import open_ray_executor

__all__ = ["open_ray_executor"]
