"""Images: what a container runs, without a registry and without layers.

Covers: folders of programs, entry point, command and environment; names that cannot be.
Does not cover: file systems of images, pull secrets, digests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?"
_NAME = re.compile(
    rf"{_HOST}{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)


@dataclass(frozen=True)
class Image:
    """An image: `path` are folders of programs, first on PATH."""

    path: list[str]
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)


def is_image_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def command_of(image: Image, container: dict[str, list[str]]) -> list[str]:
    """Give the command line of a container, as its spec and its image say it."""
    command, args = container.get("command"), container.get("args")
    if command:
        return [*command, *(args or [])]
    return [*image.entrypoint, *(args or image.cmd)]
