"""Reading every tensor of a checkpoint never holds more than one of them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

MIB = 2**20
TENSORS, TENSOR_MIB = 16, 4
# In a process of its own: what other tests allocated would hide the growth. Anonymous memory is what the
# process itself holds; pages of a mapped file belong to the system's cache.
READER = """
import sys
from checkpoint_lens import open_checkpoint

def held_mib():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))

checkpoint = open_checkpoint(sys.argv[1])
names = list(checkpoint)
first = checkpoint[names[0]].sum()  # libraries are loaded now
del first
before, peak = held_mib(), 0.0
for name in names:
    values = checkpoint[name]
    peak = max(peak, held_mib())
    del values
print(len(names), peak - before)
"""


def write(path: Path, ending: str) -> Path:
    tensors = {
        f"layer.{i}.weight": np.full((TENSOR_MIB * MIB // 4 // 1024, 1024), i + 1, np.float32)
        for i in range(TENSORS)
    }
    target = path / f"big{ending}"
    if ending == ".safetensors":
        from safetensors.numpy import save_file

        save_file(tensors, target)
    elif ending == ".npz":
        np.savez(target, **tensors)
    elif ending == ".bin":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.from_numpy(value) for name, value in tensors.items()}, target)
    else:
        from gguf import GGUFWriter

        writer = GGUFWriter(target, "llama")
        for name, value in tensors.items():
            writer.add_tensor(name, value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return target


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("ending", [".safetensors", ".npz", ".bin", ".gguf"])
def test_reading_all_tensors_holds_one(tmp_path, ending):
    path = write(tmp_path, ending)
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True
    )
    count, growth = done.stdout.split()
    assert int(count) == TENSORS
    assert path.stat().st_size > 60 * MIB
    # One tensor, one more for a copy under way, and what the allocator rounds up.
    assert float(growth) < 3 * TENSOR_MIB
