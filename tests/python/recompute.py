"""Recomputes every AUROC of a store of runs from its prediction files alone, with scikit-learn.

usage: python tests/python/recompute.py OUT        (numpy and scikit-learn from PyPI)

Prints each cell with both values; exits with 1 if one differs by more than 1e-9.
"""

import json
import pathlib
import struct
import sys

import numpy as np
from sklearn.metrics import roc_auc_score

TYPES = {"F32": np.float32, "F64": np.float64, "U64": np.uint64, "U32": np.uint32, "U8": np.uint8}


def read(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[start:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def auroc(t):
    labels, scores = t["labels"], t["scores"].astype(np.float64)
    if labels.ndim == 2:
        kept = [c for c in range(labels.shape[1]) if 0 < labels[:, c].sum() < len(labels)]
        return np.mean([roc_auc_score(labels[:, c], scores[:, c]) for c in kept])
    if scores.shape[1] == 1:
        return roc_auc_score(labels, scores[:, 0])
    # f32 probabilities do not add up to one in f64; the pairwise comparison is by hand, as Hand and Till define it.
    total, pairs = 0.0, 0
    for a in range(scores.shape[1]):
        for b in range(a + 1, scores.shape[1]):
            rows = (labels == a) | (labels == b)
            total += roc_auc_score(labels[rows] == a, scores[rows, a]) / 2
            total += roc_auc_score(labels[rows] == b, scores[rows, b]) / 2
            pairs += 1
    return total / pairs


def main(out):
    worst, cells = 0.0, 0
    for folder in sorted(pathlib.Path(out, "runs").iterdir()):
        result = folder / "result.json"
        if not result.exists():
            continue
        printed = json.loads(result.read_text())
        if printed["kind"] != "downstream" or "auroc" not in printed["metrics"]:
            continue
        value = auroc(read(folder / "predictions.safetensors"))
        difference = abs(value - printed["metrics"]["auroc"]["value"])
        worst, cells = max(worst, difference), cells + 1
        print(f"{difference:8.1e}  {value:.6f}  {folder.name}")
    print(f"{cells} cells, largest difference {worst:.1e}")
    return 0 if cells and worst <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
