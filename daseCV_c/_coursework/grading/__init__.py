"""Grading a folder of submissions. reading: what was handed in; rubric: what it is worth; marking: one submission;
schedule: all of them; tables and page: what is written; board: the leaderboard."""
