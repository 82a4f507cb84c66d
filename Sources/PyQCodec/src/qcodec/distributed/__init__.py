"""Storage of torch.distributed.checkpoint: each rank writes a checkpoint of its shards, one JSON index joins them.

    import torch.distributed.checkpoint as dcp
    from qcodec.distributed import QCodecStorageReader, QCodecStorageWriter

    dcp.save(state, storage_writer=QCodecStorageWriter("run/step-1000"))
    dcp.load(state, storage_reader=QCodecStorageReader("run/step-1000"))

A checkpoint loads on any number of ranks and under other placements. Neither side pickles: values that are no tensors
are stored as documents. A save that fails leaves the former checkpoint as it was.

What one rank raises DCP raises on all, as a CheckpointException; its `failures` has each rank's own error.
"""

from ._index import INDEX
from ._reader import QCodecStorageReader
from ._writer import QCodecStorageWriter

__all__ = ["INDEX", "QCodecStorageReader", "QCodecStorageWriter"]
