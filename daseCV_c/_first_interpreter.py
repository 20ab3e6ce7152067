"""Refuses a sub-interpreter, as NumPy and the kernels work in a process's first one alone.

Imported before NumPy: after a refusal by NumPy, an import in the first interpreter ended the process under CPython
3.12.1."""

import importlib


def is_first() -> bool:
    """Whether this is no sub-interpreter. Modules of Python's own know it, in each release under another name."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            known = importlib.import_module(name)
        except ImportError:
            continue
        return bool(known.get_current() == known.get_main())
    return True


if not is_first():
    raise ImportError("daseCV_c: NumPy and the kernels do not work in a sub-interpreter; use threads or processes, "
                      "such as those of concurrent.futures, instead")
