"""A Solver as a notebook shows it: a table of what it was asked for and how far it is."""

from __future__ import annotations

import html
import reprlib
from typing import Any

# Settings that a table has room for; the others only where they were asked for.
_SETTINGS = ("update_rule", "optim_config", "schedule", "lr_decay", "batch_size", "num_epochs", "early_stopping",
             "clip_norm", "average", "monitor", "seed")
_USUAL = {"schedule": None, "lr_decay": 1.0, "early_stopping": None, "clip_norm": None, "average": None,
          "monitor": None, "seed": None}
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200


def html_of(solver: Any) -> str:
    """A table without a style sheet, a script or an address: it is read on its own. All text is escaped."""
    rows = {"model": type(solver.model).__name__,
            "parameters": f"{sum(getattr(p, 'size', 1) for p in solver.model.params.values()):,}",
            "training samples": f"{len(solver.X_train):,}", "validation samples": f"{len(solver.X_val):,}"}
    for name in _SETTINGS:
        value = getattr(solver, name)
        # By identity: a value of the user's own may compare in a way of its own.
        if name not in _USUAL or not (value is _USUAL[name] or type(value) is float and value == _USUAL[name]):
            rows[name.replace("_", " ")] = value if isinstance(value, str) else _shown(value)
    rows["iterations"] = f"{solver.iteration:,} of {solver.num_iterations:,}"
    if solver.loss_history:
        rows["last loss"] = f"{solver.loss_history[-1]:.4g}"
    if solver.val_acc_history:
        rows["last accuracies"] = (f"training {solver.train_acc_history[-1]:.4f}, "
                                   f"validation {solver.val_acc_history[-1]:.4f}")
        rows["best validation accuracy"] = f"{solver.best_val_acc:.4f}"
    cells = "".join(f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
                    f'<td style="text-align:left">{html.escape(value)}</td></tr>' for name, value in rows.items())
    return f"<table><caption>Solver</caption><tbody>{cells}</tbody></table>"


def _shown(value: Any) -> str:
    """A function by its name, anything else as `repr` has it, shortened."""
    return str(getattr(value, "__name__", None) or _short.repr(value))
