"""The container images: how large they are, and how soon a worker gives its first answer.

``python bench/image.py WORKER/rootfs [SERVER/rootfs]``, as root, with what ``.ci/image/unpack``
unpacked. A worker's clock runs from the start of its container, as ``.ci/image/try_out.py`` starts
it, with the files in the page cache, to the answer of a fit that waits for it: 96 observations,
24 trials.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

from common import ROOT, write_result


def sizes(rootfs: Path) -> dict[str, Any]:
    """Give what an image takes unpacked, in a registry, and which parts are large."""
    archive = ["tar", "-C", str(rootfs), "--exclude=./dev", "-c", "."]
    with subprocess.Popen(archive, stdout=subprocess.PIPE) as tar:
        packed = subprocess.run(
            "gzip -6 | wc -c", shell=True, stdin=tar.stdout, capture_output=True, check=True
        )
    [packages] = (rootfs / "opt" / "venv" / "lib").glob("python3*/site-packages")
    largest = sorted(((megabytes(part), part.name) for part in packages.iterdir()), reverse=True)
    return {
        "mb": megabytes(rootfs),
        "gzip_mb": round(int(packed.stdout) / 1e6),
        "venv_mb": megabytes(rootfs / "opt" / "venv"),
        "largest_mb": {name: size for size, name in largest[:10]},
    }


def megabytes(path: Path) -> int:
    """Give the size of a file or folder as `du` counts content."""
    called = ["du", "--summarize", "--bytes", "--exclude=dev", str(path)]
    told = subprocess.run(called, capture_output=True, text=True, check=True)
    return round(int(told.stdout.split()[0]) / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worker", type=Path)
    parser.add_argument("server", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    spec = importlib.util.spec_from_file_location("try_out", ROOT / ".ci" / "image" / "try_out.py")
    try_out = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(try_out)
    worker = given.worker.resolve()
    first = try_out.first_answers(worker, n=given.runs)
    del first["answers"]
    result = {
        "first_answer": first,
        "worker": sizes(worker),
        "kernels_mb": megabytes(worker / "opt/numba-cache"),
    }
    if given.server:
        result["server"] = sizes(given.server.resolve())
    labels = json.loads((worker.parent / "config.json").read_text()).get("Labels", {})
    write_result("image", result, image={k: v for k, v in labels.items() if ".version" in k})


if __name__ == "__main__":
    main()
