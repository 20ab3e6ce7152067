"""Windows on images: how many fit."""

from __future__ import annotations


def fits(function: str, name: str, field: int, side: str, size: int, padding: int = 0) -> None:
    """A window no larger than the padded image."""
    if field > size + 2 * padding:
        padded = f" and padding {padding}" if padding else ""
        raise ValueError(f"{function}: {name} is {field}, but x has {side} {size}{padded}")


def windows(size: int, field: int, padding: int, stride: int) -> int:
    """How many windows fit along one side; what is left over at its end is not looked at."""
    return (size + 2 * padding - field) // stride + 1
