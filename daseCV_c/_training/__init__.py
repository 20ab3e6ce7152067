"""What the Solver is made of, one subject a module."""
