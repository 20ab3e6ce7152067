"""What is timed: one row a network."""

from dataclasses import dataclass

INPUT, CLASSES, IMAGES = 3072, 10, 10_000


@dataclass(frozen=True)
class Row:
    """One network and how it is trained."""

    hidden: tuple
    dtype: str
    batchnorm: bool
    rule: str
    batch: int
    two_layer: bool = False

    @property
    def sizes(self):
        return (INPUT, *self.hidden, CLASSES)

    @property
    def multiply_adds(self):
        """Of one step: each product forward, for dw, and for dx but that of the images."""
        pairs = list(zip(self.sizes, self.sizes[1:], strict=False))
        return self.batch * sum(a * b * (2 if k == 0 else 3) for k, (a, b) in enumerate(pairs))

    @property
    def title(self):
        norm = " batch norm" if self.batchnorm else ""
        hidden = "-".join(map(str, self.hidden))
        return f"{INPUT}-{hidden}-{CLASSES} {self.dtype}{norm} {self.rule} batch {self.batch}"


ROWS = {
    "A": Row((100,), "float64", False, "sgd", 100, two_layer=True),
    "B": Row((100, 100), "float32", True, "adam", 200),
    "C": Row((100,) * 5, "float32", False, "adam", 100),
    "E": Row((100,) * 5, "float32", False, "sgd_momentum", 100),
    "D": Row((1024,) * 3, "float32", True, "adam", 256),
}
RATES = {"sgd": 1e-3, "sgd_momentum": 1e-3, "adam": 1e-4}


def products():
    """(kind, N, D, M) of every matrix product of the rows' steps, each once."""
    found = {}
    for row in ROWS.values():
        for k, (d, m) in enumerate(zip(row.sizes, row.sizes[1:], strict=False)):
            # Nobody asks for the gradient of the images.
            for kind in ("forward", "dw") if k == 0 else ("forward", "dx", "dw"):
                found[kind, row.batch, d, m] = None
    return list(found)


def data(row):
    """Images and labels of the size and kind of CIFAR-10's, the same for every contestant."""
    import numpy as np

    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, (IMAGES, INPUT)).astype(row.dtype)
    images -= 127.5
    return images, rng.randint(0, CLASSES, IMAGES)
