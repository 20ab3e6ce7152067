"""Coursework: functions that students write are run in a process of their own and held against the twins."""
