#!/usr/bin/env python3
"""Whether two builds compute the same bits.

Trains and samples eight small configurations (those beside this file) with both, on this machine and
on one thread, and compares the SHA-256 of their weights and of the arrays of their samples (not of
the file around them, which holds the time of day).

    tests/bits/compare.py OLD_RUNNER NEW_RUNNER [CONFIGURATION ...]

OLD_RUNNER is built in a work tree of the commit that tests/before-the-house names:

    git worktree add ../before "$(cat tests/before-the-house)"
    (cd ../before && cargo xtask libtorch && cargo build --release -p isotropy-runner)

Runs of OLD_RUNNER are kept beside it (OLD_RUNNER.runs/) and not repeated. Exit code 1 when something
differs; for each array that does, the largest change is printed, relative to its largest number.
"""

import array
import hashlib
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
CODES = {"F32": "f", "F64": "d", "I64": "q", "<f4": "f", "<f8": "d", "<i8": "q"}


def weights(path):
    """The tensors of a safetensors file: name to (kind, bytes)."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    header.pop("__metadata__", None)
    return {
        name: (entry["dtype"], body[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }


def samples(path):
    """The arrays of an npz file: name to (kind, bytes)."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            start = 10 + struct.unpack("<H", data[8:10])[0]
            kind = data[10:start].decode().split("'descr': '")[1].split("'")[0]
            found[name] = (kind, data[start:])
    return found


def arrays(run):
    return {
        "weights": weights(run / "weights.safetensors"),
        "samples": samples(run / "samples" / "samples.npz"),
    }


def digest(found):
    total = hashlib.sha256()
    for name in sorted(found):
        kind, data = found[name]
        total.update(f"{name} {kind} {len(data)}\n".encode() + data)
    return total.hexdigest()


def change(old, new):
    """The largest change relative to the largest number, or why there is none."""
    if old[0] != new[0] or len(old[1]) != len(new[1]) or old[0] not in CODES:
        return f"{old[0]} {len(old[1])} bytes, now {new[0]} {len(new[1])} bytes"
    a, b = (array.array(CODES[old[0]], data) for data in (old[1], new[1]))
    largest = max((abs(x) for x in a), default=0.0) or 1.0
    return f"{max(abs(x - y) for x, y in zip(a, b)) / largest:.1e} of the largest"


def run(runner, config, folder):
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [str(runner), "--config", str(config), "--out", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        sys.exit(f"{' '.join(command)} ended with {ended.returncode}\n{ended.stderr[-2000:]}")
    return arrays(folder)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    old_runner, new_runner = (pathlib.Path(p).resolve() for p in sys.argv[1:3])
    names = sys.argv[3:] or sorted(p.stem for p in HERE.glob("*.json"))
    different = False
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            config = HERE / f"{name}.json"
            kept = pathlib.Path(f"{old_runner}.runs") / name
            done = (kept / "samples" / "samples.npz").exists()
            old = arrays(kept) if done else run(old_runner, config, kept)
            new = run(new_runner, config, pathlib.Path(scratch) / name)
            for part in old:
                same = digest(old[part]) == digest(new[part])
                different |= not same
                print(f"{'same   ' if same else 'DIFFERS'} {name} {part}", digest(new[part])[:16])
                if same:
                    continue
                for array_name in sorted(set(old[part]) ^ set(new[part])):
                    print(f"    {array_name} is in one of them only")
                for array_name in sorted(set(old[part]) & set(new[part])):
                    a, b = old[part][array_name], new[part][array_name]
                    if a != b:
                        print(f"    {array_name}: {change(a, b)}")
            sys.stdout.flush()
    sys.exit(1 if different else 0)


main()
