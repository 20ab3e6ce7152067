"""What the modules are built from. It imports nothing of the package, so that setup.py can run it."""

import hashlib
from pathlib import Path

#: The families of src in each module of a level, those that take longest to compile first. Families that need the same
#: products or loops share a module, which then holds these once.
MODULES = {
    "networks": ("affine", "predict", "step"),
    "layers": ("activation", "batch", "dropout", "losses", "normalization", "optim"),
    "images": ("conv", "im2col", "pool", "spatial"),
    "affine_bf16": ("affine_bf16",),
}
#: Modules that are not for every level.
LEVELS_OF = {"affine_bf16": ("v4",)}


def modules_of(level: str) -> list[str]:
    """The modules that are built for `level`."""
    return [module for module in MODULES if level in LEVELS_OF.get(module, (level,))]


def digest(src: Path) -> str:
    """A number for all files of `src`, their names and contents: one for each state of the sources."""
    found = hashlib.sha256()
    for path in sorted(p for p in src.rglob("*") if p.suffix in (".pyx", ".pxd", ".h")):
        found.update(path.relative_to(src).as_posix().encode() + b"\0")
        found.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return found.hexdigest()
