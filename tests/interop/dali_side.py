"""Reads a shard with fn.readers.mxnet on a CPU pipeline. Runs in the environment of NVIDIA DALI.

dali_side.py PREFIX RESULT.pickle       RESULT: for each record its bytes, its labels, the shape of the decoded image
"""

import pickle
import sys

import numpy as np
from nvidia.dali import fn, pipeline_def


@pipeline_def(batch_size=1, num_threads=1, device_id=None)
def shard(prefix: str):
    encoded, labels = fn.readers.mxnet(path=[prefix + ".rec"], index_path=[prefix + ".idx"], name="reader")
    return encoded, labels, fn.decoders.image(encoded, device="cpu")


def main(prefix: str, target: str) -> None:
    pipeline = shard(prefix)
    pipeline.build()
    results = []
    for _ in range(pipeline.epoch_size("reader")):
        encoded, labels, image = (np.asarray(output[0]) for output in pipeline.run())
        results.append((encoded.tobytes(), labels.tolist(), image.shape))
    with open(target, "wb") as file:
        pickle.dump(results, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
