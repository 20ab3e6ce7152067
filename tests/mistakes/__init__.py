"""Functions with one mistake each, and the name under which the self-check knows it."""

WRONG = []


def wrong(function, mistake, status="failed"):
    """Decorate a wrong version of `function`, whose mistake is `mistake`."""
    def add(made):
        WRONG.append((function, mistake, status, made))
        return made
    return add
