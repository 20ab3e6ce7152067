"""Answers that depend on random numbers: judged by what must hold whichever were drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c._coursework import judging
from daseCV_c._coursework.cases import Case
from daseCV_c._coursework.judging import Fault, Judge, number
from daseCV_c._coursework.programs import Answers


def _near(a: Any, b: Any) -> bool:
    return bool(np.all(np.abs(np.asarray(a) - b) <= 1e-5 * (1 + np.abs(b))))


def dropout_forward(case: Case, answers: Answers) -> list[Fault]:
    """Units are zero or scaled by one factor, and their share is the one asked for."""
    x, param = case.program["inputs"]["x"], case.program["inputs"]["param"]
    keep, out = param["p"], number(answers.get("out"))
    if "error" in answers or out is None or out.shape != x.shape:
        return judging.compare(case, answers)
    faults = judging.changed(case, answers)
    ratio = out / x

    def wrong(mistake: str | None, text: str) -> list[Fault]:
        return [Fault("out", judging.distance(out, case.right["out"]), text, mistake), *faults]

    if param["mode"] == "test":
        if _near(ratio, 1):
            return faults
        zeros = bool((ratio == 0).any())
        return wrong("dropout-at-test" if zeros else "dropout-scaled-at-test" if np.ptp(ratio) < 1e-5 else None,
                     "out is not x in test mode")
    kept = ratio != 0
    share, factors = float(kept.mean()), ratio[kept]
    rows, columns = (np.ptp(kept.astype(int), axis=axis) for axis in (0, 1))
    factor = float(factors.flat[0]) if factors.size else 0.0
    if share == 1:
        return wrong("dropout-missing" if _near(factors, 1) else None, "no unit is left out")
    if not (rows.any() and columns.any()):
        return wrong("dropout-one-row", "the same units are left out in every sample" if columns.any()
                     else "samples are left out whole")
    spread = 5 * (keep * (1 - keep) / x.size) ** 0.5
    if abs(share - keep) > spread:
        return wrong("dropout-p-is-drop" if abs(share - (1 - keep)) <= spread else None,
                     f"{100 * share:.0f} of 100 units are kept, with p = {keep}")
    if _near(factors, 1 / keep):
        return faults
    if _near(factors, 1):
        return wrong("dropout-no-division", "units that are kept are as they were")
    if _near(factors, 1 / (1 - keep)):
        return wrong("dropout-divided-by-drop", f"units that are kept are {factor:.4g} times what they were")
    if _near(factors, keep):
        return wrong("dropout-multiplied", f"units that are kept are {factor:.4g} times what they were")
    return wrong(None, "units that are kept are not scaled by one right factor")


def dropout_backward(case: Case, answers: Answers) -> list[Fault]:
    """dout through the mask that the forward pass used, which is seen in what that gave."""
    inputs = case.program["inputs"]
    out, dx, dout = number(answers.get("out")), number(answers.get("dx")), inputs["dout"]
    if "error" in answers or out is None or out.shape != dout.shape or dx is None or dx.shape != dout.shape:
        return judging.compare(case, answers)
    mask, faults = out / inputs["x"], judging.changed(case, answers)
    error = judging.distance(dx, dout * mask)
    if error is not None and error <= case.tolerance:
        return faults
    mistake = None
    if inputs["param"]["mode"] == "test":
        mistake = "dropout-backward-at-test" if _near(mask, 1) else None
    elif _near(dx, dout):
        mistake = "dropout-backward-missing"
    elif _near(dx, dout * (mask != 0)):
        mistake = "dropout-backward-no-division"
    elif ((dx != 0) != (mask != 0)).any():
        mistake = "dropout-mask-not-kept"
    return [Fault("dx", error, "dx is not dout through the mask of the forward pass", mistake), *faults]


def initial(case: Case, answers: Answers) -> list[Fault]:
    """Names, shapes, spread and dtype of a network's first parameters."""
    found, right = judging.flat(answers), judging.flat(case.right)
    if "error" in answers:
        return judging.compare(case, answers)
    scale, dtype = case.program["inputs"]["_weight_scale"], case.program["inputs"].get("_dtype", "float64")
    extra = sorted(key for key in set(found) - set(right) if key.startswith(("initial.gamma", "initial.beta")))
    if extra:
        return [Fault(extra[0], None, f"there is a parameter {extra[0].partition('.')[2]}", "net-norm-last")]
    remarks = []
    for key in right:
        name, value = key.partition(".")[2], number(found.get(key))
        if judging.loosely(value, right[key]) is not None and value.shape != right[key].shape:
            remarks.append(Fault(name, None, judging.looks(f"params['{name}']", value, right[key]), "keeps-an-axis",
                                 remark=True))
            value = value.reshape(right[key].shape)
        if value is None or value.shape != right[key].shape:
            return [Fault(name, None, judging.looks(f"params['{name}']", found.get(key), right[key]))]
        if name.startswith("W"):
            spread = float(value.astype(np.float64).std())
            if abs(spread / scale - 1) > 0.15:
                mistake = ("net-init-variance" if abs(spread / scale**2 - 1) < 0.15 else
                           "net-init-uniform" if value.min() >= 0 else None)
                return [Fault(name, abs(spread / scale - 1), f"params['{name}'] has standard deviation {spread:.3g}, "
                              f"expected {scale}", mistake)]
            if value.min() >= 0:
                return [Fault(name, 1.0, f"params['{name}'] has no negative number", "net-init-uniform")]
        elif not np.array_equal(value, right[key]):
            return [Fault(name, judging.distance(value, right[key]),
                          f"params['{name}'] does not start as the course says",
                          "net-init-gamma" if name.startswith("gamma") else "net-init-bias")]
        elif value.dtype != dtype:
            return [Fault(name, None, f"params['{name}'] is {value.dtype}, expected {dtype}", "net-dtype")]
    return remarks


def _units(gradient: Any) -> Any:
    """The units of a hidden layer that were kept: rows of the next weights' gradient that are not zero."""
    return np.abs(gradient).sum(axis=1) > 0


def dropout_network(case: Case, answers: Answers) -> list[Fault]:
    """Each layer leaves out units of its own, the backward pass the same ones; without labels none are."""
    inputs = case.program["inputs"]
    names = sorted(inputs["params"])
    found = answers.get("grads")
    grads = {name: number(found.get(name)) for name in names} if isinstance(found, dict) else {}
    above, below = number(answers.get("above")), number(answers.get("below"))
    if "error" in answers:
        return judging.compare(case, answers)
    for name in names:
        if grads.get(name) is None or grads[name].shape != inputs["params"][name].shape:
            return [Fault("grads", None, judging.looks(f"grads['{name}']", grads.get(name), inputs["params"][name]))]
    if above is None or below is None or above.size != 1 or below.size != 1:
        return [Fault("loss", None, "the loss is no number")]
    error = judging.distance(answers.get("scores"), case.right["scores"])
    if error is None or error > case.tolerance:
        # Whether it is dropout is seen by scores that change from one call to the next.
        again = judging.distance(answers.get("scores"), answers.get("again"))
        mistake = "net-dropout-at-test" if again is None or again > case.tolerance else None
        return [Fault("scores", error, "scores without labels are not those of all units", mistake)]
    kept = [_units(grads[f"W{i}"]) for i in (2, 3, 4)]
    if all(units.all() for units in kept):
        return [Fault("grads", None, "no unit is left out", "net-dropout-missing")]
    if len({units.tobytes() for units in kept}) == 1:
        return [Fault("grads", None, "the same units are left out in every layer", "net-dropout-shared")]
    slope = (float(above.flat[0]) - float(below.flat[0])) / 2e-5
    along = sum(float(np.sum(grads[name] * inputs["way"][name])) for name in names)
    error = abs(slope - along) / max(abs(slope), 1.0)
    if error > 1e-4:
        return [Fault("grads", error, "the gradients are not those of the loss with the units left out",
                      "net-dropout-backward")]
    return []


JUDGES: dict[str, Judge] = {
    "twin": judging.twin, "affine": judging.affine, "groupnorm": judging.groupnorm, "ties": judging.ties,
    "dropout_forward": dropout_forward, "dropout_backward": dropout_backward, "initial": initial,
    "dropout_network": dropout_network,
}
