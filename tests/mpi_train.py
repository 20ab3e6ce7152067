"""The command line with an accident: ``STEP RANK SIGNAL COMMAND...`` sends that rank the signal before that step."""

import os
import sys

from daseCV_c.cli import ranks
from daseCV_c.cli.main import main
from daseCV_c.solver import Solver

step, rank, number = map(int, sys.argv[1:4])
make = Solver._step


def step_or_accident(self):
    if len(self.loss_history) + 1 == step and ranks.started()[1] == rank:
        os.kill(os.getpid(), number)
    make(self)


Solver._step = step_or_accident
sys.exit(main(sys.argv[4:]))
